#![expect(
    unsafe_code,
    reason = "threads without a connection look at the memory in which SQLite shares the state of the log"
)]

use crate::{Sqlite, SqliteConnection, guard::Mode, location::Location, open, sqlite::Shared, wal_index::WalIndex};
use ecm_core::{Access, Clock, DataVersion, Failure, ForeignWrites, Stamp};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// Sees the commits of everybody, for threads that have no connection at hand.
///
/// It has a connection of its own, which is never lent, and whose wal-index anybody may look at. For a database in
/// memory it counts the commits of all who can reach it: those who have the same [`Sqlite`].
struct Anchor {
    /// `None` for a database in memory.
    index: Option<WalIndex>,
    shared: Arc<Shared>,
    /// Which file the connection is in.
    generation: u64,
    /// Keeps the wal-index mapped until it is dropped with all the rest.
    connection: Mutex<SqliteConnection>,
}

// SAFETY: `index` is the only part that is not `Send` and `Sync` by itself. It is looked at by atomic loads alone, and
// stays mapped as long as the connection is open, which is as long as this lives: the connection is only reached
// under its lock, to read a pragma.
unsafe impl Send for Anchor {}
// SAFETY: as above.
unsafe impl Sync for Anchor {}

/// How writes past the manager are seen: by the wal-index of a connection that is opened for it. A file without
/// a log tells nobody without being asked.
pub(crate) fn foreign_writes(database: &Sqlite, clock: &Arc<dyn Clock>) -> Result<ForeignWrites, Failure> {
    let connection = open::connect(database, Access::Read, clock)?;
    let index = connection.db_ref().connection.index();
    let in_memory = matches!(database.location, Location::Memory(_));
    if index.is_none() && !in_memory {
        return Ok(ForeignWrites::Unseen);
    }
    let generation = connection.generation();
    let shared = Arc::clone(&database.shared);
    let anchor = Anchor { index, shared, generation, connection: Mutex::new(connection) };
    Ok(ForeignWrites::Seen(Box::new(anchor)))
}

impl DataVersion for Anchor {
    fn now(&self) -> Option<Stamp> {
        let Some(index) = self.index else {
            return self.shared.commits_seen().map(|seen| Stamp([seen, 0, 0, 0, 0, 0]));
        };
        if self.is_over() {
            return None;
        }
        // SAFETY: the connection is open, since it is dropped with `self`, and its modes are what they were: nobody
        // prepares a statement on it that could set one.
        let look = unsafe { index.look() };
        Some(look.header.stamp())
    }

    fn schema(&self) -> Option<u64> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let db = connection.db_ref();
        let _entered = db.guard.enter(Mode::End);
        let version = db.connection.pragma_query_value(None, "schema_version", |row| row.get::<_, i64>(0));
        version.ok().map(i64::cast_unsigned)
    }

    fn is_over(&self) -> bool {
        self.shared.generation.number() != self.generation
    }
}

impl fmt::Debug for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anchor").field("generation", &self.generation).finish_non_exhaustive()
    }
}
