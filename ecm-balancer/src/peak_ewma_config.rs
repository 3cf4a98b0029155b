use ecm_core::InvalidConfig;
use std::{ops::RangeInclusive, time::Duration};

const DECAYS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3_600);
const PENALTIES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3_600);
const SLOW_STARTS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3_600);

/// How a [`PeakEwma`](crate::PeakEwma) remembers, and whom it distrusts for how long.
///
/// ```
/// use ecm_balancer::PeakEwmaConfig;
/// use std::time::Duration;
///
/// let config = PeakEwmaConfig { decay: Duration::ZERO, ..PeakEwmaConfig::default() };
/// assert_eq!(config.check().unwrap_err().to_string(), "decay = 0ns is not acceptable: between 100ms and 3600s");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeakEwmaConfig {
    /// In which time a sample loses weight to 1/e.
    ///
    /// After a peak a database is half forgiven after 0.69 of it, and one that is not asked at all is tried again
    /// the sooner, the shorter this is.
    ///
    /// *Default:* 10 seconds, as in Finagle (`decayTime`) and linkerd (`DEFAULT_RTT_DECAY`). *Limits:* 100
    /// milliseconds to 1 hour.
    pub decay: Duration,
    /// What a failed call counts as having taken at least, so that failing fast does not look good; and what a
    /// database is taken for of which nothing is known, while the first call to it is under way.
    ///
    /// Decays like any other sample. A database that answers again is believed at once, within `slow_start`.
    ///
    /// *Default:* 5 seconds, as in linkerd (`load-biaser`). *Limits:* 1 millisecond to 1 hour.
    pub penalty: Duration,
    /// How long a database that is new, or has healed, gets less than its weight.
    ///
    /// Its weight grows in a straight line from a tenth: Envoy's slow start with `aggression` 1 and
    /// `min_weight_percent` 10. Where all databases are new at the same time, none gets less than another.
    ///
    /// *Default:* 10 seconds. *Limits:* 0, which is off, to 1 hour.
    pub slow_start: Duration,
    /// Where the two choices among more than eight databases come from.
    ///
    /// *Default:* none: a seed that differs each time. *Limits:* any number.
    pub seed: Option<u64>,
}

impl PeakEwmaConfig {
    /// Whether every field is within its limits.
    ///
    /// # Errors
    /// The first field that is not.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        for (field, value, limits) in [
            ("decay", self.decay, DECAYS),
            ("penalty", self.penalty, PENALTIES),
            ("slow_start", self.slow_start, SLOW_STARTS),
        ] {
            if !limits.contains(&value) {
                let accepted = format_args!("between {:?} and {:?}", limits.start(), limits.end());
                return Err(InvalidConfig::new(field, format_args!("{value:?}"), accepted));
            }
        }
        Ok(())
    }
}

impl Default for PeakEwmaConfig {
    fn default() -> Self {
        Self {
            decay: Duration::from_secs(10),
            penalty: Duration::from_secs(5),
            slow_start: Duration::from_secs(10),
            seed: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_values_are_refused_by_name() {
        let default = PeakEwmaConfig::default();
        assert_eq!(default.check(), Ok(()));
        let (day, nano) = (Duration::from_secs(86_400), Duration::from_nanos(1));
        for (field, config) in [
            ("decay", PeakEwmaConfig { decay: nano, ..default.clone() }),
            ("decay", PeakEwmaConfig { decay: day, ..default.clone() }),
            ("penalty", PeakEwmaConfig { penalty: nano, ..default.clone() }),
            ("penalty", PeakEwmaConfig { penalty: day, ..default.clone() }),
            ("slow_start", PeakEwmaConfig { slow_start: day, ..default }),
        ] {
            assert_eq!(config.check().unwrap_err().field, field);
        }
        let off = PeakEwmaConfig { slow_start: Duration::ZERO, ..PeakEwmaConfig::default() };
        assert_eq!(off.check(), Ok(()));
    }
}
