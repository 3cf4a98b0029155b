//! The SQLite backend of ECM (Enterprise Connection Management), a data access layer.
//!
//! **Who should depend on this crate:** whoever builds a manager of their own from the parts.
//! Programs use the facade, [`ecm`](https://docs.rs/ecm), which wires it in.
//!
//! [`Sqlite`] says where the database is and how it is opened. Its connections keep the promises of
//! [`ecm_core::Connection`]: whatever a borrower does, the next one meets a fresh connection. For
//! that, closures are lent [`Db`] and [`Tx`], over which transactions, `ATTACH`, temporary tables
//! and pragmas that set something are refused with a message that names the way to do it.
//!
//! ```
//! use ecm_core::{Access, Backend, CheckIn, Clock, Commit, Connection, Durability, Loan, SystemClock, Transact};
//! use ecm_sqlite::Sqlite;
//! use std::sync::Arc;
//!
//! # fn main() -> Result<(), ecm_core::Failure> {
//! let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
//! let database = Sqlite::memory();
//! let mut writer = database.connect(Access::Write, &clock)?;
//!
//! writer.check_out(Loan::Write)?;
//! writer.begin(Durability::Configured)?;
//! writer.tx().execute_batch("create table note(body text)")?;
//! writer.tx().execute("insert into note values (?1)", ["remember"])?;
//! assert!(writer.tx().execute_batch("commit").unwrap_err().to_string().contains("connection()"));
//! assert!(matches!(writer.commit(), Commit::Done(_)));
//! assert_eq!(writer.check_in(), CheckIn::Clean);
//!
//! let mut reader = database.connect(Access::Read, &clock)?;
//! reader.check_out(Loan::Read)?;
//! let body: String = reader.db().query_row("select body from note", [], |row| row.get(0))?;
//! assert_eq!(body, "remember");
//! assert_eq!(reader.check_in(), CheckIn::Clean);
//! # Ok(())
//! # }
//! ```
//!
//! SQLite 3.51.3 or later is needed; the feature `bundled`, on by default, compiles one in. One
//! process must hold only one copy of SQLite, and must never open a database file, its `-wal` or
//! its `-shm` itself: closing such a descriptor drops every lock that the process has on the file.

mod analysis;
mod anchor;
mod authorizer;
mod config;
mod connection;
mod control;
mod db;
mod effects;
mod engine;
mod fault;
mod follower;
mod generation;
mod governor;
mod guard;
mod handle;
mod hold;
mod integer_key;
mod kept;
mod leaked;
mod lineage;
mod location;
mod mapping;
mod open;
mod recording;
mod row;
mod row_keys;
mod row_log;
mod rows;
mod savepoints;
mod schema_facts;
mod sqlite;
mod statement;
mod statistics;
mod storage;
mod sync;
mod tally;
#[cfg(feature = "testing")]
pub mod testing;
mod transact;
mod tx;
mod version;
mod wal_index;
mod write_log;

pub use config::{JournalMode, SqliteConfig, Synchronous, TempStore};
pub use connection::SqliteConnection;
pub use db::Db;
pub use fault::classify_code;
pub use rows::{MappedRows, Rows};
pub use rusqlite;
pub use sqlite::Sqlite;
pub use statement::Statement;
pub use statistics::forgo_memory_statistics;
pub use tx::Tx;
