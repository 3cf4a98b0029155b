//! The connection pool of ECM: lends the connections of one database, first come, first served.
//!
//! **Who should depend on this crate:** the facade, [`ecm`](https://docs.rs/ecm), which programs
//! use. It knows the traits of `ecm-core` and nothing else of the workspace.
//!
//! A [`Pool`] lends connections; a [`Lane`] is a pool of one that writes, and runs transactions on
//! it. Whatever waits is a future, so callers that block and callers that await stand in one queue.
//! A loan of an idle connection takes no lock, allocates nothing and reads no clock.
//!
//! ```
//! use ecm_core::{Clock, Loan, SystemClock, Time, block_on, testing::Fake};
//! use ecm_pool::{Pool, PoolConfig, PoolParts};
//! use std::sync::Arc;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
//! let config = PoolConfig { max_connections: 4, ..PoolConfig::default() };
//! let pool = Pool::new(Arc::new(Fake::new()), config, PoolParts::new("main", Arc::clone(&clock)));
//!
//! let lent = block_on(pool.lend(Loan::Read, clock.now(), Time::NEVER))?;
//! assert_eq!((pool.status().lent, pool.status().idle), (1, 0));
//! drop(lent);
//!
//! let again = pool.lend_now(Loan::Read, clock.now());
//! assert!(again.is_some(), "the connection is idle, so nothing is opened");
//! assert_eq!(pool.status().opened, 1);
//! # Ok(())
//! # }
//! ```
//!
//! It looks after its connections by an alarm of the clock, and has a thread only while there are some to
//! open ahead of need, to check, or to visit because they keep something between loans
//! ([`Connection::idle`](ecm_core::Connection::idle)). It is not a scheduler of work.

mod after;
mod asking;
mod barrier;
mod batch;
mod caller;
mod cell;
mod commit_watch;
mod common_cause;
mod config;
mod draining;
mod errand;
mod fairness;
mod front;
mod hints;
mod lane;
mod lending;
mod lent;
mod line;
mod opening;
mod parts;
mod place;
mod pool;
mod posting;
mod queue;
mod random;
mod seat;
#[cfg(feature = "serde")]
mod seconds;
mod shared;
mod slots;
mod state;
mod strategy;
mod sync;
mod terms;
mod workers;

pub use commit_watch::{CommitEnd, CommitWatch};
pub use config::PoolConfig;
pub use fairness::Fairness;
pub use lane::{Lane, Transacted};
pub use lending::{Lending, OwnedLending};
pub use lent::{Lent, Owned};
pub use parts::PoolParts;
pub use pool::Pool;
pub use strategy::{Adaptive, Balanced, Performance, PoolStrategy, ResourceConserving};
pub use terms::Terms;
pub use workers::{OwnThread, Workers};
