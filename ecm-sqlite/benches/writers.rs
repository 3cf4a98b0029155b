//! Many threads that write one row each time, through a manager and through one connection behind a
//! mutex: how many writes a second, and how long the slowest of a thousand takes.
//!
//! ```text
//! cargo bench -p ecm-sqlite --bench writers
//! cargo bench -p ecm-sqlite --bench writers threads-16
//! ```
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use ecm::{ConnectionManager, Database};
use ecm_sqlite::{
    Sqlite, SqliteConfig, Synchronous, rusqlite,
    testing::{FaultyDisk, Harm, Operation, Stored},
};
use std::{
    path::Path,
    sync::{Arc, Barrier, Mutex},
    thread,
    time::{Duration, Instant},
};

const LASTS: Duration = Duration::from_secs(2);
const SQL: &str = "INSERT INTO t (a, b) VALUES (?1, ?2)";
const TEXT: &str = "sixty-six bytes, more or less, are what a value of the table takes";

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return; // built and started by `cargo test`, which measures nothing
    }
    println!("{:<24} {:<12} {:>12} {:>12} {:>12}", "case", "system", "writes/s", "p50", "p99.9");
    for (threads, sync) in [(1, None), (16, None), (16, Some(1)), (64, Some(1))] {
        let case = format!("threads-{threads}{}", sync.map_or(String::new(), |millis| format!("-fsync{millis}ms")));
        if std::env::args().nth(1).is_some_and(|wanted| wanted != "--bench" && !case.contains(&wanted)) {
            continue;
        }
        for system in ["mutex", "ecm", "ecm-closure"] {
            let folder = tempfile::tempdir().expect("a folder can be made");
            let disk = FaultyDisk::new();
            if let Some(millis) = sync {
                disk.harm(Operation::Sync, Harm::Delay(Duration::from_millis(millis))).on(Stored::Log);
            }
            let (rate, mut times) = measure(threads, &folder.path().join("bench.db"), &disk, sync.is_some(), system);
            times.sort_unstable();
            let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
            println!("{case:<24} {system:<12} {rate:>12.0} {:>12.1?} {:>12.1?}", at(0.5), at(0.999));
        }
    }
}

fn measure(threads: usize, path: &Path, disk: &FaultyDisk, synced: bool, system: &str) -> (f64, Vec<Duration>) {
    let synchronous = if synced { Synchronous::Full } else { Synchronous::Normal };
    if system == "mutex" {
        let flags = rusqlite::OpenFlags::default() | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let vfs = std::ffi::CString::new(disk.name()).expect("a name has no NUL");
        let connection = rusqlite::Connection::open_with_flags_and_vfs(path, flags, vfs.as_c_str()).expect("it opens");
        let pragmas = format!("PRAGMA journal_mode = wal; PRAGMA synchronous = {};", if synced { 2 } else { 1 });
        connection.execute_batch(&pragmas).expect("pragmas are set");
        connection.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)").expect("a table is made");
        let connection = Mutex::new(connection);
        return run(threads, |thread| {
            let connection = connection.lock().expect("nobody panics");
            let mut statement = connection.prepare_cached(SQL).expect("it is right");
            statement.execute((thread, TEXT)).expect("it is written");
        });
    }
    let config = SqliteConfig { synchronous, ..SqliteConfig::default() };
    let database = Database::new("main", Sqlite::open(path).config(config).vfs(disk.name()));
    let manager = ConnectionManager::builder().database(database).build().expect("it opens");
    manager.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)").wait().expect("a table is made");
    if system == "ecm" {
        run(threads, |thread| {
            manager.execute(SQL).bind(thread).bind(TEXT).wait().expect("it is written");
        })
    } else {
        run(threads, |thread| {
            manager.write(|tx| Ok(tx.execute(SQL, (thread, TEXT))?)).wait().expect("it is written");
        })
    }
}

fn run(threads: usize, write: impl Fn(i64) + Sync) -> (f64, Vec<Duration>) {
    let (barrier, all) = (Arc::new(Barrier::new(threads)), Mutex::new(Vec::new()));
    let started = Instant::now();
    thread::scope(|scope| {
        for thread in 0..threads {
            let (write, barrier, all) = (&write, &barrier, &all);
            scope.spawn(move || {
                let mut times = Vec::with_capacity(1 << 16);
                barrier.wait();
                let until = Instant::now() + LASTS;
                let mut before = Instant::now();
                while before < until {
                    write(thread as i64);
                    let now = Instant::now();
                    times.push(now - before);
                    before = now;
                }
                all.lock().expect("nobody panics").extend(times);
            });
        }
    });
    let times = all.into_inner().expect("nobody panics");
    (times.len() as f64 / started.elapsed().as_secs_f64(), times)
}
