//! What implementations of the traits are held to: a suite for each trait, run with one line.
//!
//! A suite panics with the promise that is broken and what was seen instead. It knows the contract of
//! the trait and nothing else, so whatever passes can be put into a manager.
//!
//! ```
//! use ecm_core::{FixedSize, NoCache, NoObserver, testing::conformance};
//!
//! conformance::cache(|| NoCache);
//! conformance::observer(|| NoObserver);
//! conformance::sizing(|| FixedSize);
//! ```

mod at_once;
mod backend;
mod cache;
#[cfg(test)]
mod caught;
mod observer;
mod promises;
mod sizing;

pub use backend::{BackendScript, backend};
pub use cache::{cache, cache_with_ttl};
pub use observer::observer;
pub use sizing::sizing;
