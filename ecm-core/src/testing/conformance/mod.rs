//! What the traits promise, as tests: a line for an implementation of your own.
//!
//! Each suite makes its subject many times over, holds it to one promise after the other, and panics
//! with the name of each promise that is broken and what was seen instead.
//!
//! ```
//! use ecm_core::{FirstFit, testing::conformance};
//!
//! conformance::balancer(|| FirstFit);
//! ```

mod balancer;
mod breaker;
mod promise;

pub use balancer::{BalancerException, balancer, balancer_except};
pub use breaker::{BreakerException, breaker, breaker_except};
