//! What the traits promise, as tests: a line for an implementation of your own.
//!
//! Each suite makes its subject many times over, holds it to one promise after the other, and panics
//! with the name of each promise that is broken and what was seen instead. It knows the contract of
//! the trait and nothing else, so whatever passes can be put into a manager.
//!
//! ```
//! use ecm_core::{FirstFit, FixedSize, NoCache, NoObserver, testing::conformance};
//!
//! conformance::balancer(|| FirstFit);
//! conformance::cache(|| NoCache);
//! conformance::observer(|| NoObserver);
//! conformance::sizing(|| FixedSize);
//! ```

mod at_once;
mod backend;
mod balancer;
mod breaker;
mod cache;
mod observer;
mod promise;
mod sizing;

pub use backend::{BackendScript, backend, savepoints};
pub use balancer::{BalancerException, balancer, balancer_except};
pub use breaker::{BreakerException, breaker, breaker_except};
pub use cache::{cache, cache_with_ttl};
pub use observer::observer;
pub use sizing::sizing;
