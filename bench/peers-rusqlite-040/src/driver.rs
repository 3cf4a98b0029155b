use rusqlite::{Connection, Result, types::Value};
use workload::{READ, WRITE};

pub(crate) fn read(connection: &Connection, key: i64) -> Result<String> {
    connection.prepare_cached(READ)?.query_row([key], |row| row.get(0))
}

pub(crate) fn write(connection: &Connection, key: i64, value: &str) -> Result<usize> {
    connection.prepare_cached(WRITE)?.execute((key, value))
}

pub(crate) fn pragma(connection: &Connection, name: &str) -> Result<String> {
    connection.pragma_query_value(None, name, |row| row.get(0)).map(|value| match value {
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text,
        other => format!("{other:?}"),
    })
}
