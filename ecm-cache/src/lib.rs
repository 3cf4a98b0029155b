//! Result caches for ECM: bounded stores of query results.
//!
//! Each is an [`ecm_core::Cache`], given to the builder of `ecm`. A cache only stores: whether an entry
//! may still be served is decided by the facade.
//!
//! [`Quick`] is bounded in entries, in bytes and in age, and is shared by all threads:
//!
//! ```
//! use ecm_cache::{Quick, QuickConfig};
//! use ecm_core::{Cache, Entry, KeyRef, Position, Time, ValueRef};
//! use std::{sync::Arc, time::Duration};
//!
//! # fn main() -> Result<(), ecm_core::InvalidConfig> {
//! let cache = Quick::new(&QuickConfig { ttl: Duration::from_secs(60), ..QuickConfig::default() })?;
//! let stored = Time::START;
//! let entry =
//!     Entry { rows: Arc::default(), versions: Box::default(), epoch: 0, position: Position::default(), stored, bytes: 200 };
//!
//! let parameters = [ValueRef::Integer(7)];
//! let key = KeyRef::new(0, 1, &parameters);
//! cache.insert(key.to_key(), Arc::new(entry));
//! assert!(cache.get(key, stored).is_some());
//! assert!(cache.get(key, stored + Duration::from_secs(60)).is_none(), "it has become too old");
//! # Ok(())
//! # }
//! ```

mod config;
mod counts;
mod layout;
mod lookup;
mod quick;

pub use config::QuickConfig;
pub use quick::Quick;
