//! Circuit breakers for ECM: whether a database may be used now.
//!
//! Each is an [`ecm_core::Breaker`], chosen by a recipe on the builder of `ecm`, one for each
//! database: `builder.breaker(|_database| ConsecutiveFailures::new(5))`.
//!
//! [`ConsecutiveFailures`] opens when so many calls in a row have failed, and tries again after a
//! while with a few calls. It locks nothing, allocates nothing and reads no clock: the time is given
//! with every question.

mod back_off;
mod config;
mod consecutive_failures;
mod sync;
mod trials;
mod word;

pub use config::ConsecutiveFailuresConfig;
pub use consecutive_failures::ConsecutiveFailures;
