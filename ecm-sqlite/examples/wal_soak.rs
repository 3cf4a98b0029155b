//! How long the log becomes, and who waits for it, while readers never pause and a writer never ends.
//!
//! ```sh
//! cargo run --release -p ecm-sqlite --example wal_soak -- 60    # seconds; what `cargo xtask soak --wal` runs
//! ```
//!
//! Fails if the log has come to twice its threshold, or a row is missing.

#![expect(clippy::print_stdout, reason = "a program that reports on standard output")]

use ecm::{ConnectionManager, Database};
use ecm_core::{Access, Backend, Clock, Commit, Connection, Durability, Loan, SystemClock, Transact};
use ecm_sqlite::{Sqlite, SqliteConfig, rusqlite};
use std::{
    env,
    error::Error,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

const READERS: usize = 8;
const INSERT: &str = "insert into t(v) values (zeroblob(400))";

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let seconds = env::args().nth(1).map_or(Ok(20), |text| text.parse())?;
    let span = Duration::from_secs(seconds);
    let folder = tempfile::tempdir_in(env::var_os("ECM_SOAK_FOLDER").unwrap_or_else(|| ".".into()))?;
    steady(&folder.path().join("steady.db"), span)?;
    strangers(&folder.path().join("strangers.db"), span / 4)?;
    full_speed(folder.path(), span / 4)?;
    Ok(())
}

fn manager(path: &Path) -> Result<ConnectionManager> {
    let manager = ConnectionManager::builder().database(Database::new("main", Sqlite::open(path))).build()?;
    manager.write(|tx| Ok(tx.execute_batch("create table t(id integer primary key, v)")?)).wait()?;
    manager.write(|tx| Ok((0..1000).try_for_each(|_| tx.execute(INSERT, []).map(drop))?)).wait()?;
    Ok(manager)
}

fn read_on(manager: &ConnectionManager, over: &AtomicBool, reads: &AtomicU64) {
    let mut id = 1;
    while !over.load(Relaxed) {
        id = id % 1000 + 1;
        let sum = |db: &ecm_sqlite::Db| {
            let mut sum = db.prepare_cached("select sum(length(v)) from t where id between ?1 and ?1 + 20")?;
            Ok(sum.query_row([id], |row| row.get::<_, Option<i64>>(0))?)
        };
        manager.read(sum).wait().expect("reads go on");
        reads.fetch_add(1, Relaxed);
    }
}

/// Eight readers that never pause and a writer that never ends.
fn steady(path: &Path, span: Duration) -> Result<()> {
    let manager = manager(path)?;
    let (over, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut waits = Vec::new();
    let mut longest = 0;
    let threshold = u64::from(SqliteConfig::default().wal_autocheckpoint);
    thread::scope(|scope| {
        (0..READERS).for_each(|_| drop(scope.spawn(|| read_on(&manager, &over, &reads))));
        let begun = Instant::now();
        while begun.elapsed() < span {
            let started = Instant::now();
            manager.execute(INSERT).wait().expect("writes go on");
            waits.push(started.elapsed());
            longest = longest.max(frames(&manager));
        }
        over.store(true, Relaxed);
    });
    let status = manager.status();
    let log = status.database("main").and_then(|database| database.log.clone()).ok_or("there is no log")?;
    let rows: i64 = manager.query("select count(*) from t").one().wait()?;
    println!(
        "steady: {READERS} readers, {} reads, {} commits; longest log {longest} frames of {threshold}; {} checkpoints, {} \
         failures; a commit {}",
        reads.into_inner(),
        waits.len(),
        log.checkpoints,
        log.failures,
        spread(&mut waits),
    );
    if rows != 1000 + i64::try_from(waits.len())? {
        return Err(format!("{rows} rows are there, after {} commits", waits.len()).into());
    }
    if longest >= 2 * threshold {
        return Err(format!("the log came to {longest} frames, with a threshold of {threshold}").into());
    }
    manager.close(Duration::from_secs(10))?;
    Ok(())
}

fn frames(manager: &ConnectionManager) -> u64 {
    let status = manager.status();
    status.database("main").and_then(|database| database.log.as_ref()).map_or(0, |log| log.frames)
}

/// Checkpoints of another process that empty the log, while readers are lent all the time.
fn strangers(path: &Path, span: Duration) -> Result<()> {
    let manager = manager(path)?;
    let (over, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut checkpoints, mut waits, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(|| {
            let mut waits = Vec::new();
            while !over.load(Relaxed) {
                let started = Instant::now();
                manager.execute(INSERT).wait().expect("writes go on");
                waits.push(started.elapsed());
                thread::sleep(Duration::from_millis(5));
            }
            waits
        });
        // Few enough that the program gets the processor at all.
        (0..2).for_each(|_| drop(scope.spawn(|| read_on(&manager, &over, &reads))));
        let begun = Instant::now();
        while begun.elapsed() < span {
            thread::sleep(Duration::from_millis(20));
            let started = Instant::now();
            sqlite3(path, "select 1")?;
            alone.push(started.elapsed());
            let started = Instant::now();
            let told = sqlite3(path, "pragma wal_checkpoint(truncate)")?;
            checkpoints.push(started.elapsed());
            if told.starts_with('1') {
                println!("strangers: a checkpoint was refused: {told}");
            }
        }
        over.store(true, Relaxed);
        waits = writer.join().expect("the writer goes on");
        Ok(())
    })?;
    println!(
        "strangers: {} checkpoints by the program sqlite3, which takes {} for nothing: {}; a commit meanwhile {}",
        checkpoints.len(),
        spread(&mut alone),
        spread(&mut checkpoints),
        spread(&mut waits),
    );
    manager.close(Duration::from_secs(10))?;
    Ok(())
}

fn sqlite3(path: &Path, command: &str) -> Result<String> {
    let output = Command::new("sqlite3").arg("-batch").arg(path).args([".timeout 3000", command]).output()?;
    if !output.status.success() {
        return Err(format!("sqlite3: {output:?}").into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// One writer at full speed: the governor beside what SQLite does by itself, in turns.
fn full_speed(folder: &Path, span: Duration) -> Result<()> {
    let config = SqliteConfig::default();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let ours = Sqlite::open(folder.join("governed.db")).config(config.clone());
    let mut writer = ours.connect(Access::Write, &clock).map_err(|failure| failure.to_string())?;
    let theirs = rusqlite::Connection::open(folder.join("automatic.db"))?;
    for (pragma, value) in [("journal_mode", "wal"), ("synchronous", "1"), ("wal_autocheckpoint", "1000")] {
        theirs.pragma_update(None, pragma, value)?;
    }
    theirs.pragma_update(None, "cache_size", -20_000)?;
    theirs.pragma_update(None, "mmap_size", config.mmap_size.cast_signed())?;
    theirs.set_prepared_statement_cache_capacity(256);
    theirs.execute_batch("create table t(id integer primary key, v)")?;
    let (mut governed, mut automatic) = (Vec::new(), Vec::new());
    let commit = |writer: &mut ecm_sqlite::SqliteConnection, sql: &str| {
        writer.check_out(Loan::Write).expect("it is lent");
        writer.begin(Durability::Configured).expect("it begins");
        writer.tx().prepare_cached(sql).and_then(|mut insert| insert.execute([])).expect("it writes");
        assert!(matches!(writer.commit(), Commit::Done(_)));
        writer.check_in();
    };
    commit(&mut writer, "create table t(id integer primary key, v)");
    let rounds = 8;
    for _ in 0..rounds {
        let begun = Instant::now();
        while begun.elapsed() < span / (2 * rounds) {
            let started = Instant::now();
            commit(&mut writer, INSERT);
            governed.push(started.elapsed());
        }
        let begun = Instant::now();
        while begun.elapsed() < span / (2 * rounds) {
            let started = Instant::now();
            for sql in ["begin immediate", INSERT, "commit"] {
                theirs.prepare_cached(sql)?.execute([])?;
            }
            automatic.push(started.elapsed());
        }
    }
    let ratio = governed.len() as f64 / automatic.len() as f64;
    let (ours, theirs) = (spread(&mut governed), spread(&mut automatic));
    println!("full speed: {ratio:.2} times the commits of SQLite's own checkpoints; a commit {ours}, theirs {theirs}");
    Ok(())
}

/// Median, 99.9 of a hundred, and the longest.
fn spread(spans: &mut [Duration]) -> String {
    spans.sort_unstable();
    let at = |part: f64| spans.get(((spans.len() as f64 * part) as usize).min(spans.len().saturating_sub(1)));
    let told = |span: Option<&Duration>| format!("{:.1?}", span.copied().unwrap_or_default());
    format!("{} (p99.9 {}, longest {})", told(at(0.5)), told(at(0.999)), told(spans.last()))
}
