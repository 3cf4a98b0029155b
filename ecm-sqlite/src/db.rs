use crate::{Statement, engine::Engine, guard::Guard, kept::Cached, schema_facts::may_replace, write_log::Text};
use rusqlite::{Connection, MAIN_DB, Params, Result, Row, blob::Blob};
use std::{cell::Cell, fmt, sync::Arc};

/// What a closure that reads is given: a connection of which nothing outlives the loan.
///
/// Everything runs in one transaction, so that every statement sees the same state of the
/// database. `BEGIN`, `COMMIT`, savepoints, `ATTACH`, temporary objects and pragmas that set
/// something are refused when they are prepared, with a message that names what to use instead.
pub struct Db {
    pub(crate) connection: Engine,
    pub(crate) guard: Arc<Guard>,
    marked: Cell<bool>,
}

impl Db {
    pub(crate) fn new(connection: Engine, guard: Arc<Guard>) -> Self {
        Self { connection, guard, marked: Cell::new(false) }
    }

    /// Prepares a statement, which is finalised when it is dropped.
    ///
    /// # Errors
    /// SQL that is wrong or not allowed here, and more than one statement.
    pub fn prepare(&self, sql: &str) -> Result<Statement<'_>> {
        match self.logged(self.once(sql), || self.connection.prepare(sql)) {
            Ok(statement) => Ok(Statement::own(self, statement)),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// Prepares a statement, or takes it from the connection's cache, to which it returns.
    ///
    /// The key is the text. Taking one that was used lately costs some nanoseconds on a reader, another one a
    /// fraction of a microsecond, preparing several.
    ///
    /// # Errors
    /// As [`prepare`](Db::prepare).
    pub fn prepare_cached(&self, sql: &str) -> Result<Statement<'_>> {
        self.take_cached(sql).map(|statement| Statement::cached(self, statement))
    }

    /// Takes a statement from a cache, or prepares it for that.
    #[inline]
    pub(crate) fn take_cached(&self, sql: &str) -> Result<Cached<'_>> {
        let prepared = if self.guard.logs_writes() {
            // The driver's key is the text without white space around it.
            self.logged(Text::Cached(sql.trim()), || self.connection.take(sql))
        } else {
            self.connection.take(sql)
        };
        prepared.map_err(|error| self.explain(error))
    }

    /// What is to be known of a text that is prepared for one use.
    pub(crate) fn once(&self, sql: &str) -> Text<'static> {
        Text::Once { replaces: self.guard.follows_rows() && may_replace(sql) }
    }

    /// Prepares something, and keeps what it writes as part of the transaction.
    pub(crate) fn logged<T>(&self, text: Text<'_>, prepare: impl FnOnce() -> T) -> T {
        // Not locked meanwhile: the authorizer is asked.
        if let Some(mut writes) = self.guard.writes() {
            writes.open();
        }
        let prepared = prepare();
        if let Some(mut writes) = self.guard.writes() {
            writes.close(text);
        }
        prepared
    }

    /// The first row of a statement, as `map` makes it. The statement is kept in the cache.
    ///
    /// # Errors
    /// No row, and whatever SQLite or `map` says.
    pub fn query_row<T, P: Params, F: FnOnce(&Row<'_>) -> Result<T>>(&self, sql: &str, params: P, map: F) -> Result<T> {
        self.prepare_cached(sql)?.query_row(params, map)
    }

    /// All rows of a statement, each as `map` makes it. The statement is kept in the cache.
    ///
    /// # Errors
    /// Whatever SQLite or `map` says.
    pub fn query<T, P: Params, F: FnMut(&Row<'_>) -> Result<T>>(&self, sql: &str, params: P, map: F) -> Result<Vec<T>> {
        let mut statement = self.prepare_cached(sql)?;
        let rows: Result<Vec<T>> = statement.query_map(params, map)?.collect();
        rows.map_err(|error| self.explain(error))
    }

    /// The only row of a statement, as `map` makes it. The statement is kept in the cache.
    ///
    /// # Errors
    /// No row, a second row, and whatever SQLite or `map` says.
    pub fn query_one<T, P: Params, F: FnOnce(&Row<'_>) -> Result<T>>(&self, sql: &str, params: P, map: F) -> Result<T> {
        self.prepare_cached(sql)?.query_one(params, map)
    }

    /// Whether a statement answers at least one row. The statement is kept in the cache.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub fn exists<P: Params>(&self, sql: &str, params: P) -> Result<bool> {
        self.prepare_cached(sql)?.exists(params)
    }

    /// Opens the blob or text in one row of a column, for reading piece by piece.
    ///
    /// # Errors
    /// A table, a row or a column that there is not, and a value that is neither text nor blob.
    pub fn blob_open(&self, table: &str, column: &str, rowid: i64) -> Result<Blob<'_>> {
        self.open_blob(table, column, rowid, true)
    }

    /// The driver's own connection, for what this type does not offer.
    ///
    /// The same is refused as here. Since nobody knows what else was done to it (functions, limits,
    /// settings), it is closed after the loan instead of being lent again, which costs the next
    /// caller an opening.
    #[must_use]
    pub fn raw(&self) -> &Connection {
        self.marked.set(true);
        &self.connection
    }

    pub(crate) fn open_blob(&self, table: &str, column: &str, rowid: i64, read_only: bool) -> Result<Blob<'_>> {
        self.still_in_transaction()?;
        self.connection.blob_open(MAIN_DB, table, column, rowid, read_only)
    }

    /// Whether the driver's connection was lent out.
    pub(crate) fn is_marked(&self) -> bool {
        self.marked.get()
    }

    /// Remembers that the driver's connection was lent out.
    pub(crate) fn mark(&self) {
        self.marked.set(true);
    }

    pub(crate) fn still_in_transaction(&self) -> Result<()> {
        self.guard.still_in_transaction(&self.connection)
    }

    pub(crate) fn explain(&self, error: rusqlite::Error) -> rusqlite::Error {
        self.guard.explain(error)
    }
}

impl fmt::Debug for Db {
    /// By hand: what matters is the file; a borrowed inner connection would not print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db")
            .field("path", &self.connection.path())
            .field("marked", &self.marked)
            .finish_non_exhaustive()
    }
}
