//! Writers that share transactions, through a manager, on a disk that fails.
#![cfg(feature = "testing")]

use ecm::{
    ConnectionManager, Database,
    cache::{Quick, QuickConfig},
    core::{Executed, FaultKind, testing::TestClock},
};
use ecm_sqlite::{
    Sqlite, SqliteConfig,
    testing::{FaultyDisk, Harm, Operation, Stored},
};
use std::{path::Path, thread};

/// A manager whose clock stands still, so that no transaction becomes too old to take in another write.
fn writing(path: &Path, disk: &FaultyDisk) -> ConnectionManager {
    let config = SqliteConfig { mmap_size: 0, ..SqliteConfig::default() };
    let database = Database::new("main", Sqlite::open(path).config(config).vfs(disk.name()));
    let manager = ConnectionManager::builder().database(database).clock(TestClock::new()).build().unwrap();
    let schema = "CREATE TABLE t (id INTEGER PRIMARY KEY, v); CREATE TABLE big (v);
        WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 50)
        INSERT INTO big SELECT zeroblob(3000) FROM n";
    manager.write(|tx| Ok(tx.execute_batch(schema)?)).wait().unwrap();
    manager
}

/// Lets four writes that work and this one wait for the same writer, and answers what became of it.
fn among_others<T: Send>(manager: &ConnectionManager, ready: impl FnOnce(), call: impl FnOnce() -> T + Send) -> T {
    let held = manager.connection().wait().unwrap();
    let wait_for = |number: u32| {
        while manager.status().database("main").unwrap().writer.as_ref().unwrap().waiting < number {
            thread::yield_now();
        }
    };
    let works = |id: i64| {
        if id % 2 == 0 {
            manager.execute("INSERT INTO t VALUES (?1, 0)").bind(id).wait().map(drop)
        } else {
            manager.write(move |tx| Ok(tx.execute("INSERT INTO t VALUES (?1, 0)", [id])?)).wait().map(drop)
        }
    };
    thread::scope(|scope| {
        let mut others = Vec::new();
        for id in 0..2_i64 {
            others.push(scope.spawn(move || works(id)));
            wait_for(others.len() as u32);
        }
        let called = scope.spawn(call);
        wait_for(3);
        for id in 2..4_i64 {
            others.push(scope.spawn(move || works(id)));
            wait_for(others.len() as u32 + 1);
        }
        ready();
        drop(held);
        others.into_iter().for_each(|other| other.join().unwrap().unwrap());
        called.join().unwrap()
    })
}

fn ids(manager: &ConnectionManager) -> Vec<i64> {
    manager.query("SELECT id FROM t ORDER BY id").all().wait().unwrap()
}

#[test]
fn an_error_of_the_disk_inside_one_write_is_told_to_it_and_the_others_run_again() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::new());
    let manager = &writing(&folder.path().join("a.db"), &disk);
    let harmed = &disk;
    let error = among_others(
        manager,
        || (),
        || {
            let write = manager.write(|tx| {
                tx.execute("INSERT INTO t VALUES (9, 9)", [])?;
                harmed.harm(Operation::Read, Harm::Error).times(1);
                Ok(tx.execute("UPDATE big SET v = zeroblob(3001)", [])?)
            });
            write.wait().unwrap_err()
        },
    );
    assert_eq!((error.fault().map(|fault| fault.kind), error.executed()), (Some(FaultKind::Storage), Executed::No));
    assert_eq!(ids(manager), [0, 1, 2, 3]);
}

#[test]
fn a_disk_that_is_full_at_the_commit_of_several_is_noticed_by_nobody_once_there_is_room() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::new());
    let manager = &writing(&folder.path().join("a.db"), &disk);
    let full = || {
        disk.harm(Operation::Write, Harm::Full).on(Stored::Log).times(1);
    };
    let written = among_others(manager, full, || manager.execute("INSERT INTO t VALUES (9, 9)").wait());
    assert_eq!(written.unwrap().rows, 1);
    assert_eq!(ids(manager), [0, 1, 2, 3, 9]);
}

#[test]
fn a_commit_of_several_whose_outcome_is_unknown_is_told_to_each_of_them() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::new());
    let manager = &writing(&folder.path().join("a.db"), &disk);
    let held = manager.connection().wait().unwrap();
    thread::scope(|scope| {
        let writes: Vec<_> = (0..3_i64)
            .map(|id| {
                let call = scope.spawn(move || {
                    manager.execute("INSERT INTO t VALUES (?1, 0)").bind(id).synced().wait().unwrap_err()
                });
                while manager.status().database("main").unwrap().writer.as_ref().unwrap().waiting < id as u32 + 1 {
                    thread::yield_now();
                }
                call
            })
            .collect();
        disk.harm(Operation::Sync, Harm::Error).on(Stored::Log).times(2);
        drop(held);
        for write in writes {
            let error = write.join().unwrap();
            let told = (error.fault().map(|fault| fault.kind), error.executed());
            assert_eq!(told, (Some(FaultKind::Storage), Executed::Unknown), "{error}");
        }
    });
    manager.execute("INSERT INTO t VALUES (9, 9)").wait().unwrap();
    assert_eq!(ids(manager), [9], "none of them had become visible");
}

fn count(manager: &ConnectionManager, table: &str) -> i64 {
    manager.query(&format!("SELECT count(*) FROM {table}")).one().wait().unwrap()
}

/// Whether the answers about the tables come from the cache.
fn hits(manager: &ConnectionManager) -> [bool; 2] {
    ["a", "b"].map(|table| {
        let before = manager.status().cache.hits;
        count(manager, table);
        manager.status().cache.hits > before
    })
}

#[test]
fn after_a_sync_that_fails_the_cache_serves_what_the_database_would() {
    let folder = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let sqlite = Sqlite::open(folder.path().join("a.db")).vfs(disk.name());
    let cache = Quick::new(&QuickConfig::default()).unwrap();
    let manager = ConnectionManager::builder().database(Database::new("main", sqlite)).cache(cache).build().unwrap();
    manager.write(|tx| Ok(tx.execute_batch("CREATE TABLE a (v); CREATE TABLE b (v)")?)).wait().unwrap();
    hits(&manager);
    assert_eq!(hits(&manager), [true; 2]);
    disk.harm(Operation::Sync, Harm::Error).on(Stored::Log).times(2);
    let error = manager.execute("INSERT INTO a VALUES (1)").synced().wait().unwrap_err();
    assert_eq!(error.executed(), Executed::Unknown);
    for _ in 0..2 {
        // Nobody sees the commit before a recovery brings it to light, which everybody notices.
        let asked = manager.query("SELECT count(*) FROM a").bypass_cache().one::<i64>().wait().unwrap();
        assert_eq!((count(&manager, "a"), hits(&manager)), (asked, [true; 2]));
    }
    manager.execute("INSERT INTO b VALUES (1)").wait().unwrap();
    assert_eq!(hits(&manager), [false; 2]);
    assert_eq!(hits(&manager), [true; 2]);
    assert_eq!((count(&manager, "a"), count(&manager, "b")), (0, 1));
}
