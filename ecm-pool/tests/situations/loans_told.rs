use crate::support::{Asked, MILLISECOND, SECOND, parts};
use ecm_core::{
    Clock, Event, FaultKind, Interest, Loan, Observer, Time,
    testing::{Fake, TestClock},
};
use ecm_pool::{Pool, PoolConfig, PoolParts};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
};

/// Notes what happens to which connection.
#[derive(Debug)]
struct Notes(Interest, Mutex<Vec<String>>);

impl Notes {
    fn about(interest: Interest) -> Arc<Self> {
        Arc::new(Self(interest, Mutex::default()))
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.1.lock().unwrap())
    }
}

impl Observer for Notes {
    fn interest(&self) -> Interest {
        self.0
    }

    fn event(&self, event: &Event<'_>) {
        let line = match event {
            Event::Opened { connection, .. } => format!("opened {connection}"),
            Event::Lent { connection, location, .. } => {
                assert!(location.is_some_and(|location| location.file() == file!()), "{location:?}");
                format!("lent {connection}")
            }
            Event::NotLent { error, .. } => format!("not lent: {:?}", error.kind()),
            Event::Returned { connection, .. } => format!("returned {connection}"),
            Event::Closed { connection, why, .. } => format!("closed {connection}: {why}"),
            other => format!("{other:?}"),
        };
        self.1.lock().unwrap().push(line);
    }
}

fn pool(notes: &Arc<Notes>, max_connections: u32) -> (Pool<Fake>, Fake, TestClock) {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let observer: Arc<dyn Observer> = Arc::<Notes>::clone(notes);
    let config = PoolConfig { max_connections, connection_timeout: SECOND, ..PoolConfig::untended() };
    (Pool::new(Arc::new(fake.clone()), config, PoolParts { observer, ..parts(&clock) }), fake, clock)
}

fn asks<'p>(pool: &'p Pool<Fake>, clock: &TestClock) -> Asked<'p, Fake> {
    Asked::new(pool.lend(Loan::Read, clock.now(), Time::NEVER))
}

#[test]
fn the_life_of_a_connection_is_told_in_its_order() {
    let notes = Notes::about(Interest::LOANS | Interest::CONNECTIONS);
    let (pool, _fake, clock) = pool(&notes, 1);
    let first = asks(&pool, &clock).served();
    let mut next = asks(&pool, &clock);
    let mut late = asks(&pool, &clock);
    assert!(next.poll().is_pending());
    clock.advance(MILLISECOND);
    assert!(late.poll().is_pending());
    assert_eq!(notes.take(), ["opened 1", "lent 1"]);
    drop(first);
    let next = next.served();
    assert_eq!(notes.take(), ["returned 1", "lent 1"]);
    clock.advance(SECOND);
    drop(late.refused());
    assert_eq!(notes.take(), ["not lent: Timeout(Wait)"]);
    next.discard();
    assert_eq!(notes.take(), ["returned 1", "closed 1: its borrower discarded it"]);
    drop(pool.lend_now(Loan::Read, clock.now()));
    assert_eq!(notes.take(), [""; 0], "nothing is idle, which is no refusal");
    drop(asks(&pool, &clock).served());
    drop(pool.lend_now(Loan::Read, clock.now()).expect("it is idle"));
    assert_eq!(notes.take(), ["opened 2", "lent 2", "returned 2", "lent 2", "returned 2"]);
    pool.close();
    drop(asks(&pool, &clock).refused());
    assert_eq!(notes.take(), ["closed 2: the pool is closed", "not lent: Closed"]);
}

#[test]
fn a_loan_that_could_not_begin_is_neither_lent_nor_returned() {
    let notes = Notes::about(Interest::LOANS);
    let (pool, fake, clock) = pool(&notes, 1);
    fake.fail_connects(FaultKind::Storage, 1);
    drop(asks(&pool, &clock).refused());
    assert_eq!(notes.take(), ["not lent: Fault(Fault { kind: Storage, code: 8 })"]);
    drop(asks(&pool, &clock).served());
    assert_eq!(notes.take(), ["lent 2", "returned 2"]);
    fake.fail_check_outs(FaultKind::Storage, 1);
    assert!(pool.lend_now(Loan::Read, clock.now()).is_none());
    assert_eq!(notes.take(), [""; 0]);
    assert_eq!(pool.status().open, 0);
}

#[test]
fn nobody_is_told_of_loans_who_does_not_want_to_know() {
    let notes = Notes::about(Interest::CONNECTIONS);
    let (pool, _fake, clock) = pool(&notes, 1);
    let lent = asks(&pool, &clock).served();
    let mut late = asks(&pool, &clock);
    assert!(late.poll().is_pending());
    clock.advance(SECOND);
    drop(late.refused());
    drop(lent);
    assert_eq!(notes.take(), ["opened 1"]);
}

/// Panics when it is told that something came back.
#[derive(Debug)]
struct Fragile;

impl Observer for Fragile {
    fn event(&self, event: &Event<'_>) {
        assert!(!matches!(event, Event::Returned { .. }), "it came back");
    }
}

#[test]
fn an_observer_that_panics_at_the_end_of_a_loan_costs_no_connection() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let config = PoolConfig { max_connections: 1, ..PoolConfig::untended() };
    let pool = Pool::new(Arc::new(fake), config, PoolParts { observer: Arc::new(Fragile), ..parts(&clock) });
    for _ in 0..2 {
        let lent = asks(&pool, &clock).served();
        assert!(catch_unwind(AssertUnwindSafe(|| drop(lent))).is_err(), "it is the borrower's panic");
        assert_eq!((pool.status().idle, pool.status().lent), (1, 0));
    }
    let draining = catch_unwind(AssertUnwindSafe(|| {
        let _lent = asks(&pool, &clock).served();
        panic!("the borrower's own")
    }));
    assert!(draining.is_err());
    assert_eq!((pool.status().idle, pool.status().lent), (1, 0));
}
