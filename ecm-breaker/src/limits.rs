use ecm_core::InvalidConfig;
use std::{ops::RangeInclusive, time::Duration};

pub(crate) fn number(field: &'static str, value: u32, limits: &RangeInclusive<u32>) -> Result<(), InvalidConfig> {
    if limits.contains(&value) {
        return Ok(());
    }
    Err(InvalidConfig::new(field, value, format_args!("between {} and {}", limits.start(), limits.end())))
}

pub(crate) fn span(
    field: &'static str,
    value: Duration,
    limits: &RangeInclusive<Duration>,
) -> Result<(), InvalidConfig> {
    if limits.contains(&value) {
        return Ok(());
    }
    let accepted = format_args!("between {:?} and {:?}", limits.start(), limits.end());
    Err(InvalidConfig::new(field, format_args!("{value:?}"), accepted))
}

/// A part of all calls, from one in ten thousand to all of them.
pub(crate) fn part(field: &'static str, value: f64) -> Result<(), InvalidConfig> {
    if (0.0001..=1.0).contains(&value) {
        return Ok(());
    }
    Err(InvalidConfig::new(field, value, "between 0.0001 and 1"))
}
