//! What happens to the connections of a manager over SQLite while it runs.
#![cfg(feature = "sqlite")]

#[path = "support/lines.rs"]
mod lines;

use ecm::{
    ConnectionManager, Database, Kind, PoolConfig, PoolStrategy, Stage,
    core::{Interest, PoolStatus, testing::TestClock},
    sqlite::{Sqlite, rusqlite},
};
use lines::Lines;
use std::{
    path::Path,
    sync::{
        Barrier,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    manager: ConnectionManager,
    clock: TestClock,
    told: Lines,
}

impl Bench {
    fn new(path: &Path, pool: PoolConfig) -> Self {
        let (clock, told) = (TestClock::new(), Lines::about(Interest::CONNECTIONS));
        let database = Database::new("main", Sqlite::open(path)).pool(pool);
        let builder = ConnectionManager::builder().database(database).clock(clock.clone()).observer(told.clone());
        let manager = builder.build().unwrap();
        let schema = "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3)";
        manager.write(|tx| Ok(tx.execute_batch(schema)?)).wait().unwrap();
        Self { manager, clock, told }
    }

    fn rows(&self) -> i64 {
        self.manager.read(count).wait().unwrap()
    }

    /// Lends two readers at once.
    fn rows_on_two(&self) -> i64 {
        self.manager.read(|_| Ok(self.rows())).wait().unwrap()
    }

    fn readers(&self) -> PoolStatus {
        self.manager.status().database("main").unwrap().readers
    }
}

fn count(db: &ecm::sqlite::Db) -> Result<i64, ecm::Failure> {
    Ok(db.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?)
}

/// Tries again and again: what is awaited happens on the pool's thread, which tells nobody.
fn wait_until(is_so: impl Fn() -> bool) {
    while !is_so() {
        thread::yield_now();
    }
}

#[test]
fn two_thousand_calls_of_forty_threads_on_four_readers_are_all_answered() {
    const CALLS: u32 = 2_000;
    const THREADS: u32 = 40;
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(&folder.path().join("a.db"), PoolConfig { max_connections: 4, ..PoolConfig::untended() });
    let (answered, begin) = (AtomicU32::new(0), Barrier::new(THREADS as usize));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (bench, answered, begin) = (&bench, &answered, &begin);
            scope.spawn(move || {
                begin.wait();
                for _ in 0..CALLS / THREADS {
                    assert_eq!(bench.rows(), 3);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let readers = bench.readers();
    assert_eq!((answered.into_inner(), readers.loans, readers.timeouts), (CALLS, u64::from(CALLS), 0));
    assert!(readers.opened <= 4 && readers.idle == readers.open && readers.waiting == 0, "{readers:?}");
}

#[test]
fn an_old_reader_goes_after_its_successor_has_come_and_nobody_notices() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(
        &folder.path().join("a.db"),
        PoolConfig {
            min_connections: 1,
            max_connections: 4,
            initial_connections: 1,
            strategy: PoolStrategy::Fixed,
            connection_warming: true,
            max_lifetime: 100 * SECOND,
            ..PoolConfig::untended()
        },
    );
    assert_eq!(bench.rows(), 3);
    bench.clock.advance(SECOND);
    for generation in 2..5 {
        bench.clock.advance(100 * SECOND);
        wait_until(|| bench.readers().closed == generation - 1);
        assert_eq!(bench.rows(), 3);
        let readers = bench.readers();
        assert_eq!((readers.opened, readers.open, readers.idle), (generation, 1, 1));
    }
    let old = bench.told.take().iter().filter(|line| line.ends_with("it has reached its lifetime")).count();
    assert!(old >= 3, "{old}");
}

#[test]
fn a_loan_that_is_forgotten_is_reported_with_its_place_in_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let config = PoolConfig { leak_threshold: 10 * SECOND, ..PoolConfig::untended() };
    let bench = Bench::new(&folder.path().join("a.db"), config);
    bench.told.take();
    let forgotten = bench.manager.connection().wait().unwrap();
    let from = format!("line: {}", line!() - 1);
    bench.clock.advance(20 * SECOND);
    let mut story = Vec::new();
    while story.is_empty() {
        story.extend(bench.told.take().into_iter().filter(|line| line.starts_with("Overdue")));
        thread::yield_now();
    }
    assert!(story[0].contains("tests/pools.rs") && story[0].contains(&from), "{story:?}");
    drop(forgotten);
}

#[test]
fn a_file_that_is_gone_fails_openings_by_name_and_holds_no_place() {
    let folder = tempfile::tempdir().unwrap();
    let (path, aside) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let bench = Bench::new(&path, PoolConfig { max_connections: 2, ..PoolConfig::untended() });
    assert_eq!(bench.rows(), 3);
    let manager = &bench.manager;
    std::fs::rename(&path, &aside).unwrap();
    let nested = manager.read(|db| {
        assert_eq!(count(db)?, 3, "what is open goes on");
        for _ in 0..10 {
            let error = manager.read(count).wait().unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(error.to_string().contains("a.db\" does not exist"), "{error}");
        }
        Ok(())
    });
    nested.wait().unwrap();
    let readers = bench.readers();
    assert_eq!((readers.open, readers.idle, readers.opening, readers.failures), (1, 1, 0, 10));
    std::fs::rename(&aside, &path).unwrap();
    assert_eq!(bench.rows_on_two(), 3);
    assert_eq!(bench.readers().open, 2);
}

#[test]
fn a_reader_that_is_stopped_three_times_in_a_row_is_lent_last() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(&folder.path().join("a.db"), PoolConfig { max_connections: 2, ..PoolConfig::untended() });
    let manager = &bench.manager;
    assert_eq!(bench.rows_on_two(), 3);
    assert_eq!(bench.readers().idle, 2);
    bench.told.take();
    for _ in 0..3 {
        let stopped = manager.read(|db| {
            bench.clock.advance(2 * SECOND);
            let sum = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
            Ok(db.query_row(sum, [], |row| row.get::<_, i64>(0))?)
        });
        let error = stopped.within(SECOND).wait().unwrap_err();
        assert_eq!(error.kind(), Kind::Timeout(Stage::Run));
    }
    assert_eq!(bench.readers().demoted, 1);
    let story = bench.told.take();
    assert!(
        story.iter().any(|line| line.starts_with("Demoted") && line.contains("failed one after the other")),
        "{story:?}"
    );
}

#[test]
fn what_a_borrower_leaves_behind_reaches_nobody_and_costs_no_place() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(&folder.path().join("a.db"), PoolConfig { max_connections: 1, ..PoolConfig::untended() });
    let mut borrowed = bench.manager.connection().wait().unwrap();
    let driver: &mut rusqlite::Connection = borrowed.raw();
    driver.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA busy_timeout = 1; BEGIN; DELETE FROM t").unwrap();
    drop(borrowed);
    let keys = |tx: &ecm::sqlite::Tx| Ok(tx.query_row("PRAGMA foreign_keys", [], |row| row.get::<_, bool>(0))?);
    assert!(bench.manager.write(keys).wait().unwrap());
    assert_eq!(bench.rows(), 3);
    let status = bench.manager.status();
    let (readers, writer) = (bench.readers(), status.database("main").unwrap().writer.unwrap());
    assert_eq!((readers.lent, writer.lent, writer.open), (0, 0, 1));
}

#[test]
fn the_status_counts_the_calls_that_are_under_way_with_and_without_another_database() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(&folder.path().join("a.db"), PoolConfig::default());
    let Bench { manager, .. } = &bench;
    let pending = |name: &str| manager.status().database(name).unwrap().pending;
    let inside = || manager.read(|_| Ok(manager.write(|_| Ok(pending("main"))).wait()?)).wait().unwrap();
    assert_eq!((inside(), pending("main")), (2, 0));
    let other = Database::new("other", Sqlite::open(folder.path().join("a.db"))).read_only(true);
    manager.register(other).unwrap();
    let on = |name: &'static str| {
        let one = manager.database(name).unwrap();
        one.read(|_| Ok((pending("main"), pending("other")))).wait().unwrap()
    };
    assert_eq!((on("main"), on("other")), ((1, 0), (0, 1)));
    assert_eq!((pending("main"), pending("other")), (0, 0));
}
