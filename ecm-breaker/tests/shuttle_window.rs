//! A window that many threads count in, in many schedules: no call is lost, counted twice, or counted for a state
//! that it does not belong to.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test -p ecm-breaker --test shuttle_window
//! ```
#![cfg(shuttle)]

use ecm_breaker::{Cause, FailureRate, FailureRateConfig, Mode};
use ecm_core::{Breaker, BreakerState, Outcome, Permit, Time};
use shuttle::{
    Runner,
    scheduler::{PctScheduler, RandomScheduler},
    thread,
};
use std::{sync::Arc, time::Duration};

const ROUNDS: usize = 10_000;
const SECOND: Duration = Duration::from_secs(1);
const SUCCESS: Outcome = Outcome::Success { took: Duration::ZERO };
const FAILURE: Outcome = Outcome::Failure { took: Duration::ZERO };
const START: Time = Time::from_nanos(1 << 40);

/// All of so many calls within ten seconds; one trial closes it.
fn breaker(minimum_calls: u32) -> Arc<FailureRate> {
    let config = FailureRateConfig {
        failure_rate: 1.0,
        slow_call_duration: Some(SECOND),
        slow_call_rate: 1.0,
        window: 10 * SECOND,
        minimum_calls,
        failure_threshold: None,
        recovery_timeout: 20 * SECOND,
        max_recovery_timeout: 20 * SECOND,
        half_open_max_calls: 1,
        success_threshold: 1,
        half_open_timeout: 5 * SECOND,
        seed: Some(1),
    };
    Arc::new(FailureRate::with_config(&config).unwrap())
}

/// Runs `action` on so many threads, with the number of each.
fn threads(count: u32, action: impl Fn(u32) + Send + Sync + 'static) {
    let action = Arc::new(action);
    let threads: Vec<_> = (0..count)
        .map(|number| {
            let action = Arc::clone(&action);
            thread::spawn(move || action(number))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// At random, and with few changes of the thread that runs: emptying a window takes many steps, in the midst of
/// which nobody would ever be left standing otherwise.
fn check(model: impl Fn() + Clone + Send + Sync + 'static) {
    let mut config = shuttle::Config::new();
    // A breaker is printed in debug builds with more than the 32 KiB that a thread has here.
    config.stack_size = 1 << 18;
    Runner::new(RandomScheduler::new(ROUNDS / 2), config.clone()).run(model.clone());
    Runner::new(PctScheduler::new(3, ROUNDS / 2), config).run(model);
}

fn call(breaker: &FailureRate, outcome: Outcome, now: Time) {
    if let Ok(permit) = breaker.admit(now) {
        breaker.record(permit, outcome, now);
    }
}

#[test]
fn as_many_failures_as_it_takes_open_it_whoever_counts_the_last_and_one_less_does_not() {
    for (minimum, expected) in [(4, BreakerState::Open), (5, BreakerState::Closed)] {
        check(move || {
            let breaker = breaker(minimum);
            let shared = Arc::clone(&breaker);
            threads(2, move |_| (0..2).for_each(|_| call(&shared, FAILURE, START)));
            assert_eq!(breaker.state(), expected, "{breaker:?}");
        });
    }
}

#[test]
fn slow_calls_of_many_threads_are_all_counted() {
    check(|| {
        let breaker = breaker(3);
        let shared = Arc::clone(&breaker);
        threads(3, move |_| call(&shared, Outcome::Success { took: SECOND }, START));
        assert_eq!(breaker.figures().cause, Some(Cause::SlowCallRate), "{breaker:?}");
    });
}

#[test]
fn a_success_that_makes_up_the_number_beside_a_failure_opens_it() {
    check(|| {
        let config =
            FailureRateConfig { failure_rate: 0.5, minimum_calls: 2, failure_threshold: None, ..Default::default() };
        let breaker = Arc::new(FailureRate::with_config(&config).unwrap());
        let shared = Arc::clone(&breaker);
        threads(2, move |number| call(&shared, if number == 0 { SUCCESS } else { FAILURE }, START));
        assert_eq!(breaker.state(), BreakerState::Open, "{breaker:?}");
    });
}

#[test]
fn threads_that_begin_a_bucket_together_lose_nothing_and_keep_nothing_old() {
    for rest in [10, 7] {
        check(move || {
            let breaker = breaker(4);
            // In the way, in the same place or in another: two failures that are too old after the rest, or not.
            (0..2).for_each(|_| call(&breaker, FAILURE, START));
            let shared = Arc::clone(&breaker);
            threads(2, move |_| call(&shared, FAILURE, START + rest * SECOND));
            let expected = if rest < 10 { BreakerState::Open } else { BreakerState::Closed };
            assert_eq!(breaker.state(), expected, "{breaker:?}");
            call(&breaker, FAILURE, START + rest * SECOND);
            call(&breaker, FAILURE, START + rest * SECOND);
            assert_eq!(breaker.state(), BreakerState::Open, "four that are young: {breaker:?}");
        });
    }
}

#[test]
fn what_was_under_way_when_it_opened_is_not_in_the_window_when_it_has_closed_again() {
    check(|| {
        let breaker = breaker(2);
        let permits: [Permit; 4] = std::array::from_fn(|_| breaker.admit(START).unwrap());
        let shared = Arc::clone(&breaker);
        threads(3, move |number| match number {
            0 => {
                permits[..2].iter().for_each(|&permit| shared.record(permit, FAILURE, START));
                let later = START + 20 * SECOND;
                if let Ok(trial) = shared.admit(later) {
                    shared.record(trial, SUCCESS, later);
                }
            }
            // Late at any moment of that, with a clock that was looked at when it closes.
            number => shared.record(permits[number as usize + 1], FAILURE, START + 20 * SECOND),
        });
        // In some schedules the late ones are in time, and open it instead.
        if breaker.figures().closings == 1 {
            assert_eq!(breaker.state(), BreakerState::Closed, "{breaker:?}");
            call(&breaker, FAILURE, START + 20 * SECOND);
            assert_eq!(breaker.state(), BreakerState::Closed, "one of two: {breaker:?}");
            call(&breaker, FAILURE, START + 20 * SECOND);
            assert_eq!(breaker.state(), BreakerState::Open, "{breaker:?}");
        }
    });
}

#[test]
fn those_who_close_it_together_empty_it_and_take_nothing_that_came_afterwards() {
    check(|| {
        let config = FailureRateConfig {
            failure_rate: 1.0,
            minimum_calls: 2,
            failure_threshold: None,
            half_open_max_calls: 2,
            success_threshold: 1,
            recovery_timeout: 20 * SECOND,
            max_recovery_timeout: 20 * SECOND,
            seed: Some(1),
            ..FailureRateConfig::default()
        };
        let breaker = Arc::new(FailureRate::with_config(&config).unwrap());
        (0..2).for_each(|_| call(&breaker, FAILURE, START));
        let later = START + 20 * SECOND;
        let trials = [breaker.admit(later).unwrap(), breaker.admit(later).unwrap()];
        let shared = Arc::clone(&breaker);
        threads(2, move |number| {
            shared.record(trials[number as usize], SUCCESS, later);
            let permit = shared.admit(later).unwrap();
            assert!(!permit.probe, "{shared:?}");
            shared.record(permit, FAILURE, later);
        });
        assert_eq!(breaker.state(), BreakerState::Open, "one failure of each since it has closed: {breaker:?}");
    });
}

#[test]
fn people_who_change_it_meanwhile_leave_it_whole() {
    check(|| {
        let breaker = breaker(2);
        let shared = Arc::clone(&breaker);
        threads(3, move |number| match number {
            0 => {
                shared.set_mode(Mode::ForcedOpen);
                shared.set_mode(Mode::Disabled);
                shared.set_mode(Mode::Enforcing);
            }
            1 => {
                let config = FailureRateConfig { minimum_calls: 3, failure_threshold: None, ..Default::default() };
                shared.reconfigure(&config).unwrap();
            }
            _ => (0..2).for_each(|_| call(&shared, FAILURE, START)),
        });
        (0..3).for_each(|_| call(&breaker, FAILURE, START));
        assert_eq!(breaker.state(), BreakerState::Open, "{breaker:?}");
    });
}
