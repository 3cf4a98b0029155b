//! How a manager ends.

#[path = "support/fakes.rs"]
mod fakes;

use ecm::{
    ConnectionManager, Database, Kind, PoolConfig, Stage,
    core::{
        Managed,
        testing::{Fake, TestClock},
    },
};
use fakes::builder;
use std::{sync::Arc, thread, time::Duration};

#[test]
fn an_idle_manager_closes_at_once_and_again_and_refuses_calls() {
    let fake = Fake::new();
    let manager = builder(&fake).build().unwrap();
    manager.read(|db| Ok(db.get("a")?)).wait().unwrap();
    let same = manager.clone();
    manager.close(Duration::ZERO).unwrap();
    manager.close(Duration::ZERO).unwrap();
    assert_eq!(fake.counts().open(), 0);
    assert_eq!(same.read(|db| Ok(db.get("a")?)).wait().unwrap_err().kind(), Kind::Closed);
    assert_eq!(same.connection().wait().map(drop).unwrap_err().kind(), Kind::Closed);
    assert_eq!(same.register(ecm::Database::new("late", Fake::new())).unwrap_err().kind(), Kind::Closed);
    assert!(!same.status().open);
}

#[test]
fn closing_waits_for_calls_in_flight() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = builder(&fake).clock(clock.clone()).build().unwrap();
    let held = fake.hold_statements();
    thread::scope(|scope| {
        let reading = scope.spawn(|| manager.read(|db| Ok(db.get("a")?)).wait());
        fake.wait_for_hanging(1);
        let closing = scope.spawn(|| manager.close(Duration::from_secs(5)));
        clock.wait_for_alarms(1);
        drop(held);
        assert_eq!(reading.join().unwrap().unwrap(), None, "what was in flight ends as it would have");
        closing.join().unwrap().unwrap();
    });
    assert_eq!(fake.counts().open(), 0);
}

#[test]
fn what_outlasts_the_patience_is_interrupted() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = builder(&fake).clock(clock.clone()).build().unwrap();
    let _held = fake.hold_statements();
    thread::scope(|scope| {
        let reading = scope.spawn(|| manager.read(|db| Ok(db.get("a")?)).wait());
        fake.wait_for_hanging(1);
        let closing = scope.spawn(|| manager.close(Duration::from_secs(5)));
        clock.wait_for_alarms(1);
        clock.advance(Duration::from_secs(5));
        assert_eq!(reading.join().unwrap().unwrap_err().kind(), Kind::Closed);
        closing.join().unwrap().unwrap();
    });
    assert_eq!((fake.counts().interrupts, fake.counts().open()), (1, 0));
}

#[test]
fn who_does_not_come_back_is_named() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager: Arc<dyn Managed> = {
        let manager = builder(&fake).clock(clock.clone()).build().unwrap();
        let leaked: &'static ConnectionManager<Fake> = Box::leak(Box::new(manager.clone()));
        std::mem::forget(leaked.connection().wait().unwrap());
        Arc::new(manager)
    };
    thread::scope(|scope| {
        let closing = scope.spawn(|| manager.close(Duration::from_secs(5)));
        clock.wait_for_alarms(1);
        clock.advance(Duration::from_secs(5));
        clock.wait_for_alarms(1);
        clock.advance(Duration::from_secs(1));
        let error = closing.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), Kind::Timeout(Stage::Close));
        assert!(error.to_string().contains("1 of \"main\""), "{error}");
    });
    assert_eq!(manager.name(), "ecm");
    assert!(manager.apply("enable_failover", "true").is_ok());
}

#[test]
fn dropping_the_last_clone_closes_everything() {
    let fake = Fake::new();
    let manager = builder(&fake).build().unwrap();
    manager.read(|db| Ok(db.get("a")?)).wait().unwrap();
    drop((manager.clone(), manager));
    assert_eq!(fake.counts().open(), 0);
}

#[test]
fn closing_waits_for_the_loans_of_a_database_that_was_unregistered() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = builder(&fake).clock(clock.clone()).build().unwrap();
    let gone = Fake::new();
    manager.register(Database::new("gone", gone.clone()).group("others").pool(PoolConfig::untended())).unwrap();
    let held = gone.hold_statements();
    thread::scope(|scope| {
        let reading = scope.spawn(|| manager.database("gone").unwrap().read(|db| Ok(db.get("a")?)).wait());
        gone.wait_for_hanging(1);
        manager.unregister("gone").unwrap();
        let closing = scope.spawn(|| manager.close(Duration::from_secs(5)));
        while clock.alarms() == 0 && !closing.is_finished() {
            thread::yield_now();
        }
        assert!(!closing.is_finished(), "somebody still reads");
        drop(held);
        assert_eq!(reading.join().unwrap().unwrap(), None);
        closing.join().unwrap().unwrap();
    });
    assert_eq!((fake.counts().open(), gone.counts().open()), (0, 0));
}
