//! Whom a call reaches, and what happens when that one fails.

#[path = "support/lines.rs"]
mod lines;

use ecm::{
    BuildError, ConnectionManager, Database, Kind, ManagerConfig, PoolConfig,
    core::{
        Balancer, Breaker, BreakerState, CallKind, FaultKind, Intent, Interest, Mask, Node, Outcome, Permit, Rejected,
        Sample, Time,
        testing::{Fake, TestClock},
    },
};
use lines::Lines;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// A primary and two replicas, of which none is asked twice by one call; the numbers tell them apart.
fn three() -> ([Fake; 3], ecm::Builder<Fake>) {
    let fakes = [Fake::new(), Fake::new(), Fake::new()];
    let database = |name: &str, index: usize| {
        let database = Database::new(name, fakes[index].clone()).read_only(index > 0).priority(-(index as i32));
        database.pool(PoolConfig { max_retries: 0, health_check_interval: Duration::ZERO, ..PoolConfig::default() })
    };
    let builder = ConnectionManager::<Fake>::builder_for()
        .database(database("primary", 0))
        .database(database("near", 1))
        .database(database("far", 2));
    (fakes, builder)
}

fn calls(manager: &ConnectionManager<Fake>) -> Vec<u64> {
    manager.status().groups[0].databases.iter().map(|database| database.calls).collect()
}

#[test]
fn without_a_balancer_the_highest_priority_serves_and_with_one_all_do() {
    let (_, builder) = three();
    let manager = builder.build().unwrap();
    (0..6).for_each(|_| manager.read(|db| Ok(db.get("a")?)).wait().map(drop).unwrap());
    assert_eq!(calls(&manager), [6, 0, 0]);

    #[cfg(feature = "balancer")]
    {
        let (_, builder) = three();
        let config =
            ManagerConfig { load_balance_strategy: ecm::LoadBalanceStrategy::RoundRobin, ..ManagerConfig::default() };
        let manager = builder.configure(&config).build().unwrap();
        (0..6).for_each(|_| manager.read(|db| Ok(db.get("a")?)).wait().map(drop).unwrap());
        assert_eq!(calls(&manager), [2, 2, 2]);
        manager.apply("enable_load_balancing", "false").unwrap();
        (0..6).for_each(|_| manager.read(|db| Ok(db.get("a")?)).wait().map(drop).unwrap());
        assert_eq!(calls(&manager), [8, 2, 2]);
    }
}

#[cfg(not(feature = "balancer"))]
#[test]
fn a_configuration_that_asks_for_what_is_not_built_in_is_refused_by_name() {
    let (_, builder) = three();
    let error = builder.configure(&ManagerConfig::default()).build().unwrap_err();
    assert!(
        matches!(error, BuildError::FeatureOff { field: "enable_load_balancing", feature: "balancer", .. }),
        "{error}"
    );
    let manager = three().1.build().unwrap();
    let error = manager.apply("enable_load_balancing", "true").unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
}

#[test]
fn a_read_whose_database_fails_goes_to_the_next_one_and_a_write_does_not() {
    let (fakes, builder) = three();
    let config = ManagerConfig { enable_load_balancing: false, ..ManagerConfig::default() };
    let manager = builder.configure(&config).build().unwrap();
    fakes[0].fail_statements(FaultKind::Storage, 1);
    fakes[1].fail_statements(FaultKind::Corrupt, 1);
    let mut runs = 0;
    manager
        .read(|db| {
            runs += 1;
            Ok(db.get("a")?)
        })
        .wait()
        .unwrap();
    assert_eq!(runs, 3);
    let status = manager.status();
    let failures: Vec<_> = status.groups[0].databases.iter().map(|database| database.failures).collect();
    assert_eq!(failures, [1, 1, 0]);

    fakes[0].fail_statements(FaultKind::Storage, 1);
    let error = manager.write(|tx| Ok(tx.set("a", 1)?)).wait().unwrap_err();
    assert_eq!((error.fault().map(|fault| fault.kind), error.database()), (Some(FaultKind::Storage), Some("primary")));
    fakes[0].fail_statements(FaultKind::Storage, 1);
    assert!(manager.read_once(|db| Ok(db.get("a")?)).wait().is_err(), "once is once");
}

#[test]
fn a_connection_on_which_its_database_failed_is_closed_and_one_whose_borrower_erred_is_not() {
    let (fakes, builder) = three();
    let manager = builder.build().unwrap();
    let closes = || fakes[0].counts().closes;
    manager.read(|db| Ok(db.get("a")?)).wait().unwrap();
    let before = closes();
    fakes[0].fail_statements(FaultKind::Constraint, 1);
    manager.read(|db| Ok(db.get("a")?)).wait().unwrap_err();
    assert_eq!(closes(), before);
    fakes[0].fail_statements(FaultKind::Corrupt, 1);
    manager.read(|db| Ok(db.get("a")?)).wait().unwrap_err();
    assert_eq!(closes(), before + 1);
    manager.read(|db| Ok(db.get("a")?)).wait().unwrap();
    assert_eq!(closes(), before + 1, "its successor is sound");
}

#[cfg(feature = "breaker")]
#[test]
fn a_database_that_goes_on_failing_is_left_alone_and_tried_again_after_a_while() {
    let (fakes, builder) = three();
    let clock = TestClock::new();
    let config = ManagerConfig { enable_load_balancing: false, enable_metrics: false, ..ManagerConfig::default() };
    let breaker = |_: &_| ecm::breaker::ConsecutiveFailures::new(5);
    let manager = builder.configure(&config).breaker(breaker).clock(clock.clone()).build().unwrap();
    let state = || manager.status().groups[0].databases[0].breaker;
    let read = || manager.read(|db| Ok(db.get("a")?)).wait().map(drop).unwrap();
    fakes[0].fail_statements(FaultKind::Storage, 5);
    for failed in 1..=5 {
        assert_eq!(state(), BreakerState::Closed);
        read();
        assert_eq!((calls(&manager)[0], calls(&manager)[1]), (failed, failed));
    }
    assert_eq!(state(), BreakerState::Open);
    read();
    assert_eq!(calls(&manager)[0], 5, "nobody asks it");
    clock.advance(Duration::from_secs(60));
    (0..3).for_each(|_| read());
    assert_eq!((calls(&manager)[0], state()), (8, BreakerState::Closed));
}

#[test]
fn the_callers_own_mistakes_are_not_tried_elsewhere() {
    let (fakes, builder) = three();
    let config = ManagerConfig { enable_load_balancing: false, ..ManagerConfig::default() };
    let manager = builder.configure(&config).build().unwrap();
    fakes[0].fail_statements(FaultKind::Constraint, 1);
    let error = manager.read(|db| Ok(db.get("a")?)).wait().unwrap_err();
    assert_eq!(error.fault().map(|fault| fault.kind), Some(FaultKind::Constraint));
    assert_eq!(calls(&manager), [1, 0, 0]);
}

#[test]
fn a_call_inside_a_closure_that_fails_counts_against_its_own_database_alone() {
    let (fakes, builder) = three();
    let config = ManagerConfig { enable_load_balancing: false, ..ManagerConfig::default() };
    let manager = builder.configure(&config).build().unwrap();
    let elsewhere = Fake::new();
    let other = ConnectionManager::<Fake>::builder_for().database(Database::new("other", elsewhere.clone()));
    let other = other.build().unwrap();
    elsewhere.fail_statements(FaultKind::Storage, 1);
    let mut runs = 0;
    let outer = manager.read(|db| {
        runs += 1;
        db.get("a")?;
        Ok(other.read(|db| Ok(db.get("a")?)).wait()?)
    });
    let error = outer.wait().unwrap_err();
    assert_eq!((error.database(), error.fault().map(|fault| fault.kind)), (Some("other"), Some(FaultKind::Storage)));
    other.close(Duration::from_secs(5)).unwrap();
    let error = manager.read(|_| Ok(other.read(|db| Ok(db.get("a")?)).wait()?)).wait().unwrap_err();
    assert_eq!(error.kind(), Kind::Closed);
    assert_eq!((runs, calls(&manager)), (1, vec![2, 0, 0]), "nothing is run again elsewhere");
    assert_eq!(manager.status().database("primary").unwrap().failures, 0);
    assert_eq!(fakes[0].counts().statements, 1);
}

#[test]
fn failing_over_ends_at_the_configured_number_and_tells_the_first_reason() {
    let (fakes, builder) = three();
    let config = ManagerConfig { enable_load_balancing: false, max_failover_attempts: 1, ..ManagerConfig::default() };
    let manager = builder.configure(&config).build().unwrap();
    fakes[0].fail_statements(FaultKind::Corrupt, 9);
    fakes[1].fail_statements(FaultKind::Storage, 9);
    let error = manager.read(|db| Ok(db.get("a")?)).wait().unwrap_err();
    assert_eq!((error.database(), error.fault().map(|fault| fault.kind)), (Some("primary"), Some(FaultKind::Corrupt)));
    assert_eq!(calls(&manager), [1, 1, 0]);
}

#[test]
fn a_database_that_cannot_be_opened_is_passed_over() {
    let (fakes, builder) = three();
    let config = ManagerConfig { enable_load_balancing: false, ..ManagerConfig::default() };
    let manager = builder.configure(&config).build().unwrap();
    fakes[0].fail_connects(FaultKind::Storage, 1);
    manager.read(|db| Ok(db.get("a")?)).wait().unwrap();
    assert_eq!(calls(&manager), [1, 1, 0]);
    assert_eq!(manager.status().database("primary").unwrap().failures, 1);
}

#[test]
fn a_write_never_reaches_a_database_that_is_only_read() {
    let (fakes, builder) = three();
    let manager = builder.build().unwrap();
    let far = manager.database("far").unwrap();
    for error in [
        far.write(|tx| Ok(tx.set("a", 1)?)).wait().unwrap_err(),
        far.execute("set a").bind(1).wait().map(drop).unwrap_err(),
        far.query("set a").bind(1).wait().map(drop).unwrap_err(),
        far.connection().wait().map(drop).unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.database()), (Kind::ReadOnly, Some("far")), "{error}");
        assert!(error.to_string().contains("\"primary\""), "{error}");
    }
    assert_eq!(fakes[2].counts().begins, 0);
    assert_eq!(far.read(|db| Ok(db.get("a")?)).wait().unwrap(), None);
    manager.query("set a").bind(1).wait().unwrap();
    assert_eq!(fakes[0].committed("a"), Some(1));
    let alone = ConnectionManager::<Fake>::builder_for()
        .database(Database::new("only", Fake::new()).read_only(true))
        .build()
        .unwrap();
    assert_eq!(alone.execute("set a").bind(1).wait().unwrap_err().kind(), Kind::ReadOnly);
}

#[test]
fn databases_come_and_go_while_running() {
    let seen = Lines::about(Interest::DATABASES);
    let manager = ConnectionManager::<Fake>::builder_for().observer(seen.clone()).build().unwrap();
    let error = manager.read(|db| Ok(db.get("a")?)).wait().unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    let fake = Fake::new();
    manager.register(Database::new("main", fake.clone())).unwrap();
    let error = manager.register(Database::new("main", Fake::new())).unwrap_err();
    assert_eq!(error.kind(), Kind::Exists);
    let error = manager.register(Database::new("second", Fake::new())).unwrap_err();
    assert!(error.kind() == Kind::Exists && error.to_string().contains("primary"), "{error}");
    manager.register(Database::new("logs", Fake::new()).group("logs").tag("cold")).unwrap();
    manager.write(|tx| Ok(tx.set("a", 1)?)).wait().unwrap();
    manager.group("logs").unwrap().write(|tx| Ok(tx.set("a", 2)?)).wait().unwrap();
    assert_eq!(fake.committed("a"), Some(1));

    let handle = manager.database("main").unwrap();
    manager.unregister("main").unwrap();
    assert_eq!(fake.counts().open(), 0, "its connections are closed");
    assert_eq!(handle.read(|db| Ok(db.get("a")?)).wait().unwrap_err().kind(), Kind::NotFound);
    let error = manager.unregister("main").unwrap_err();
    assert!(error.kind() == Kind::NotFound && error.to_string().contains("there is logs"), "{error}");
    assert!(manager.group("nowhere").is_err());
    assert_eq!(seen.take(), ["registered main", "registered logs", "unregistered main"]);
    manager.register(Database::new("main", fake)).unwrap();
    assert_eq!(manager.read(|db| Ok(db.get("a")?)).wait().unwrap(), Some(1));
}

#[test]
fn what_cannot_be_opened_is_refused_and_leaves_nothing() {
    let (good, bad) = (Fake::new(), Fake::new());
    bad.fail_connects(FaultKind::Storage, 1);
    let error = ConnectionManager::<Fake>::builder_for()
        .database(Database::new("good", good.clone()))
        .database(Database::new("bad", bad).group("other"))
        .build()
        .unwrap_err();
    assert!(error.to_string().contains("database \"bad\""), "{error}");
    assert_eq!(good.counts().open(), 0);
    for (database, field) in [
        (Database::new(" ", Fake::new()), "name"),
        (Database::new("a", Fake::new()).group(""), "group"),
        (Database::new("a", Fake::new()).weight(0), "weight"),
        (
            Database::new("a", Fake::new()).pool(PoolConfig { max_connections: 0, ..PoolConfig::default() }),
            "max_connections",
        ),
    ] {
        let error = ConnectionManager::<Fake>::builder_for().database(database).build().unwrap_err();
        assert!(error.to_string().contains(field), "{error}");
    }
    let config = ManagerConfig { max_failover_attempts: 64, ..ManagerConfig::default() };
    let error = ConnectionManager::<Fake>::builder_for().configure(&config).build().unwrap_err();
    assert!(matches!(&error, BuildError::Invalid(invalid) if invalid.field == "max_failover_attempts"), "{error}");
}

#[test]
fn a_group_has_room_for_sixty_four_databases() {
    let manager = ConnectionManager::<Fake>::builder_for().build().unwrap();
    for index in 0..Mask::CAPACITY {
        manager.register(Database::new(format!("r{index}"), Fake::new()).read_only(true)).unwrap();
    }
    let error = manager.register(Database::new("r64", Fake::new()).read_only(true)).unwrap_err();
    assert!(error.to_string().contains("64 databases at most"), "{error}");
    manager.read(|db| Ok(db.get("a")?)).wait().unwrap();
}

/// Opens after one failure, half-opens a second later.
#[derive(Debug, Default)]
struct OneStrike(Mutex<(u64, Option<Time>)>, Arc<AtomicU32>);

impl Breaker for OneStrike {
    fn admit(&self, now: Time) -> Result<Permit, Rejected> {
        let (epoch, open_until) = *self.0.lock().unwrap();
        match open_until {
            Some(until) if now < until => Err(Rejected { until }),
            open => Ok(Permit { epoch, probe: open.is_some() }),
        }
    }
    fn record(&self, permit: Permit, outcome: Outcome, now: Time) {
        let mut state = self.0.lock().unwrap();
        if permit.epoch != state.0 {
            return;
        }
        match outcome {
            Outcome::Failure { .. } => *state = (state.0 + 1, Some(now + Duration::from_secs(1))),
            Outcome::Success { .. } => state.1 = None,
            _ => {
                self.1.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    fn state(&self) -> BreakerState {
        if self.0.lock().unwrap().1.is_some() { BreakerState::Open } else { BreakerState::Closed }
    }
}

#[test]
fn a_breaker_of_a_third_party_keeps_calls_away_from_a_database_that_fails() {
    let (fakes, builder) = three();
    let (clock, seen, abandoned) = (TestClock::new(), Lines::about(Interest::BREAKERS), Arc::new(AtomicU32::new(0)));
    let config = ManagerConfig { enable_load_balancing: false, ..ManagerConfig::default() };
    let count = Arc::clone(&abandoned);
    let manager = builder
        .configure(&config)
        .breaker(move |_| OneStrike(Mutex::default(), Arc::clone(&count)))
        .clock(clock.clone())
        .observer(seen.clone())
        .build()
        .unwrap();
    fakes[0].fail_statements(FaultKind::Storage, 1);
    manager.read(|db| Ok(db.get("a")?)).wait().unwrap();
    assert_eq!(calls(&manager), [1, 1, 0]);
    manager.read(|db| Ok(db.get("a")?)).wait().unwrap();
    assert_eq!(calls(&manager), [1, 2, 0], "the primary is left alone");
    assert_eq!(manager.status().database("primary").unwrap().breaker, BreakerState::Open);
    manager.write(|tx| Ok(tx.set("a", 1)?)).wait().unwrap();
    fakes[0].fail_statements(FaultKind::Storage, 1);
    let failing = manager.write_once(|tx| Ok(tx.set("a", 1)?));
    failing.wait().unwrap_err();
    let error = manager.write(|tx| Ok(tx.set("a", 1)?)).wait().unwrap_err();
    assert!(error.kind() == Kind::Rejected && error.to_string().contains("1.0s"), "{error}");

    clock.advance(Duration::from_secs(1));
    manager.read(|db| Ok(db.get("a")?)).wait().unwrap();
    assert_eq!(calls(&manager), [4, 2, 0]);
    let expected = ["breaker of primary: Open", "breaker of primary for writes: Open", "breaker of primary: Closed"];
    assert_eq!(seen.take(), expected);
    let before = abandoned.load(Ordering::SeqCst);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _never = manager.read(|_| -> Result<(), _> { panic!("in the closure") }).wait();
    }));
    assert!(panicked.is_err());
    assert_eq!(abandoned.load(Ordering::SeqCst), before + 1, "a permit is given back after a panic");
    assert_eq!(manager.status().database("primary").unwrap().pending, 0);
}

#[test]
fn a_balancer_of_a_third_party_picks_and_learns_and_cannot_pick_the_unfit() {
    #[derive(Debug)]
    struct Last(Arc<Mutex<Vec<(usize, bool)>>>);
    impl Balancer for Last {
        fn pick(&self, nodes: &[Node], fit: Mask, intent: &Intent<'_>) -> Option<usize> {
            assert!(matches!(intent.kind, CallKind::Read));
            assert!(nodes.iter().all(|node| node.load.pending() == 0));
            if fit.contains(2) { Some(2) } else { Some(63) }
        }
        fn settled(&self, _: &[Node], node: usize, sample: &Sample) {
            self.0.lock().unwrap().push((node, sample.failed));
        }
    }
    let (fakes, builder) = three();
    let settled = Arc::new(Mutex::default());
    let log = Arc::clone(&settled);
    let config = ManagerConfig { enable_load_balancing: false, ..ManagerConfig::default() };
    let manager = builder.configure(&config).balancer(move |_| Last(Arc::clone(&log))).build().unwrap();
    manager.read(|db| Ok(db.get("a")?)).wait().unwrap();
    assert_eq!(*settled.lock().unwrap(), [(2, false)]);
    fakes[2].fail_statements(FaultKind::Storage, 1);
    let error = manager.read(|db| Ok(db.get("a")?)).wait().unwrap_err();
    assert_eq!(error.database(), Some("far"), "63 is not fit, so nothing else is tried: {error}");
    assert_eq!(settled.lock().unwrap()[1], (2, true));
}

#[cfg(feature = "standard")]
#[test]
fn the_breaker_of_a_database_acts_as_its_pool_says() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let words = PoolConfig {
        failure_threshold: 2,
        recovery_timeout: Duration::from_secs(600),
        half_open_max_calls: 1,
        ..PoolConfig::untended()
    };
    let database = Database::new("main", fake.clone()).pool(words.clone());
    let builder = ConnectionManager::<Fake>::standard_for().database(database).clock(clock.clone());
    let manager = builder.build().unwrap();
    let read = || manager.read_once(|db| Ok(db.get("a")?)).wait().map_err(|error| error.kind());
    let state = || manager.status().database("main").unwrap().breaker;
    fake.fail_statements(FaultKind::Storage, 2);
    assert!(read().is_err());
    assert_eq!(state(), BreakerState::Closed);
    assert!(read().is_err());
    assert_eq!((state(), read()), (BreakerState::Open, Err(Kind::Rejected)));
    clock.advance(words.recovery_timeout / 2 - Duration::from_secs(1));
    assert_eq!(read(), Err(Kind::Rejected), "at least half of the time");
    clock.advance(words.recovery_timeout / 2 + Duration::from_secs(1));
    assert_eq!((read(), state()), (Ok(None), BreakerState::Closed), "one trial is enough");

    let wrong = PoolConfig { failure_threshold: 0, ..PoolConfig::default() };
    let refused = ConnectionManager::<Fake>::standard_for().database(Database::new("main", fake).pool(wrong)).build();
    assert!(refused.unwrap_err().to_string().contains("failure_threshold = 0"));
}
