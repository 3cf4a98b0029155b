//! The breakers of this crate keep what every breaker promises.

use ecm_breaker::{ConsecutiveFailures, ConsecutiveFailuresConfig, FailureRate, FailureRateConfig, Mode};
use ecm_core::testing::conformance::{self, BreakerException};
use std::{sync::Arc, time::Duration};

#[test]
fn consecutive_failures() {
    conformance::breaker(|| ConsecutiveFailures::new(5));
}

#[test]
fn consecutive_failures_at_its_limits() {
    let millisecond = Duration::from_millis(1);
    let smallest = ConsecutiveFailuresConfig {
        failure_threshold: 1,
        recovery_timeout: millisecond,
        max_recovery_timeout: millisecond,
        half_open_max_calls: 1,
        success_threshold: 1,
        half_open_timeout: millisecond,
        seed: Some(2),
    };
    let day = Duration::from_secs(86_400);
    let large = ConsecutiveFailuresConfig {
        failure_threshold: 5_000,
        recovery_timeout: day,
        max_recovery_timeout: day,
        half_open_max_calls: 900,
        success_threshold: 1_000,
        half_open_timeout: day,
        seed: Some(3),
    };
    for config in [smallest, large] {
        conformance::breaker(move || ConsecutiveFailures::with_config(&config).expect("it is within the limits"));
    }
}

#[test]
fn failure_rate() {
    conformance::breaker(|| FailureRate::new(0.5));
    conformance::breaker(|| Arc::new(FailureRate::new(0.5)));
}

#[test]
fn failure_rate_at_its_limits() {
    let millisecond = Duration::from_millis(1);
    let smallest = FailureRateConfig {
        failure_rate: 0.0001,
        slow_call_duration: Some(Duration::from_secs(1)),
        slow_call_rate: 0.0001,
        window: Duration::from_secs(1),
        minimum_calls: 1,
        failure_threshold: Some(1),
        recovery_timeout: millisecond,
        max_recovery_timeout: millisecond,
        half_open_max_calls: 1,
        success_threshold: 1,
        half_open_timeout: millisecond,
        seed: Some(2),
    };
    let day = Duration::from_secs(86_400);
    let large = FailureRateConfig {
        failure_rate: 1.0,
        slow_call_duration: None,
        slow_call_rate: 1.0,
        window: Duration::from_secs(3_600),
        minimum_calls: 5_000,
        failure_threshold: None,
        recovery_timeout: day,
        max_recovery_timeout: day,
        half_open_max_calls: 900,
        success_threshold: 1_000,
        half_open_timeout: day,
        seed: Some(3),
    };
    for config in [smallest, large] {
        conformance::breaker(move || FailureRate::with_config(&config).expect("it is within the limits"));
    }
}

#[test]
fn one_that_observes_or_is_disabled_never_opens() {
    let exceptions = [BreakerException::NeverOpens, BreakerException::ForgetsOnResume];
    for mode in [Mode::Observing, Mode::Disabled] {
        conformance::breaker_except(&exceptions, move || {
            let breaker = FailureRate::new(0.5);
            breaker.set_mode(mode);
            breaker
        });
    }
}
