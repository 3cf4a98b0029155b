use crate::{
    Sqlite,
    fault::{failed, refused},
};
use ecm_core::{Backend as _, Failure, Kind, Position};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use std::{
    fs,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
};

/// How a file came to hold what it holds, remembered inside of it: a row for each time that it was opened to be
/// written as a primary, and one for each time that a copy took over. So a copy has the rows of its source, as they were
/// then, and whoever has a row that the other lacks has been written on its own.
///
/// A file has it only once it is copied, or is a copy.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Lineage {
    runs: Vec<Run>,
}

/// A time during which a file was written as a primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Rises by one with each.
    number: i64,
    /// Drawn at random: two files that were written at the same time have different ones.
    id: i64,
    epoch: i64,
    /// Where the former primary stood, as far as it is known to be in here, when this one took over.
    reached: i64,
    /// The path of the file that was written: its copies have the row as well.
    place: String,
}

/// Under which numbers the commits of a database are counted by this process.
#[derive(Debug, Default)]
pub(crate) struct Term {
    epoch: AtomicU64,
    base: AtomicU64,
    /// The identity of the run, 0 while there is none.
    id: AtomicI64,
}

/// The name of the table.
pub(crate) const TABLE: &str = "ecm_lineage";

/// How many commits a run has room for: one that made a hundred thousand a second would last for 127 days.
const COMMITS_A_RUN: u32 = 40;

/// How many runs are remembered. A copy that has missed more of them is not known to be one any more.
const RUNS: i64 = 1_000;

const CREATE: &str = "CREATE TABLE ecm_lineage (number INTEGER PRIMARY KEY, id INTEGER NOT NULL, epoch INTEGER NOT NULL, \
                      reached INTEGER NOT NULL DEFAULT 0, place TEXT NOT NULL DEFAULT '')";

impl Term {
    pub(crate) fn position(&self, commits: u64) -> Position {
        let (epoch, base) = (self.epoch.load(Ordering::SeqCst), self.base.load(Ordering::SeqCst));
        Position { epoch, commit: base + commits }
    }

    fn is_begun(&self) -> bool {
        self.id.load(Ordering::SeqCst) != 0
    }

    fn begins(&self, run: &Run) {
        // Before the epoch: no position is greater than one that follows it.
        self.base.store(run.number.cast_unsigned() << COMMITS_A_RUN, Ordering::SeqCst);
        self.epoch.store(run.epoch.cast_unsigned(), Ordering::SeqCst);
        self.id.store(run.id, Ordering::SeqCst);
    }
}

impl Lineage {
    /// That of a file; `None` if it has none.
    pub(crate) fn of(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        if !exists(connection)? {
            return Ok(None);
        }
        let mut lineage = Self::default();
        let mut rows =
            connection.prepare("SELECT number, id, epoch, reached, place FROM ecm_lineage ORDER BY number")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let (number, id, epoch) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let run = Run { number, id, epoch, reached: row.get(3)?, place: row.get(4)? };
            // That of 0 only says that another one has taken over.
            if run.id != 0 {
                lineage.runs.push(run);
            }
        }
        Ok(Some(lineage))
    }

    fn newest(&self) -> Option<&Run> {
        self.runs.last()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.newest().map_or(0, |run| run.epoch.cast_unsigned())
    }

    /// Whether the other, which is at this path, may be overwritten by a copy of this one. It was never written on its
    /// own, so that nothing is lost that is not, or was not, in a primary; and it is at a state that this one has been
    /// at, or this one has taken over since.
    pub(crate) fn may_overwrite(&self, other: &Self, path: &str) -> bool {
        let Some(newest) = other.newest() else { return false };
        let is_copy = newest.place != path;
        self.runs.contains(newest) || (is_copy && self.epoch() > other.epoch() && self.is_related(other))
    }

    /// Whether both have been one file once.
    pub(crate) fn is_related(&self, other: &Self) -> bool {
        self.runs.iter().any(|run| other.runs.contains(run))
    }

    /// Where the primary of its epoch began to be written, where the one before stood then, and at which path the
    /// primary is; `None` for the first epoch.
    pub(crate) fn took_over(&self) -> Option<(Position, Position, &str)> {
        let epoch = self.epoch();
        let run = self.runs.iter().find(|run| run.epoch.cast_unsigned() == epoch)?;
        let since = Position { epoch, commit: run.number.cast_unsigned() << COMMITS_A_RUN };
        let reached = Position { epoch: epoch.checked_sub(1)?, commit: run.reached.cast_unsigned() };
        Some((since, reached, &self.newest()?.place))
    }
}

/// By which path a file is remembered, whatever links lead to it.
pub(crate) fn path(database: &Sqlite) -> String {
    let Some(file) = database.path() else { return String::new() };
    fs::canonicalize(file).unwrap_or_else(|_| file.to_owned()).display().to_string()
}

/// Whether the file remembers where it comes from.
pub(crate) fn exists(connection: &Connection) -> rusqlite::Result<bool> {
    let found = connection.query_row("SELECT 1 FROM sqlite_schema WHERE name = ?1", [TABLE], |_| Ok(()));
    Ok(found.optional()?.is_some())
}

/// Which epoch has taken the place of the file; `None` if it may be written.
pub(crate) fn superseded(connection: &Connection) -> Option<i64> {
    // Where there is no such table, as in most files, this fails while it is prepared.
    connection.query_row("SELECT epoch FROM ecm_lineage WHERE id = 0", [], |row| row.get(0)).ok()
}

/// Why a file that was superseded takes no writes.
pub(crate) fn refusal(place: &str, epoch: i64) -> Failure {
    refused(
        Kind::ReadOnly,
        format_args!(
            "the database {place} takes no writes any more: a copy of it has been promoted, and is the primary of \
             epoch {epoch}; write there"
        ),
    )
}

/// A connection that may write has been opened: the run begins, if it has not, where the file remembers any.
pub(crate) fn arrive(connection: &Connection, database: &Sqlite) -> Result<(), Failure> {
    let term = &database.shared.term;
    let failed = |error| failed(format_args!("remembering in {} that it is written", database.describe()), error);
    if term.is_begun() || !exists(connection).map_err(failed)? || superseded(connection).is_some() {
        return Ok(());
    }
    begin_run(connection, term, &path(database)).map_err(failed)
}

/// Begins the run of this process in the file at this path, which may not remember any yet.
pub(crate) fn begin_run(connection: &Connection, term: &Term, place: &str) -> rusqlite::Result<()> {
    if term.is_begun() {
        return Ok(());
    }
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    if !exists(&transaction)? {
        transaction.execute_batch(CREATE)?;
    }
    let epoch = transaction.query_row("SELECT ifnull(max(epoch), 0) FROM ecm_lineage", [], |row| row.get(0))?;
    let run = add_run(&transaction, epoch, 0, place)?;
    transaction.commit()?;
    term.begins(&run);
    Ok(())
}

/// Makes the file at this path the primary of the next epoch.
pub(crate) fn take_over(connection: &Connection, term: &Term, reached: Position, place: &str) -> rusqlite::Result<()> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    // That of the source, if it was copied with it.
    transaction.execute("DELETE FROM ecm_lineage WHERE id = 0", [])?;
    let epoch: i64 = transaction.query_row("SELECT max(epoch) + 1 FROM ecm_lineage", [], |row| row.get(0))?;
    let run = add_run(&transaction, epoch, reached.commit.cast_signed(), place)?;
    transaction.commit()?;
    term.begins(&run);
    Ok(())
}

/// The file takes no writes from now on, or takes them again.
pub(crate) fn fence(connection: &Connection, fenced: bool) -> rusqlite::Result<()> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    transaction.execute("DELETE FROM ecm_lineage WHERE id = 0", [])?;
    if fenced {
        transaction.execute(
            "INSERT INTO ecm_lineage (number, id, epoch) SELECT max(number) + 1, 0, max(epoch) + 1 FROM ecm_lineage",
            [],
        )?;
    }
    transaction.commit()
}

fn add_run(transaction: &Transaction<'_>, epoch: i64, reached: i64, place: &str) -> rusqlite::Result<Run> {
    // 0 is for the one that has taken over.
    let sql = "INSERT INTO ecm_lineage (number, id, epoch, reached, place) \
               SELECT ifnull(max(number), 0) + 1, random() | 1, ?1, ?2, ?3 FROM ecm_lineage RETURNING number, id";
    let (number, id) = transaction.query_row(sql, (epoch, reached, place), |row| Ok((row.get(0)?, row.get(1)?)))?;
    // The first of each epoch says when that began.
    let old = "DELETE FROM ecm_lineage WHERE number <= ?1 AND number NOT IN \
               (SELECT min(number) FROM ecm_lineage GROUP BY epoch)";
    transaction.execute(old, [number - RUNS])?;
    Ok(Run { number, id, epoch, reached, place: place.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage(runs: &[(i64, i64, i64, &str)]) -> Lineage {
        let run = |&(number, id, epoch, place): &(i64, i64, i64, &str)| Run {
            number,
            id,
            epoch,
            reached: 7,
            place: place.to_owned(),
        };
        Lineage { runs: runs.iter().map(run).collect() }
    }

    #[test]
    fn a_file_that_was_written_on_its_own_is_not_overwritten() {
        let first = (1, 11, 0, "/a");
        let source = lineage(&[first, (2, 12, 0, "/a")]);
        assert!(source.may_overwrite(&source, "/b") && source.may_overwrite(&lineage(&[first]), "/b"));
        let alone = lineage(&[first, (2, 99, 0, "/b")]);
        assert!(!source.may_overwrite(&alone, "/b") && !source.may_overwrite(&Lineage::default(), "/b"));
        assert!(source.is_related(&alone) && !source.is_related(&lineage(&[(1, 12, 0, "/a")])));

        let promoted = lineage(&[first, (2, 13, 1, "/c")]);
        assert!(!source.may_overwrite(&promoted, "/c") && !source.may_overwrite(&promoted, "/b"));
        assert!(promoted.may_overwrite(&lineage(&[first]), "/a"));
        assert!(promoted.may_overwrite(&source, "/b"), "a copy that was ahead of the one that took over");
        assert!(!promoted.may_overwrite(&source, "/a") && !promoted.may_overwrite(&alone, "/b"));
        let since = Position { epoch: 1, commit: 2 << COMMITS_A_RUN };
        assert_eq!(promoted.took_over(), Some((since, Position { epoch: 0, commit: 7 }, "/c")));
        assert_eq!(source.took_over(), None);
    }

    #[test]
    fn positions_rise_with_each_run_and_each_epoch() {
        let file = Connection::open_in_memory().unwrap();
        let mut last = Term::default().position(1_000_000);
        for _ in 0..3 {
            let term = Term::default();
            begin_run(&file, &term, "/x").unwrap();
            begin_run(&file, &term, "/x").unwrap();
            let position = term.position(0);
            assert!(position > last, "{position:?} {last:?}");
            last = term.position(1_000_000);
        }
        assert_eq!(Lineage::of(&file).unwrap().unwrap().runs.len(), 3);
        fence(&file, true).unwrap();
        assert_eq!(superseded(&file), Some(1));
        assert_eq!(Lineage::of(&file).unwrap().unwrap().runs.len(), 3);
        let term = Term::default();
        fence(&file, false).unwrap();
        assert_eq!(superseded(&file), None);
        fence(&file, true).unwrap();
        take_over(&file, &term, Position { epoch: 0, commit: 5 }, "/x").unwrap();
        assert!(term.position(0) > last && term.position(0).epoch == 1 && superseded(&file).is_none());
    }

    #[test]
    fn only_so_many_runs_are_remembered() {
        let file = Connection::open_in_memory().unwrap();
        file.execute_batch(CREATE).unwrap();
        let transaction = Transaction::new_unchecked(&file, TransactionBehavior::Immediate).unwrap();
        for _ in 0..RUNS + 5 {
            add_run(&transaction, 0, 0, "/x").unwrap();
        }
        transaction.commit().unwrap();
        let lineage = Lineage::of(&file).unwrap().unwrap();
        // And the first one.
        assert_eq!((lineage.runs.len() as i64, lineage.newest().unwrap().number), (RUNS + 1, RUNS + 5));
    }
}
