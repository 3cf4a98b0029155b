//! What is done again after a failure, how often, when, and what never is.

use ecm::{
    ConnectionManager, Database, Error, Executed, Kind, ManagerConfig, PoolConfig,
    core::{
        BreakerState, FaultKind,
        testing::{Fake, TestClock},
    },
};
use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

const SECOND: Duration = Duration::from_secs(1);

/// Failover, and nothing that supplies something or sets alarms of its own.
fn config() -> ManagerConfig {
    ManagerConfig {
        enable_load_balancing: false,
        enable_query_cache: false,
        enable_metrics: false,
        ..ManagerConfig::default()
    }
}

fn one(fake: &Fake, clock: &TestClock, config: &ManagerConfig, pool: PoolConfig) -> ConnectionManager<Fake> {
    let database = Database::new("main", fake.clone()).pool(pool);
    ConnectionManager::<Fake>::builder_for().configure(config).database(database).clock(clock.clone()).build().unwrap()
}

fn simple(fake: &Fake, clock: &TestClock) -> ConnectionManager<Fake> {
    one(fake, clock, &config(), PoolConfig::untended())
}

/// Moves the clock on by these spans, each time when the call waits.
fn meanwhile<T: Send>(clock: &TestClock, spans: &[Duration], call: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let calling = scope.spawn(call);
        for &span in spans {
            clock.wait_for_alarms(1);
            clock.advance(span);
        }
        calling.join().unwrap()
    })
}

fn fault(error: &Error) -> Option<FaultKind> {
    error.fault().map(|fault| fault.kind)
}

#[test]
fn a_call_whose_only_database_fails_is_repeated_after_growing_pauses() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = simple(&fake, &clock);
    let runs = AtomicU32::new(0);
    let read = || {
        let counted = |_: &_| runs.fetch_add(1, Ordering::Relaxed);
        manager.read(|db| Ok((counted(&()), db.get("a")?).1)).wait()
    };
    fake.fail_statements(FaultKind::Storage, 2);
    assert_eq!(meanwhile(&clock, &[SECOND / 2, SECOND], read).unwrap(), None);
    assert_eq!(runs.load(Ordering::Relaxed), 3);
    let status = manager.status();
    assert_eq!((status.groups[0].retries, status.groups[0].retries_refused), (2, 0));

    fake.fail_statements(FaultKind::Lost, 9);
    let error = meanwhile(&clock, &[SECOND / 2, SECOND, 2 * SECOND], read).unwrap_err();
    assert_eq!((fault(&error), runs.load(Ordering::Relaxed)), (Some(FaultKind::Lost), 7), "three retries: {error}");

    fake.fail_statements(FaultKind::Storage, 1);
    let write = || manager.write(|tx| Ok(tx.set("a", 7)?)).wait();
    meanwhile(&clock, &[SECOND / 2], write).unwrap();
    assert_eq!((fake.counts().commits, fake.committed("a")), (1, Some(7)));
}

#[test]
fn no_pause_is_shorter_than_half_of_what_it_may_be() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = simple(&fake, &clock);
    for _ in 0..20 {
        fake.fail_statements(FaultKind::Storage, 1);
        meanwhile(&clock, &[SECOND / 4 - Duration::from_nanos(1), SECOND / 4 + Duration::from_nanos(1)], || {
            manager.read(|db| Ok(db.get("a")?)).wait().unwrap();
        });
    }
}

#[test]
fn what_a_pause_cannot_mend_is_not_repeated() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = simple(&fake, &clock);
    use FaultKind::{Busy, Constraint, Corrupt, Full, Interrupted, Statement};
    for kind in [Busy, Constraint, Corrupt, Full, Interrupted, Statement] {
        fake.fail_statements(kind, 1);
        let error = manager.read(|db| Ok(db.get("a")?)).wait().unwrap_err();
        assert_eq!(fault(&error), Some(kind));
        fake.fail_statements(kind, 1);
        manager.write(|tx| Ok(tx.set("a", 1)?)).wait().unwrap_err();
    }
    fake.fail_statements(FaultKind::Storage, 2);
    manager.read_once(|db| Ok(db.get("a")?)).wait().unwrap_err();
    manager.write_once(|tx| Ok(tx.set("a", 1)?)).wait().unwrap_err();
    assert_eq!((manager.status().groups[0].retries, fake.committed("a")), (0, None));
}

#[test]
fn a_write_that_may_be_there_is_done_again_only_if_that_is_as_good_as_once() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = simple(&fake, &clock);
    fake.lose_commits(1);
    let error = manager.execute("set a").bind(1).wait().unwrap_err();
    assert_eq!((error.executed(), fake.counts().commits), (Executed::Unknown, 1));

    fake.lose_commits(1);
    let again = || manager.execute("set a").bind(2).idempotent().wait();
    meanwhile(&clock, &[SECOND / 2], again).unwrap();
    assert_eq!((fake.counts().commits, fake.committed("a")), (3, Some(2)));
    let write = || manager.write(|tx| Ok(tx.set("a", 3)?)).idempotent().wait();
    fake.lose_commits(1);
    meanwhile(&clock, &[SECOND / 2], write).unwrap();
    assert_eq!(fake.counts().commits, 5);

    // The second attempt has not been executed, but the first one may have been.
    fake.lose_commits(1);
    let runs = AtomicU32::new(0);
    let error = meanwhile(&clock, &[SECOND / 2], || {
        let write = manager.write(|tx| {
            if runs.fetch_add(1, Ordering::Relaxed) == 1 {
                fake.fail_statements(FaultKind::Constraint, 1);
            }
            Ok(tx.set("a", 4)?)
        });
        write.idempotent().wait().unwrap_err()
    });
    assert_eq!((fault(&error), error.executed()), (Some(FaultKind::Constraint), Executed::Unknown), "{error}");
    assert_eq!(fake.committed("a"), Some(4));
}

#[test]
fn no_attempt_begins_after_the_time_of_the_call_or_the_failover_timeout() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = simple(&fake, &clock);
    fake.fail_statements(FaultKind::Storage, 1);
    let read = || manager.read(|db| Ok(db.get("a")?));
    assert_eq!(fault(&read().within(SECOND / 5).wait().unwrap_err()), Some(FaultKind::Storage));
    manager.apply("failover_timeout", "0.2").unwrap();
    fake.fail_statements(FaultKind::Storage, 1);
    read().wait().unwrap_err();
    manager.apply("failover_timeout", "1.2").unwrap();
    fake.fail_statements(FaultKind::Storage, 9);
    meanwhile(&clock, &[SECOND / 2], || read().wait().unwrap_err());
    assert_eq!(manager.status().groups[0].retries, 1, "one second has no room for two");
    manager.apply("enable_failover", "false").unwrap();
    read().wait().unwrap_err();
}

#[test]
fn all_calls_of_a_group_share_one_budget_for_failover_and_retries() {
    let (fakes, clock) = ([Fake::new(), Fake::new()], TestClock::new());
    let pool = PoolConfig { max_retries: 1, retry_delay: Duration::ZERO, ..PoolConfig::untended() };
    let database = |index: usize| {
        let database = Database::new(["main", "copy"][index], fakes[index].clone());
        database.read_only(index > 0).priority(-(index as i32)).pool(pool.clone())
    };
    let builder = ConnectionManager::<Fake>::builder_for().configure(&config()).clock(clock.clone());
    let manager = builder.database(database(0)).database(database(1)).build().unwrap();
    let read = || manager.read(|db| Ok(db.get("a")?)).wait();
    let retries = || (manager.status().groups[0].retries, manager.status().groups[0].retries_refused);
    fakes.iter().for_each(|fake| fake.fail_statements(FaultKind::Storage, 10_000));
    // To the other one, after a pause to the first again, and to the other again.
    (0..30).for_each(|_| drop(read().unwrap_err()));
    assert_eq!(retries(), (90, 0));
    fakes[1].fail_statements(FaultKind::Storage, 0);
    (0..10).for_each(|_| assert_eq!(read().unwrap(), None));
    assert_eq!(retries(), (100, 0));
    // Those ten have succeeded, which is worth two more.
    (0..2).for_each(|_| assert_eq!(read().unwrap(), None));
    assert_eq!(fault(&read().unwrap_err()), Some(FaultKind::Storage));
    assert_eq!(retries(), (102, 1));
    clock.advance(SECOND);
    (0..10).for_each(|_| assert_eq!(read().unwrap(), None));
    fakes[0].fail_statements(FaultKind::Storage, 0);
    assert_eq!(read().unwrap(), None);
    assert_eq!(retries(), (112, 1));
}

#[cfg(feature = "breaker")]
fn broken(fake: &Fake, clock: &TestClock, most: u32) -> ConnectionManager<Fake> {
    let config = ManagerConfig { max_waiting_writes: most, ..config() };
    let breaker = ecm::breaker::ConsecutiveFailuresConfig {
        failure_threshold: 1,
        recovery_timeout: 2 * SECOND,
        half_open_max_calls: 1,
        success_threshold: 1,
        ..ecm::breaker::ConsecutiveFailuresConfig::default()
    };
    let database = Database::new("main", fake.clone()).pool(PoolConfig::untended());
    let builder = ConnectionManager::<Fake>::builder_for().configure(&config).database(database).clock(clock.clone());
    let manager =
        builder.breaker(move |_| ecm::breaker::ConsecutiveFailures::with_config(&breaker).unwrap()).build().unwrap();
    fake.fail_statements(FaultKind::Full, 1);
    let error = manager.write(|tx| Ok(tx.set("a", 1)?)).wait().unwrap_err();
    assert_eq!(fault(&error), Some(FaultKind::Full));
    let status = manager.status();
    let database = status.database("main").unwrap();
    assert_eq!((database.breaker, database.write_breaker), (BreakerState::Closed, Some(BreakerState::Open)));
    manager
}

#[cfg(feature = "breaker")]
#[test]
fn a_full_storage_refuses_writes_at_once_and_is_read_on() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = broken(&fake, &clock, 0);
    manager.read(|db| Ok(db.get("a")?)).wait().unwrap();
    let error = manager.write(|tx| Ok(tx.set("a", 1)?)).wait().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (Kind::Rejected, Executed::No), "{error}");
    clock.advance(2 * SECOND);
    manager.write(|tx| Ok(tx.set("a", 1)?)).wait().unwrap();
    assert_eq!(manager.status().database("main").unwrap().write_breaker, Some(BreakerState::Closed));
}

#[cfg(feature = "breaker")]
#[test]
fn writes_wait_in_a_queue_until_the_primary_is_there_again() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = &broken(&fake, &clock, 3);
    let write = |number: i64| move || manager.write(|tx| Ok(tx.set(&format!("{number}"), number)?)).wait();
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..3).map(|number| scope.spawn(write(number))).collect();
        clock.wait_for_alarms(3);
        assert_eq!(manager.status().database("main").unwrap().waiting_writes, 3);
        let error = write(9)().unwrap_err();
        assert!(error.kind() == Kind::QueueFull && error.to_string().contains("max_waiting_writes = 3"), "{error}");
        clock.advance(2 * SECOND);
        // One of them tries; when that has succeeded the others are told.
        waiting.into_iter().for_each(|waiting| waiting.join().unwrap().unwrap());
    });
    // Those that are told together may share a transaction.
    assert_eq!([0, 1, 2].map(|number| fake.committed(&number.to_string())), [Some(0), Some(1), Some(2)]);
    assert!((1..=3).contains(&fake.counts().commits), "{} commits", fake.counts().commits);
    assert_eq!(manager.status().database("main").unwrap().waiting_writes, 0);
}

#[cfg(feature = "breaker")]
#[test]
fn a_write_that_waits_is_answered_within_its_time_and_when_the_manager_closes() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = &broken(&fake, &clock, 9);
    let write = |within| {
        let write = manager.write(|tx| Ok(tx.set("a", 1)?));
        move || write.within(within).wait().unwrap_err().kind()
    };
    let kind = meanwhile(&clock, &[SECOND / 2], write(SECOND / 2));
    assert_eq!(kind, Kind::Rejected);
    thread::scope(|scope| {
        let waiting = scope.spawn(write(60 * SECOND));
        clock.wait_for_alarms(1);
        manager.close(Duration::ZERO).unwrap();
        assert_eq!(waiting.join().unwrap(), Kind::Closed);
    });
    assert_eq!(fake.committed("a"), None);
}
