//! How databases are checked, what that does to those who call, and how one that heals comes back.

#[path = "support/lines.rs"]
mod lines;

use ecm::{
    ConnectionManager, Database, Kind, ManagerConfig, PoolConfig,
    core::{
        FaultKind, Interest,
        testing::{Fake, TestClock},
    },
};
use lines::Lines;
use std::{
    thread,
    time::{Duration, Instant},
};

const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(30);

struct Bench {
    fakes: [Fake; 2],
    clock: TestClock,
    told: Lines,
    manager: ConnectionManager<Fake>,
}

impl Bench {
    /// A primary and a copy, of which reads prefer the primary; nothing is repeated.
    fn new() -> Self {
        let (fakes, clock, told) = ([Fake::new(), Fake::new()], TestClock::new(), Lines::about(Interest::HEALTH));
        let pool = PoolConfig { health_check_interval: INTERVAL, max_retries: 0, ..PoolConfig::untended() };
        let database = |index: usize| {
            let database = Database::new(["main", "copy"][index], fakes[index].clone());
            database.read_only(index > 0).priority(-(index as i32)).pool(pool.clone())
        };
        let config =
            ManagerConfig { enable_load_balancing: false, enable_query_cache: false, ..ManagerConfig::default() };
        let config = ManagerConfig { enable_metrics: false, ..config };
        let builder = ConnectionManager::<Fake>::builder_for().configure(&config).clock(clock.clone());
        let builder = builder.database(database(0)).database(database(1)).observer(told.clone());
        #[cfg(feature = "breaker")]
        let builder = builder.breaker(|_| ecm::breaker::ConsecutiveFailures::new(1));
        let manager = builder.build().unwrap();
        clock.wait_for_alarms(2);
        Self { fakes, clock, told, manager }
    }

    fn checks(&self) -> [u64; 2] {
        [0, 1].map(|index| self.manager.health()[index].1.checks)
    }

    fn ready(&self) -> [bool; 2] {
        [0, 1].map(|index| self.manager.health()[index].1.ready)
    }

    /// Moves the clock on, and waits until each database was checked so many times.
    #[track_caller]
    fn advance(&self, by: Duration, checks: [u64; 2]) {
        self.clock.advance(by);
        self.until(|bench| bench.checks() == checks);
    }

    #[track_caller]
    fn until(&self, holds: impl Fn(&Self) -> bool) {
        let patience = Instant::now() + 30 * SECOND;
        while !holds(self) {
            assert!(Instant::now() < patience, "{:?}", self.manager.health());
            thread::yield_now();
        }
    }

    /// Which database answers a read.
    #[track_caller]
    fn reads_from(&self) -> &'static str {
        let calls = || [0, 1].map(|index| self.manager.status().groups[0].databases[index].calls);
        let before = calls();
        self.manager.read(|db| Ok(db.get("a")?)).wait().unwrap();
        // One that has failed has answered, too.
        if calls()[1] > before[1] { "copy" } else { "main" }
    }
}

#[test]
fn databases_are_checked_at_the_interval_on_connections_of_their_own() {
    let bench = Bench::new();
    bench.advance(INTERVAL - Duration::from_nanos(1), [0, 0]);
    bench.advance(Duration::from_nanos(1), [1, 1]);
    bench.advance(INTERVAL, [2, 2]);
    let counts = bench.fakes[1].counts();
    assert_eq!((counts.connects, counts.closes, counts.pings), (3, 2, 2), "one connection is the pool's");
    assert_eq!((bench.ready(), bench.told.take()), ([true; 2], vec![]));
    bench.manager.close(Duration::ZERO).unwrap();
    assert_eq!(bench.clock.alarms(), 0, "no checks of what is closed");
}

#[test]
fn one_that_fails_its_checks_is_read_only_in_need_and_is_checked_more_often() {
    let bench = Bench::new();
    assert_eq!(bench.reads_from(), "main");
    bench.fakes[0].fail_connects(FaultKind::Storage, 3);
    bench.advance(INTERVAL, [1, 1]);
    assert_eq!((bench.ready(), bench.reads_from()), ([false, true], "copy"));
    let health = bench.manager.status().database("main").unwrap().health.clone();
    assert!(health.failure.unwrap().contains("the storage failed") && !health.damaged);

    // In need it serves all the same.
    bench.manager.unregister("copy").unwrap();
    bench.manager.read(|db| Ok(db.get("a")?)).wait().unwrap();
    let checks = |bench: &Bench| bench.manager.health()[0].1.checks;
    for (pause, number) in [(1, 2), (2, 3), (4, 4)] {
        bench.clock.advance(pause * SECOND - Duration::from_nanos(1));
        assert_eq!(checks(&bench), number - 1);
        bench.clock.advance(Duration::from_nanos(1));
        bench.until(|bench| checks(bench) == number);
    }
    assert!(bench.manager.health()[0].1.ready, "the fourth one has passed");
    let told = bench.told.take();
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn a_check_that_does_not_come_back_counts_as_failed_and_holds_up_no_other() {
    let bench = Bench::new();
    let held = bench.fakes[0].hold_pings();
    bench.clock.advance(INTERVAL);
    bench.fakes[0].wait_for_hanging(1);
    bench.until(|bench| bench.checks() == [0, 1]);
    assert_eq!(bench.ready(), [true, true]);
    bench.clock.wait_for_alarms(2);
    bench.clock.advance(5 * SECOND);
    bench.until(|bench| bench.ready() == [false, true]);
    bench.until(|bench| bench.reads_from() == "copy");
    drop(held);
    bench.until(|bench| bench.checks() == [1, 1]);
    assert_eq!(bench.ready(), [true, true]);
    assert_eq!(bench.reads_from(), "main");
}

#[cfg(feature = "breaker")]
#[test]
fn one_that_heals_carries_traffic_as_soon_as_a_check_has_passed() {
    use ecm::core::BreakerState;
    let bench = Bench::new();
    let states = || {
        let status = bench.manager.status();
        let database = status.database("main").unwrap();
        (database.breaker, database.write_breaker.unwrap())
    };
    bench.fakes[0].fail_pings(FaultKind::Storage, 1);
    bench.fakes[0].fail_statements(FaultKind::Storage, 2);
    assert_eq!(bench.reads_from(), "copy");
    bench.manager.write(|tx| Ok(tx.set("a", 1)?)).wait().unwrap_err();
    assert_eq!(states(), (BreakerState::Open, BreakerState::Open));
    // Its breakers would stay open for half a minute at least, and it is checked after a second.
    bench.advance(SECOND, [1, 0]);
    assert_eq!((bench.ready(), states().0), ([false, true], BreakerState::Open));
    bench.advance(SECOND, [2, 0]);
    assert_eq!((bench.ready(), states()), ([true, true], (BreakerState::HalfOpen, BreakerState::HalfOpen)));
    (0..3).for_each(|_| assert_eq!(bench.reads_from(), "main"));
    bench.manager.write(|tx| Ok(tx.set("a", 1)?)).wait().unwrap();
    assert_eq!(states().0, BreakerState::Closed);
}

#[test]
fn damage_that_a_thorough_check_confirms_takes_a_database_out_of_use_until_somebody_takes_it_back() {
    let bench = Bench::new();
    // A call has met damage, and the check has not: it was the connection, or has been mended.
    bench.fakes[0].fail_statements(FaultKind::Corrupt, 1);
    assert_eq!(bench.reads_from(), "copy");
    bench.until(|bench| bench.checks() == [1, 0]);
    assert_eq!(bench.ready(), [true, true]);

    bench.fakes[0].fail_statements(FaultKind::Corrupt, 1);
    bench.fakes[0].fail_pings(FaultKind::Corrupt, 1);
    bench.manager.reinstate("main").unwrap();
    assert_eq!(bench.reads_from(), "copy");
    bench.clock.advance(2 * SECOND);
    bench.until(|bench| bench.manager.health()[0].1.damaged);
    // For good, whatever later checks say, for reads and for writes, and in need too.
    bench.until(|bench| bench.checks()[0] >= 2);
    bench.clock.advance(INTERVAL);
    bench.until(|bench| bench.checks()[0] >= 3);
    assert_eq!((bench.ready(), bench.reads_from()), ([false, true], "copy"));
    let error = bench.manager.write(|tx| Ok(tx.set("a", 1)?)).wait().unwrap_err();
    assert!(error.kind() == Kind::Unavailable && error.to_string().contains("reinstate(\"main\")"), "{error}");
    let error = bench.manager.database("main").unwrap().read(|db| Ok(db.get("a")?)).wait().unwrap_err();
    assert_eq!((error.kind(), error.database()), (Kind::Unavailable, Some("main")));

    bench.manager.reinstate("main").unwrap();
    assert_eq!((bench.ready(), bench.reads_from()), ([true, true], "main"));
    bench.manager.write(|tx| Ok(tx.set("a", 1)?)).wait().unwrap();
    assert_eq!(bench.manager.reinstate("nobody").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(bench.told.take().len(), 2, "out of use, and back");
}
