//! The log of a database: who keeps it from being emptied is named, in an event, in the status and by gauges.
#![cfg(feature = "sqlite")]

use ecm::{
    ConnectionManager, Database, PoolConfig,
    core::{Event, Interest, LogStatus, Observer, testing::TestClock},
    sqlite::{Sqlite, SqliteConfig},
};
use std::{
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

const SECOND: Duration = Duration::from_secs(1);

/// What was told of a log: the database, the line of the loan, its age, and the length of the log.
type Pinned = (String, Option<u32>, Duration, u64);

#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<Vec<Pinned>>>);

impl Observer for Told {
    fn interest(&self) -> Interest {
        Interest::LOGS
    }

    fn event(&self, event: &Event<'_>) {
        match event {
            Event::LogPinned { database, location, age, frames } => {
                let line = location.filter(|place| place.file() == file!()).map(|place| place.line());
                self.0.lock().unwrap().push(((*database).into(), line, *age, *frames));
            }
            other => panic!("not asked for: {other:?}"),
        }
    }
}

fn manager(folder: &Path, clock: &TestClock, told: &Told) -> ConnectionManager {
    let config = SqliteConfig { wal_autocheckpoint: 20, ..SqliteConfig::default() };
    let database =
        Database::new("main", Sqlite::open(folder.join("log.db")).config(config)).pool(PoolConfig::untended());
    let builder = ConnectionManager::builder().database(database).clock(clock.clone()).observer(told.clone());
    let manager = builder.build().unwrap();
    manager.write(|tx| Ok(tx.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")?)).wait().unwrap();
    manager
}

fn insert(manager: &ConnectionManager) {
    manager.write(|tx| Ok(tx.execute("INSERT INTO t (v) VALUES (zeroblob(2000))", [])?)).wait().unwrap();
}

fn log(manager: &ConnectionManager) -> LogStatus {
    let status = manager.status();
    status.database("main").unwrap().log.clone().expect("it has a log")
}

/// Tries again and again: what is awaited happens on another thread.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_borrower_who_pins_the_log_is_named_by_place_and_age() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, told) = (TestClock::new(), Told::default());
    let manager = manager(folder.path(), &clock, &told);
    // Older than anything that could go wrong.
    clock.advance(SECOND);
    let line = line!() + 2;
    manager
        .read(|db| {
            let rows: i64 = db.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?;
            assert_eq!(rows, 0);
            clock.advance(SECOND);
            (0..30).for_each(|_| insert(&manager));
            until("it is told who pins the log", || {
                clock.advance(Duration::from_millis(50));
                !told.0.lock().unwrap().is_empty()
            });
            let log = log(&manager);
            let pinned = log.pinned.expect("it is in the status");
            assert_eq!(pinned.location.map(|place| place.line()), Some(line));
            assert!(log.oldest_snapshot >= Some(2 * SECOND) && log.frames > 20, "{:?}", log.oldest_snapshot);
            #[cfg(feature = "metrics")]
            {
                let page = manager.metrics();
                let gauge = |name: &str| {
                    let start = format!("familyos_database_{name}{{manager=\"ecm\",database=\"main\"}} ");
                    let value = page.lines().find_map(|line| line.strip_prefix(&start)).expect(name);
                    value.parse::<f64>().unwrap()
                };
                assert!(gauge("wal_frames") > 20.0 && gauge("oldest_snapshot_seconds") >= 2.0);
                assert!(gauge("wal_backfilled_frames") < gauge("wal_frames"));
            }
            Ok(())
        })
        .wait()
        .unwrap();
    let told = told.0.lock().unwrap().clone();
    let (database, place, age, frames) = &told[0];
    assert_eq!((told.len(), &**database, *place), (1, "main", Some(line)), "{told:?}");
    assert!(*age >= SECOND && *frames > 20, "{told:?}");
    until("the log is emptied once the borrower has gone", || {
        clock.advance(SECOND);
        insert(&manager);
        let log = log(&manager);
        log.frames < 20 && log.pinned.is_none()
    });
}

#[test]
fn a_manager_that_is_closed_leaves_nothing_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager(folder.path(), &TestClock::new(), &Told::default());
    (0..5).for_each(|_| insert(&manager));
    let rows: i64 = manager.query("SELECT count(*) FROM t").one().wait().unwrap();
    assert_eq!(rows, 5);
    assert!(folder.path().join("log.db-wal").exists());
    manager.close(SECOND).unwrap();
    assert!(!folder.path().join("log.db-wal").exists());
}

#[test]
fn what_has_no_log_and_what_is_only_read_shows_none() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let written = manager(folder.path(), &clock, &Told::default());
    let read = Database::new("read", Sqlite::open(folder.path().join("log.db"))).read_only(true);
    let memory = Database::new("memory", Sqlite::memory()).group("memory");
    let others = ConnectionManager::builder().database(read).database(memory).clock(clock).build().unwrap();
    assert_eq!(log(&written).threshold, 20);
    for name in ["read", "memory"] {
        assert_eq!(others.status().database(name).unwrap().log, None, "{name}");
    }
}
