//! Plain SQLite, without ECM: what a manager's answers are held against.

use ecm::{
    core::Value,
    sqlite::rusqlite::{Connection, Result, params_from_iter, types},
};
use std::path::Path;

/// A connection of its own to a file, with the settings of ECM's that change what a statement does.
pub(crate) fn connect(file: &Path) -> Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(std::time::Duration::from_secs(30))?;
    connection.execute_batch("PRAGMA journal_mode = wal; PRAGMA synchronous = off; PRAGMA foreign_keys = on")?;
    Ok(connection)
}

/// The values of an answer, row by row.
pub(crate) fn query(connection: &Connection, sql: &str, parameters: &[Value]) -> Result<Vec<Vec<Value>>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params_from_iter(parameters.iter().map(theirs)))?;
    let mut values = Vec::new();
    while let Some(row) = rows.next()? {
        // Known only now: the schema may have changed since the statement was prepared.
        let columns = row.as_ref().column_count();
        let row: Result<Vec<Value>> = (0..columns).map(|column| row.get(column).map(ours)).collect();
        values.push(row?);
    }
    Ok(values)
}

pub(crate) fn theirs(value: &Value) -> types::Value {
    match value {
        Value::Null => types::Value::Null,
        Value::Integer(number) => types::Value::Integer(*number),
        Value::Real(number) => types::Value::Real(*number),
        Value::Text(text) => types::Value::Text(text.to_string()),
        Value::Blob(bytes) => types::Value::Blob(bytes.to_vec()),
    }
}

fn ours(value: types::Value) -> Value {
    match value {
        types::Value::Null => Value::Null,
        types::Value::Integer(number) => Value::Integer(number),
        types::Value::Real(number) => Value::Real(number),
        types::Value::Text(text) => Value::Text(text.into()),
        types::Value::Blob(bytes) => Value::Blob(bytes.into()),
    }
}
