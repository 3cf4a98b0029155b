//! How a breaker of consecutive failures goes from state to state.

use ecm_breaker::{ConsecutiveFailures, ConsecutiveFailuresConfig};
use ecm_core::{Breaker, BreakerState, Outcome, Permit, Rejected, Time};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
const SUCCESS: Outcome = Outcome::Success { took: MILLI };
const FAILURE: Outcome = Outcome::Failure { took: MILLI };

/// 2 failures open it, for 8 seconds at first; 2 trials at once, 3 have to succeed, within 5 seconds.
fn config() -> ConsecutiveFailuresConfig {
    ConsecutiveFailuresConfig {
        failure_threshold: 2,
        recovery_timeout: 8 * SECOND,
        max_recovery_timeout: 20 * SECOND,
        half_open_max_calls: 2,
        success_threshold: 3,
        half_open_timeout: 5 * SECOND,
        seed: Some(1),
    }
}

struct Subject {
    breaker: ConsecutiveFailures,
    now: Time,
}

impl Subject {
    fn new() -> Self {
        Self::with(&config())
    }

    fn with(config: &ConsecutiveFailuresConfig) -> Self {
        Self { breaker: ConsecutiveFailures::with_config(config).unwrap(), now: Time::from_nanos(7) }
    }

    fn admit(&self) -> Permit {
        self.breaker.admit(self.now).unwrap()
    }

    fn refused_until(&self) -> Time {
        let Rejected { until } = self.breaker.admit(self.now).unwrap_err();
        assert!(until > self.now);
        until
    }

    fn record(&self, permit: Permit, outcome: Outcome) {
        self.breaker.record(permit, outcome, self.now);
    }

    fn call(&self, outcome: Outcome) {
        self.record(self.admit(), outcome);
    }

    /// Opens it; how long it stays so.
    fn open(&self) -> Duration {
        (0..2).for_each(|_| self.call(FAILURE));
        assert_eq!(self.breaker.state(), BreakerState::Open);
        self.refused_until().since(self.now)
    }

    fn opened() -> Self {
        let mut subject = Self::new();
        subject.now = subject.now + subject.open();
        subject
    }

    fn state(&self) -> BreakerState {
        self.breaker.state()
    }
}

#[test]
fn opens_with_the_last_failure_of_the_row_neither_before_nor_after() {
    let config = ConsecutiveFailuresConfig::default();
    let subject = Subject::with(&config);
    for _ in 0..3 {
        (0..config.failure_threshold - 1).for_each(|_| subject.call(FAILURE));
        assert_eq!(subject.state(), BreakerState::Closed);
        subject.call(SUCCESS);
    }
    (0..config.failure_threshold - 1).for_each(|_| subject.call(FAILURE));
    subject.call(Outcome::Abandoned);
    assert_eq!(subject.state(), BreakerState::Closed);
    subject.call(FAILURE);
    assert_eq!(subject.state(), BreakerState::Open, "an abandoned call does not interrupt the row");
    subject.refused_until();
}

#[test]
fn a_moment_before_the_one_it_names_it_refuses_and_then_it_admits() {
    let mut subject = Subject::new();
    subject.open();
    let until = subject.refused_until();
    subject.now = Time::from_nanos(until.as_nanos() - 1);
    assert_eq!(subject.refused_until(), until);
    assert_eq!(subject.state(), BreakerState::Open);
    subject.now = until;
    assert!(subject.admit().probe);
    assert_eq!(subject.state(), BreakerState::HalfOpen);
}

#[test]
fn stays_open_twice_as_long_each_time_up_to_the_greatest_and_less_a_random_part() {
    let mut subject = Subject::new();
    let mut span = subject.open();
    for whole in [8, 16, 20, 20, 20].map(|seconds| seconds * SECOND) {
        assert!((whole / 2..=whole + MILLI).contains(&span), "{span:?} of {whole:?}");
        subject.now = subject.now + span;
        subject.call(FAILURE);
        span = subject.refused_until().since(subject.now);
    }
    subject.now = subject.now + span;
    (0..3).for_each(|_| subject.call(SUCCESS));
    assert!(subject.open() <= 8 * SECOND + MILLI, "closed in between, it begins with the shortest");
}

#[test]
fn the_random_part_is_that_of_the_seed() {
    let spans = |seed| {
        let mut subject = Subject::with(&ConsecutiveFailuresConfig { seed, ..config() });
        let mut spans = vec![subject.open()];
        for _ in 0..4 {
            subject.now = subject.refused_until();
            subject.call(FAILURE);
            spans.push(subject.refused_until().since(subject.now));
        }
        spans
    };
    assert_eq!(spans(Some(5)), spans(Some(5)));
    assert_ne!(spans(Some(5)), spans(Some(6)));
    let longest = &spans(Some(5))[2..];
    assert!(longest[0] != longest[1] && longest[1] != longest[2], "drawn anew each time: {longest:?}");
    assert_ne!(spans(None), spans(None), "without a seed they do not try again together");
}

#[test]
fn half_open_it_admits_so_many_at_once_and_no_more() {
    let subject = Subject::opened();
    let trials = [subject.admit(), subject.admit()];
    assert!(trials.iter().all(|permit| permit.probe));
    let deadline = subject.now + 5 * SECOND;
    assert!(subject.refused_until().since(deadline) < MILLI);
    subject.record(trials[0], SUCCESS);
    let third = subject.admit();
    subject.refused_until();
    subject.record(third, Outcome::Abandoned);
    let fourth = subject.admit();
    subject.refused_until();
    assert_eq!(subject.state(), BreakerState::HalfOpen);
    for trial in [trials[1], fourth] {
        assert_eq!(subject.state(), BreakerState::HalfOpen);
        subject.record(trial, SUCCESS);
    }
    assert_eq!(subject.state(), BreakerState::Closed, "three have succeeded");
    assert!(!subject.admit().probe);
}

#[test]
fn a_trial_that_fails_opens_it_again_whatever_has_succeeded_before() {
    let mut subject = Subject::opened();
    (0..2).for_each(|_| subject.call(SUCCESS));
    let late = subject.admit();
    subject.call(FAILURE);
    assert_eq!(subject.state(), BreakerState::Open);
    let until = subject.refused_until();
    assert!(until.since(subject.now) >= 8 * SECOND, "half of 16");
    subject.record(late, SUCCESS);
    assert_eq!((subject.state(), subject.refused_until()), (BreakerState::Open, until));
    subject.now = until;
    (0..2).for_each(|_| subject.call(SUCCESS));
    assert_eq!(subject.state(), BreakerState::HalfOpen, "what succeeded the last time is forgotten");
}

#[test]
fn a_trial_that_hangs_opens_it_again_at_the_deadline() {
    let mut subject = Subject::opened();
    let hanging = subject.admit();
    (0..2).for_each(|_| subject.call(SUCCESS));
    let deadline = subject.now + 5 * SECOND;
    subject.now = deadline + MILLI;
    let until = subject.refused_until();
    assert_eq!(subject.state(), BreakerState::Open);
    let span = until.since(deadline);
    assert!((8 * SECOND..=16 * SECOND + 2 * MILLI).contains(&span), "{span:?} from the deadline on");

    subject.record(hanging, SUCCESS);
    assert_eq!((subject.state(), subject.refused_until()), (BreakerState::Open, until));
    subject.now = until;
    let trials = [subject.admit(), subject.admit()];
    subject.record(hanging, Outcome::Abandoned);
    subject.refused_until();
    trials.into_iter().for_each(|trial| subject.record(trial, SUCCESS));
    subject.record(hanging, FAILURE);
    assert_eq!(subject.state(), BreakerState::HalfOpen);
}

#[test]
fn a_trial_that_comes_back_after_the_deadline_has_hung_even_if_nobody_asked() {
    for outcome in [SUCCESS, FAILURE, Outcome::Abandoned] {
        let mut subject = Subject::opened();
        let slow = subject.admit();
        let deadline = subject.now + 5 * SECOND;
        subject.now = deadline + SECOND;
        subject.record(slow, outcome);
        assert_eq!(subject.state(), BreakerState::Open);
        let span = subject.refused_until().since(deadline);
        assert!((8 * SECOND..=16 * SECOND + 2 * MILLI).contains(&span), "{span:?} from the deadline on");
    }
}

#[test]
fn with_little_to_do_it_closes_all_the_same() {
    let mut subject = Subject::opened();
    for state in [BreakerState::HalfOpen, BreakerState::HalfOpen, BreakerState::Closed] {
        subject.now = subject.now + 60 * SECOND;
        subject.call(SUCCESS);
        assert_eq!(subject.state(), state, "a minute between calls is longer than the deadline");
    }
    let mut subject = Subject::opened();
    subject.call(Outcome::Abandoned);
    subject.now = subject.now + 60 * SECOND;
    let trials = [subject.admit(), subject.admit()];
    assert!(subject.refused_until().since(subject.now + 5 * SECOND) < MILLI, "the deadline begins anew");
    trials.into_iter().for_each(|trial| subject.record(trial, SUCCESS));
}

#[test]
fn what_comes_back_late_changes_nothing() {
    let mut subject = Subject::new();
    let [early_success, early_failure, other] = [(); 3].map(|()| subject.admit());
    subject.open();
    let until = subject.refused_until();
    subject.record(early_success, SUCCESS);
    subject.record(early_failure, FAILURE);
    assert_eq!((subject.state(), subject.refused_until()), (BreakerState::Open, until));

    subject.now = until;
    let trial = subject.admit();
    for permit in [early_success, early_failure, other] {
        subject.record(permit, FAILURE);
        (0..3).for_each(|_| subject.record(permit, SUCCESS));
    }
    assert_eq!(subject.state(), BreakerState::HalfOpen);
    subject.record(trial, SUCCESS);
    let late = subject.admit();
    (0..2).for_each(|_| subject.call(SUCCESS));
    assert_eq!(subject.state(), BreakerState::Closed);

    (0..9).for_each(|_| subject.record(other, FAILURE));
    subject.record(late, FAILURE);
    subject.call(FAILURE);
    subject.record(late, SUCCESS);
    subject.record(other, SUCCESS);
    assert_eq!(subject.state(), BreakerState::Closed);
    subject.call(FAILURE);
    assert_eq!(subject.state(), BreakerState::Open, "two of its own epoch, and no success between them");
}

#[test]
fn takes_over_from_the_breaker_that_it_replaces() {
    let mut subject = Subject::new();
    subject.breaker.resume(BreakerState::Closed, subject.now);
    assert_eq!(subject.state(), BreakerState::Closed);

    let early = subject.admit();
    subject.call(FAILURE);
    subject.breaker.resume(BreakerState::Open, subject.now);
    assert_eq!(subject.state(), BreakerState::Open);
    let until = subject.refused_until();
    assert!((4 * SECOND..=8 * SECOND + MILLI).contains(&until.since(subject.now)));
    subject.record(early, SUCCESS);
    subject.breaker.resume(BreakerState::Closed, subject.now);
    assert_eq!(subject.refused_until(), until, "what it has seen itself is newer");
    subject.now = until;
    subject.call(FAILURE);
    assert!(subject.refused_until().since(subject.now) >= 8 * SECOND, "the second time in a row");
    subject.breaker.resume(BreakerState::HalfOpen, subject.now);
    assert_eq!(subject.state(), BreakerState::HalfOpen, "before its time, since a check has passed");
    assert!(subject.admit().probe);
    subject.breaker.resume(BreakerState::Open, subject.now);
    assert_eq!(subject.state(), BreakerState::HalfOpen, "what it has seen itself is newer");

    let subject = Subject::new();
    subject.breaker.resume(BreakerState::HalfOpen, subject.now);
    assert_eq!(subject.state(), BreakerState::HalfOpen);
    let trials = [subject.admit(), subject.admit()];
    subject.refused_until();
    trials.into_iter().for_each(|trial| subject.record(trial, SUCCESS));
    subject.call(SUCCESS);
    assert_eq!(subject.state(), BreakerState::Closed);
}

#[test]
fn times_that_are_out_of_order_or_never_come_end_every_question() {
    let moments = [Time::NEVER, Time::START, Time::from_nanos(u64::MAX - 1), Time::from_nanos(1 << 60)];
    for first in moments {
        let subject = Subject::new();
        for _ in 0..50 {
            for now in moments.into_iter().chain([first]) {
                if let Ok(permit) = subject.breaker.admit(now) {
                    subject.breaker.record(permit, FAILURE, first);
                }
            }
        }
        assert_ne!(subject.state(), BreakerState::Closed);
    }
}

#[test]
fn a_permit_that_is_recorded_twice_takes_no_place_of_others_away() {
    let subject = Subject::opened();
    let twice = subject.admit();
    (0..9).for_each(|_| subject.record(twice, Outcome::Abandoned));
    let _trials = [subject.admit(), subject.admit()];
    subject.refused_until();
}

#[test]
#[should_panic(expected = "failure_threshold = 0 is not acceptable: between 1 and 1000000")]
fn a_threshold_of_no_failures_is_refused() {
    let _ = ConsecutiveFailures::new(0);
}

#[test]
fn tells_people_what_it_does() {
    let subject = Subject::opened();
    let _trial = subject.admit();
    let text = format!("{:?}", subject.breaker);
    assert!(text.starts_with("ConsecutiveFailures { state: HalfOpen { until: +"), "{text}");
}
