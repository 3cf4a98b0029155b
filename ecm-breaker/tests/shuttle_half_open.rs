//! A breaker in many schedules: what threads do at the same time adds up to what they would do in a row.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test -p ecm-breaker --test shuttle_half_open
//! ```
#![cfg(shuttle)]

use ecm_breaker::{ConsecutiveFailures, ConsecutiveFailuresConfig};
use ecm_core::{Breaker, BreakerState, Outcome, Permit, Time};
use shuttle::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
};
use std::{sync::Arc, time::Duration};

const ROUNDS: usize = 10_000;
const SECOND: Duration = Duration::from_secs(1);
const SUCCESS: Outcome = Outcome::Success { took: SECOND };
const FAILURE: Outcome = Outcome::Failure { took: SECOND };

/// Which is open and may be tried again at the moment told.
fn opened(half_open_max_calls: u32, success_threshold: u32) -> (Arc<ConsecutiveFailures>, Time) {
    let config = ConsecutiveFailuresConfig {
        failure_threshold: 1,
        recovery_timeout: 20 * SECOND,
        max_recovery_timeout: 20 * SECOND,
        half_open_max_calls,
        success_threshold,
        half_open_timeout: 5 * SECOND,
        seed: Some(1),
    };
    let breaker = ConsecutiveFailures::with_config(&config).unwrap();
    breaker.record(breaker.admit(Time::START).unwrap(), FAILURE, Time::START);
    let until = breaker.admit(Time::START).unwrap_err().until;
    (Arc::new(breaker), until)
}

/// Runs `action` on so many threads, with the number of each, and tells what each has come to.
fn threads<T: Send + 'static>(count: u32, action: impl Fn(u32) -> T + Send + Sync + 'static) -> Vec<T> {
    let action = Arc::new(action);
    let threads: Vec<_> = (0..count)
        .map(|number| {
            let action = Arc::clone(&action);
            thread::spawn(move || action(number))
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random(model, ROUNDS);
}

#[test]
fn those_who_ask_when_it_may_be_tried_again_share_the_places_of_one_half_open_epoch() {
    check(|| {
        let (breaker, now) = opened(2, 2);
        let asked = Arc::clone(&breaker);
        let answers = threads(4, move |_| asked.admit(now));
        let admitted: Vec<_> = answers.iter().flatten().collect();
        assert_eq!(admitted.len(), 2, "{answers:?}");
        assert!(admitted.iter().all(|permit| permit.probe && permit.epoch == admitted[0].epoch), "{answers:?}");
        assert!(answers.iter().filter_map(|answer| answer.err()).all(|refused| refused.until > now));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    });
}

#[test]
fn never_are_more_trials_under_way_than_there_are_places_and_every_place_comes_back() {
    check(|| {
        let (breaker, now) = opened(2, 100);
        let (asked, under_way) = (Arc::clone(&breaker), AtomicU32::new(0));
        threads(4, move |number| {
            for turn in 0..2 {
                let Ok(permit) = asked.admit(now) else { continue };
                let others = under_way.fetch_add(1, Ordering::SeqCst);
                assert!(others < 2, "{} trials at the same time", others + 1);
                under_way.fetch_sub(1, Ordering::SeqCst);
                let outcome = if (number + turn) % 2 == 0 { SUCCESS } else { Outcome::Abandoned };
                asked.record(permit, outcome, now);
            }
        });
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        let places: Vec<_> = (0..3).map(|_| breaker.admit(now).is_ok()).collect();
        assert_eq!(places, [true, true, false]);
    });
}

#[test]
fn as_many_successes_as_it_takes_close_it_whoever_records_the_last() {
    check(|| {
        let (breaker, now) = opened(3, 3);
        let trials: [Permit; 3] = std::array::from_fn(|_| breaker.admit(now).unwrap());
        let shared = Arc::clone(&breaker);
        let answers = threads(4, move |number| match trials.get(number as usize) {
            Some(&trial) => {
                shared.record(trial, SUCCESS, now);
                None
            }
            None => Some(shared.admit(now)),
        });
        assert_eq!(breaker.state(), BreakerState::Closed);
        // Who asks meanwhile is admitted or not, but its call cannot bring anything about any more.
        if let Some(permit) = answers.into_iter().flatten().flatten().find(|permit| permit.probe) {
            breaker.record(permit, FAILURE, now);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    });
}

#[test]
fn success_and_failure_at_the_same_time_open_or_close_it_and_the_other_comes_late() {
    check(|| {
        let (breaker, now) = opened(2, 1);
        let trials = [breaker.admit(now).unwrap(), breaker.admit(now).unwrap()];
        let shared = Arc::clone(&breaker);
        threads(2, move |number| {
            let outcome = if number == 0 { SUCCESS } else { FAILURE };
            shared.record(trials[number as usize], outcome, now);
        });
        match breaker.state() {
            BreakerState::Closed => assert!(!breaker.admit(now).unwrap().probe),
            BreakerState::Open => assert!(breaker.admit(now).unwrap_err().until > now),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn trials_that_come_back_around_the_deadline_never_leave_it_stuck() {
    check(|| {
        let (breaker, start) = opened(2, 2);
        let trials = [breaker.admit(start).unwrap(), breaker.admit(start).unwrap()];
        let later = start + 6 * SECOND;
        let shared = Arc::clone(&breaker);
        threads(4, move |number| match number {
            0 => shared.record(trials[0], SUCCESS, start),
            1 => shared.record(trials[1], Outcome::Abandoned, start),
            _ => {
                if let Ok(permit) = shared.admit(later) {
                    shared.record(permit, Outcome::Abandoned, later);
                }
            }
        });
        // Open again or still half-open: after a while, all of its places are free.
        let much_later = later + 20 * SECOND;
        let places: Vec<_> = (0..3).map(|_| breaker.admit(much_later).is_ok()).collect();
        assert_eq!(places, [true, true, false], "{breaker:?}");
    });
}

#[test]
fn one_who_was_held_up_does_not_throw_the_trials_of_a_later_epoch_away() {
    check(|| {
        let (breaker, first) = opened(1, 1);
        let later = first + 20 * SECOND;
        let shared = Arc::clone(&breaker);
        let answers = threads(3, move |number| match number {
            // Takes the breaker through a whole epoch into the next half-open one.
            0 => {
                let trial = shared.admit(first).ok()?;
                shared.record(trial, FAILURE, first);
                shared.admit(later).ok()
            }
            _ => shared.admit(first).ok(),
        });
        if let Some(last) = answers[0] {
            let others = answers[1..].iter().flatten();
            assert!(others.clone().all(|other| other.epoch != last.epoch), "two for one place: {answers:?}");
            assert!(breaker.admit(later).is_err(), "the place is taken: {answers:?} {breaker:?}");
        }
    });
}

#[test]
fn a_trial_that_comes_back_late_frees_no_place_of_a_later_epoch() {
    check(|| {
        let (breaker, first) = opened(2, 1);
        let trials = [breaker.admit(first).unwrap(), breaker.admit(first).unwrap()];
        let later = first + 20 * SECOND;
        let shared = Arc::clone(&breaker);
        threads(2, move |number| {
            if number == 0 {
                shared.record(trials[0], Outcome::Abandoned, first);
            } else {
                shared.record(trials[1], FAILURE, first);
                (0..2).for_each(|_| assert!(shared.admit(later).unwrap().probe));
            }
        });
        assert!(breaker.admit(later).is_err(), "{breaker:?}");
    });
}

#[test]
fn a_trial_that_ends_counts_even_while_somebody_renews_the_deadline() {
    for outcome in [SUCCESS, FAILURE] {
        check(move || {
            let (breaker, first) = opened(2, 1);
            breaker.record(breaker.admit(first).unwrap(), Outcome::Abandoned, first);
            let shared = Arc::clone(&breaker);
            threads(2, move |number| match number {
                0 => shared.record(shared.admit(first).unwrap(), outcome, first),
                _ => drop(shared.admit(first + 6 * SECOND)),
            });
            // A success closes it, unless the other came first and found the trial hanging.
            assert_ne!(breaker.state(), BreakerState::HalfOpen, "{outcome:?} {breaker:?}");
        });
    }
}

#[test]
fn failures_on_several_threads_are_all_counted_and_open_it_once() {
    check(|| {
        let config = ConsecutiveFailuresConfig { failure_threshold: 3, seed: Some(1), ..Default::default() };
        let breaker = Arc::new(ConsecutiveFailures::with_config(&config).unwrap());
        let epoch = breaker.admit(Time::START).unwrap().epoch;
        let shared = Arc::clone(&breaker);
        threads(2, move |_| shared.record(shared.admit(Time::START).unwrap(), FAILURE, Time::START));
        assert_eq!(breaker.state(), BreakerState::Closed, "two of three");
        let shared = Arc::clone(&breaker);
        threads(3, move |_| {
            shared.admit(Time::START).map(|permit| shared.record(permit, FAILURE, Time::START)).is_ok()
        });
        let until = breaker.admit(Time::START).unwrap_err().until;
        assert_eq!(breaker.admit(until).unwrap().epoch, epoch + 2, "opened once, half-open now");
    });
}

#[test]
fn a_success_beside_a_failure_never_undoes_an_opening() {
    check(|| {
        let config = ConsecutiveFailuresConfig { failure_threshold: 2, seed: Some(1), ..Default::default() };
        let breaker = Arc::new(ConsecutiveFailures::with_config(&config).unwrap());
        let permits: [Permit; 3] = std::array::from_fn(|_| breaker.admit(Time::START).unwrap());
        breaker.record(permits[0], FAILURE, Time::START);
        let (shared, opened) = (Arc::clone(&breaker), Arc::new(AtomicU32::new(0)));
        let seen = Arc::clone(&opened);
        threads(2, move |number| {
            if number == 0 {
                shared.record(permits[1], FAILURE, Time::START);
                let open = shared.state() == BreakerState::Open;
                seen.store(u32::from(open), Ordering::SeqCst);
            } else {
                shared.record(permits[2], SUCCESS, Time::START);
            }
        });
        let open = breaker.state() == BreakerState::Open;
        assert_eq!(open, opened.load(Ordering::SeqCst) == 1, "who has opened it, has opened it");
    });
}
