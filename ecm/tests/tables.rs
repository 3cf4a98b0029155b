//! A commit makes cached answers stale by the tables that it has written, and no others.
#![cfg(all(feature = "sqlite", feature = "cache-quick"))]

use ecm::{
    ConnectionManager, Database, Failure,
    cache::{Quick, QuickConfig},
    core::testing::TestClock,
    sqlite::Sqlite,
};
use std::{path::Path, sync::mpsc, thread};

const SCHEMA: &str = "CREATE TABLE a (v INTEGER UNIQUE); CREATE TABLE b (v INTEGER UNIQUE); CREATE TABLE c (v);
    CREATE TABLE log (v); CREATE TRIGGER told AFTER INSERT ON c BEGIN INSERT INTO log VALUES (new.v); END;
    CREATE VIEW seen AS SELECT v FROM a";

fn manager(path: &Path) -> ConnectionManager {
    let sqlite = Sqlite::open(path);
    let cache = Quick::new(&QuickConfig::default()).unwrap();
    let builder = ConnectionManager::builder().database(Database::new("main", sqlite)).cache(cache);
    // It stands still, so that no transaction becomes too old to take in another write.
    let manager = builder.clock(TestClock::new()).build().unwrap();
    manager.write(|tx| Ok(tx.execute_batch(SCHEMA)?)).wait().unwrap();
    manager
}

fn count(manager: &ConnectionManager, table: &str) -> i64 {
    manager.query(&format!("SELECT count(*) FROM {table}")).one().wait().unwrap()
}

/// Whether the answer about each table comes from the cache; afterwards it does.
fn hits<const N: usize>(manager: &ConnectionManager, tables: [&str; N]) -> [bool; N] {
    tables.map(|table| {
        let before = manager.status().cache.hits;
        count(manager, table);
        manager.status().cache.hits > before
    })
}

const ALL: [&str; 5] = ["a", "b", "c", "log", "seen"];

#[test]
fn a_write_makes_stale_what_depends_on_its_tables_alone() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager(&folder.path().join("a.db"));
    hits(&manager, ALL);
    assert_eq!(hits(&manager, ALL), [true; 5]);
    manager.execute("INSERT INTO a VALUES (1)").wait().unwrap();
    assert_eq!(hits(&manager, ALL), [false, true, true, true, false], "and the view of it");
    manager.write(|tx| Ok(tx.execute("INSERT INTO c VALUES (1)", [])?)).wait().unwrap();
    assert_eq!(hits(&manager, ALL), [true, true, false, false, true], "and what its trigger writes");
    let returned: i64 = manager.query("INSERT INTO b VALUES (1) RETURNING v").one().wait().unwrap();
    assert_eq!((returned, hits(&manager, ALL)), (1, [true, false, true, true, true]));
    manager.write(|tx| Ok(tx.raw().execute("INSERT INTO b VALUES (2)", [])?)).wait().unwrap();
    assert_eq!(hits(&manager, ALL), [false; 5], "nobody knows what else was written");
}

#[test]
fn a_write_that_is_undone_makes_nothing_stale() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager(&folder.path().join("a.db"));
    manager.execute("INSERT INTO a VALUES (1)").wait().unwrap();
    hits(&manager, ALL);
    manager.execute("INSERT INTO a VALUES (1)").wait().unwrap_err();
    let failed = manager.write(|tx| {
        tx.execute("DELETE FROM b", [])?;
        Err::<(), _>(Failure::msg("no"))
    });
    failed.wait().unwrap_err();
    assert_eq!(hits(&manager, ALL), [true; 5]);
}

#[test]
fn of_those_who_share_a_transaction_only_the_committed_make_anything_stale() {
    let folder = tempfile::tempdir().unwrap();
    let manager = &manager(&folder.path().join("a.db"));
    manager.execute("INSERT INTO b VALUES (1)").wait().unwrap();
    hits(manager, ALL);
    let position = || manager.status().groups[0].databases[0].position.commit;
    let before = position();
    thread::scope(|scope| {
        let (release, held) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        // Writes nothing, and holds the writer until the others wait.
        scope.spawn(move || {
            manager
                .write(|_| {
                    begun.send(()).unwrap();
                    held.recv().unwrap();
                    Ok(())
                })
                .wait()
                .unwrap();
        });
        begins.recv().unwrap();
        // One after the other: whose job others can run comes first, since a closure would run alone after a short turn.
        let waits = |number: u32| {
            while manager.status().groups[0].databases[0].writer.as_ref().unwrap().waiting < number {
                thread::yield_now();
            }
        };
        scope.spawn(|| manager.execute("INSERT INTO b VALUES (1)").wait().unwrap_err());
        waits(1);
        scope.spawn(|| {
            let failed = manager.write(|tx| {
                tx.execute("INSERT INTO c VALUES (1)", [])?;
                Err::<(), _>(Failure::msg("no"))
            });
            failed.wait().unwrap_err();
        });
        waits(2);
        scope.spawn(|| manager.execute("INSERT INTO a VALUES (1)").wait().unwrap());
        waits(3);
        scope.spawn(|| manager.write(|tx| Ok(tx.execute("INSERT INTO a VALUES (2)", [])?)).wait().unwrap());
        waits(4);
        release.send(()).unwrap();
    });
    assert_eq!(position(), before + 2, "one alone, and one of all others");
    assert_eq!(hits(manager, ALL), [false, true, true, true, false]);
    assert_eq!(count(manager, "a"), 2);
}
