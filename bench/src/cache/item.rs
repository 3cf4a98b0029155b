//! The table of most cases, and how ECM is asked for its rows.

use ecm::{
    Call, ConnectionManager, Database,
    cache::{Quick, QuickConfig},
    core::Cache,
    sqlite::{Sqlite, SqliteConfig, Synchronous},
    statement::Query,
};
use std::{fs, path::Path};
use workload::Problem;

pub(super) const ROWS: usize = 100_000;

/// How many results a cache may store, where the case does not say otherwise: the default of ECM's.
pub(super) const ENTRIES: usize = 10_000;

/// One number of one row.
pub(super) const NUMBER: &str = "SELECT n FROM item WHERE k = ?1";
/// One text of one row.
pub(super) const TEXT: &str = "SELECT v FROM item WHERE k = ?1";
/// One number of one row.
pub(super) const UPDATE: &str = "UPDATE item SET n = ?2 WHERE k = ?1";

/// Makes the file with the table in it.
pub(super) fn fill(path: &Path) -> Result<(), rusqlite::Error> {
    let mut connection = rusqlite::Connection::open(path)?;
    connection.execute_batch("PRAGMA journal_mode = WAL")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch("CREATE TABLE item (k INTEGER PRIMARY KEY, n INTEGER NOT NULL, v TEXT NOT NULL)")?;
    let mut insert = transaction.prepare("INSERT INTO item VALUES (?1, ?2, ?3)")?;
    for key in 1..=ROWS as i64 {
        insert.execute((key, number(key), workload::value(key)))?;
    }
    drop(insert);
    transaction.commit()?;
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
}

/// The number that a row is filled with.
pub(super) fn number(key: i64) -> i64 {
    key * 7
}

/// A manager of a copy of its own of the file, beside it.
pub(super) fn manager(base: &Path, name: &str, cache: impl Cache + 'static) -> Result<ConnectionManager, Problem> {
    let path = base.with_file_name(format!("{name}.db"));
    fs::copy(base, &path).map_err(|error| Problem::during(path.display(), error))?;
    let sqlite =
        Sqlite::open(&path).config(SqliteConfig { synchronous: Synchronous::Normal, ..SqliteConfig::default() });
    let built = ConnectionManager::standard().cache(cache).database(Database::new("main", sqlite)).build();
    built.map_err(|error| Problem::during(format_args!("opening {name}"), error))
}

/// A cache of ECM's for so many results.
pub(super) fn quick(entries: usize) -> Result<Quick, Problem> {
    let config = QuickConfig { max_entries: entries as u64, ..QuickConfig::default() };
    Quick::new(&config).map_err(|error| Problem::during("making a cache", error))
}

/// The only place that says how ECM is asked to answer from its cache.
pub(super) fn cached<'m, S>(call: Call<'m, Sqlite, Query<'m, S>>) -> Call<'m, Sqlite, Query<'m, S>> {
    call
}
