//! A process that is killed while sixteen threads write, and the log is moved into the file beside them,
//! loses nothing that it had acknowledged.

mod support;

use ecm_core::{CheckIn, Commit, Connection, Durability, Loan, Member, Transact};
use ecm_sqlite::{
    Sqlite, SqliteConfig, SqliteConnection, rusqlite,
    testing::{FaultyDisk, Harm, Operation, Stored},
};
use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};
use support::{Random, seed};

/// What the process that is killed is told to work on: this program, run again.
const VICTIM: &str = "ECM_KILLED_FILE";

const THREADS: i64 = 16;
const KILLS: u64 = 20;

fn database(path: &Path) -> Sqlite {
    Sqlite::open(path).config(SqliteConfig { wal_autocheckpoint: 20, ..SqliteConfig::default() })
}

fn open(database: &Sqlite) -> SqliteConnection {
    let clock: Arc<dyn ecm_core::Clock> = Arc::new(ecm_core::SystemClock::new());
    ecm_core::Backend::connect(database, ecm_core::Access::Write, &clock).unwrap()
}

/// Writes number `number` of a thread: the same row in two tables, or neither. Every fourth is one
/// member of a batch whose other member is undone.
fn write_pair(writer: &mut SqliteConnection, thread: i64, number: i64) {
    writer.check_out(Loan::Write).unwrap();
    writer.begin(Durability::Configured).unwrap();
    let pair = |writer: &mut SqliteConnection, number: i64| {
        let tx = writer.tx();
        tx.execute("insert into one values (?1, ?2, zeroblob(700))", [thread, number]).unwrap();
        tx.execute("insert into other values (?1, ?2)", [thread, number]).unwrap();
    };
    if number % 4 == 0 {
        writer.enter().unwrap();
        pair(writer, -number);
        assert!(matches!(writer.leave(false), Member::Undone));
        writer.enter().unwrap();
        pair(writer, number);
        assert!(matches!(writer.leave(true), Member::Kept));
    } else {
        pair(writer, number);
    }
    assert!(matches!(writer.commit(), Commit::Done(_)));
    assert_eq!(writer.check_in(), CheckIn::Clean);
}

#[test]
fn the_work_of_the_process_that_is_killed() {
    let Some(path) = env::var_os(VICTIM).map(PathBuf::from) else { return };
    // Slow enough that many kills fall into a checkpoint, which goes on nearly all the time.
    let disk = FaultyDisk::new();
    disk.harm(Operation::Write, Harm::Delay(Duration::from_micros(300))).on(Stored::Database);
    let mut writer = open(&database(&path).vfs(disk.name()));
    let next = numbers(&path);
    // Says that it has begun, so that it is not killed before.
    say(&mut std::io::stdout(), "0 0");
    writer.idle(ecm_core::Time::START);
    let writer = Mutex::new(writer);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (writer, mut number) = (&writer, next.get(&thread).copied().unwrap_or(0));
            scope.spawn(move || {
                loop {
                    number += 1;
                    write_pair(&mut writer.lock().unwrap(), thread, number);
                    // After the mutex: acknowledgements of several threads mix, as those of callers do.
                    say(&mut std::io::stdout().lock(), &format!("{thread} {number}"));
                }
            });
        }
    });
}

fn say(out: &mut impl std::io::Write, what: &str) {
    writeln!(out, "\nacknowledged {what}.").unwrap();
    out.flush().unwrap();
}

/// The last number of each thread, after it was checked that they are all there, in both tables.
fn numbers(path: &Path) -> BTreeMap<i64, i64> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let read = |table: &str| {
        let sql = format!("select thread, number from {table} order by thread, number");
        let mut statement = connection.prepare(&sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>()
    };
    let rows = read("one");
    assert_eq!(rows, read("other"), "half of a transaction");
    let mut last = BTreeMap::new();
    for (thread, number) in rows {
        let before = last.insert(thread, number).unwrap_or(0);
        assert_eq!(number, before + 1, "thread {thread} has a gap, or an undone member was kept");
    }
    last
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_the_process_is_killed() {
    let mut random = Random::new(seed());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("killed.db");
    let mut writer = open(&database(&path));
    support::write(&mut writer, |tx| {
        tx.execute_batch(
            "create table one(thread, number, filler, primary key (thread, number));
             create table other(thread, number, primary key (thread, number)) without rowid",
        )
        .unwrap();
    });
    drop(writer);
    let mut acknowledged = BTreeMap::<i64, i64>::new();
    for _ in 0..KILLS {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "the_work_of_the_process_that_is_killed", "--nocapture", "--test-threads=1"])
            .env(VICTIM, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut left = 1 + random.below(150);
        // To its end: what it had said before it was killed counts.
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap) {
            let said = line.strip_prefix("acknowledged ").and_then(|line| line.strip_suffix('.'));
            let Some((thread, number)) = said.and_then(|said| said.split_once(' ')) else { continue };
            let (thread, number): (i64, i64) = (thread.parse().unwrap(), number.parse().unwrap());
            let last = acknowledged.entry(thread).or_default();
            *last = number.max(*last);
            left = left.saturating_sub(1);
            if left == 0 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let there = numbers(&path);
        for (thread, number) in &acknowledged {
            let stored = there.get(thread).copied().unwrap_or(0);
            assert!(stored >= *number, "thread {thread}: {number} was acknowledged, {stored} is the last stored");
        }
    }
    let stranger = rusqlite::Connection::open(&path).unwrap();
    let check: String = stranger.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    assert!(acknowledged.values().sum::<i64>() > 100, "{acknowledged:?}");
}
