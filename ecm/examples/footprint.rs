//! What a pool costs beside time: memory for each of 1,000 connections, and processor time of 64 callers
//! who wait. Linux only, from `/proc`; prints figures for `BENCHMARKS.md`.
//!
//! ```text
//! cargo run --release -p ecm --example footprint
//! ```

use ecm_core::{Backend, Clock, Loan, SystemClock, Time, block_on, testing::Fake};
use ecm_pool::{Pool, PoolConfig, PoolParts};
use ecm_sqlite::{Sqlite, rusqlite};
use std::{error::Error, fs, io::Write, path::Path, sync::Arc, thread, time::Duration};

const CONNECTIONS: u32 = 1_000;
const CALLERS: u32 = 64;
const WAIT: Duration = Duration::from_secs(10);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    let fake = memory(Fake::new(), |_| Ok(()))?;
    writeln!(out, "memory for each of {CONNECTIONS} connections of the fake: {fake:.1} KiB")?;

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("footprint.db");
    fill(&path)?;
    let used = memory(Sqlite::open(&path), |connection| {
        use ecm_core::Connection as _;
        connection
            .db()
            .prepare_cached("SELECT v FROM kv WHERE k = ?1")?
            .query_row([500], |row| row.get::<_, String>(0))?;
        Ok(())
    })?;
    writeln!(out, "memory for each of {CONNECTIONS} connections of SQLite, after a point read: {used:.1} KiB")?;

    let spent = waiting()?;
    writeln!(out, "processor time of {CALLERS} callers waiting for {WAIT:?}, together: {:.2} ms", spent / 1e6)?;
    Ok(())
}

fn fill(path: &Path) -> Outcome<()> {
    let connection = rusqlite::Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE kv (k INTEGER PRIMARY KEY, v TEXT NOT NULL);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
         INSERT INTO kv SELECT i, printf('%066d', i) FROM n;",
    )?;
    Ok(())
}

fn pool<B: Backend>(backend: B, max_connections: u32) -> Pool<B> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config = PoolConfig { max_connections, ..PoolConfig::untended() };
    Pool::new(Arc::new(backend), config, PoolParts::new("main", clock))
}

/// How much the process grows for each connection that is open, in KiB.
fn memory<B: Backend>(backend: B, mut use_it: impl FnMut(&mut B::Connection) -> Outcome<()>) -> Outcome<f64> {
    let pool = pool(backend, CONNECTIONS);
    // What is there once for all of them.
    drop(block_on(pool.lend(Loan::Read, Time::START, Time::NEVER))?);
    let before = resident()?;
    let mut lent = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut one = block_on(pool.lend(Loan::Read, Time::START, Time::NEVER))?;
        use_it(&mut one)?;
        lent.push(one);
    }
    Ok((resident()? - before) / f64::from(CONNECTIONS))
}

/// Resident memory of this process, in KiB, without the pages of files that are mapped: those are shared.
fn resident() -> Outcome<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon in /proc/self/status")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// How much processor time callers take who wait, in nanoseconds.
fn waiting() -> Outcome<f64> {
    let pool = pool(Fake::new(), 1);
    let held = block_on(pool.lend(Loan::Read, Time::START, Time::NEVER))?;
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| block_on(pool.lend(Loan::Read, Time::START, Time::NEVER)).map(drop));
        }
        while pool.status().waiting < CALLERS {
            thread::yield_now();
        }
        let before = processor_time()?;
        thread::sleep(WAIT);
        let spent = processor_time()? - before;
        drop(held);
        Ok(spent)
    })
}

/// Processor time of all threads of this process but the calling one, in nanoseconds.
fn processor_time() -> Outcome<f64> {
    let own = fs::read_link("/proc/thread-self")?;
    let own = own.file_name().ok_or("a thread has a name")?;
    let mut sum = 0.0;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?;
        if task.file_name() != own {
            let statistics = fs::read_to_string(task.path().join("schedstat"))?;
            sum += statistics.split_whitespace().next().ok_or("an empty schedstat")?.parse::<f64>()?;
        }
    }
    Ok(sum)
}
