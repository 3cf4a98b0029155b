//! What every pool over rusqlite does with a connection that it lends.

use rusqlite::{Connection, OpenFlags, Result, types::Value};
use std::path::Path;
use workload::{PRAGMAS, READ, Settings, WRITE};

/// Opens a connection, as rusqlite does by default, on the VFS and with the pragmas of the case.
pub(super) fn open(settings: &Settings) -> Result<Connection> {
    let flags = OpenFlags::default();
    let connection = match settings.vfs() {
        Some(vfs) => Connection::open_with_flags_and_vfs(&settings.path, flags, vfs)?,
        None => Connection::open_with_flags(&settings.path, flags)?,
    };
    connection.execute_batch(&settings.pragmas())?;
    Ok(connection)
}

/// Opens a connection for reading alone, with the pragmas of every connection.
pub(crate) fn bare(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let pragmas = PRAGMAS.iter().filter(|(name, _)| *name != "journal_mode");
    let pragmas: String = pragmas.map(|(name, value)| format!("PRAGMA {name} = {value};")).collect();
    connection.execute_batch(&pragmas)?;
    Ok(connection)
}

/// A read inside a transaction of its own, as a closure of ECM has one.
pub(crate) fn read_begun(connection: &Connection, key: i64) -> Result<String> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let value = read(connection, key)?;
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(value)
}

pub(crate) fn read(connection: &Connection, key: i64) -> Result<String> {
    connection.prepare_cached(READ)?.query_row([key], |row| row.get(0))
}

pub(super) fn write(connection: &Connection, key: i64, value: &str) -> Result<usize> {
    connection.prepare_cached(WRITE)?.execute((key, value))
}

pub(super) fn pragma(connection: &Connection, name: &str) -> Result<String> {
    connection.pragma_query_value(None, name, |row| row.get(0)).map(shown)
}

/// A value as people read it.
pub(super) fn shown(value: Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text,
        other => format!("{other:?}"),
    }
}

/// For errors: only their text is told.
pub(super) fn told<T, E: std::fmt::Display>(result: std::result::Result<T, E>) -> std::result::Result<T, String> {
    result.map_err(|error| error.to_string())
}
