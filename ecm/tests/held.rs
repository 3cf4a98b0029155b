//! Snapshots that readers hold between calls: nobody sees an old state, and nobody waits for one for long.
#![cfg(feature = "sqlite")]

use ecm::{
    ConnectionManager, Database, PoolConfig,
    core::testing::TestClock,
    sqlite::{Sqlite, rusqlite},
};
use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

const TICK: Duration = Duration::from_millis(5);

struct Bench {
    manager: ConnectionManager,
    clock: TestClock,
    /// A connection that knows nothing of the manager, as in another process.
    stranger: rusqlite::Connection,
}

impl Bench {
    fn new(folder: &Path) -> Self {
        let (path, clock) = (folder.join("held.db"), TestClock::new());
        let database = Database::new("main", Sqlite::open(&path)).pool(PoolConfig::untended());
        let manager = ConnectionManager::builder().database(database).clock(clock.clone()).build().unwrap();
        manager.write(|tx| Ok(tx.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY)")?)).wait().unwrap();
        let stranger = rusqlite::Connection::open(path).unwrap();
        stranger.busy_timeout(Duration::ZERO).unwrap();
        Self { manager, clock, stranger }
    }

    fn commit(&self) {
        self.stranger.execute("INSERT INTO t DEFAULT VALUES", []).unwrap();
    }

    fn rows(&self) -> i64 {
        let count = |db: &ecm::sqlite::Db| Ok(db.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?);
        self.manager.read(count).wait().unwrap()
    }

    /// Whether a reader keeps the log from being emptied.
    fn is_held(&self) -> bool {
        self.stranger.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap()
    }

    /// Reads until a snapshot is held: the first visit of the pool allows it, on a thread of its own.
    fn read_until_held(&self) {
        wait_until(|| {
            self.clock.advance(TICK);
            self.commit();
            (0..10).for_each(|_| assert!(self.rows() > 0));
            self.is_held()
        });
    }
}

/// Tries again and again: what is awaited happens on another thread, which tells nobody.
fn wait_until(mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it never happens");
        thread::yield_now();
    }
}

#[test]
fn a_reader_in_use_holds_its_snapshot_and_an_idle_one_lets_go_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    assert!(!bench.is_held(), "nothing is held before somebody looks after it");
    bench.read_until_held();
    assert!(bench.is_held(), "while time stands still it stays held");
    wait_until(|| {
        bench.clock.advance(TICK);
        !bench.is_held()
    });
}

#[test]
fn what_a_stranger_commits_is_read_at_once_although_snapshots_are_held() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    bench.read_until_held();
    for _ in 0..50 {
        let before = bench.rows();
        (0..20).for_each(|_| assert_eq!(bench.rows(), before));
        bench.commit();
        assert_eq!(bench.rows(), before + 1);
    }
}

#[test]
fn a_manager_that_rests_has_no_alarm_set_for_what_it_held() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    bench.read_until_held();
    assert_eq!(bench.clock.alarms(), 1);
    wait_until(|| {
        bench.clock.advance(TICK);
        bench.clock.alarms() == 0
    });
    bench.manager.close(Duration::ZERO).unwrap();
    assert_eq!(bench.clock.alarms(), 0);
}
