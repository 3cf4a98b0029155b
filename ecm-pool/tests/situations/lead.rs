//! Writes that go before the head of the queue while it is being woken up, and what bounds that.

use crate::writers::{Writers, Writing, add_one, poll, position};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

const MICROSECOND: Duration = Duration::from_micros(1);

/// A waker that counts.
#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Woken {
    fn times(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Writes at once, takes so long, and meanwhile another writer joins the queue.
fn joins<'l>(writers: &'l Writers, takes: Duration) -> (Writing<'l, i64>, Arc<Woken>) {
    let (mut sleeper, woken) = (None, Arc::new(Woken::default()));
    drop(writers.held());
    let written = writers.lane.write_now(&writers.terms(), |connection| {
        let mut joined = writers.writes(add_one);
        let waker = Waker::from(Arc::clone(&woken));
        assert!(joined.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        sleeper = Some(joined);
        writers.clock.advance(takes);
        add_one(connection)
    });
    assert!(written.is_some(), "nobody has the turn");
    (sleeper.unwrap(), woken)
}

/// Whether one who comes now writes at once, which takes so long.
fn writes_at_once(writers: &Writers, takes: Duration) -> bool {
    let written = writers.lane.write_now(&writers.terms(), |connection| {
        writers.clock.advance(takes);
        add_one(connection)
    });
    written.is_some()
}

#[test]
fn the_head_is_called_after_the_first_turn_and_overtaken_for_so_long_and_no_longer() {
    let writers = Writers::new();
    let (mut sleeper, woken) = joins(&writers, MICROSECOND);
    assert_eq!(woken.times(), 1, "it is called at once");
    for _ in 0..25 {
        assert!(writes_at_once(&writers, 20 * MICROSECOND));
    }
    assert!(!writes_at_once(&writers, MICROSECOND), "it is the turn of the head");
    assert_eq!(woken.times(), 1, "one call is enough until it comes");
    assert_eq!(poll(&mut sleeper).map(|outcome| position(&outcome)), Poll::Ready(Some(27)));
    writers.is_at_rest();
}

#[test]
fn the_head_that_comes_while_nobody_writes_has_its_turn_before_the_lead_is_over() {
    let writers = Writers::new();
    let (mut sleeper, _) = joins(&writers, MICROSECOND);
    assert!(writes_at_once(&writers, MICROSECOND));
    assert_eq!(poll(&mut sleeper).map(|outcome| position(&outcome)), Poll::Ready(Some(3)));
    writers.is_at_rest();
}

#[test]
fn the_head_that_comes_in_vain_is_called_again() {
    let writers = Writers::new();
    let (mut sleeper, first) = joins(&writers, MICROSECOND);
    let again = Arc::new(Woken::default());
    let written = writers.lane.write_now(&writers.terms(), |connection| {
        let waker = Waker::from(Arc::clone(&again));
        assert!(sleeper.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "somebody writes");
        add_one(connection)
    });
    assert!(written.is_some());
    assert_eq!((first.times(), again.times()), (1, 1));
    assert!(poll(&mut sleeper).is_ready());
    writers.is_at_rest();
}

#[test]
fn a_turn_that_ends_after_the_lead_goes_to_the_head_itself() {
    let writers = Writers::new();
    let (mut sleeper, woken) = joins(&writers, MICROSECOND);
    writers.clock.advance(499 * MICROSECOND);
    assert!(writes_at_once(&writers, 2 * MICROSECOND));
    assert!(!writes_at_once(&writers, MICROSECOND));
    assert_eq!(woken.times(), 1);
    assert!(poll(&mut sleeper).is_ready());
    writers.is_at_rest();
}

#[test]
fn after_a_long_turn_nobody_is_overtaken() {
    let writers = Writers::new();
    let (mut sleeper, woken) = joins(&writers, 25 * MICROSECOND);
    assert!(!writes_at_once(&writers, MICROSECOND));
    assert_eq!(woken.times(), 1);
    assert!(poll(&mut sleeper).is_ready());
    writers.is_at_rest();
}

#[test]
fn one_who_was_called_and_goes_away_calls_the_next() {
    let writers = Writers::new();
    let (first, _) = joins(&writers, MICROSECOND);
    let (mut second, woken) = joins(&writers, MICROSECOND);
    assert_eq!(woken.times(), 0, "it is not the head");
    drop(first);
    assert_eq!(woken.times(), 1);
    assert!(poll(&mut second).is_ready());
    writers.is_at_rest();
}

#[test]
fn those_who_wait_are_not_overtaken_by_one_who_has_to_queue() {
    let writers = Writers::new();
    let (mut first, _) = joins(&writers, MICROSECOND);
    writers.clock.advance(501 * MICROSECOND);
    let mut newcomer = writers.writes(add_one);
    assert!(poll(&mut newcomer).is_pending());
    assert!(poll(&mut first).is_pending(), "the newcomer shares its transaction");
    assert!(poll(&mut newcomer).is_ready() && poll(&mut first).is_ready());
    writers.is_at_rest();
}
