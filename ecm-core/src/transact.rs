use crate::{Connection, Failure, Position, Stamp};
use std::sync::Arc;

/// A connection that can hold a transaction: all that the writer's lane knows of a database.
///
/// The lane calls `begin`, then for each member `enter`, the member's work, `leave`, and at last
/// `commit` or `roll_back`. A batch of one member skips `enter` and `leave`.
pub trait Transact: Connection {
    /// Begins a transaction that will write.
    ///
    /// # Errors
    /// Nothing has begun: somebody else writes for longer than the wait allows, or the database
    /// cannot be written.
    fn begin(&mut self, durability: Durability) -> Result<(), Failure>;

    /// Marks the start of one member's work.
    ///
    /// # Errors
    /// The transaction cannot go on; the lane rolls it back.
    fn enter(&mut self) -> Result<(), Failure>;

    /// Ends one member's work: kept in the transaction, or undone alone.
    fn leave(&mut self, keep: bool) -> Member;

    /// What the open transaction writes, asked just before [`commit`](Transact::commit): what others may see
    /// from then on. Nothing of members that were undone. Where it is not known exactly it is everything.
    fn writing(&mut self) -> Written {
        Written::Everything
    }

    /// Commits. What it says is decided by the state of the database, not by an error code alone.
    fn commit(&mut self) -> Commit;

    /// What the last transaction has written, asked once after [`Commit::Done`]: what depends on it
    /// does not count as current any more. Whatever others have committed since the one before is
    /// part of it. Where it is not known exactly it is everything. Single rows are told apart only where
    /// [`Backend::follow_rows`](crate::Backend::follow_rows) has asked for it before the transaction began.
    fn written(&mut self) -> Written {
        Written::Everything
    }

    /// What the last transaction itself has written, and where the database stood when it began, from when on nobody else
    /// could commit: asked where [`written`](Transact::written) told everything. For whoever has accounted for all that was
    /// committed until then, others included, that is all there is. `None`, the default, if it is not known exactly.
    fn written_from(&mut self) -> Option<(Stamp, Written)> {
        None
    }

    /// Where the database stood right after the last transaction, of which [`written`](Transact::written) has told: as
    /// [`DataVersion::now`](crate::DataVersion::now) would have told it. `None` if that is not known.
    fn stamp(&self) -> Option<Stamp> {
        None
    }

    /// Whether something in the open transaction may have changed the schema, so that what is known of
    /// statements does not hold any more once it is committed.
    fn changes_schema(&self) -> bool {
        false
    }

    /// Undoes the whole transaction, and is harmless where there is none any more.
    ///
    /// # Errors
    /// A transaction that cannot be left; the connection is closed.
    fn roll_back(&mut self) -> Result<(), Failure>;
}

/// How durable a commit must be before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// As the database is configured.
    #[default]
    Configured,
    /// On the disk, whatever the configuration says: survives a loss of power.
    Synced,
}

/// What a transaction has written.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Written {
    /// It cannot be known: any table, or the schema.
    #[default]
    Everything,
    /// Nothing but these tables, sorted by name, each once; directly or by triggers and foreign keys.
    Tables(Arc<[WrittenTable]>),
}

/// A table that a transaction has written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WrittenTable {
    /// Its name, in lower case.
    pub name: Arc<str>,
    /// Which of its rows.
    pub rows: WrittenRows,
}

/// Which rows of a table a transaction has written: those that are new, gone or changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum WrittenRows {
    /// Any of them: they are not told apart.
    #[default]
    Any,
    /// None but these, by row number (the integer primary key), sorted, each once. Some may be as they were.
    Only(Arc<[i64]>),
}

impl WrittenTable {
    /// A table of which any row may have been written; its name is given in lower case.
    #[must_use]
    pub fn any(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), rows: WrittenRows::Any }
    }
}

/// What became of one member of a transaction.
#[derive(Debug)]
pub enum Member {
    /// Its work is part of the transaction.
    Kept,
    /// Its work is undone, that of the others is not.
    Undone,
    /// The database has rolled back the whole transaction: every member has to run again.
    BatchLost,
    /// Its work could not be kept and is undone; the member gets this error.
    Refused(Failure),
}

/// What became of a transaction.
#[derive(Debug)]
pub enum Commit {
    /// It is committed, at this position.
    Done(Position),
    /// Nothing of it is there.
    RolledBack(Failure),
    /// It cannot be known whether it is there. Never to be run again unasked.
    Unknown(Failure),
}
