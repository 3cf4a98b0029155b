//! A process that is killed while sixteen threads write through a manager, and share transactions, loses
//! nothing that it had acknowledged.
#![cfg(feature = "sqlite")]

use ecm::{ConnectionManager, Database, Failure, Store, UnitOfWork, sqlite::Sqlite};
use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

/// What the process that is killed is told to work on: this program, run again.
const VICTIM: &str = "ECM_KILLED_MANAGER_FILE";

const THREADS: i64 = 16;
const KILLS: u64 = 20;

fn manager(path: &Path) -> ConnectionManager {
    ConnectionManager::builder().database(Database::new("main", Sqlite::open(path))).build().unwrap()
}

const ONE: &str = "INSERT INTO one VALUES (?1, ?2, zeroblob(700))";
const OTHER: &str = "INSERT INTO other VALUES (?1, ?2)";

/// A row of each table, which nobody must ever see alone: a store of its own for each.
struct One<'u>(UnitOfWork<'u>);
struct Other<'u>(UnitOfWork<'u>);

impl<'u> Store<'u> for One<'u> {
    fn open(uow: UnitOfWork<'u>) -> Result<Self, Failure> {
        Ok(Self(uow))
    }
}

impl<'u> Store<'u> for Other<'u> {
    fn open(uow: UnitOfWork<'u>) -> Result<Self, Failure> {
        Ok(Self(uow))
    }
}

/// Writes number `number` of a thread: by `execute`, by a closure, one of which fails after it has
/// written and is then written by another, or by a unit of work, of which a part is undone.
fn write(manager: &ConnectionManager, thread: i64, number: i64) {
    match number % 4 {
        0 => {
            // A trigger writes the other table.
            manager.execute("INSERT INTO both VALUES (?1, ?2)").bind(thread).bind(number).wait().unwrap();
            return;
        }
        1 => {
            let failed = manager.write(|tx| {
                tx.execute(ONE, [thread, -number])?;
                Err::<(), _>(Failure::msg("no"))
            });
            assert!(failed.wait().is_err());
        }
        2 => {}
        _ => return save(manager, thread, number),
    }
    let pair = manager.write(|tx| {
        tx.execute(ONE, [thread, number])?;
        tx.execute(OTHER, [thread, number])?;
        Ok(())
    });
    pair.wait().unwrap();
}

fn save(manager: &ConnectionManager, thread: i64, number: i64) {
    let unit = manager.unit_of_work(|uow| {
        let (one, other) = (uow.store::<One>()?, uow.store::<Other>()?);
        uow.nested(|_| Ok(one.0.execute(ONE, [thread, number])?))?;
        let undone = uow.nested(|_| {
            one.0.execute(ONE, [thread, -number])?;
            Err::<(), _>(Failure::msg("no"))
        });
        assert!(undone.is_err());
        uow.before_commit(move |uow| {
            uow.nested(|uow| Ok(uow.store::<Other>()?.0.execute(OTHER, [thread, number])?))?;
            Ok(())
        });
        // Taken back, so that the hook does it.
        uow.nested(|_| {
            other.0.execute(OTHER, [thread, number])?;
            Err::<(), _>(Failure::msg("no"))
        })
        .unwrap_err();
        Ok(())
    });
    unit.wait().unwrap();
}

#[test]
fn the_work_of_the_process_that_is_killed() {
    let Some(path) = env::var_os(VICTIM).map(PathBuf::from) else { return };
    let next = numbers(&path);
    let manager = manager(&path);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (manager, mut number) = (&manager, next.get(&thread).copied().unwrap_or(0));
            scope.spawn(move || {
                loop {
                    number += 1;
                    write(manager, thread, number);
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "\nacknowledged {thread} {number}.").unwrap();
                    out.flush().unwrap();
                }
            });
        }
    });
}

/// The last number of each thread, after it was checked that they are all there, in both tables.
fn numbers(path: &Path) -> BTreeMap<i64, i64> {
    let manager = manager(path);
    let read = |table: &str| -> Vec<(i64, i64)> {
        let sql = format!("SELECT thread, number FROM {table} ORDER BY thread, number");
        manager.query(&sql).all().wait().unwrap()
    };
    let rows = read("one");
    assert_eq!(rows, read("other"), "half of a write, or of a unit of work");
    let mut last = BTreeMap::new();
    for (thread, number) in rows {
        let before = last.insert(thread, number).unwrap_or(0);
        assert_eq!(number, before + 1, "thread {thread} has a gap, or a write that failed was kept");
    }
    last
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_the_process_is_killed() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let given = env::var("ECM_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    // Zero would stay zero.
    let mut random = given.unwrap_or_else(|| now.subsec_nanos().into()) | 1;
    eprintln!("ECM_SEED={random}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("killed.db");
    let schema = "
        CREATE TABLE one (thread, number, filler, PRIMARY KEY (thread, number));
        CREATE TABLE other (thread, number, PRIMARY KEY (thread, number)) WITHOUT ROWID;
        CREATE VIEW both AS SELECT thread, number FROM one;
        CREATE TRIGGER pair INSTEAD OF INSERT ON both BEGIN
            INSERT INTO one VALUES (new.thread, new.number, zeroblob(700));
            INSERT INTO other VALUES (new.thread, new.number);
        END;";
    manager(&path).write(|tx| Ok(tx.execute_batch(schema)?)).wait().unwrap();
    let mut acknowledged = BTreeMap::<i64, i64>::new();
    for _ in 0..KILLS {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "the_work_of_the_process_that_is_killed", "--nocapture", "--test-threads=1"])
            .env(VICTIM, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut left = 1 + random % 150;
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
            assert!(there.get(thread) >= Some(number), "thread {thread} was told of {number}: {there:?}");
        }
    }
    let check: String = manager(&path).query("PRAGMA integrity_check").one().wait().unwrap();
    assert_eq!(check, "ok");
    assert!(acknowledged.values().sum::<i64>() > 100, "{acknowledged:?}");
}
