use crate::{
    Db, fault,
    tally::{self, Tally},
};
use rusqlite::{Batch, Params, Result, blob::Blob, fallible_iterator::FallibleIterator, ffi};
use std::ops;

/// What a closure that writes is given: a [`Db`] inside a transaction that ECM commits.
///
/// It runs nothing outside that transaction. Where an error makes SQLite roll the transaction back
/// (`INSERT OR ROLLBACK`, a full disk), everything after it fails too, so that a closure that
/// ignores the error cannot commit half of its work.
#[derive(Debug)]
pub struct Tx {
    pub(crate) db: Db,
}

impl Tx {
    /// Runs a statement, and answers how many rows it changed. The statement is kept in the cache.
    ///
    /// # Errors
    /// Whatever SQLite says, and a statement that answers rows: query that one.
    pub fn execute<P: Params>(&self, sql: &str, params: P) -> Result<usize> {
        self.inside()?;
        self.db.prepare_cached(sql)?.execute(params)
    }

    /// Runs several statements, separated by semicolons, without parameters.
    ///
    /// # Errors
    /// Whatever SQLite says about the first one that fails; those before it have run.
    pub fn execute_batch(&self, sql: &str) -> Result<()> {
        self.inside()?;
        let db = &self.db;
        let text = db.once(sql);
        let mut statements = Batch::new(&db.connection, sql);
        while let Some(mut statement) = db.logged(text, || statements.next()).map_err(|error| db.explain(error))? {
            let mut tally = Tally::of(db, &statement);
            // One step, as the driver does: of a query the rest is not looked at.
            let mut rows = statement.raw_query();
            let step = rows.next().map(|_| ());
            drop(rows);
            step.map_err(|error| {
                tally::fail(&mut tally);
                db.explain(error)
            })?;
        }
        Ok(())
    }

    /// The rowid of the last row that this closure has inserted; 0 if it has inserted none.
    #[must_use]
    pub fn last_insert_rowid(&self) -> i64 {
        self.db.connection.last_insert_rowid()
    }

    /// How many rows the last inserting, updating or deleting statement changed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.db.connection.changes()
    }

    /// Opens the blob or text in one row of a column, for reading and writing in place. Its size
    /// cannot change.
    ///
    /// # Errors
    /// As [`Db::blob_open`], and a column that is part of an index or a key.
    pub fn blob_open(&self, table: &str, column: &str, rowid: i64) -> Result<Blob<'_>> {
        self.inside()?;
        // SQLite tells nobody what is written through it.
        if let Some(mut writes) = self.db.guard.writes() {
            writes.add(table);
        }
        self.db.open_blob(table, column, rowid, false)
    }

    /// Refuses to write where there is no transaction, also on a connection that never began one.
    pub(crate) fn inside(&self) -> Result<()> {
        self.db.still_in_transaction()?;
        if self.db.connection.is_autocommit() {
            return Err(fault::worded(ffi::SQLITE_MISUSE, "there is no transaction to write in: begin one first"));
        }
        Ok(())
    }
}

impl ops::Deref for Tx {
    type Target = Db;

    fn deref(&self) -> &Db {
        &self.db
    }
}
