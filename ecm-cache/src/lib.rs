//! Result caches for ECM: bounded stores of query results.
//!
//! Each is an [`ecm_core::Cache`], given to the builder of `ecm`. A cache only stores: whether an entry
//! may still be served is decided by the facade.
//!
//! All are bounded in entries, in bytes and in age, count the same figures, and are shared by all threads. They
//! differ in what goes when room is needed, and in what a hit costs where threads meet:
//!
//! | strategy | feature | what goes first | a hit takes |
//! |---|---|---|---|
//! | `Quick` | `quick` | what was asked for once, then what was asked for least lately | a read lock of one part, of its own for each thread |
//! | `Lru` | `lru` | what was not asked for longest | the only lock |
//! | `Sharded` | `sharded` | the oldest | a read lock of one part |
//!
//! `Quick` is the one to begin with. What each keeps of some loads, beside the best that is possible, is drawn by the example
//! `hit_ratios`, in `docs/cache-hit-ratios.svg`.
//!
//! [`ByWorth`] goes around any of them, and stores only what saves enough time for the bytes it takes. That pays where
//! results differ much in that.
//!
//! All features are on by default.
//!
//! ```
//! # #[cfg(feature = "quick")]
//! # fn main() -> Result<(), ecm_core::InvalidConfig> {
//! use ecm_cache::{Quick, QuickConfig};
//! use ecm_core::{Cache, Entry, KeyRef, Position, Time, ValueRef};
//! use std::{sync::Arc, time::Duration};
//!
//! let cache = Quick::new(&QuickConfig { ttl: Duration::from_secs(60), ..QuickConfig::default() })?;
//! let stored = Time::START;
//! let entry =
//!     Entry { rows: Arc::default(), versions: Box::default(), epoch: 0, position: Position::default(), stored,
//!     took: Duration::from_micros(30), bytes: 200 };
//!
//! let parameters = [ValueRef::Integer(7)];
//! let key = KeyRef::new(0, 1, &parameters);
//! cache.insert(key.to_key(), Arc::new(entry));
//! assert!(cache.get(key, stored).is_some());
//! assert!(cache.get(key, stored + Duration::from_secs(60)).is_none(), "it has become too old");
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "quick"))]
//! # fn main() {}
//! ```

#[cfg(any(feature = "quick", feature = "lru", feature = "sharded"))]
mod bounds;
#[cfg(any(feature = "quick", feature = "lru", feature = "sharded"))]
mod carried;
#[cfg(any(feature = "quick", feature = "sharded"))]
mod counts;
#[cfg(feature = "quick")]
mod held;
#[cfg(feature = "quick")]
mod layout;
#[cfg(feature = "quick")]
mod lookup;
#[cfg(feature = "lru")]
mod lru;
#[cfg(feature = "lru")]
mod lru_config;
#[cfg(feature = "quick")]
mod quick;
#[cfg(feature = "quick")]
mod quick_config;
#[cfg(all(feature = "serde", any(feature = "quick", feature = "lru", feature = "sharded")))]
mod seconds;
#[cfg(feature = "quick")]
mod seen;
#[cfg(feature = "sharded")]
mod sharded;
#[cfg(feature = "sharded")]
mod sharded_config;
#[cfg(feature = "sharded")]
mod tickets;
mod uses;
mod worth;

pub use worth::ByWorth;
#[cfg(feature = "lru")]
pub use {lru::Lru, lru_config::LruConfig};
#[cfg(feature = "quick")]
pub use {quick::Quick, quick_config::QuickConfig};
#[cfg(feature = "sharded")]
pub use {sharded::Sharded, sharded_config::ShardedConfig};
