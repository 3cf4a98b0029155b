#[cfg(feature = "standard")]
use crate::{BuildError, Database, DatabaseInfo, ManagerConfig, PoolConfig};
use crate::{Builder, ConnectionManager};
#[cfg(feature = "standard")]
use ecm_breaker::{ConsecutiveFailures, ConsecutiveFailuresConfig};
#[cfg(feature = "standard")]
use ecm_core::{Backend, Transact};
#[cfg(feature = "standard")]
use ecm_sqlite::Sqlite;
#[cfg(feature = "standard")]
use std::path::Path;

impl ConnectionManager {
    /// A builder over SQLite, with null objects for every strategy. See
    /// [`builder_for`](ConnectionManager::builder_for) for any other backend.
    pub fn builder() -> Builder {
        Self::builder_for()
    }

    /// A builder over SQLite with [`ManagerConfig::default`] applied, and a breaker for each database
    /// that opens after so many failures in a row as its [`PoolConfig`] says: five by default.
    #[cfg(feature = "standard")]
    pub fn standard() -> Builder {
        Self::standard_for()
    }

    /// A manager of one SQLite file, created if it does not exist, with every default: the database
    /// `main` of the group `default`. `:memory:` is a database in memory that all connections share.
    ///
    /// # Errors
    /// A file that cannot be opened, or is not a database: the message names it.
    #[cfg(feature = "standard")]
    pub fn open(path: impl AsRef<Path>) -> Result<Self, BuildError> {
        Self::standard().database(Database::new("main", Sqlite::open(path))).build()
    }
}

#[cfg(feature = "standard")]
impl<B: Backend<Connection: Transact>> ConnectionManager<B> {
    /// As [`standard`](ConnectionManager::standard), over any backend.
    pub fn standard_for() -> Builder<B> {
        Self::builder_for().configure(&ManagerConfig::default()).breaker(breaker)
    }
}

/// What a breaker takes from the words that the pool carries for it; so many trials as may run at once
/// have to succeed.
#[cfg(feature = "standard")]
fn breaker(database: &DatabaseInfo) -> ConsecutiveFailures {
    let PoolConfig { failure_threshold, recovery_timeout, half_open_max_calls, .. } = database.pool;
    let default = ConsecutiveFailuresConfig::default();
    let config = ConsecutiveFailuresConfig {
        failure_threshold,
        recovery_timeout,
        max_recovery_timeout: default.max_recovery_timeout.max(recovery_timeout),
        half_open_max_calls,
        success_threshold: half_open_max_calls,
        ..default
    };
    ConsecutiveFailures::with_config(&config).expect("the same limits hold for a pool, which was checked")
}
