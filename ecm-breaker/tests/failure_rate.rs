//! What opens a breaker of rates, and what it does when people change it.

use ecm_breaker::{Cause, ConsecutiveFailures, FailureRate, FailureRateConfig, Figures, Mode};
use ecm_core::{Breaker, BreakerState, Outcome, Permit, Rejected, Time};
use proptest::prelude::*;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
const SUCCESS: Outcome = Outcome::Success { took: MILLI };
const SLOW: Outcome = Outcome::Success { took: SECOND };
const FAILURE: Outcome = Outcome::Failure { took: MILLI };

/// Half of ten calls within ten seconds, be it that they fail or are slow; no number in a row.
fn config() -> FailureRateConfig {
    FailureRateConfig {
        failure_rate: 0.5,
        slow_call_duration: Some(SECOND),
        slow_call_rate: 0.5,
        window: 10 * SECOND,
        minimum_calls: 10,
        failure_threshold: None,
        recovery_timeout: 8 * SECOND,
        max_recovery_timeout: 20 * SECOND,
        half_open_max_calls: 2,
        success_threshold: 2,
        half_open_timeout: 5 * SECOND,
        seed: Some(1),
    }
}

struct Subject {
    breaker: FailureRate,
    now: Time,
}

impl Subject {
    fn new(config: &FailureRateConfig) -> Self {
        Self { breaker: FailureRate::with_config(config).unwrap(), now: Time::START + 1_000 * SECOND }
    }

    fn admit(&self) -> Permit {
        self.breaker.admit(self.now).unwrap()
    }

    fn call(&self, outcome: Outcome) {
        self.breaker.record(self.admit(), outcome, self.now);
    }

    fn calls(&self, count: u32, outcome: Outcome) {
        (0..count).for_each(|_| self.call(outcome));
    }

    fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    fn state(&self) -> BreakerState {
        self.breaker.state()
    }

    fn cause(&self) -> Option<Cause> {
        self.breaker.figures().cause
    }

    fn refused_until(&self) -> Time {
        let Rejected { until } = self.breaker.admit(self.now).unwrap_err();
        until
    }

    /// Waits until it may be tried again, and lets two trials succeed.
    fn recover(&mut self) {
        self.now = self.refused_until();
        self.calls(2, SUCCESS);
        assert_eq!(self.state(), BreakerState::Closed);
    }
}

#[test]
fn it_opens_with_the_very_call_that_reaches_the_rate_be_it_a_success() {
    let subject = Subject::new(&config());
    subject.calls(9, FAILURE);
    assert_eq!(subject.state(), BreakerState::Closed, "too few calls to tell");
    subject.call(SUCCESS);
    assert_eq!((subject.state(), subject.cause()), (BreakerState::Open, Some(Cause::FailureRate)));

    let subject = Subject::new(&config());
    subject.calls(50, SUCCESS);
    subject.calls(49, FAILURE);
    assert_eq!(subject.state(), BreakerState::Closed);
    subject.call(FAILURE);
    assert_eq!(subject.state(), BreakerState::Open, "50 of 100");
}

#[test]
fn slow_calls_alone_open_it_and_one_that_fails_slowly_is_counted_once_for_each_rate() {
    let subject = Subject::new(&config());
    (0..10).for_each(|call| subject.call(if call % 2 == 0 { SUCCESS } else { SLOW }));
    assert_eq!((subject.state(), subject.cause()), (BreakerState::Open, Some(Cause::SlowCallRate)));

    let subject = Subject::new(&config());
    subject.calls(12, SUCCESS);
    subject.calls(4, Outcome::Failure { took: SECOND });
    subject.calls(7, FAILURE);
    assert_eq!(subject.state(), BreakerState::Closed, "11 of 23");
    subject.call(FAILURE);
    assert_eq!((subject.state(), subject.cause()), (BreakerState::Open, Some(Cause::FailureRate)), "12 of 24");

    let none_is_slow = FailureRateConfig { slow_call_duration: None, ..config() };
    let subject = Subject::new(&none_is_slow);
    subject.calls(100, Outcome::Success { took: Duration::from_secs(86_400) });
    assert_eq!(subject.state(), BreakerState::Closed);
}

#[test]
fn so_many_in_a_row_open_it_before_there_are_enough_calls_for_a_rate() {
    let subject = Subject::new(&FailureRateConfig { failure_threshold: Some(3), ..config() });
    subject.calls(2, FAILURE);
    subject.call(SUCCESS);
    subject.calls(2, FAILURE);
    assert_eq!(subject.state(), BreakerState::Closed);
    subject.call(FAILURE);
    assert_eq!((subject.state(), subject.cause()), (BreakerState::Open, Some(Cause::ConsecutiveFailures)));
}

#[test]
fn the_same_burst_counts_the_same_at_any_pace_and_what_is_older_than_the_window_not_at_all() {
    for gap in [MILLI / 100, MILLI, 100 * MILLI, 450 * MILLI] {
        let mut subject = Subject::new(&config());
        for call in 0..20 {
            assert_eq!(subject.state(), BreakerState::Closed, "after {call} calls, {gap:?} apart");
            subject.call(if call < 10 { SUCCESS } else { FAILURE });
            subject.wait(gap);
        }
        assert_eq!(subject.state(), BreakerState::Open, "{gap:?} apart");
    }
    let mut subject = Subject::new(&config());
    subject.calls(9, FAILURE);
    subject.wait(9 * SECOND);
    subject.breaker.record(subject.admit(), Outcome::Abandoned, subject.now);
    subject.wait(SECOND);
    subject.calls(9, FAILURE);
    assert_eq!(subject.state(), BreakerState::Closed, "nine of them have gone");
}

#[test]
fn it_closes_with_an_empty_window_and_what_comes_back_late_does_not_get_in() {
    let mut subject = Subject::new(&config());
    let early: Vec<_> = (0..20).map(|_| subject.admit()).collect();
    subject.calls(10, FAILURE);
    early.iter().take(5).for_each(|&permit| subject.breaker.record(permit, FAILURE, subject.now));
    subject.recover();
    early.iter().skip(5).for_each(|&permit| subject.breaker.record(permit, FAILURE, subject.now));
    subject.calls(9, FAILURE);
    assert_eq!(subject.state(), BreakerState::Closed, "nine since it has closed");
    let figures = subject.breaker.figures();
    assert_eq!((figures.late, figures.openings, figures.closings), (20, 1, 1));
    subject.call(FAILURE);
    assert_eq!(subject.state(), BreakerState::Open);
}

#[test]
fn a_trial_that_is_slow_has_failed() {
    let mut subject = Subject::new(&config());
    subject.calls(10, FAILURE);
    subject.now = subject.refused_until();
    subject.call(SLOW);
    assert_eq!((subject.state(), subject.cause()), (BreakerState::Open, Some(Cause::FailedTrial)));
    subject.now = subject.refused_until();
    let _hangs = subject.admit();
    subject.wait(6 * SECOND);
    assert!(subject.breaker.admit(subject.now).is_err());
    assert_eq!(subject.cause(), Some(Cause::HangingTrial));
}

#[test]
fn observing_it_does_everything_but_refuse() {
    let mut subject = Subject::new(&config());
    subject.breaker.set_mode(Mode::Observing);
    subject.calls(10, FAILURE);
    assert_eq!((subject.state(), subject.breaker.would_be()), (BreakerState::Closed, BreakerState::Open));
    subject.calls(7, FAILURE);
    let figures = subject.breaker.figures();
    let expected = Figures::default();
    assert_eq!((figures.openings, figures.withheld, figures.refused, figures.late), (1, 7, expected.refused, 0));

    subject.wait(8 * SECOND + MILLI);
    let trials: Vec<_> = (0..5).map(|_| subject.admit()).collect();
    assert_eq!(trials.iter().filter(|permit| permit.probe).count(), 2, "three more than it would admit");
    assert_eq!(subject.breaker.figures().withheld, 10);
    trials.iter().for_each(|&trial| subject.breaker.record(trial, SUCCESS, subject.now));
    assert_eq!(subject.breaker.would_be(), BreakerState::Closed);

    subject.calls(10, FAILURE);
    subject.breaker.set_mode(Mode::Enforcing);
    assert_eq!(subject.state(), BreakerState::Open, "what it has counted acts now");
    assert!(subject.refused_until() > subject.now);
    assert_eq!(subject.breaker.figures().refused, 1);
}

#[test]
fn people_force_it_open_or_switch_it_off_in_any_state_and_get_it_back_as_it_was() {
    for state in [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen] {
        let mut subject = Subject::new(&config());
        let out = subject.admit();
        let mut trial = None;
        if state != BreakerState::Closed {
            subject.calls(10, FAILURE);
        }
        if state == BreakerState::HalfOpen {
            subject.now = subject.refused_until();
            trial = Some(subject.admit());
        }
        let before = subject.breaker.would_be();
        assert_eq!(before, state);

        subject.breaker.set_mode(Mode::ForcedOpen);
        assert_eq!(subject.state(), BreakerState::Open);
        assert_eq!(subject.refused_until(), Time::NEVER, "only a person can change it");

        subject.breaker.set_mode(Mode::Disabled);
        assert_eq!(subject.state(), BreakerState::Closed);
        subject.calls(100, FAILURE);
        assert_eq!(subject.breaker.would_be(), state, "nothing is counted");

        subject.breaker.set_mode(Mode::Enforcing);
        assert_eq!(subject.state(), state);
        if let Some(trial) = trial {
            subject.breaker.record(trial, SUCCESS, subject.now);
            subject.call(SUCCESS);
            assert_eq!(subject.state(), BreakerState::Closed, "the trial was under way all the time");
        }
        subject.breaker.record(out, FAILURE, subject.now);
    }
    let breaker = ConsecutiveFailures::new(1);
    breaker.set_mode(Mode::ForcedOpen);
    assert_eq!(breaker.admit(Time::START), Err(Rejected { until: Time::NEVER }));
    assert_eq!((breaker.mode(), breaker.would_be()), (Mode::ForcedOpen, BreakerState::Closed));
}

#[test]
fn its_configuration_is_exchanged_and_nothing_is_forgotten() {
    let mut subject = Subject::new(&config());
    subject.calls(8, FAILURE);
    let wrong = FailureRateConfig { minimum_calls: 0, ..config() };
    assert_eq!(subject.breaker.reconfigure(&wrong).unwrap_err().field, "minimum_calls");
    subject.breaker.reconfigure(&FailureRateConfig { window: 60 * SECOND, minimum_calls: 9, ..config() }).unwrap();
    subject.wait(30 * SECOND);
    assert_eq!(subject.state(), BreakerState::Closed);
    subject.call(FAILURE);
    assert_eq!(subject.state(), BreakerState::Open, "eight of them are in the longer window still");

    let until = subject.refused_until();
    let sooner = FailureRateConfig { recovery_timeout: MILLI, max_recovery_timeout: MILLI, ..config() };
    subject.breaker.reconfigure(&sooner).unwrap();
    assert_eq!(subject.refused_until(), until, "until when it is open stays as it is");
    subject.now = until;
    let trials = [subject.admit(), subject.admit()];
    subject.breaker.reconfigure(&FailureRateConfig { half_open_max_calls: 3, ..sooner }).unwrap();
    let third = subject.admit();
    subject.refused_until();
    subject.breaker.record(third, FAILURE, subject.now);
    assert!(subject.refused_until().since(subject.now) <= 2 * MILLI, "the new one says for how long");
    trials.into_iter().for_each(|trial| subject.breaker.record(trial, SUCCESS, subject.now));
    assert_eq!(subject.state(), BreakerState::Open);

    // A rate that is reached by less acts with the next call.
    let mut subject = Subject::new(&config());
    subject.calls(20, SUCCESS);
    subject.calls(5, FAILURE);
    subject.breaker.reconfigure(&FailureRateConfig { failure_rate: 0.1, ..config() }).unwrap();
    assert_eq!(subject.state(), BreakerState::Closed);
    subject.call(SUCCESS);
    assert_eq!(subject.state(), BreakerState::Open);
    subject.recover();
    // And so do the calls that a shorter window leaves.
    subject.breaker.reconfigure(&config()).unwrap();
    subject.calls(20, SUCCESS);
    subject.wait(5 * SECOND);
    subject.calls(9, FAILURE);
    assert_eq!(subject.state(), BreakerState::Closed, "9 of 29");
    subject.breaker.reconfigure(&FailureRateConfig { window: SECOND, ..config() }).unwrap();
    subject.call(SUCCESS);
    assert_eq!(subject.state(), BreakerState::Open, "9 of 10");
}

#[test]
fn a_breaker_of_failures_in_a_row_keeps_them_when_its_configuration_is_exchanged() {
    let config = ecm_breaker::ConsecutiveFailuresConfig { failure_threshold: 5, ..Default::default() };
    let breaker = ConsecutiveFailures::with_config(&config).unwrap();
    let fail = || breaker.record(breaker.admit(Time::START).unwrap(), FAILURE, Time::START);
    (0..3).for_each(|_| fail());
    let fewer = ecm_breaker::ConsecutiveFailuresConfig { failure_threshold: 4, ..config };
    breaker.reconfigure(&fewer).unwrap();
    assert!(breaker.reconfigure(&ecm_breaker::ConsecutiveFailuresConfig { failure_threshold: 0, ..fewer }).is_err());
    assert_eq!(breaker.state(), BreakerState::Closed);
    fail();
    assert_eq!(breaker.state(), BreakerState::Open, "three before and one since");
}

#[test]
fn tells_people_what_it_does() {
    let subject = Subject::new(&config());
    subject.calls(3, FAILURE);
    let text = format!("{:?}", subject.breaker);
    let window = "window: Counts { total: 3, failed: 3, slow: 0 }";
    assert!(text.starts_with("FailureRate { state: Closed { failures: 3 }") && text.contains(window), "{text}");
}

#[derive(Clone, Copy, Debug)]
struct Step {
    /// Milliseconds until then.
    gap: u64,
    outcome: Outcome,
    /// How many steps later it comes back.
    later: usize,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let took = prop_oneof![3 => Just(MILLI), 1 => Just(SECOND)];
    let outcome = (0_u32..10, took).prop_map(|(kind, took)| match kind {
        0..5 => Outcome::Success { took },
        5..9 => Outcome::Failure { took },
        _ => Outcome::Abandoned,
    });
    let gap = prop_oneof![10 => 0_u64..50, 2 => 0_u64..3_000, 1 => 0_u64..40_000];
    let later = prop_oneof![3 => Just(0_usize), 1 => 0_usize..30];
    prop::collection::vec((gap, outcome, later).prop_map(|(gap, outcome, later)| Step { gap, outcome, later }), 1..400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// A list of all calls, looked through each time, opens and empties when the breaker does.
    #[test]
    fn it_opens_when_a_list_of_all_calls_says_so(
        steps in steps(), rate in 1_u64..=10, slow_rate in 1_u64..=10, minimum in 1_u32..30, row in 0_u32..6,
        window in 1_u64..20,
    ) {
        let config = FailureRateConfig {
            failure_rate: rate as f64 / 10.0,
            slow_call_rate: slow_rate as f64 / 10.0,
            minimum_calls: minimum,
            failure_threshold: (row > 0).then_some(row),
            window: SECOND * window as u32,
            ..config()
        };
        let mut subject = Subject::new(&config);
        let bucket = |now: Time| now.as_nanos() / (window * 100_000_000);
        let (mut listed, mut in_a_row, mut round, mut late) = (Vec::<(u64, bool, bool)>::new(), 0, 0, 0);
        let mut out = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            subject.wait(Duration::from_millis(step.gap));
            if subject.state() != BreakerState::Closed {
                subject.wait(config.max_recovery_timeout + MILLI);
                subject.calls(2, SUCCESS);
                prop_assert_eq!(subject.state(), BreakerState::Closed);
                (listed, in_a_row, round) = (Vec::new(), 0, round + 1);
            }
            out.push((number + step.later, subject.admit(), step.outcome, round));
            let due: Vec<_> = out.extract_if(.., |(due, ..)| *due <= number).collect();
            for (_, permit, outcome, of_round) in due {
                let still = of_round == round && subject.state() == BreakerState::Closed;
                subject.breaker.record(permit, outcome, subject.now);
                let (failed, took) = match outcome {
                    Outcome::Success { took } => (false, took),
                    Outcome::Failure { took } => (true, took),
                    _ => continue,
                };
                if !still {
                    late += 1;
                    continue;
                }
                listed.push((bucket(subject.now), failed, took >= SECOND));
                in_a_row = if failed { in_a_row + 1 } else { 0 };
                let within: Vec<_> = listed.iter().filter(|(at, ..)| bucket(subject.now) - at < 10).collect();
                let (total, failures) = (within.len() as u64, within.iter().filter(|call| call.1).count() as u64);
                let slow = within.iter().filter(|call| call.2).count() as u64;
                let enough = total >= u64::from(minimum);
                let reached = enough && (failures * 10 >= total * rate || slow * 10 >= total * slow_rate)
                    || row > 0 && in_a_row >= row;
                let expected = if reached { BreakerState::Open } else { BreakerState::Closed };
                prop_assert_eq!(subject.state(), expected, "{} of {}, {} slow", failures, total, slow);
            }
            prop_assert_eq!(subject.breaker.figures().late, late);
        }
        prop_assert_eq!(subject.breaker.figures().closings, round);
    }
}
