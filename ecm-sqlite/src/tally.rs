use crate::Db;

/// A statement that writes, while it runs: from before its first step until after it is reset.
///
/// When this is dropped, what SQLite says that the statement has changed is compared with the rows that the hook of
/// updates was told.
#[derive(Debug)]
#[must_use = "the statement has ended when this is dropped"]
pub(crate) struct Tally<'c> {
    db: &'c Db,
    failed: bool,
}

impl<'c> Tally<'c> {
    /// `None` where nobody asks for rows, and for a statement that only reads.
    #[inline]
    pub(crate) fn of(db: &'c Db, statement: &rusqlite::Statement<'_>) -> Option<Self> {
        (db.guard.follows_rows() && !statement.readonly()).then(|| Self::start(db))
    }

    fn start(db: &'c Db) -> Self {
        if let Some(mut writes) = db.guard.writes() {
            writes.start(db.connection.total_changes());
        }
        Self { db, failed: false }
    }
}

/// The statement has failed.
pub(crate) fn fail(tally: &mut Option<Tally<'_>>) {
    if let Some(tally) = tally {
        tally.failed = true;
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        if let Some(mut writes) = self.db.guard.writes() {
            writes.end(self.db.connection.total_changes(), self.failed);
        }
    }
}
