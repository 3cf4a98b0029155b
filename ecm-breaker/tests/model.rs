//! A breaker of consecutive failures against a model of it that keeps everything in plain lists.

use ecm_breaker::{ConsecutiveFailures, ConsecutiveFailuresConfig};
use ecm_core::{Breaker, BreakerState, Outcome, Permit, Time};
use proptest::prelude::*;
use std::time::Duration;

const MILLI: Duration = Duration::from_millis(1);

#[derive(Clone, Debug)]
enum Step {
    Admit,
    /// The permit at this place, counted modulo their number, comes back.
    Record(usize, Outcome),
    Wait(Duration),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        3 => Just(Outcome::Success { took: MILLI }),
        4 => Just(Outcome::Failure { took: MILLI }),
        1 => Just(Outcome::Abandoned),
    ];
    let step = prop_oneof![
        4 => Just(Step::Admit),
        4 => (any::<usize>(), outcome).prop_map(|(place, outcome)| Step::Record(place, outcome)),
        1 => (0_u64..3_000_000).prop_map(|micros| Step::Wait(Duration::from_micros(micros))),
    ];
    prop::collection::vec(step, 1..300)
}

fn config() -> impl Strategy<Value = ConsecutiveFailuresConfig> {
    (1_u32..4, 1_u64..2_000, 1_u64..5_000, 1_u32..4, 1_u32..5, 1_u64..3_000, any::<u64>()).prop_map(
        |(failure_threshold, recovery, more, half_open_max_calls, success_threshold, half_open, seed)| {
            ConsecutiveFailuresConfig {
                failure_threshold,
                recovery_timeout: Duration::from_millis(recovery),
                max_recovery_timeout: Duration::from_millis(recovery + more),
                half_open_max_calls,
                success_threshold,
                half_open_timeout: Duration::from_millis(half_open),
                seed: Some(seed),
            }
        },
    )
}

/// What is known of a permit beside it.
#[derive(Clone, Copy, Debug)]
struct Given {
    permit: Permit,
    /// How many changes of state there had been.
    change: usize,
}

#[derive(Debug)]
enum Model {
    Closed {
        failures: u32,
    },
    /// Until a moment from `earliest` to `latest`; which one is the breaker's, and known once it has refused.
    Open {
        earliest: Time,
        latest: Time,
    },
    HalfOpen {
        until: Time,
        under_way: u32,
        succeeded: u32,
    },
}

struct Reference {
    config: ConsecutiveFailuresConfig,
    model: Model,
    changes: usize,
    openings: u32,
}

impl Reference {
    fn state(&self) -> BreakerState {
        match self.model {
            Model::Closed { .. } => BreakerState::Closed,
            Model::Open { .. } => BreakerState::Open,
            Model::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn becomes(&mut self, model: Model) {
        self.model = model;
        self.changes += 1;
    }

    fn opens(&mut self, from: Time) {
        let mut whole = self.config.recovery_timeout;
        (0..self.openings).for_each(|_| whole = (2 * whole).min(self.config.max_recovery_timeout));
        self.openings += 1;
        self.becomes(Model::Open { earliest: from + whole / 2, latest: rounded_up(from + whole) });
    }

    /// Whether a call is admitted, as a trial or not; the breaker's own answer settles what is random.
    fn admits(&mut self, now: Time, refused_until: Option<Time>) -> Result<bool, TestCaseError> {
        if let Model::HalfOpen { until, under_way, .. } = &mut self.model
            && now >= *until
        {
            if *under_way == 0 {
                *until = rounded_up(now + self.config.half_open_timeout);
            } else {
                let from = *until;
                self.opens(from);
            }
        }
        if let Model::Open { earliest, latest } = &mut self.model {
            if let Some(until) = refused_until {
                prop_assert!(now < until && (*earliest..=*latest).contains(&until), "open until {until:?}");
                (*earliest, *latest) = (until, until);
                return Ok(false);
            }
            prop_assert!(now >= *earliest, "admitted at {now:?}, open until {earliest:?} at least");
            let until = rounded_up(now + self.config.half_open_timeout);
            self.becomes(Model::HalfOpen { until, under_way: 0, succeeded: 0 });
        }
        match &mut self.model {
            Model::HalfOpen { until, under_way, .. } if *under_way == self.config.half_open_max_calls => {
                prop_assert_eq!(refused_until, Some(*until));
                Ok(false)
            }
            Model::HalfOpen { under_way, .. } => {
                *under_way += 1;
                Ok(true)
            }
            _ => Ok(true),
        }
    }

    fn records(&mut self, given: Given, outcome: Outcome, now: Time) {
        if given.change != self.changes {
            return;
        }
        let success = matches!(outcome, Outcome::Success { .. });
        let failure = matches!(outcome, Outcome::Failure { .. });
        match &mut self.model {
            Model::Closed { failures } if failure => {
                *failures += 1;
                if *failures == self.config.failure_threshold {
                    self.opens(now);
                }
            }
            Model::Closed { failures } if success => *failures = 0,
            Model::HalfOpen { until, .. } if failure || now >= *until => {
                let from = now.min(*until);
                self.opens(from);
            }
            Model::HalfOpen { under_way, succeeded, .. } => {
                *under_way -= 1;
                *succeeded += u32::from(success);
                if *succeeded == self.config.success_threshold {
                    self.openings = 0;
                    self.becomes(Model::Closed { failures: 0 });
                }
            }
            _ => {}
        }
    }
}

fn rounded_up(time: Time) -> Time {
    Time::from_nanos(time.as_nanos().div_ceil(1_000_000) * 1_000_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_the_model_does(config in config(), steps in steps()) {
        let breaker = ConsecutiveFailures::with_config(&config).unwrap();
        let mut reference = Reference { config, model: Model::Closed { failures: 0 }, changes: 0, openings: 0 };
        let (mut now, mut given) = (Time::START, Vec::<Given>::new());
        for step in steps {
            match step {
                Step::Wait(span) => now = now + span,
                Step::Admit => {
                    let answer = breaker.admit(now);
                    let admits = reference.admits(now, answer.err().map(|refused| refused.until))?;
                    prop_assert_eq!(answer.is_ok(), admits);
                    if let Ok(permit) = answer {
                        prop_assert_eq!(permit.probe, reference.state() == BreakerState::HalfOpen);
                        given.push(Given { permit, change: reference.changes });
                    }
                }
                Step::Record(place, outcome) if !given.is_empty() => {
                    let back = given.swap_remove(place % given.len());
                    breaker.record(back.permit, outcome, now);
                    reference.records(back, outcome, now);
                }
                Step::Record(..) => {}
            }
            prop_assert_eq!(breaker.state(), reference.state());
        }
    }
}
