use crate::{
    Db, MappedRows, Rows,
    kept::Cached,
    tally::{self, Tally},
};
use rusqlite::{Params, Result, Row};
use std::fmt;

/// A prepared statement of a loan.
///
/// It takes rusqlite's parameters and gives rusqlite's row and errors. When it is dropped it is
/// reset, also where its rows were forgotten, and one from
/// [`prepare_cached`](Db::prepare_cached) goes back to the connection's cache. Running it fails,
/// with a message that says so, once the transaction of the loan is gone.
pub struct Statement<'c> {
    db: &'c Db,
    inner: Inner<'c>,
    /// Whether rows were handed out, which may have been forgotten while they were running.
    lends_rows: bool,
}

enum Inner<'c> {
    Own(rusqlite::Statement<'c>),
    Cached(Cached<'c>),
}

impl<'c> Statement<'c> {
    pub(crate) fn own(db: &'c Db, statement: rusqlite::Statement<'c>) -> Self {
        Self { db, inner: Inner::Own(statement), lends_rows: false }
    }

    pub(crate) fn cached(db: &'c Db, statement: Cached<'c>) -> Self {
        Self { db, inner: Inner::Cached(statement), lends_rows: false }
    }

    /// Starts it, and answers its rows, one after the other.
    ///
    /// # Errors
    /// Parameters that do not fit.
    pub fn query<P: Params>(&mut self, params: P) -> Result<Rows<'_>> {
        let db = self.db;
        db.still_in_transaction()?;
        self.lends_rows = true;
        let tally = Tally::of(db, self.inner());
        Ok(Rows::new(db, self.inner_mut().query(params)?, tally))
    }

    /// Starts it, and answers its rows as `map` makes them.
    ///
    /// # Errors
    /// Parameters that do not fit.
    pub fn query_map<T, P: Params, F: FnMut(&Row<'_>) -> Result<T>>(
        &mut self,
        params: P,
        map: F,
    ) -> Result<MappedRows<'_, T, F>> {
        Ok(self.query(params)?.mapped(map))
    }

    /// Starts it, and answers its rows as `map` makes them, with errors of the caller's own.
    ///
    /// # Errors
    /// Parameters that do not fit.
    pub fn query_and_then<T, E: From<rusqlite::Error>, P: Params, F: FnMut(&Row<'_>) -> Result<T, E>>(
        &mut self,
        params: P,
        map: F,
    ) -> Result<MappedRows<'_, T, F, E>> {
        Ok(self.query(params)?.and_then(map))
    }

    /// The first row, as `map` makes it; further ones are not looked at.
    ///
    /// # Errors
    /// No row, and whatever SQLite or `map` says.
    pub fn query_row<T, P: Params, F: FnOnce(&Row<'_>) -> Result<T>>(&mut self, params: P, map: F) -> Result<T> {
        self.run(|statement| statement.query_row(params, map))
    }

    /// The only row, as `map` makes it.
    ///
    /// # Errors
    /// No row, a second row, and whatever SQLite or `map` says.
    pub fn query_one<T, P: Params, F: FnOnce(&Row<'_>) -> Result<T>>(&mut self, params: P, map: F) -> Result<T> {
        self.run(|statement| statement.query_one(params, map))
    }

    /// Whether it answers at least one row.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub fn exists<P: Params>(&mut self, params: P) -> Result<bool> {
        self.run(|statement| statement.exists(params))
    }

    /// Runs it, and answers how many rows it changed.
    ///
    /// # Errors
    /// Whatever SQLite says, a connection that only reads, and a statement that answers rows.
    pub fn execute<P: Params>(&mut self, params: P) -> Result<usize> {
        self.run(|statement| statement.execute(params))
    }

    /// Runs it, and answers the rowid of the one row that it inserted.
    ///
    /// # Errors
    /// As [`execute`](Statement::execute), and if it changed another number of rows than one.
    pub fn insert<P: Params>(&mut self, params: P) -> Result<i64> {
        self.run(|statement| statement.insert(params))
    }

    /// The number of columns; 0 for one that answers no rows.
    #[must_use]
    pub fn column_count(&self) -> usize {
        self.inner().column_count()
    }

    /// The names of the columns, in order.
    #[must_use]
    pub fn column_names(&self) -> Vec<&str> {
        self.inner().column_names().collect()
    }

    /// The number of parameters.
    #[must_use]
    pub fn parameter_count(&self) -> usize {
        self.inner().parameter_count()
    }

    /// Whether it leaves every table as it is.
    #[must_use]
    pub fn readonly(&self) -> bool {
        self.inner().readonly()
    }

    fn inner(&self) -> &rusqlite::Statement<'c> {
        match &self.inner {
            Inner::Own(statement) => statement,
            Inner::Cached(statement) => statement,
        }
    }

    fn inner_mut(&mut self) -> &mut rusqlite::Statement<'c> {
        match &mut self.inner {
            Inner::Own(statement) => statement,
            Inner::Cached(statement) => statement,
        }
    }

    /// Runs it to its end, or to where `run` has seen enough.
    fn run<T>(&mut self, run: impl FnOnce(&mut rusqlite::Statement<'c>) -> Result<T>) -> Result<T> {
        let db = self.db;
        db.still_in_transaction()?;
        let mut tally = Tally::of(db, self.inner());
        run(self.inner_mut()).map_err(|error| {
            tally::fail(&mut tally);
            db.explain(error)
        })
    }
}

impl Drop for Statement<'_> {
    /// Resets it: rows that were forgotten would otherwise still be running in the cache, where the
    /// next user of the same text could bind nothing to it.
    fn drop(&mut self) {
        if self.lends_rows
            && let Inner::Cached(statement) = &mut self.inner
        {
            drop(statement.raw_query());
        }
    }
}

impl fmt::Debug for Statement<'_> {
    /// By hand: rusqlite's would print the whole connection.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement")
            .field("sql", &self.inner().expanded_sql().unwrap_or_default())
            .field("cached", &matches!(self.inner, Inner::Cached(_)))
            .finish_non_exhaustive()
    }
}
