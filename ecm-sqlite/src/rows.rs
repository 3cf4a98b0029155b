use crate::{
    Db,
    tally::{self, Tally},
};
use rusqlite::{Result, Row};
use std::{fmt, marker::PhantomData};

/// The rows that a statement answers, one after the other.
///
/// As rusqlite's, except that an error on the way says as much as any other of a loan: what was refused and what to do
/// instead, or that the call has used up its time.
pub struct Rows<'s> {
    db: &'s Db,
    /// Reset when it is dropped, which is before the tally is.
    inner: rusqlite::Rows<'s>,
    tally: Option<Tally<'s>>,
}

impl<'s> Rows<'s> {
    pub(crate) fn new(db: &'s Db, inner: rusqlite::Rows<'s>, tally: Option<Tally<'s>>) -> Self {
        Self { db, inner, tally }
    }

    /// The next row; `None` after the last one.
    ///
    /// # Errors
    /// Whatever SQLite says.
    #[expect(clippy::should_implement_trait, reason = "a row borrows from the rows, which no iterator can express")]
    pub fn next(&mut self) -> Result<Option<&Row<'s>>> {
        let Self { db, inner, tally } = self;
        inner.next().map_err(|error| {
            tally::fail(tally);
            db.explain(error)
        })
    }

    /// The rows as `map` makes them.
    pub fn mapped<T, F: FnMut(&Row<'_>) -> Result<T>>(self, map: F) -> MappedRows<'s, T, F> {
        self.and_then(map)
    }

    /// The rows as `map` makes them, with errors of the caller's own.
    pub fn and_then<T, E: From<rusqlite::Error>, F: FnMut(&Row<'_>) -> Result<T, E>>(
        self,
        map: F,
    ) -> MappedRows<'s, T, F, E> {
        MappedRows { rows: self, map, output: PhantomData }
    }

    /// The driver's own, for what takes nothing else. Its errors are SQLite's words.
    pub fn raw(&mut self) -> &mut rusqlite::Rows<'s> {
        &mut self.inner
    }
}

impl fmt::Debug for Rows<'_> {
    /// By hand: rusqlite's do not print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("db", self.db).finish_non_exhaustive()
    }
}

/// The rows of a statement as a closure makes them. An iterator.
#[must_use = "nothing is read before it is asked for"]
pub struct MappedRows<'s, T, F, E = rusqlite::Error> {
    rows: Rows<'s>,
    map: F,
    output: PhantomData<fn() -> (T, E)>,
}

impl<T, E: From<rusqlite::Error>, F: FnMut(&Row<'_>) -> Result<T, E>> Iterator for MappedRows<'_, T, F, E> {
    type Item = Result<T, E>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.rows.next() {
            Ok(row) => row.map(&mut self.map),
            Err(error) => Some(Err(error.into())),
        }
    }
}

impl<T, F, E> fmt::Debug for MappedRows<'_, T, F, E> {
    /// By hand: a closure does not print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedRows").field("rows", &self.rows).finish_non_exhaustive()
    }
}
