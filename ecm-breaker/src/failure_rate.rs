use crate::{
    Cause, FailureRateConfig, Figures, Mode,
    gate::{Gate, Trial},
    recovery::Recovery,
    window::{Counts, Window},
};
use ecm_core::{Breaker, BreakerState, InvalidConfig, Outcome, Permit, Rejected, Time, Versions};
use std::{fmt, time::Duration};

/// A rate is kept in parts of this, so that comparing it is exact.
const WHOLE: u64 = 10_000;

/// Opens when too large a part of the calls within a sliding window of time has failed, or was slow; or, beside
/// that, when so many calls in a row have failed.
///
/// The states are those of [`ConsecutiveFailures`](crate::ConsecutiveFailures), trials, deadlines and back-off
/// included. What differs is what opens it, and that a trial which is slow counts as failed. When it closes, the
/// window is empty.
///
/// The window has ten buckets. Every call within it is counted exactly once, and it opens with the very call that
/// reaches a rate, be it a success that makes up `minimum_calls`.
///
/// A breaker behind an `Arc` is given to a manager by `breaker(move |_| Arc::clone(&breaker))`, for one database,
/// and whoever keeps the other clone can [set its mode](Self::set_mode), [change its configuration](Self::reconfigure)
/// and [see what it has done](Self::figures).
///
/// # Concurrency
/// Lock-free, without allocation, but for changes of the configuration. Admitting is two loads while it is closed.
/// The end of a call is one compare-and-swap on a word that the threads of one processor share, two if it was
/// slow; only while there was something bad within the window all its words are added up, 20 for each processor.
///
/// ```
/// use ecm_breaker::{Cause, FailureRate, FailureRateConfig};
/// use ecm_core::{Admission, BreakerState, Breaker, Time};
/// use std::time::Duration;
///
/// let second = Duration::from_secs(1);
/// let config = FailureRateConfig { slow_call_duration: Some(second), minimum_calls: 5, ..Default::default() };
/// let breaker = FailureRate::with_config(&config)?;
/// for call in 0..5 {
///     let begun = Time::START + second * call;
///     assert_eq!(breaker.state(), BreakerState::Closed);
///     Admission::ask(&breaker, begun).unwrap().succeeded(begun + second);
/// }
/// assert_eq!((breaker.state(), breaker.figures().cause), (BreakerState::Open, Some(Cause::SlowCallRate)));
/// # Ok::<(), ecm_core::InvalidConfig>(())
/// ```
pub struct FailureRate {
    gate: Gate,
    settings: Versions<Settings>,
}

#[derive(Debug)]
struct Settings {
    window: Window,
    failures: u64,
    slow: Duration,
    slow_calls: u64,
    minimum_calls: u64,
    threshold: u64,
    recovery: Recovery,
}

impl Settings {
    fn new(config: &FailureRateConfig, window: Window, recovery: Recovery) -> Self {
        let parts = |rate: f64| (rate * WHOLE as f64).round() as u64;
        Self {
            window,
            failures: parts(config.failure_rate),
            slow: config.slow_call_duration.unwrap_or(Duration::MAX),
            slow_calls: parts(config.slow_call_rate),
            minimum_calls: u64::from(config.minimum_calls),
            threshold: config.failure_threshold.map_or(u64::MAX, u64::from),
            recovery,
        }
    }

    /// What is reached, if anything is.
    fn reached(&self, counts: Counts) -> Option<Cause> {
        let Counts { total, failed, slow } = counts;
        if total < self.minimum_calls {
            return None;
        }
        if failed * WHOLE >= total * self.failures {
            return Some(Cause::FailureRate);
        }
        (slow * WHOLE >= total * self.slow_calls).then_some(Cause::SlowCallRate)
    }
}

impl FailureRate {
    /// Opens when this part of the calls of the last ten seconds has failed; the rest as
    /// [`FailureRateConfig::default`] says.
    ///
    /// # Panics
    /// If `failure_rate` is not between 0.0001 and 1.
    #[must_use]
    pub fn new(failure_rate: f64) -> Self {
        match Self::with_config(&FailureRateConfig { failure_rate, ..FailureRateConfig::default() }) {
            Ok(breaker) => breaker,
            Err(invalid) => panic!("{invalid}"),
        }
    }

    /// As `config` says.
    ///
    /// # Errors
    /// The first field that is not within its limits.
    pub fn with_config(config: &FailureRateConfig) -> Result<Self, InvalidConfig> {
        config.check()?;
        let settings = Settings::new(config, Window::new(config.window), config.recovery(None));
        Ok(Self { gate: Gate::new(), settings: Versions::new(settings) })
    }

    /// Does as `config` says from now on, and forgets nothing: what is in the window, failures in a row, trials
    /// under way, and until when it is open stay as they are. A rate that is reached already acts with the next
    /// call that ends. In a window of another length, a call may count as younger by up to one of its buckets;
    /// one that ends at this very instant may be left out.
    ///
    /// The old configuration stays in memory for as long as the breaker, with its window: some kilobytes.
    ///
    /// # Errors
    /// The first field that is not within its limits; nothing has changed then.
    pub fn reconfigure(&self, config: &FailureRateConfig) -> Result<(), InvalidConfig> {
        config.check()?;
        self.settings.change(|before| {
            let window = before.window.resized(config.window);
            Ok((Settings::new(config, window, config.recovery(Some(&before.recovery))), ()))
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

    #[inline]
    fn ended(&self, epoch: u64, took: Duration, failed: bool, now: Time) {
        let settings = self.settings.current();
        let slow = took >= settings.slow;
        if !settings.window.add(now, failed, slow, || self.gate.is_closed_in(epoch)) {
            return self.gate.late(epoch);
        }
        // Who reaches both opens it for one, and is not late for having opened it.
        if settings.window.is_suspect() && self.trips(settings, epoch, now) {
            return;
        }
        if failed {
            self.gate.failed(epoch, now, settings.threshold, &settings.recovery);
        } else {
            self.gate.succeeded(epoch);
        }
    }

    #[cold]
    fn trips(&self, settings: &Settings, epoch: u64, now: Time) -> bool {
        let reached = settings.reached(settings.window.counts());
        if let Some(cause) = reached {
            self.gate.trip(epoch, now, cause, &settings.recovery);
        }
        reached.is_some()
    }

    #[cold]
    fn tried(&self, epoch: u64, outcome: Outcome, now: Time) {
        let settings = self.settings.current();
        let trial = match outcome {
            Outcome::Success { took } if took < settings.slow => Trial::Succeeded,
            Outcome::Success { .. } | Outcome::Failure { .. } => Trial::Failed,
            _ => Trial::Abandoned,
        };
        let empty = |still: &dyn Fn() -> bool| settings.window.empty(epoch, still);
        self.gate.tried(epoch, trial, now, &settings.recovery, empty);
    }
}

impl Breaker for FailureRate {
    #[inline]
    fn admit(&self, now: Time) -> Result<Permit, Rejected> {
        self.gate.admit(now, || &self.settings.current().recovery)
    }

    #[inline]
    fn record(&self, permit: Permit, outcome: Outcome, now: Time) {
        match outcome {
            _ if !Gate::counts(permit) => {}
            _ if permit.probe => self.tried(permit.epoch, outcome, now),
            Outcome::Success { took } => self.ended(permit.epoch, took, false, now),
            Outcome::Failure { took } => self.ended(permit.epoch, took, true, now),
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

impl fmt::Debug for FailureRate {
    /// By hand: the words are packed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, settings) = (self.gate.word(), self.settings.current());
        f.debug_struct("FailureRate")
            .field("state", &word.state())
            .field("epoch", &word.epoch())
            .field("openings", &word.openings())
            .field("mode", &self.mode())
            .field("trials", &self.gate.trials())
            .field("window", &settings.window.counts())
            .field("minimum_calls", &settings.minimum_calls)
            .field("recovery", &settings.recovery)
            .finish()
    }
}
