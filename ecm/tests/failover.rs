//! A database dies and heals while many read.
#![cfg(feature = "standard")]

use ecm::{
    ConnectionManager, Database, ManagerConfig, PoolConfig,
    core::{BreakerState, CallReport, Event, FaultKind, Interest, Observer, testing::Fake},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const CALLERS: usize = 16;

/// Counts calls by how many attempts they have taken.
#[derive(Clone, Debug, Default)]
struct Attempts(Arc<[AtomicU64; 4]>);

impl Observer for Attempts {
    fn interest(&self) -> Interest {
        Interest::CALLS
    }

    fn event(&self, event: &Event<'_>) {
        if let Event::Call(CallReport { attempts, .. }) = event {
            self.0[(*attempts as usize).min(3)].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Says that it is over, also where an assertion fails: callers would go on for ever.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < patience, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_replica_that_dies_under_load_costs_no_read_and_carries_some_again_once_a_check_has_passed() {
    let fakes = [Fake::new(), Fake::new(), Fake::new()];
    let attempts = Attempts::default();
    let pool = PoolConfig { health_check_interval: Duration::from_millis(10), ..PoolConfig::untended() };
    let strategy = ecm::LoadBalanceStrategy::RoundRobin;
    let config =
        ManagerConfig { load_balance_strategy: strategy, enable_query_cache: false, ..ManagerConfig::default() };
    let database = |index: usize| {
        let database = Database::new(["main", "near", "far"][index], fakes[index].clone());
        database.read_only(index > 0).pool(pool.clone())
    };
    let builder = ConnectionManager::<Fake>::standard_for().configure(&config).observer(attempts.clone());
    let manager = builder.database(database(0)).database(database(1)).database(database(2)).build().unwrap();
    let near = || manager.status().database("near").unwrap().clone();
    let (over, failed) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        let _over = Over(&over);
        for _ in 0..CALLERS {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let read = manager.read(|db| Ok(db.get("a")?)).wait();
                    failed.fetch_add(u32::from(read.is_err()), Ordering::Relaxed);
                }
            });
        }
        until("everybody reads", || near().calls > 1_000);
        // Whatever it is asked: by calls, and then by checks.
        fakes[1].fail_statements(FaultKind::Storage, u32::MAX);
        until("calls have met it", || near().failures > 0);
        fakes[1].fail_pings(FaultKind::Storage, u32::MAX);
        until("a check has met it", || !near().health.ready);
        let dead = near();
        until("it has been checked meanwhile", || near().health.checks > dead.health.checks + 2);
        let failures = near().failures - dead.failures;
        assert!(failures <= 2 * CALLERS as u64, "one or two for each who was under way: {failures}");
        fakes[1].fail_statements(FaultKind::Storage, 0);
        fakes[1].fail_pings(FaultKind::Storage, 0);
        // Its breaker alone would leave it alone for half a minute at least.
        until("it is used as before", || near().breaker == BreakerState::Closed && near().calls > dead.calls + 1_000);
    });
    let [none, once, twice, more] = [0, 1, 2, 3].map(|number| attempts.0[number].load(Ordering::Relaxed));
    assert_eq!((failed.load(Ordering::Relaxed), none, more), (0, 0, 0), "{once} at once, {twice} at the second");
    assert!(twice > 0 && manager.status().groups[0].retries == twice);
}
