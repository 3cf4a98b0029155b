use crate::{
    ConsecutiveFailuresConfig, Figures, Mode,
    gate::{Gate, Trial},
    recovery::Recovery,
};
use ecm_core::{Breaker, BreakerState, InvalidConfig, Outcome, Permit, Rejected, Time, Versions};
use std::fmt;

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
/// from then on, from a half-open one half-open, with trials of its own. A breaker that has opened itself is at most
/// made half-open, before its time.
///
/// A breaker behind an `Arc` is given to a manager by `breaker(move |_| Arc::clone(&breaker))`, for one database,
/// and whoever keeps the other clone can [set its mode](Self::set_mode), [change its configuration](Self::reconfigure)
/// and [see what it has done](Self::figures).
///
/// # Concurrency
/// Lock-free, without allocation, but for changes of the configuration. A closed breaker is only read: two loads
/// to admit, one to record a success, and a write only after failures.
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
    gate: Gate,
    settings: Versions<Settings>,
}

#[derive(Debug)]
struct Settings {
    failure_threshold: u64,
    recovery: Recovery,
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
        let settings =
            Settings { failure_threshold: u64::from(config.failure_threshold), recovery: config.recovery(None) };
        Ok(Self { gate: Gate::new(), settings: Versions::new(settings) })
    }

    /// Does as `config` says from now on, and forgets nothing: failures in a row, trials under way, and until
    /// when it is open stay as they are. A threshold that is reached already acts with the next failure.
    ///
    /// The old configuration stays in memory for as long as the breaker.
    ///
    /// # Errors
    /// The first field that is not within its limits; nothing has changed then.
    pub fn reconfigure(&self, config: &ConsecutiveFailuresConfig) -> Result<(), InvalidConfig> {
        config.check()?;
        self.settings.change(|before| {
            let recovery = config.recovery(Some(&before.recovery));
            Ok((Settings { failure_threshold: u64::from(config.failure_threshold), recovery }, ()))
        })
    }

    /// Whether it acts on what it counts. *Default:* [`Mode::Enforcing`].
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.gate.mode()
    }

    /// Changes that. What it has counted and the state that it is in stay as they are, beneath, and act again
    /// when it is enforcing again.
    pub fn set_mode(&self, mode: Mode) {
        self.gate.set_mode(mode);
    }

    /// The state that it would be in if it were enforcing; [`state`](Breaker::state) is what callers see.
    #[must_use]
    pub fn would_be(&self) -> BreakerState {
        self.gate.would_be()
    }

    /// What it has done since it was made.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.gate.figures()
    }

    #[cold]
    fn failed(&self, epoch: u64, now: Time) {
        let settings = self.settings.current();
        self.gate.failed(epoch, now, settings.failure_threshold, &settings.recovery);
    }

    #[cold]
    fn tried(&self, epoch: u64, outcome: Outcome, now: Time) {
        let trial = match outcome {
            Outcome::Success { .. } => Trial::Succeeded,
            Outcome::Failure { .. } => Trial::Failed,
            _ => Trial::Abandoned,
        };
        self.gate.tried(epoch, trial, now, &self.settings.current().recovery, |_| {});
    }
}

impl Breaker for ConsecutiveFailures {
    #[inline]
    fn admit(&self, now: Time) -> Result<Permit, Rejected> {
        self.gate.admit(now, || &self.settings.current().recovery)
    }

    #[inline]
    fn record(&self, permit: Permit, outcome: Outcome, now: Time) {
        match outcome {
            _ if !Gate::counts(permit) => {}
            _ if permit.probe => self.tried(permit.epoch, outcome, now),
            Outcome::Success { .. } => self.gate.succeeded(permit.epoch),
            Outcome::Failure { .. } => self.failed(permit.epoch, now),
            _ => {}
        }
    }

    fn state(&self) -> BreakerState {
        self.gate.state()
    }

    fn resume(&self, from: BreakerState, now: Time) {
        self.gate.resume(from, now, &self.settings.current().recovery);
    }
}

impl fmt::Debug for ConsecutiveFailures {
    /// By hand: the words are packed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.gate.word();
        f.debug_struct("ConsecutiveFailures")
            .field("state", &word.state())
            .field("epoch", &word.epoch())
            .field("openings", &word.openings())
            .field("mode", &self.mode())
            .field("trials", &self.gate.trials())
            .field("settings", self.settings.current())
            .finish()
    }
}
