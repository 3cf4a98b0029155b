use crate::{back_off::BackOff, limits};
use ecm_core::InvalidConfig;
use std::{
    hash::{BuildHasher, RandomState},
    ops::RangeInclusive,
    time::Duration,
};

const CALLS: RangeInclusive<u32> = 1..=1_000;
pub(crate) const SPANS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);

/// How a breaker that has opened comes back: the fields that the configurations of all of them have.
#[derive(Debug)]
pub(crate) struct Recovery {
    pub(crate) back_off: BackOff,
    pub(crate) half_open_max_calls: u32,
    pub(crate) success_threshold: u32,
    pub(crate) half_open_timeout: Duration,
}

impl Recovery {
    /// # Errors
    /// The first field that is not within its limits.
    pub(crate) fn check(
        recovery_timeout: Duration,
        max_recovery_timeout: Duration,
        half_open_max_calls: u32,
        success_threshold: u32,
        half_open_timeout: Duration,
    ) -> Result<(), InvalidConfig> {
        limits::span("recovery_timeout", recovery_timeout, &SPANS)?;
        if max_recovery_timeout < recovery_timeout {
            let value = format_args!("{max_recovery_timeout:?}");
            let accepted = format_args!("at least recovery_timeout, {recovery_timeout:?}");
            return Err(InvalidConfig::new("max_recovery_timeout", value, accepted));
        }
        limits::span("max_recovery_timeout", max_recovery_timeout, &SPANS)?;
        limits::number("half_open_max_calls", half_open_max_calls, &CALLS)?;
        limits::number("success_threshold", success_threshold, &CALLS)?;
        limits::span("half_open_timeout", half_open_timeout, &SPANS)
    }

    /// Where no seed is given, that of `before`, or one that differs each time.
    pub(crate) fn seed(given: Option<u64>, before: Option<&Self>) -> u64 {
        given.or_else(|| before.map(|before| before.back_off.seed)).unwrap_or_else(|| RandomState::new().hash_one(0))
    }
}
