use crate::{back_off::BackOff, limits, recovery::Recovery};
use ecm_core::InvalidConfig;
use std::{ops::RangeInclusive, time::Duration};

pub(crate) const THRESHOLDS: RangeInclusive<u32> = 1..=1_000_000;

/// When a [`ConsecutiveFailures`](crate::ConsecutiveFailures) opens, for how long, and what closes it.
///
/// ```
/// use ecm_breaker::ConsecutiveFailuresConfig;
///
/// let config = ConsecutiveFailuresConfig { failure_threshold: 0, ..ConsecutiveFailuresConfig::default() };
/// assert_eq!(
///     config.check().unwrap_err().to_string(),
///     "failure_threshold = 0 is not acceptable: between 1 and 1000000"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsecutiveFailuresConfig {
    /// How many calls in a row have to fail until it opens. It opens with the last of them.
    ///
    /// A call that succeeds begins the count anew; one that was abandoned changes nothing. What
    /// counts as a failure is decided before: faults of the database, not those of a statement.
    ///
    /// *Default:* 5 calls. *Limits:* 1 to 1,000,000.
    pub failure_threshold: u32,
    /// For how long it stays open the first time.
    ///
    /// Each further time without having closed in between it is twice as long, up to
    /// `max_recovery_timeout`. Of that a random part is taken, from one half to the whole ("equal
    /// jitter", by `seed`), so that many breakers that opened together do not try again together.
    ///
    /// *Default:* 60 seconds. *Limits:* 1 millisecond to 1 day.
    pub recovery_timeout: Duration,
    /// The longest that it stays open before it tries again.
    ///
    /// Ends the doubling of `recovery_timeout`; equal to it, every time is as long as the first.
    ///
    /// *Default:* 5 minutes, as long as Envoy ejects a host (`max_ejection_time`).
    /// *Limits:* `recovery_timeout` to 1 day.
    pub max_recovery_timeout: Duration,
    /// How many calls may be under way at the same time while it is half-open.
    ///
    /// A call that ends, or is abandoned, makes room for the next. One that fails opens the breaker
    /// again.
    ///
    /// *Default:* 3 calls. *Limits:* 1 to 1,000.
    pub half_open_max_calls: u32,
    /// How many calls have to succeed while it is half-open until it closes.
    ///
    /// May be more than `half_open_max_calls`: they need not be under way at the same time.
    ///
    /// *Default:* 3 calls, as many as are tried at once by default. *Limits:* 1 to 1,000.
    pub success_threshold: u32,
    /// How long the trial calls of a half-open breaker may take.
    ///
    /// When it has passed while some are still under way, the breaker opens as if one had failed:
    /// they may hang, and would keep their places for ever. With none under way, the next call begins
    /// a new span, and what has succeeded before still counts. Should be longer than the slowest
    /// call that is healthy, since a success that comes later does not count.
    ///
    /// *Default:* 30 seconds, as long as a pool lets a caller wait. *Limits:* 1 millisecond to 1 day.
    pub half_open_timeout: Duration,
    /// Where the random part of `recovery_timeout` comes from; with a seed it is the same each time.
    ///
    /// Breakers with the same seed and settings stay open equally long, which the random part is to
    /// prevent: give one only to repeat a run.
    ///
    /// *Default:* none: a seed that differs for every breaker. *Limits:* any number.
    pub seed: Option<u64>,
}

impl ConsecutiveFailuresConfig {
    /// Whether every field is within its limits.
    ///
    /// # Errors
    /// The first field that is not.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        limits::number("failure_threshold", self.failure_threshold, &THRESHOLDS)?;
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

impl Default for ConsecutiveFailuresConfig {
    fn default() -> Self {
        Self {
            failure_threshold: 5,
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
        type Change = fn(&mut ConsecutiveFailuresConfig);
        const DAY: Duration = Duration::from_secs(86_400);
        let wrong: [(&str, &str, Change); 14] = [
            ("failure_threshold", "0", |config| config.failure_threshold = 0),
            ("failure_threshold", "1000001", |config| config.failure_threshold = 1_000_001),
            ("recovery_timeout", "0ns", |config| config.recovery_timeout = Duration::ZERO),
            ("recovery_timeout", "999.999µs", |config| config.recovery_timeout = Duration::from_nanos(999_999)),
            ("recovery_timeout", "86400.000000001s", |config| config.recovery_timeout = DAY + Duration::from_nanos(1)),
            ("max_recovery_timeout", "59.9s", |config| config.max_recovery_timeout = Duration::from_millis(59_900)),
            ("max_recovery_timeout", "172800s", |config| config.max_recovery_timeout = 2 * DAY),
            ("max_recovery_timeout", "300s", |config| config.recovery_timeout = DAY),
            ("half_open_max_calls", "0", |config| config.half_open_max_calls = 0),
            ("half_open_max_calls", "1001", |config| config.half_open_max_calls = 1_001),
            ("success_threshold", "0", |config| config.success_threshold = 0),
            ("success_threshold", "1001", |config| config.success_threshold = 1_001),
            ("half_open_timeout", "1ns", |config| config.half_open_timeout = Duration::from_nanos(1)),
            ("half_open_timeout", "172800s", |config| config.half_open_timeout = 2 * DAY),
        ];
        for (field, value, change) in wrong {
            let mut config = ConsecutiveFailuresConfig::default();
            change(&mut config);
            let invalid = config.check().expect_err(field);
            assert_eq!((invalid.field, invalid.value.as_str()), (field, value));
        }
        for (least_or_most, span) in [(1, Duration::from_millis(1)), (1_000, DAY)] {
            let config = ConsecutiveFailuresConfig {
                failure_threshold: least_or_most * least_or_most,
                recovery_timeout: span,
                max_recovery_timeout: span,
                half_open_max_calls: least_or_most,
                success_threshold: least_or_most,
                half_open_timeout: span,
                seed: None,
            };
            assert_eq!(config.check(), Ok(()));
        }
        assert_eq!(ConsecutiveFailuresConfig::default().check(), Ok(()));
    }
}
