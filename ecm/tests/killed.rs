//! A process that is killed while sixteen threads write through a manager, and share transactions, loses
//! nothing that it had acknowledged.
#![cfg(feature = "sqlite")]

use ecm::{ConnectionManager, Database, Failure, Store, UnitOfWork, sqlite::Sqlite};
use ecm_core::testing::{
    Random,
    killing::{self, Kills, Last, last_of_each},
    seed,
};
use std::{path::Path, thread};

const CALLERS: i64 = 16;

/// How often the process is killed every day, and how often on one file: what is read after each kill grows.
const KILLS: u64 = 100;
const KILLS_OF_A_FILE: u64 = 100;

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

/// Writes a number of a caller: by `execute`, by a closure, one of which fails after it has
/// written and is then written by another, or by a unit of work, of which a part is undone.
fn write(manager: &ConnectionManager, caller: i64, number: i64) {
    match number % 4 {
        0 => {
            // A trigger writes the other table.
            manager.execute("INSERT INTO both VALUES (?1, ?2)").bind(caller).bind(number).wait().unwrap();
            return;
        }
        1 => {
            let failed = manager.write(|tx| {
                tx.execute(ONE, [caller, -number])?;
                Err::<(), _>(Failure::msg("no"))
            });
            assert!(failed.wait().is_err());
        }
        2 => {}
        _ => return save(manager, caller, number),
    }
    let pair = manager.write(|tx| {
        tx.execute(ONE, [caller, number])?;
        tx.execute(OTHER, [caller, number])?;
        Ok(())
    });
    pair.wait().unwrap();
}

fn save(manager: &ConnectionManager, caller: i64, number: i64) {
    let unit = manager.unit_of_work(|uow| {
        let (one, other) = (uow.store::<One>()?, uow.store::<Other>()?);
        uow.nested(|_| Ok(one.0.execute(ONE, [caller, number])?))?;
        let undone = uow.nested(|_| {
            one.0.execute(ONE, [caller, -number])?;
            Err::<(), _>(Failure::msg("no"))
        });
        assert!(undone.is_err());
        uow.before_commit(move |uow| {
            uow.nested(|uow| Ok(uow.store::<Other>()?.0.execute(OTHER, [caller, number])?))?;
            Ok(())
        });
        // Taken back, so that the hook does it.
        uow.nested(|_| {
            other.0.execute(OTHER, [caller, number])?;
            Err::<(), _>(Failure::msg("no"))
        })
        .unwrap_err();
        Ok(())
    });
    unit.wait().unwrap();
}

#[test]
fn the_work_of_the_process_that_is_killed() {
    let Some(path) = killing::file() else { return };
    let last = stored(&path);
    let manager = manager(&path);
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (manager, before) = (&manager, last.get(&caller).copied().unwrap_or(0));
            scope.spawn(move || {
                for number in before + 1.. {
                    write(manager, caller, number);
                    killing::acknowledged(caller, number);
                }
            });
        }
    });
}

/// What is there, by another manager.
fn stored(path: &Path) -> Last {
    let manager = manager(path);
    let read = |table: &str| {
        let sql = format!("SELECT caller, number FROM {table}");
        manager.query(&sql).all().wait().unwrap()
    };
    last_of_each(read("one"), read("other"))
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_the_process_is_killed() {
    let schema = "
        CREATE TABLE one (caller, number, filler, PRIMARY KEY (caller, number));
        CREATE TABLE other (caller, number, PRIMARY KEY (caller, number)) WITHOUT ROWID;
        CREATE VIEW both AS SELECT caller, number FROM one;
        CREATE TRIGGER pair INSTEAD OF INSERT ON both BEGIN
            INSERT INTO one VALUES (new.caller, new.number, zeroblob(700));
            INSERT INTO other VALUES (new.caller, new.number);
        END;";
    let mut random = Random::new(seed());
    let mut left = killing::times(KILLS);
    while left > 0 {
        let times = left.min(KILLS_OF_A_FILE);
        left -= times;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("killed.db");
        manager(&path).write(|tx| Ok(tx.execute_batch(schema)?)).wait().unwrap();
        let kills = Kills::of("the_work_of_the_process_that_is_killed").times(times);
        let last = kills.run(&path, &mut random, stored);
        assert!(last.len() > 1 && last.values().all(|&number| number > 0), "{last:?}");
        let check: String = manager(&path).query("PRAGMA integrity_check").one().wait().unwrap();
        assert_eq!(check, "ok");
    }
}
