//! A disk that fails when it is told to, for tests of what is built on this crate.
//!
//! Behind the feature `testing`. [`FaultyDisk`] is a file system of SQLite's (a VFS) that passes
//! everything on to the real one, the log and the memory that connections share included, and that
//! delays, refuses, cuts short or forgets what a test asks it to.
//!
//! ```
//! use ecm_core::{Access, Backend, Clock, Commit, Connection, Durability, Loan, SystemClock, Transact};
//! use ecm_sqlite::{Sqlite, testing::{FaultyDisk, Harm, Operation}};
//! use std::sync::Arc;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("notes.db");
//! let disk = FaultyDisk::new();
//! let database = Sqlite::open(path).vfs(disk.name());
//! let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
//! let mut writer = database.connect(Access::Write, &clock).unwrap();
//!
//! disk.harm(Operation::Write, Harm::Full).times(1);
//! writer.check_out(Loan::Write).unwrap();
//! writer.begin(Durability::Configured).unwrap();
//! writer.tx().execute_batch("create table note(body)")?;
//! assert!(matches!(writer.commit(), Commit::RolledBack(_)));
//! # Ok(())
//! # }
//! ```

mod disk;
mod shim;

pub use disk::{FaultyDisk, Harm, Harming, Operation, Stored};
