#[cfg(feature = "standard")]
use crate::{BuildError, Database, ManagerConfig};
use crate::{Builder, ConnectionManager};
#[cfg(feature = "standard")]
use ecm_breaker::{ConsecutiveFailures, ConsecutiveFailuresConfig};
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
    /// that opens after five failures in a row.
    #[cfg(feature = "standard")]
    pub fn standard() -> Builder {
        let breaker = ConsecutiveFailuresConfig::default();
        let breaker = move |_: &_| ConsecutiveFailures::with_config(&breaker).expect("the defaults are acceptable");
        Self::builder().configure(&ManagerConfig::default()).breaker(breaker)
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
