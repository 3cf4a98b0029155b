use crate::{
    Db, SqliteConnection, Synchronous,
    control::Control,
    fault::{code_of, failed, refused, worded},
    guard::Mode,
    handle, lineage,
};
use ecm_core::{Access, Commit, Durability, Failure, Kind, Member, Stamp, Transact, Written};
use rusqlite::ffi;
use std::sync::Arc;

impl Transact for SqliteConnection {
    /// As the trait says. Waiting for the write lock ends with the configured time or the limit of
    /// the loan, whichever comes first.
    fn begin(&mut self, durability: Durability) -> Result<(), Failure> {
        if self.access == Access::Read {
            return Err(refused(Kind::ReadOnly, "the connection is open for reading only: write on the writer's"));
        }
        if !self.is_autocommit() {
            return Err(refused(Kind::Misuse, "a transaction is open already: commit it or roll it back first"));
        }
        if durability == Durability::Synced && self.config.synchronous < Synchronous::Full {
            self.set_synchronous(Mode::Begin, Synchronous::Full)?;
            self.synced = true;
        }
        self.follow_rows();
        let guard = &self.tx.db.guard;
        self.presence.enter(|| guard.time_left());
        if let Err(error) = self.control(Mode::Begin, Control::BeginImmediate) {
            // The state decides: an interrupted BEGIN may have begun.
            self.end_transaction();
            return Err(self.explain_busy(error));
        }
        let db = self.db_ref();
        db.guard.set_in_transaction(true);
        db.guard.take_committed_at();
        // Nobody else can commit from here on.
        let begun = db.connection.look().map(|look| look.header);
        // Whoever has had another database take over has committed that here.
        if begun != self.course.known
            && let Some(epoch) = self.superseded()
        {
            self.end_transaction();
            return Err(lineage::refusal(&self.place, epoch));
        }
        let db = self.db_ref();
        let (follows, changes) = (db.guard.follows_rows(), db.connection.total_changes());
        if let Some(beginning) = db.guard.writes().map(|mut writes| writes.begin(follows, changes)) {
            if beginning.forgets_statements {
                db.connection.flush_prepared_statement_cache();
            }
            if beginning.schema_may_differ || begun != self.course.known {
                self.facts.forget();
            }
        }
        let db = self.db_ref();
        handle::forget_last_insert_rowid(&db.connection);
        self.course.begun = begun;
        self.course.alone = false;
        self.course.follows = false;
        Ok(())
    }

    fn enter(&mut self) -> Result<(), Failure> {
        self.db_ref().still_in_transaction()?;
        self.control(Mode::Begin, Control::Savepoint)?;
        let db = self.db_ref();
        let changes = db.connection.total_changes();
        db.guard.writes().into_iter().for_each(|mut writes| writes.enter(changes));
        handle::forget_last_insert_rowid(&db.connection);
        Ok(())
    }

    /// As the trait says. A violation of a deferred foreign key is found here, in the member that
    /// made it, where SQLite would find it in the commit of all. A member that had the driver's own
    /// connection loses the transaction: settings that it may have changed would hold for the others.
    fn leave(&mut self, keep: bool) -> Member {
        if self.is_autocommit() {
            return Member::BatchLost;
        }
        if self.db_ref().is_marked() {
            self.end_transaction();
            return Member::BatchLost;
        }
        if !keep {
            return if self.undo_member() { Member::Undone } else { Member::BatchLost };
        }
        let refused = if handle::defers_violations(&self.db_ref().connection) {
            worded(
                ffi::SQLITE_CONSTRAINT_FOREIGNKEY,
                "FOREIGN KEY constraint failed: a deferred one is violated at the end of this write",
            )
        } else {
            match self.control(Mode::End, Control::Release) {
                Ok(()) => {
                    self.leave_part(true);
                    return Member::Kept;
                }
                Err(error) => error,
            }
        };
        if self.undo_member() { Member::Refused(refused.into()) } else { Member::BatchLost }
    }

    /// As the trait says. An error after which the transaction is still open is undone and reported
    /// as rolled back, and so are a constraint and a full disk, which are found before the last page is
    /// complete. After any other one the pages may have reached the log before the error, and a recovery
    /// would find them there: it is rolled back if another commit could be put in their place, and unknown
    /// otherwise.
    fn commit(&mut self) -> Commit {
        // While nobody else can change the schema, and before anything is decided: a disk that fails may end the
        // transaction.
        self.learn_schema();
        if let Err(gone) = self.db_ref().still_in_transaction() {
            self.end_transaction();
            return Commit::RolledBack(gone.into());
        }
        if self.is_autocommit() {
            return Commit::RolledBack(refused(Kind::Misuse, "there is no transaction to commit: begin one first"));
        }
        self.db_ref().guard.allow_commit(true);
        // A log tells everybody of the commit by itself.
        let told = self.db_ref().connection.index().is_some();
        if !told {
            self.shared.may_write();
        }
        let committed = self.control(Mode::End, Control::Commit);
        let still_open = !self.is_autocommit();
        self.end_transaction();
        if !told {
            self.shared.has_written();
        }
        match committed {
            Ok(()) => {
                self.follow_course();
                Commit::Done(self.shared.count_commit())
            }
            Err(error) => {
                let nothing_written = match code_of(&error) & 0xff {
                    ffi::SQLITE_IOERR => false,
                    ffi::SQLITE_CONSTRAINT | ffi::SQLITE_FULL => true,
                    _ => still_open,
                };
                if nothing_written {
                    return Commit::RolledBack(error.into());
                }
                // What this connection keeps in memory may differ from what is on the disk.
                self.spoilt = true;
                if self.displaces_failed_commit() {
                    return Commit::RolledBack(error.into());
                }
                Commit::Unknown(error.into())
            }
        }
    }

    fn writing(&mut self) -> Written {
        self.learn_schema();
        let db = self.db_ref();
        match db.guard.writes() {
            Some(mut writes) if !db.is_marked() => writes.written(&self.facts),
            _ => Written::Everything,
        }
    }

    /// As the trait says. The tables are known exactly where the database has a log: its state tells
    /// whether somebody else has committed, and SQLite tells what the statements write that ran.
    fn written(&mut self) -> Written {
        if std::mem::take(&mut self.course.alone) { self.own_writes() } else { Written::Everything }
    }

    fn written_from(&mut self) -> Option<(Stamp, Written)> {
        let begun = self.course.begun.filter(|_| std::mem::take(&mut self.course.follows))?;
        let written = self.own_writes();
        (written != Written::Everything).then(|| (begun.stamp(), written))
    }

    fn stamp(&self) -> Option<Stamp> {
        self.course.known.map(|header| header.stamp())
    }

    fn changes_schema(&self) -> bool {
        let db = self.db_ref();
        db.is_marked() || db.guard.writes().is_some_and(|writes| writes.is_everything())
    }

    fn roll_back(&mut self) -> Result<(), Failure> {
        self.end_transaction();
        if self.is_autocommit() {
            return Ok(());
        }
        self.spoilt = true;
        Err(refused(Kind::Misuse, "the transaction cannot be left: close the connection"))
    }
}

impl SqliteConnection {
    /// The epoch that has taken over from this database.
    fn superseded(&self) -> Option<i64> {
        let db = self.db_ref();
        let _entered = db.guard.enter(Mode::Begin);
        lineage::superseded(&db.connection)
    }

    /// Installs the hook of updates, or takes it away, as it is wanted for the transaction that begins next. Without a
    /// log nothing is known exactly, and no row is asked for.
    fn follow_rows(&mut self) {
        if self.db_ref().is_marked() {
            return;
        }
        let Db { connection, guard, .. } = &mut self.tx.db;
        let wanted = self.shared.follows_rows() && connection.look().is_some();
        if wanted == guard.follows_rows() {
            return;
        }
        let hook = wanted.then(|| {
            let guard = Arc::clone(guard);
            move |table: &str, row: i64| guard.writes().into_iter().for_each(|mut writes| writes.touch(table, row))
        });
        let installed = connection.set_update_hook(hook).is_ok();
        guard.follow_rows(wanted && installed);
    }

    /// Makes sure that all is known that telling rows apart takes, and that all that has run was counted.
    fn learn_schema(&mut self) {
        let Db { connection, guard, .. } = &self.tx.db;
        if !guard.follows_rows() || self.is_autocommit() {
            return;
        }
        let changes = connection.total_changes();
        let unknown = guard.writes().map(|mut writes| {
            writes.settle(changes);
            writes.unknown_tables(&self.facts)
        });
        // What somebody else has committed, too, is everything anyway.
        if let Some(unknown) = unknown
            && !unknown.is_empty()
            && self.course.known == self.course.begun
        {
            // Of what cannot be asked any row counts as written.
            let _stays_unknown = self.facts.learn(connection, guard, &unknown);
        }
    }

    /// The part that began last has ended.
    fn leave_part(&self, kept: bool) {
        let db = self.db_ref();
        let changes = db.connection.total_changes();
        db.guard.writes().into_iter().for_each(|mut writes| writes.leave(kept, changes));
    }

    /// Undoes what the member did, and forgets its savepoint; false if the transaction is gone.
    fn undo_member(&mut self) -> bool {
        let undo = |this: &Self| {
            let undone = this.control(Mode::End, Control::RollbackTo);
            undone.and_then(|()| this.control(Mode::End, Control::Release)).is_ok()
        };
        self.leave_part(false);
        if undo(self) {
            return true;
        }
        // A statement of the member's that still writes stands in the way.
        self.reset_leaked();
        if !self.is_autocommit() && undo(self) {
            return true;
        }
        self.end_transaction();
        false
    }

    /// Says who keeps a transaction from beginning: within the manager nobody can.
    fn explain_busy(&self, error: rusqlite::Error) -> Failure {
        if code_of(&error) & 0xff != ffi::SQLITE_BUSY {
            return error.into();
        }
        let holds = "another process, or a connection that is not the manager's, holds the lock for writing";
        if self.db_ref().guard.stopped() {
            return failed(format_args!("{holds}, and has not released it before the deadline of this call"), error);
        }
        let timeout = self.config.busy_timeout;
        failed(format_args!("{holds}, and has not released it within the busy_timeout of {timeout:?}"), error)
    }

    /// Puts an empty commit, synced, in the place in the log where a failed one may stand; answers whether
    /// nobody can ever see that one any more.
    ///
    /// The header of the wal-index tells that it is not visible: it is as it was before. Others find in the
    /// log what begins after the last frame that the header names, which the empty commit overwrites:
    /// the checksum of each frame covers those before it.
    fn displaces_failed_commit(&mut self) -> bool {
        let Some(begun) = self.course.begun.filter(|_| self.is_at_rest()) else { return false };
        let synced = self.set_synchronous(Mode::End, Synchronous::Full);
        self.synced |= synced.is_ok();
        let displaced = synced.and_then(|()| self.control(Mode::Begin, Control::BeginImmediate)).and_then(|()| {
            let db = self.db_ref();
            let header = || db.connection.look().map(|look| look.header);
            if header() != Some(begun) {
                return Ok(false);
            }
            // Writes a page, although it changes nothing.
            let _entered = db.guard.enter(Mode::End);
            let version: i64 = db.connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            db.connection.pragma_update(None, "user_version", version)?;
            db.guard.allow_commit(true);
            db.connection.run(Control::Commit)?;
            Ok(header() != Some(begun))
        });
        self.end_transaction();
        displaced.unwrap_or(false)
    }

    /// Sees whether the commit that was just made is the only one since the last of this connection.
    fn follow_course(&mut self) {
        let db = self.db_ref();
        let last_frame = db.guard.take_committed_at();
        let now = db.connection.look().map(|look| look.header);
        let follows = match (self.course.begun, now) {
            (Some(begun), Some(now)) => now.follows(&begun, last_frame),
            _ => false,
        };
        self.course.alone = follows && self.course.known == self.course.begun;
        self.course.follows = follows;
        self.course.known = now;
    }

    /// What the statements of the last transaction have written; everything if something else has, too.
    fn own_writes(&self) -> Written {
        let moved = self.course.known != self.course.begun;
        let db = self.db_ref();
        match db.guard.writes() {
            Some(mut writes) if !db.is_marked() => match writes.written(&self.facts) {
                // Something was written of which no statement has told.
                Written::Tables(tables) if tables.is_empty() && moved => Written::Everything,
                written => written,
            },
            _ => Written::Everything,
        }
    }

    /// Leaves the transaction, if one is left, and everything that belonged to it.
    fn end_transaction(&mut self) {
        if !self.is_autocommit() {
            // The state decides: ROLLBACK may answer an error and roll back all the same.
            let _state_decides = self.control(Mode::End, Control::Rollback);
        }
        if !self.is_at_rest() {
            self.reset_leaked();
        }
        let guard = &self.db_ref().guard;
        guard.allow_commit(false);
        guard.set_in_transaction(false);
        self.lower_synchronous();
        self.presence.leave();
    }

    /// Takes back what `Durability::Synced` has set for one transaction.
    pub(crate) fn lower_synchronous(&mut self) {
        if self.synced && self.is_autocommit() {
            match self.set_synchronous(Mode::End, self.config.synchronous) {
                Ok(()) => self.synced = false,
                Err(_) => self.spoilt = true,
            }
        }
    }

    fn set_synchronous(&self, mode: Mode, to: Synchronous) -> rusqlite::Result<()> {
        let db = self.db_ref();
        let _entered = db.guard.enter(mode);
        db.connection.execute_batch(&format!("PRAGMA synchronous = {}", to.code()))
    }
}
