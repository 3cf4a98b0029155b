//! A database in a folder of its own, and the shortest way to read and write it.
#![expect(dead_code, reason = "each test program uses a part of it")]

use ecm_core::{
    Access, Analysis, Backend, CheckIn, Clock, Commit, Connection, Durability, Error, Failure, Flow, Kind, Loan,
    Position, Prepared, Row, SystemClock, Time, Transact, ValueRef,
};
use ecm_sqlite::{Db, Sqlite, SqliteConfig, SqliteConnection, Tx, rusqlite};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;

pub(crate) struct Place {
    pub folder: TempDir,
    pub database: Sqlite,
    pub clock: Arc<dyn Clock>,
}

impl Place {
    /// A new file with a table `t(id integer primary key, v)` of no rows, where nobody waits long.
    pub(crate) fn new() -> Self {
        Self::with(SqliteConfig { busy_timeout: Duration::from_millis(20), ..SqliteConfig::default() })
    }

    pub(crate) fn with(config: SqliteConfig) -> Self {
        Self::at(config, Arc::new(SystemClock::new()))
    }

    pub(crate) fn at(config: SqliteConfig, clock: Arc<dyn Clock>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Sqlite::open(folder.path().join("test.db")).config(config);
        let place = Self { folder, database, clock };
        write(&mut place.writer(), |tx| tx.execute_batch("create table t(id integer primary key, v)").unwrap());
        place
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("test.db")
    }

    pub(crate) fn writer(&self) -> SqliteConnection {
        self.database.connect(Access::Write, &self.clock).unwrap()
    }

    pub(crate) fn reader(&self) -> SqliteConnection {
        self.database.connect(Access::Read, &self.clock).unwrap()
    }

    /// A reader of a database that somebody looks after, so that it may hold snapshots.
    pub(crate) fn kept_reader(&self) -> SqliteConnection {
        let mut reader = self.reader();
        reader.idle(Time::START);
        reader
    }

    /// A connection that is none of ECM's: another program, or a look from outside.
    pub(crate) fn stranger(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.path()).unwrap();
        connection.busy_timeout(Duration::ZERO).unwrap();
        connection
    }

    pub(crate) fn rows(&self) -> Vec<i64> {
        ids(&self.stranger())
    }
}

pub(crate) fn ids(connection: &rusqlite::Connection) -> Vec<i64> {
    let mut statement = connection.prepare("select id from t order by id").unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// A reader that holds a snapshot of the present state.
pub(crate) fn held(place: &Place) -> SqliteConnection {
    let mut reader = place.kept_reader();
    for _ in 0..6 {
        read(&mut reader, |db| db.query_row("select count(*) from t", [], |_| Ok(())).unwrap());
    }
    reader
}

/// Whether somebody holds a snapshot now. Commits something, which ends the present state, and looks
/// whether a checkpoint can take it over into the file.
pub(crate) fn pinned(place: &Place) -> bool {
    let stranger = place.stranger();
    let version: i64 = stranger.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    stranger.pragma_update(None, "user_version", version + 1).unwrap();
    let frames = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
    let (log, in_file) = stranger.query_row("pragma wal_checkpoint(passive)", [], frames).unwrap();
    log != in_file
}

/// Keeps forgotten statements reachable, so that a leak checker tells them from leaks of ours.
static FORGOTTEN: Mutex<Vec<usize>> = Mutex::new(Vec::new());

pub(crate) fn forget<T>(value: T) {
    let kept = Box::leak(Box::new(value));
    FORGOTTEN.lock().unwrap().push(std::ptr::from_ref(kept).addr());
}

/// A whole write: lent, begun, committed, returned clean.
pub(crate) fn write<R>(writer: &mut SqliteConnection, work: impl FnOnce(&Tx) -> R) -> R {
    begin(writer);
    let result = work(writer.tx());
    done(writer.commit());
    assert_eq!(writer.check_in(), CheckIn::Clean);
    result
}

/// A whole read: lent, returned clean.
pub(crate) fn read<R>(reader: &mut SqliteConnection, work: impl FnOnce(&Db) -> R) -> R {
    reader.check_out(Loan::Read).unwrap();
    let result = work(reader.db());
    assert_eq!(reader.check_in(), CheckIn::Clean);
    result
}

pub(crate) fn begin(writer: &mut SqliteConnection) {
    writer.check_out(Loan::Write).unwrap();
    writer.begin(Durability::Configured).unwrap();
}

pub(crate) fn done(commit: Commit) -> Position {
    match commit {
        Commit::Done(position) => position,
        other => panic!("not committed: {other:?}"),
    }
}

pub(crate) fn prepared(connection: &mut SqliteConnection, sql: &str) -> Prepared {
    let analysis: Analysis = connection.analyse(sql).unwrap_or_else(|failure| panic!("{sql}: {failure}"));
    Prepared { id: 1, sql: sql.into(), analysis }
}

/// The error that a caller of the facade would see.
pub(crate) fn seen(failure: Failure) -> Error {
    Error::from_failure(failure, &Sqlite::memory())
}

/// The kind and the sentence of an error that a caller of the facade would see.
pub(crate) fn told(failure: Failure) -> (Kind, String) {
    let error = seen(failure);
    (error.kind(), error.to_string())
}

/// The number that a statement answers.
pub(crate) fn number(connection: &mut SqliteConnection, statement: &Prepared) -> i64 {
    let mut answer = None;
    let each = &mut |row: &dyn Row| {
        if let ValueRef::Integer(number) = row.value(0)? {
            answer = Some(number);
        }
        Ok(Flow::Stop)
    };
    connection.query(statement, &[], each).unwrap();
    answer.expect("it answers a number")
}
