//! Circuit breakers for ECM: whether a database may be used now.
//!
//! Each is an [`ecm_core::Breaker`], chosen by a recipe on the builder of `ecm`, one for each
//! database: `builder.breaker(|_database| FailureRate::new(0.5))`.
//!
//! | breaker | opens when |
//! |---|---|
//! | [`ConsecutiveFailures`] | so many calls in a row have failed |
//! | [`FailureRate`] | too large a part of the calls in a sliding window of time has failed or was slow, or so many in a row |
//!
//! Both try again after a while with a few calls. They lock nothing, allocate nothing and read no clock: the time
//! is given with every question. A permit belongs to the state in which it was given: what comes back later
//! counts for nothing. People can force them open, switch them off or have them only observe ([`Mode`]), and
//! change their configuration while they work.

mod back_off;
mod consecutive_failures;
mod consecutive_failures_config;
mod failure_rate;
mod failure_rate_config;
mod figures;
mod gate;
mod limits;
mod mode;
mod recovery;
mod sync;
mod trials;
mod window;
mod word;

pub use consecutive_failures::ConsecutiveFailures;
pub use consecutive_failures_config::ConsecutiveFailuresConfig;
pub use failure_rate::FailureRate;
pub use failure_rate_config::FailureRateConfig;
pub use figures::{Cause, Figures};
pub use mode::Mode;
