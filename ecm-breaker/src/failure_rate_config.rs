use crate::{
    back_off::BackOff,
    consecutive_failures_config::THRESHOLDS,
    limits,
    recovery::{Recovery, SPANS},
};
use ecm_core::InvalidConfig;
use std::{ops::RangeInclusive, time::Duration};

const WINDOWS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);

/// When a [`FailureRate`](crate::FailureRate) opens, for how long, and what closes it.
///
/// ```
/// use ecm_breaker::FailureRateConfig;
///
/// let config = FailureRateConfig { failure_rate: 50.0, ..FailureRateConfig::default() };
/// assert_eq!(
///     config.check().unwrap_err().to_string(),
///     "failure_rate = 50 is not acceptable: between 0.0001 and 1"
/// );
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct FailureRateConfig {
    /// Which part of the calls within `window` has to fail until it opens. It opens with the call that reaches it.
    ///
    /// What counts as a failure is decided before: faults of the database, not those of a statement.
    ///
    /// *Default:* 0.5. *Limits:* 0.0001 to 1.
    pub failure_rate: f64,
    /// From which duration on a call counts as slow; `None` if none does.
    ///
    /// Measured from the admission to the answer, waiting for a connection included. A call that fails slowly is
    /// counted as both, each for its own rate. A trial that is slow counts as failed.
    ///
    /// *Default:* none. *Limits:* 1 millisecond to 1 day.
    pub slow_call_duration: Option<Duration>,
    /// Which part of the calls within `window` has to be slow until it opens.
    ///
    /// *Default:* 0.8. *Limits:* 0.0001 to 1; acts only with `slow_call_duration`.
    pub slow_call_rate: f64,
    /// How far back calls are looked at.
    ///
    /// In ten steps: a call counts for at least nine tenths of it.
    ///
    /// *Default:* 10 seconds. *Limits:* 1 second to 1 hour.
    pub window: Duration,
    /// How many calls there have to be within `window` until a rate says something.
    ///
    /// *Default:* 20 calls. *Limits:* 1 to 1,000,000.
    pub minimum_calls: u32,
    /// How many calls in a row have to fail until it opens, whatever the rates say; `None` if that plays no part.
    ///
    /// Catches a database that is gone before `minimum_calls` are there.
    ///
    /// *Default:* 5 calls, as Finagle and linkerd. *Limits:* 1 to 1,000,000.
    pub failure_threshold: Option<u32>,
    /// For how long it stays open the first time: see
    /// [`ConsecutiveFailuresConfig`](crate::ConsecutiveFailuresConfig::recovery_timeout).
    ///
    /// *Default:* 60 seconds. *Limits:* 1 millisecond to 1 day.
    pub recovery_timeout: Duration,
    /// The longest that it stays open before it tries again.
    ///
    /// Ends the doubling of `recovery_timeout`.
    ///
    /// *Default:* 5 minutes. *Limits:* `recovery_timeout` to 1 day.
    pub max_recovery_timeout: Duration,
    /// How many calls may be under way at the same time while it is half-open.
    ///
    /// *Default:* 3 calls. *Limits:* 1 to 1,000.
    pub half_open_max_calls: u32,
    /// How many calls have to succeed while it is half-open until it closes, with an empty window.
    ///
    /// *Default:* 3 calls. *Limits:* 1 to 1,000.
    pub success_threshold: u32,
    /// How long the trial calls of a half-open breaker may take; one that is still under way then has failed.
    ///
    /// *Default:* 30 seconds. *Limits:* 1 millisecond to 1 day.
    pub half_open_timeout: Duration,
    /// Where the random part of `recovery_timeout` comes from; with a seed it is the same each time.
    ///
    /// *Default:* none: a seed that differs for every breaker. *Limits:* any number.
    pub seed: Option<u64>,
}

impl FailureRateConfig {
    /// Whether every field is within its limits.
    ///
    /// # Errors
    /// The first field that is not.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        limits::part("failure_rate", self.failure_rate)?;
        if let Some(slow) = self.slow_call_duration {
            limits::span("slow_call_duration", slow, &SPANS)?;
        }
        limits::part("slow_call_rate", self.slow_call_rate)?;
        limits::span("window", self.window, &WINDOWS)?;
        limits::number("minimum_calls", self.minimum_calls, &THRESHOLDS)?;
        if let Some(threshold) = self.failure_threshold {
            limits::number("failure_threshold", threshold, &THRESHOLDS)?;
        }
        Recovery::check(
            self.recovery_timeout,
            self.max_recovery_timeout,
            self.half_open_max_calls,
            self.success_threshold,
            self.half_open_timeout,
        )
    }

    /// The seed is that of `before` where none is given.
    pub(crate) fn recovery(&self, before: Option<&Recovery>) -> Recovery {
        let seed = Recovery::seed(self.seed, before);
        Recovery {
            back_off: BackOff { first: self.recovery_timeout, most: self.max_recovery_timeout, seed },
            half_open_max_calls: self.half_open_max_calls,
            success_threshold: self.success_threshold,
            half_open_timeout: self.half_open_timeout,
        }
    }
}

impl Default for FailureRateConfig {
    fn default() -> Self {
        Self {
            failure_rate: 0.5,
            slow_call_duration: None,
            slow_call_rate: 0.8,
            window: Duration::from_secs(10),
            minimum_calls: 20,
            failure_threshold: Some(5),
            recovery_timeout: Duration::from_secs(60),
            max_recovery_timeout: Duration::from_secs(300),
            half_open_max_calls: 3,
            success_threshold: 3,
            half_open_timeout: Duration::from_secs(30),
            seed: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_values_are_refused_by_name() {
        type Change = fn(&mut FailureRateConfig);
        const NANO: Duration = Duration::from_nanos(1);
        let wrong: [(&str, Change); 16] = [
            ("failure_rate", |config| config.failure_rate = 0.0),
            ("failure_rate", |config| config.failure_rate = f64::NAN),
            ("slow_call_duration", |config| config.slow_call_duration = Some(NANO)),
            ("slow_call_rate", |config| config.slow_call_rate = 1.1),
            ("slow_call_rate", |config| config.slow_call_rate = -1.0),
            ("window", |config| config.window = Duration::from_millis(999)),
            ("window", |config| config.window = Duration::from_secs(3_601)),
            ("minimum_calls", |config| config.minimum_calls = 0),
            ("minimum_calls", |config| config.minimum_calls = 1_000_001),
            ("failure_threshold", |config| config.failure_threshold = Some(0)),
            ("recovery_timeout", |config| config.recovery_timeout = NANO),
            ("max_recovery_timeout", |config| config.max_recovery_timeout = NANO),
            ("half_open_max_calls", |config| config.half_open_max_calls = 0),
            ("success_threshold", |config| config.success_threshold = 1_001),
            ("half_open_timeout", |config| config.half_open_timeout = NANO),
            ("half_open_timeout", |config| config.half_open_timeout = Duration::MAX),
        ];
        for (field, change) in wrong {
            let mut config = FailureRateConfig::default();
            change(&mut config);
            assert_eq!(config.check().expect_err(field).field, field);
        }
        assert_eq!(FailureRateConfig::default().check(), Ok(()));
    }
}
