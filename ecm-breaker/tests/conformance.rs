//! The breakers of this crate keep what every breaker promises.

use ecm_breaker::{ConsecutiveFailures, ConsecutiveFailuresConfig};
use ecm_core::testing::conformance;
use std::time::Duration;

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
