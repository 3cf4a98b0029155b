//! A process that is killed while sixteen threads write, and the log is moved into the file beside them,
//! loses nothing that it had acknowledged.

mod support;

use ecm_core::{
    CheckIn, Commit, Connection, Durability, Loan, Member, Transact,
    testing::{
        Random,
        killing::{self, Kills, Last, last_of_each},
        seed,
    },
};
use ecm_sqlite::{
    Sqlite, SqliteConfig, SqliteConnection, rusqlite,
    testing::{FaultyDisk, Harm, Operation, Stored},
};
use std::{
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

const CALLERS: i64 = 16;

/// Fewer than where callers share transactions: here only the log and its checkpoints can be torn.
const KILLS: u64 = 20;

fn database(path: &Path) -> Sqlite {
    Sqlite::open(path).config(SqliteConfig { wal_autocheckpoint: 20, ..SqliteConfig::default() })
}

fn open(database: &Sqlite) -> SqliteConnection {
    let clock: Arc<dyn ecm_core::Clock> = Arc::new(ecm_core::SystemClock::new());
    ecm_core::Backend::connect(database, ecm_core::Access::Write, &clock).unwrap()
}

/// Writes a number of a caller: the same row in two tables, or neither. Every fourth is one
/// member of a batch whose other member is undone.
fn write_pair(writer: &mut SqliteConnection, caller: i64, number: i64) {
    writer.check_out(Loan::Write).unwrap();
    writer.begin(Durability::Configured).unwrap();
    let pair = |writer: &mut SqliteConnection, number: i64| {
        let tx = writer.tx();
        tx.execute("insert into one values (?1, ?2, zeroblob(700))", [caller, number]).unwrap();
        tx.execute("insert into other values (?1, ?2)", [caller, number]).unwrap();
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
    let Some(path) = killing::file() else { return };
    // Slow enough that many kills fall into a checkpoint, which goes on nearly all the time.
    let disk = FaultyDisk::new();
    disk.harm(Operation::Write, Harm::Delay(Duration::from_micros(300))).on(Stored::Database);
    let mut writer = open(&database(&path).vfs(disk.name()));
    let last = stored(&path);
    writer.idle(ecm_core::Time::START);
    let writer = Mutex::new(writer);
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (writer, before) = (&writer, last.get(&caller).copied().unwrap_or(0));
            scope.spawn(move || {
                for number in before + 1.. {
                    write_pair(&mut writer.lock().unwrap(), caller, number);
                    // After the mutex: acknowledgements of several callers mix, as those of a manager do.
                    killing::acknowledged(caller, number);
                }
            });
        }
    });
}

/// What is there, by a connection that is none of ECM's.
fn stored(path: &Path) -> Last {
    let connection = rusqlite::Connection::open(path).unwrap();
    let read = |table: &str| {
        let mut statement = connection.prepare(&format!("select caller, number from {table}")).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    last_of_each(read("one"), read("other"))
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("killed.db");
    let mut writer = open(&database(&path));
    support::write(&mut writer, |tx| {
        tx.execute_batch(
            "create table one(caller, number, filler, primary key (caller, number));
             create table other(caller, number, primary key (caller, number)) without rowid",
        )
        .unwrap();
    });
    drop(writer);
    let kills = Kills::of("the_work_of_the_process_that_is_killed").times(KILLS);
    let last = kills.run(&path, &mut Random::new(seed()), stored);
    assert!(last.values().sum::<i64>() > 100, "{last:?}");
    let stranger = rusqlite::Connection::open(&path).unwrap();
    let check: String = stranger.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}
