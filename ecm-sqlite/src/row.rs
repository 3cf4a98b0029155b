use ecm_core::{Columns, Error, Failure, Kind, Row, ValueRef};
use rusqlite::types::{ToSql, ToSqlOutput};
use std::{str, sync::Arc};

/// The row under a running statement, as ECM's sinks see it.
pub(crate) struct SqliteRow<'r, 's> {
    pub(crate) row: &'r rusqlite::Row<'s>,
    pub(crate) columns: &'r Arc<Columns>,
}

impl Row for SqliteRow<'_, '_> {
    fn columns(&self) -> &Arc<Columns> {
        self.columns
    }

    fn value(&self, column: usize) -> Result<ValueRef<'_>, Failure> {
        use rusqlite::types::ValueRef as Sql;
        let Some(name) = self.columns.get(column) else {
            let count = self.columns.len();
            let message = format!("there is no column {column}: the row has {count}, counted from 0");
            return Err(Error::new(Kind::Decode, message).into());
        };
        Ok(match self.row.get_ref(column)? {
            Sql::Null => ValueRef::Null,
            Sql::Integer(number) => ValueRef::Integer(number),
            Sql::Real(number) => ValueRef::Real(number),
            Sql::Blob(bytes) => ValueRef::Blob(bytes),
            Sql::Text(bytes) => ValueRef::Text(str::from_utf8(bytes).map_err(|error| {
                let message = format!(
                    "the text in column {column} ({name:?}) is not UTF-8: read it as a blob with cast(.. as blob)"
                );
                Error::new(Kind::Decode, message).caused_by(error.into())
            })?),
        })
    }
}

/// A value of ECM's as a parameter of rusqlite's, without a copy.
pub(crate) struct Bound<'a>(pub(crate) ValueRef<'a>);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        use rusqlite::types::ValueRef as Sql;
        Ok(ToSqlOutput::Borrowed(match self.0 {
            ValueRef::Null => Sql::Null,
            ValueRef::Integer(number) => Sql::Integer(number),
            ValueRef::Real(number) => Sql::Real(number),
            ValueRef::Text(text) => Sql::Text(text.as_bytes()),
            ValueRef::Blob(bytes) => Sql::Blob(bytes),
        }))
    }
}
