//! A hand-over to a future that nobody polls must not hold the connection for ever: a task that
//! waits in one branch of a `select!` would block itself.

use crate::support::{Asked, Bench, MILLISECOND, parts};
use ecm_core::{
    Alarm, Clock, FaultKind, Loan, Time,
    testing::{Fake, TestClock},
};
use ecm_pool::{Pool, PoolConfig, PoolParts};
use std::{
    sync::{Arc, Mutex},
    task::Waker,
};

#[test]
fn a_task_that_waits_behind_its_own_sleeping_branch_is_served() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let sleeping = bench.waits();
    let polled = bench.waits();
    drop(held);
    assert_eq!((sleeping.rings(), polled.rings()), (1, 0));
    bench.clock.advance(MILLISECOND);
    assert_eq!(polled.rings(), 1);
    assert_eq!(bench.figures(), [0, 1, 0, 1], "the sleeper still counts as waiting");
    drop(polled.served());
    assert_eq!(bench.figures(), [1, 0, 0, 1], "and does not keep the connection from others");
    drop(bench.lends_now().unwrap());
    drop(sleeping.served());
    assert_eq!(bench.figures(), [1, 0, 0, 0]);
    assert_eq!(bench.status().timeouts, 0);
}

#[test]
fn one_who_was_too_slow_keeps_its_rank() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let mut slow = bench.waits();
    let [second, third] = [bench.waits(), bench.waits()];
    drop(held);
    bench.clock.advance(MILLISECOND);
    let second = second.served();
    assert!(slow.poll().is_pending(), "it queues again");
    drop(second);
    assert_eq!(third.rings(), 0);
    drop(slow.served());
    drop(third.served());
}

#[test]
fn one_who_is_awake_takes_over_from_a_later_one_who_is_not() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let slow = bench.waits();
    let mut second = bench.waits();
    drop(held);
    bench.clock.advance(MILLISECOND);
    assert_eq!(second.rings(), 1);
    let slow = slow.served();
    assert!(second.poll().is_pending());
    assert_eq!(bench.figures(), [0, 1, 0, 1]);
    drop(slow);
    drop(second.served());
    assert_eq!(bench.figures(), [1, 0, 0, 0]);
}

#[test]
fn a_hand_over_is_left_alone_while_nobody_else_waits() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let first = bench.waits();
    drop(held);
    bench.clock.advance(50 * MILLISECOND);
    let late = bench.waits();
    assert_eq!(late.rings(), 1, "from now on somebody waits, and its time is over");
    drop(late.served());
    drop(first.served());
}

#[test]
fn a_place_to_open_in_is_revoked_like_a_connection() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let sleeping = bench.waits();
    let polled = bench.waits();
    held.discard();
    assert_eq!(bench.figures(), [0, 0, 1, 1]);
    bench.clock.advance(MILLISECOND);
    drop(polled.served());
    assert_eq!(bench.fake.counts().connects, 2);
    drop(sleeping);
    assert_eq!(bench.figures(), [1, 0, 0, 0]);
}

#[test]
fn one_who_goes_away_after_a_revoked_hand_over_leaves_no_trace() {
    let bench = Bench::of(1);
    bench.fake.fail_connects(FaultKind::Storage, 0);
    let held = bench.lends();
    let sleeping = bench.waits();
    let polled = bench.waits();
    drop(held);
    bench.clock.advance(MILLISECOND);
    drop(sleeping);
    assert_eq!(bench.figures(), [0, 1, 0, 0]);
    drop(polled.served());
    assert_eq!(bench.figures(), [1, 0, 0, 0]);
    assert_eq!(bench.clock.alarms(), 0);
}

/// A clock that keeps what it was asked to wake, to wake it once more.
#[derive(Debug, Default)]
pub(crate) struct Repeating(TestClock, Mutex<Vec<Waker>>);

impl Repeating {
    pub(crate) fn test_clock(&self) -> &TestClock {
        &self.0
    }

    /// What was to be woken by the last alarm.
    pub(crate) fn last(&self) -> Option<Waker> {
        self.1.lock().unwrap().last().cloned()
    }
}

impl Clock for Repeating {
    fn now(&self) -> Time {
        self.0.now()
    }

    fn wake_at(&self, at: Time, waker: &Waker) -> Alarm {
        self.1.lock().unwrap().push(waker.clone());
        self.0.wake_at(at, waker)
    }
}

#[test]
fn the_ring_of_an_alarm_that_was_replaced_does_not_use_up_the_next_one() {
    let clock = Arc::new(Repeating::default());
    let config = PoolConfig { max_connections: 1, ..PoolConfig::untended() };
    let parts = PoolParts { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..parts(&clock.0) };
    let pool = Pool::new(Arc::new(Fake::new()), config, parts);
    let waits = || {
        let mut asked = Asked::new(pool.lend(Loan::Read, clock.now(), Time::NEVER));
        assert!(asked.poll().is_pending());
        asked
    };
    let held = Asked::new(pool.lend(Loan::Read, clock.now(), Time::NEVER)).served();
    let (_sleeping, leaving) = (waits(), waits());
    drop(held);
    let ringing = clock.last().unwrap();
    drop(leaving);
    let polled = waits();
    ringing.wake();
    assert_eq!(polled.rings(), 0, "it is too early");
    clock.0.advance(MILLISECOND);
    assert_eq!(polled.rings(), 1);
    drop(polled.served());
}
