//! Files that are deleted, damaged and mended while a manager has them open.
#![cfg(feature = "sqlite")]

use ecm::{
    ConnectionManager, Database, Kind, ManagerConfig, PoolConfig,
    core::{Concern, Health, testing::TestClock},
    sqlite::Sqlite,
};
use std::{
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::Path,
    thread,
    time::{Duration, Instant},
};

const INTERVAL: Duration = Duration::from_secs(30);

struct Bench {
    clock: TestClock,
    manager: ConnectionManager,
}

impl Bench {
    /// A primary, and a copy that was made while nobody had it open; all checks are thorough.
    fn new(folder: &Path) -> Self {
        let paths = ["main.db", "copy.db"].map(|name| folder.join(name));
        let maker =
            ConnectionManager::builder().database(Database::new("main", Sqlite::open(&paths[0]))).build().unwrap();
        let fill = "CREATE TABLE t (id INTEGER PRIMARY KEY, v);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
            INSERT INTO t SELECT i, zeroblob(1000) FROM n";
        maker.write(|tx| Ok(tx.execute_batch(fill)?)).wait().unwrap();
        maker.close(Duration::from_secs(9)).unwrap();
        drop(maker);
        fs::copy(&paths[0], &paths[1]).unwrap();
        fs::copy(&paths[0], folder.join("kept.db")).unwrap();

        let clock = TestClock::new();
        let pool = PoolConfig {
            health_check_interval: INTERVAL,
            integrity_check_interval: INTERVAL,
            ..PoolConfig::untended()
        };
        let copy = Database::new("copy", Sqlite::open(&paths[1])).read_only(true).priority(1).pool(pool.clone());
        let config = ManagerConfig {
            enable_load_balancing: false,
            enable_query_cache: false,
            enable_metrics: false,
            ..ManagerConfig::default()
        };
        let builder = ConnectionManager::builder().configure(&config).clock(clock.clone());
        let main = Database::new("main", Sqlite::open(&paths[0])).pool(pool);
        let manager = builder.database(main).database(copy).build().unwrap();
        Self { clock, manager }
    }

    fn copy(&self) -> Health {
        self.manager.status().database("copy").unwrap().health.clone()
    }

    /// Moves the clock on, and waits until the copy was checked.
    #[track_caller]
    fn check(&self, after: Duration) -> Health {
        let before = self.copy().checks;
        self.clock.advance(after);
        let patience = Instant::now() + Duration::from_secs(30);
        while self.copy().checks == before {
            assert!(Instant::now() < patience, "{:?}", self.copy());
            thread::yield_now();
        }
        self.copy()
    }

    /// Reads all; answers who has answered.
    fn reads_from(&self) -> String {
        let sum = self.manager.query("SELECT sum(length(v)) FROM t").one::<i64>().answer().unwrap();
        assert_eq!(sum.value, 500_000);
        match sum.source {
            ecm::Source::Database(name) => name.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_file_that_is_gone_is_noticed_without_a_call_and_is_used_again_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let path = folder.path().join("copy.db");
    assert!(bench.check(INTERVAL).ready);
    assert_eq!(bench.reads_from(), "copy");
    fs::rename(&path, folder.path().join("elsewhere.db")).unwrap();
    let health = bench.check(INTERVAL);
    assert!(!health.ready && health.failure.as_ref().unwrap().contains("copy.db"), "{health:?}");
    assert_eq!(bench.reads_from(), "main");
    fs::rename(folder.path().join("elsewhere.db"), &path).unwrap();
    let health = bench.check(Duration::from_secs(1));
    assert!(health.ready && health.failure.is_none(), "{health:?}");
    assert_eq!(bench.reads_from(), "copy");
}

#[test]
fn damage_that_no_call_has_met_is_found_and_the_file_stays_out_of_use_until_it_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let path = folder.path().join("copy.db");
    assert!(bench.check(INTERVAL).ready);
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    let middle = file.metadata().unwrap().len() / 2 / 4096 * 4096;
    file.seek(SeekFrom::Start(middle)).unwrap();
    file.write_all(&[0xff; 8192]).unwrap();
    drop(file);
    let health = bench.check(INTERVAL);
    assert!(!health.ready && health.damaged, "{health:?}");
    let tells = |concern: &Concern| matches!(concern, Concern::Damaged { what } if !what.is_empty());
    assert!(health.failure.is_some() || health.concerns.iter().any(tells), "{health:?}");
    assert_eq!(bench.reads_from(), "main");
    let error = bench.manager.database("copy").unwrap().query("SELECT 1").one::<i64>().wait().unwrap_err();
    assert_eq!((error.kind(), error.database()), (Kind::Unavailable, Some("copy")), "{error}");

    // Mended: another file, as after a restore. It is found well, and not used by itself.
    fs::rename(folder.path().join("kept.db"), &path).unwrap();
    let health = bench.check(INTERVAL);
    assert!(!health.ready && health.damaged && health.failure.is_none(), "{health:?}");
    assert_eq!(bench.reads_from(), "main");
    bench.manager.reinstate("copy").unwrap();
    assert_eq!(bench.reads_from(), "copy");
}
