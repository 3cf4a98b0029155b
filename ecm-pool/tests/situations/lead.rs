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

/// Looks for its turn twice: nobody has taken it in between.
fn takes_its_turn(sleeper: &mut Writing<'_, i64>) -> Option<u64> {
    assert!(poll(sleeper).is_pending(), "it looks once more");
    match poll(sleeper) {
        Poll::Ready(outcome) => position(&outcome),
        Poll::Pending => None,
    }
}

#[test]
fn the_head_is_called_after_the_first_turn_and_overtaken_for_so_long_and_no_longer() {
    let writers = Writers::new();
    let (mut sleeper, woken) = joins(&writers, MICROSECOND);
    assert_eq!(woken.times(), 1, "it is called at once");
    for _ in 0..15 {
        assert!(writes_at_once(&writers, 20 * MICROSECOND));
    }
    assert!(!writes_at_once(&writers, MICROSECOND), "it is the turn of the head");
    assert_eq!(woken.times(), 1, "one call is enough until it comes");
    assert_eq!(poll(&mut sleeper).map(|outcome| position(&outcome)), Poll::Ready(Some(17)));
    writers.is_at_rest();
}

#[test]
fn the_head_that_comes_while_nobody_writes_has_its_turn_before_the_lead_is_over() {
    let writers = Writers::new();
    let (mut sleeper, _) = joins(&writers, MICROSECOND);
    assert!(writes_at_once(&writers, MICROSECOND));
    assert_eq!(takes_its_turn(&mut sleeper), Some(3));
    writers.is_at_rest();
}

#[test]
fn the_head_that_comes_looks_again_and_one_who_writes_in_between_goes_on_before_it() {
    let writers = Writers::new();
    let (mut sleeper, _) = joins(&writers, MICROSECOND);
    for _ in 0..3 {
        assert!(poll(&mut sleeper).is_pending(), "nobody has the turn at this moment");
        let written = writers.lane.write_now(&writers.terms(), |connection| {
            assert!(poll(&mut sleeper).is_pending(), "somebody has it");
            add_one(connection)
        });
        assert!(written.is_some());
    }
    assert_eq!(takes_its_turn(&mut sleeper), Some(5));
    writers.is_at_rest();
}

#[test]
fn the_head_that_has_looked_for_long_sleeps_again_and_is_called_again() {
    let writers = Writers::new();
    let (mut sleeper, _) = joins(&writers, MICROSECOND);
    let again = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&again));
    let mut context = Context::from_waker(&waker);
    let written = writers.lane.write_now(&writers.terms(), |connection| {
        let mut looks = 0;
        while again.times() == looks {
            assert!(sleeper.as_mut().poll(&mut context).is_pending());
            looks += 1;
        }
        assert_eq!((looks, again.times()), (101, 100));
        add_one(connection)
    });
    assert!(written.is_some());
    assert_eq!(again.times(), 101, "it is called");
    assert_eq!(takes_its_turn(&mut sleeper), Some(3));
    writers.is_at_rest();
}

#[test]
fn a_turn_that_ends_after_the_lead_goes_to_the_head_itself() {
    let writers = Writers::new();
    let (mut sleeper, woken) = joins(&writers, MICROSECOND);
    writers.clock.advance(299 * MICROSECOND);
    assert!(writes_at_once(&writers, 2 * MICROSECOND));
    assert!(!writes_at_once(&writers, MICROSECOND));
    assert_eq!(woken.times(), 1);
    assert!(poll(&mut sleeper).is_ready());
    writers.is_at_rest();
}

#[test]
fn after_two_long_turns_nobody_is_overtaken() {
    let writers = Writers::new();
    let (mut sleeper, woken) = joins(&writers, 25 * MICROSECOND);
    assert_eq!(woken.times(), 1);
    assert!(writes_at_once(&writers, 24 * MICROSECOND), "one says nothing");
    assert!(writes_at_once(&writers, 25 * MICROSECOND));
    assert!(writes_at_once(&writers, 25 * MICROSECOND));
    assert!(!writes_at_once(&writers, MICROSECOND));
    assert!(poll(&mut sleeper).is_ready());
    writers.is_at_rest();
}

#[test]
fn a_job_that_others_can_run_is_not_overtaken() {
    let writers = Writers::new();
    drop(writers.held());
    let mut sent = None;
    let written = writers.lane.write_now(&writers.terms(), |connection| {
        sent = Some(writers.sends(add_one));
        add_one(connection)
    });
    assert!(written.is_some());
    assert!(!writes_at_once(&writers, MICROSECOND));
    assert!(poll(&mut sent.unwrap()).is_ready());
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
    assert_eq!(takes_its_turn(&mut second), Some(3));
    writers.is_at_rest();
}

#[test]
fn where_turns_are_short_a_closure_does_not_share_and_those_behind_it_are_not_overtaken() {
    let writers = Writers::new();
    let (mut first, _) = joins(&writers, MICROSECOND);
    writers.clock.advance(301 * MICROSECOND);
    let mut newcomer = writers.writes(add_one);
    assert_eq!(takes_its_turn(&mut first), Some(2));
    assert_eq!(takes_its_turn(&mut newcomer), Some(3));
    writers.is_at_rest();
}
