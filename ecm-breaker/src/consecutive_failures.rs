use crate::{
    ConsecutiveFailuresConfig,
    back_off::BackOff,
    sync::{AtomicU64, Ordering},
    trials::Trials,
    word::{State, Word},
};
use ecm_core::{Breaker, BreakerState, InvalidConfig, Outcome, Permit, Rejected, Time};
use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Opens when so many calls in a row have failed.
///
/// ```text
///          failure_threshold failures in a row
/// closed ──────────────────────────────────────► open ◄──────────────┐
///    ▲                                             │ recovery_timeout │ a trial fails, or one is still
///    │                                             ▼                  │ under way after half_open_timeout
///    └───────────────────────────────────────── half-open ────────────┘
///          success_threshold trials succeed
/// ```
///
/// * *Closed*, it admits every call. A success begins the count of failures anew.
/// * *Open*, it refuses every call until a moment that the refusal tells. The time until then doubles
///   with each opening in a row, less a random part.
/// * *Half-open*, it admits [`half_open_max_calls`](ConsecutiveFailuresConfig::half_open_max_calls) trials
///   at the same time. While they are under way it refuses the others, with the deadline of the trials:
///   the latest moment at which it decides, be it that a trial may end before and make room.
///
/// A call that was abandoned counts for nothing, and gives its place back if it was a trial. What comes
/// back after the state has changed counts for nothing either. Deadlines act when somebody asks, or records:
/// an open breaker is [`Open`](BreakerState::Open) until then, and one whose trials hang is opened from their
/// deadline on. They are kept in whole milliseconds, rounded up.
///
/// [`resume`](Breaker::resume) takes over: from an open breaker it is open for one `recovery_timeout`
/// from then on, from a half-open one half-open, with trials of its own. It does nothing to a breaker that
/// has opened itself.
///
/// # Concurrency
/// Lock-free, without allocation. A closed breaker is only read: one load to admit, one to record a
/// success, and a write only after failures.
///
/// ```
/// use ecm_breaker::ConsecutiveFailures;
/// use ecm_core::{Admission, Breaker, BreakerState, Time};
/// use std::time::Duration;
///
/// let breaker = ConsecutiveFailures::new(2);
/// let mut now = Time::START;
/// Admission::ask(&breaker, now).unwrap().failed(now);
/// Admission::ask(&breaker, now).unwrap().failed(now);
/// let refused = Admission::ask(&breaker, now).unwrap_err();
/// assert!(refused.until <= now + Duration::from_secs(60));
///
/// now = refused.until;
/// for _trial in 0..3 {
///     Admission::ask(&breaker, now).unwrap().succeeded(now);
/// }
/// assert_eq!(breaker.state(), BreakerState::Closed);
/// ```
pub struct ConsecutiveFailures {
    word: AtomicU64,
    trials: AtomicU64,
    failure_threshold: u64,
    half_open_max_calls: u32,
    success_threshold: u32,
    half_open_timeout: Duration,
    back_off: BackOff,
}

impl ConsecutiveFailures {
    /// Opens with this failure in a row; the rest as [`ConsecutiveFailuresConfig::default`] says.
    ///
    /// # Panics
    /// If `failure_threshold` is 0 or more than 1,000,000.
    #[must_use]
    pub fn new(failure_threshold: u32) -> Self {
        let config = ConsecutiveFailuresConfig { failure_threshold, ..ConsecutiveFailuresConfig::default() };
        match Self::with_config(&config) {
            Ok(breaker) => breaker,
            Err(invalid) => panic!("{invalid}"),
        }
    }

    /// As `config` says.
    ///
    /// # Errors
    /// The first field that is not within its limits.
    pub fn with_config(config: &ConsecutiveFailuresConfig) -> Result<Self, InvalidConfig> {
        config.check()?;
        let back_off = BackOff {
            first: config.recovery_timeout,
            most: config.max_recovery_timeout,
            seed: config.seed.unwrap_or_else(|| RandomState::new().hash_one(0)),
        };
        Ok(Self {
            word: AtomicU64::new(Word::CLOSED.0),
            trials: AtomicU64::new(Trials::none(Word::CLOSED.epoch()).0),
            failure_threshold: u64::from(config.failure_threshold),
            half_open_max_calls: config.half_open_max_calls,
            success_threshold: config.success_threshold,
            half_open_timeout: config.half_open_timeout,
            back_off,
        })
    }

    #[inline]
    fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    /// Whether the word was still `seen`, and is `next` now.
    fn moved(&self, seen: Word, next: Word) -> bool {
        self.word.compare_exchange(seen.0, next.0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The word after `word`, open for as long as it is its turn, counted `from` that moment.
    fn opened(&self, word: Word, from: Time) -> Word {
        word.then_open(from + self.back_off.span(word.openings() + 1, word.epoch()))
    }

    #[cold]
    fn admit_trial(&self, now: Time) -> Result<Permit, Rejected> {
        loop {
            let word = self.word();
            match word.state() {
                State::Closed { .. } => return Ok(Permit { epoch: word.epoch(), probe: false }),
                State::Open { until } if now < until => return Err(Rejected { until }),
                State::Open { .. } => {
                    self.moved(word, word.then_half_open(now + self.half_open_timeout));
                }
                State::HalfOpen { until } => {
                    if let Some(answer) = self.try_half_open(word, until, now) {
                        return answer;
                    }
                }
            }
        }
    }

    /// Admits a trial, or refuses; `None` if the state has changed, and the question is to be asked again.
    fn try_half_open(&self, mut word: Word, until: Time, now: Time) -> Option<Result<Permit, Rejected>> {
        let seen = Trials(self.trials.load(Ordering::Acquire));
        let trials = if seen.epoch() == word.epoch() { seen } else { Trials::none(word.epoch()) };
        if now >= until {
            if trials.under_way() > 0 {
                self.moved(word, self.opened(word, until));
                return None;
            }
            // Nothing hangs, nobody asked: no reason to think worse of the database.
            let renewed = word.half_open_until(now + self.half_open_timeout);
            if !self.moved(word, renewed) {
                return None;
            }
            word = renewed;
        }
        if trials.under_way() >= self.half_open_max_calls {
            return Some(Err(Rejected { until }));
        }
        // Had the state moved on before the trials were read, they might be those of a later epoch, and
        // must not be thrown away. If it has not, whatever else they are is of an earlier one.
        if self.word() != word {
            return None;
        }
        let begun = self.trials.compare_exchange(seen.0, trials.begun().0, Ordering::AcqRel, Ordering::Acquire);
        begun.is_ok().then_some(Ok(Permit { epoch: word.epoch(), probe: true }))
    }

    fn succeeded(&self, epoch: u64) {
        let without_failures = Word::closed(epoch, 0);
        let mut word = self.word();
        while word != without_failures && word.is_closed() && word.epoch() == epoch {
            if self.moved(word, without_failures) {
                return;
            }
            word = self.word();
        }
    }

    fn failed(&self, epoch: u64, now: Time) {
        loop {
            let word = self.word();
            let State::Closed { failures } = word.state() else { return };
            if word.epoch() != epoch {
                return;
            }
            let reached = failures + 1 >= self.failure_threshold;
            let next = if reached { self.opened(word, now) } else { Word::closed(epoch, failures + 1) };
            if self.moved(word, next) {
                return;
            }
        }
    }

    fn tried(&self, epoch: u64, outcome: Outcome, now: Time) {
        loop {
            let word = self.word();
            let State::HalfOpen { until } = word.state() else { return };
            if word.epoch() != epoch {
                return;
            }
            // One that comes back after the deadline was under way when it passed.
            if now >= until || matches!(outcome, Outcome::Failure { .. }) {
                if self.moved(word, self.opened(word, now.min(until))) {
                    return;
                }
                continue;
            }
            let seen = Trials(self.trials.load(Ordering::Acquire));
            if seen.epoch() != epoch {
                return;
            }
            let Some(ended) = seen.ended(matches!(outcome, Outcome::Success { .. })) else { return };
            if self.trials.compare_exchange(seen.0, ended.0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                if ended.succeeded() >= self.success_threshold {
                    self.close(epoch);
                }
                return;
            }
        }
    }

    fn close(&self, epoch: u64) {
        loop {
            let word = self.word();
            let half_open = matches!(word.state(), State::HalfOpen { .. });
            if !half_open || word.epoch() != epoch || self.moved(word, word.then_closed()) {
                return;
            }
        }
    }
}

impl Breaker for ConsecutiveFailures {
    #[inline]
    fn admit(&self, now: Time) -> Result<Permit, Rejected> {
        let word = self.word();
        if word.is_closed() { Ok(Permit { epoch: word.epoch(), probe: false }) } else { self.admit_trial(now) }
    }

    #[inline]
    fn record(&self, permit: Permit, outcome: Outcome, now: Time) {
        match outcome {
            _ if permit.probe => self.tried(permit.epoch, outcome, now),
            Outcome::Success { .. } => self.succeeded(permit.epoch),
            Outcome::Failure { .. } => self.failed(permit.epoch, now),
            _ => {}
        }
    }

    fn state(&self) -> BreakerState {
        match self.word().state() {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn resume(&self, from: BreakerState, now: Time) {
        loop {
            let word = self.word();
            let next = match from {
                _ if !word.is_closed() => return,
                BreakerState::Open => self.opened(word, now),
                BreakerState::HalfOpen => word.then_half_open(now + self.half_open_timeout),
                _ => return,
            };
            if self.moved(word, next) {
                return;
            }
        }
    }
}

impl fmt::Debug for ConsecutiveFailures {
    /// By hand: the words are packed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, trials) = (self.word(), Trials(self.trials.load(Ordering::Acquire)));
        f.debug_struct("ConsecutiveFailures")
            .field("state", &word.state())
            .field("epoch", &word.epoch())
            .field("openings", &word.openings())
            .field("trials", &trials)
            .field("failure_threshold", &self.failure_threshold)
            .field("half_open_max_calls", &self.half_open_max_calls)
            .field("success_threshold", &self.success_threshold)
            .field("half_open_timeout", &self.half_open_timeout)
            .field("back_off", &self.back_off)
            .finish()
    }
}
