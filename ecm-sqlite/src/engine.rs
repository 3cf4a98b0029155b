#![expect(
    unsafe_code,
    reason = "what is raw of a connection: statements outside the driver's cache, and the wal-index"
)]

use crate::{
    control::Control,
    kept::{Cached, Kept},
    leaked,
    wal_index::{Look, WalIndex},
};
use rusqlite::{Connection, ffi, hooks::Action};
use std::{
    ffi::CStr,
    fmt,
    ops::Deref,
    ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A connection of SQLite's, with the statements by which ECM begins and ends transactions, and with
/// the place where its wal-index is mapped.
///
/// The statements are prepared once and are never in the driver's cache, whose key is the text alone: a
/// `COMMIT` from there would run for a borrower without asking the authorizer. SQLite prepares them
/// anew by itself where a change of the schema asks for it, which the authorizer does see.
///
/// The connection is reached by shared reference; [`expose`](Engine::expose) is the only way to an
/// exclusive one, by which it could be exchanged or closed.
pub(crate) struct Engine {
    /// Each belongs to the connection in `kept` and is reset. `None` once the connection was exposed.
    controls: Option<[*mut ffi::sqlite3_stmt; Control::ALL.len()]>,
    /// Mapped while the connection is open and `modes_may_change` is false. `None` once exposed.
    index: Option<WalIndex>,
    /// Set by the authorizer, before a statement exists that may take the wal-index away.
    modes_may_change: Arc<AtomicBool>,
    kept: Kept,
}

// SAFETY: the statements and the wal-index are used only together with the connection that they
// belong to, which is `Send` itself; nothing of SQLite's depends on the thread that it is used by, and
// memory is mapped for all threads.
unsafe impl Send for Engine {}

impl Engine {
    /// Prepares the control statements, and finds the wal-index, if there is one that others share:
    /// not without a log, not in memory, not in a locking mode that keeps it to itself.
    ///
    /// `modes_may_change` is set by the authorizer of the connection as soon as it lets a statement be
    /// prepared that sets the journal mode or the locking mode; no such statement exists before.
    ///
    /// Statements are kept in front of the driver's cache if that has room for `capacity` of them, which is not 0.
    pub(crate) fn new(
        connection: Connection,
        modes_may_change: Arc<AtomicBool>,
        capacity: usize,
    ) -> rusqlite::Result<Self> {
        let mut engine = Self::without_index(connection, modes_may_change, capacity)?;
        engine.index = engine.find_index()?;
        Ok(engine)
    }

    /// Prepares the control statements only, which reads nothing: for what has no wal-index.
    pub(crate) fn without_index(
        connection: Connection,
        modes_may_change: Arc<AtomicBool>,
        capacity: usize,
    ) -> rusqlite::Result<Self> {
        // Made first, so that dropping it finalises those that were prepared before one failed.
        let kept = Kept::new(connection, capacity);
        let mut engine = Self { controls: None, index: None, modes_may_change, kept };
        let controls = engine.controls.insert([ptr::null_mut(); Control::ALL.len()]);
        for control in Control::ALL {
            let text = control.sql();
            let flags = ffi::SQLITE_PREPARE_PERSISTENT;
            let statement = &raw mut controls[control as usize];
            // SAFETY: the handle is open, since the connection is owned, and is used by this thread
            // alone. The text is given with its length (a few bytes). The out-pointer is a place in
            // the array, which outlives the call.
            let code = unsafe {
                let handle = engine.kept.connection().handle();
                let length = text.len().try_into().unwrap_or(0);
                ffi::sqlite3_prepare_v3(handle, text.as_ptr().cast(), length, flags, statement, ptr::null_mut())
            };
            if code != ffi::SQLITE_OK {
                return Err(engine.error(code));
            }
        }
        Ok(engine)
    }

    /// Runs a control statement. Where the connection was exposed it is prepared for it.
    pub(crate) fn run(&self, control: Control) -> rusqlite::Result<()> {
        let Some(controls) = &self.controls else {
            return self.kept.connection().execute_batch(control.sql());
        };
        let statement = controls[control as usize];
        // SAFETY: the statement belongs to the connection, which is open, since nobody could close
        // it before `expose`, which takes the statements away. This thread alone uses it, since
        // `Engine` is not `Sync`. The statement was reset by whoever ran it last.
        let code = unsafe { ffi::sqlite3_step(statement) };
        let result = if code == ffi::SQLITE_DONE { Ok(()) } else { Err(self.error(code)) };
        // SAFETY: as above. The code repeats that of the step.
        unsafe { ffi::sqlite3_reset(statement) };
        result
    }

    fn find_index(&self) -> rusqlite::Result<Option<WalIndex>> {
        let told = |pragma| self.kept.connection().pragma_query_value(None, pragma, |row| row.get::<_, String>(0));
        // Reads: only then has SQLite opened the log, which it does not do when it opens the file.
        self.kept.connection().pragma_query_value(None, "schema_version", |_| Ok(()))?;
        if told("journal_mode")? != "wal" || told("locking_mode")? != "normal" {
            return Ok(None);
        }
        // SAFETY: both have just been asked for, and this thread alone uses the connection.
        Ok(unsafe { WalIndex::of(self.kept.connection()) })
    }

    /// Where the wal-index is mapped, if there is one.
    pub(crate) fn index(&self) -> Option<WalIndex> {
        self.index
    }

    /// Looks at the wal-index, if there is one.
    pub(crate) fn look(&self) -> Option<Look> {
        if self.modes_may_change.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: the connection is open, since nobody could close it before `expose`, which takes the
        // index away. Its modes are as they were: a statement that sets one is prepared first, by this
        // thread, and then the authorizer, which only `expose` allows to replace, has set the flag.
        self.index.map(|index| unsafe { index.look() })
    }

    /// Whether nobody is in the middle of writing the state that was looked at.
    pub(crate) fn is_whole(&self, look: &Look) -> bool {
        // SAFETY: as in `look`, which has found the index a moment ago, on this thread.
        self.index.is_none_or(|index| unsafe { index.other_header() } == look.header)
    }

    /// Finds the wal-index of a file that had no log when it was opened, and has one now. Outside any transaction.
    ///
    /// Asks three pragmas, some microseconds.
    pub(crate) fn notice_log(&mut self) {
        if self.index.is_none() && self.controls.is_some() && !self.modes_may_change.load(Ordering::Relaxed) {
            // One that cannot be read now will tell whoever reads next.
            self.index = self.find_index().unwrap_or_default();
        }
    }

    /// Whether no transaction is open, not even one that a forgotten statement keeps.
    pub(crate) fn is_at_rest(&self) -> bool {
        // SAFETY: the handle is open, as above; null asks for the most of all attached databases.
        unsafe {
            let handle = self.kept.connection().handle();
            ffi::sqlite3_get_autocommit(handle) != 0
                && ffi::sqlite3_txn_state(handle, ptr::null()) == ffi::SQLITE_TXN_NONE
        }
    }

    /// Whether a transaction that only reads is open, on nothing but the database itself, and is not
    /// being stopped: what may be kept for the next loan.
    pub(crate) fn can_be_held(&self) -> bool {
        // SAFETY: the handle is open, as above; null as above.
        let reads = unsafe {
            let handle = self.kept.connection().handle();
            ffi::sqlite3_get_autocommit(handle) == 0
                && ffi::sqlite3_txn_state(handle, ptr::null()) != ffi::SQLITE_TXN_WRITE
        };
        reads && self.is_plain()
    }

    /// Whether nothing is attached, and nothing is being stopped.
    pub(crate) fn is_plain(&self) -> bool {
        // SAFETY: the handle is open, as above. Databases 0 and 1 are the main one and that of
        // temporary tables.
        unsafe {
            let handle = self.kept.connection().handle();
            ffi::sqlite3_db_name(handle, 2).is_null() && ffi::sqlite3_is_interrupted(handle) == 0
        }
    }

    /// Resets every statement that is still running, and answers how many there were.
    pub(crate) fn reset_running(&mut self) -> usize {
        self.kept.alone(leaked::reset_running)
    }

    /// Has this called for each row that is inserted, updated or deleted, with its table and its number; `None` for
    /// nobody. SQLite's hook of updates: there are rows of which it is not told.
    ///
    /// # Errors
    /// A hook that could not be installed.
    pub(crate) fn set_update_hook<F>(&mut self, hook: Option<F>) -> rusqlite::Result<()>
    where
        F: FnMut(&str, i64) + Send + 'static,
    {
        let hook = hook.map(|mut hook| move |_: Action, _: &str, table: &str, row: i64| hook(table, row));
        self.kept.alone(|connection| connection.update_hook(hook))
    }

    /// The connection, to do anything with: also to exchange it for another one, or to close it.
    ///
    /// Nothing that belongs to SQLite's handle is kept beyond this.
    pub(crate) fn expose(&mut self) -> &mut Connection {
        self.forget_controls();
        self.index = None;
        self.kept.expose()
    }

    /// Takes a statement of this text from a cache, to which it returns, or prepares it.
    #[inline]
    pub(crate) fn take(&self, text: &str) -> rusqlite::Result<Cached<'_>> {
        self.kept.take(text)
    }

    /// Finalises every statement in a cache.
    pub(crate) fn flush(&mut self) {
        self.kept.flush();
    }

    fn forget_controls(&mut self) {
        for statement in self.controls.take().into_iter().flatten() {
            // SAFETY: as in `run`; null is allowed. It was taken out, so that nothing uses it again.
            unsafe { ffi::sqlite3_finalize(statement) };
        }
    }

    /// What SQLite says about the last call, which answered `code`.
    fn error(&self, code: i32) -> rusqlite::Error {
        // SAFETY: the handle is open, as above. The text is copied before anything else is called
        // on the handle, and SQLite never answers null for a handle that is open.
        let message = unsafe {
            let message = ffi::sqlite3_errmsg(self.kept.connection().handle());
            CStr::from_ptr(message).to_string_lossy().into_owned()
        };
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(message))
    }
}

impl Drop for Engine {
    /// Before the connection, which SQLite does not close while a statement of it is left.
    fn drop(&mut self) {
        self.forget_controls();
    }
}

impl Deref for Engine {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.kept.connection()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("exposed", &self.controls.is_none()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine() -> Engine {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("create table t(a unique)").unwrap();
        Engine::new(connection, Arc::default(), 16).unwrap()
    }

    fn rows(engine: &Engine) -> i64 {
        engine.query_row("select count(*) from t", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_transaction_with_parts_is_begun_undone_and_kept() {
        let engine = engine();
        engine.run(Control::BeginImmediate).unwrap();
        engine.run(Control::Savepoint).unwrap();
        engine.execute_batch("insert into t values (1)").unwrap();
        engine.run(Control::RollbackTo).unwrap();
        engine.run(Control::Release).unwrap();
        engine.execute_batch("insert into t values (2)").unwrap();
        engine.run(Control::Commit).unwrap();
        assert!(engine.is_autocommit());
        assert_eq!(rows(&engine), 1);
        engine.run(Control::Begin).unwrap();
        engine.execute_batch("delete from t").unwrap();
        engine.run(Control::Rollback).unwrap();
        assert_eq!(rows(&engine), 1);
    }

    #[test]
    fn one_that_fails_says_why_and_works_again_afterwards() {
        let engine = engine();
        let error = engine.run(Control::Commit).unwrap_err();
        assert!(error.to_string().contains("no transaction is active"), "{error}");
        engine.run(Control::Begin).unwrap();
        engine.run(Control::Commit).unwrap();
    }

    #[test]
    fn a_change_of_the_schema_inside_the_transaction_does_not_spoil_them() {
        let engine = engine();
        for number in 0..3 {
            engine.run(Control::BeginImmediate).unwrap();
            engine.execute_batch(&format!("create table u{number}(a); pragma recursive_triggers = on")).unwrap();
            engine.run(Control::Commit).unwrap();
        }
        assert_eq!(rows(&engine), 0);
    }

    #[test]
    fn none_of_them_is_in_the_cache_of_the_driver() {
        let mut engine = engine();
        engine.run(Control::Begin).unwrap();
        engine.run(Control::Commit).unwrap();
        assert!(!engine.is_busy());
        engine
            .expose()
            .authorizer(Some(|_: rusqlite::hooks::AuthContext<'_>| rusqlite::hooks::Authorization::Deny))
            .unwrap();
        assert!(engine.prepare_cached("BEGIN").is_err());
    }

    #[test]
    fn one_that_was_exposed_can_be_exchanged_and_goes_on_with_what_it_has() {
        let mut engine = engine();
        let other = Connection::open_in_memory().unwrap();
        let stolen = std::mem::replace(engine.expose(), other);
        engine.run(Control::Begin).unwrap();
        assert!(!engine.is_autocommit() && stolen.is_autocommit());
        engine.run(Control::Rollback).unwrap();
        drop(engine);
        stolen.close().unwrap();
    }

    #[test]
    fn a_connection_closes_although_they_were_prepared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("pragma journal_mode = wal; create table t(a)").unwrap();
        drop(Engine::new(connection, Arc::default(), 16).unwrap());
        assert!(!folder.path().join("a.db-wal").exists(), "only the last connection that closes removes the log");
    }
}
