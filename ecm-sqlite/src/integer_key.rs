use crate::guard::{Guard, Mode};
use rusqlite::Connection;

/// What every table with row numbers calls them, unless a column has that name.
pub(crate) const ROW_NUMBER: [&str; 3] = ["rowid", "oid", "_rowid_"];

/// The column of a table that is its row number under another name: its `INTEGER PRIMARY KEY`.
#[derive(Debug)]
pub(crate) struct IntegerKey {
    /// In lower case.
    pub(crate) name: String,
    /// All columns of the table, in lower case.
    columns: Vec<String>,
}

impl IntegerKey {
    /// That of an ordinary table, whose name is given in lower case; `None` if it has none.
    ///
    /// SQLite is asked which column its row number is: a type of `INTEGER PRIMARY KEY` does not tell, since
    /// with `DESC` the column is another one, and `rowid` may be the name of any column.
    pub(crate) fn of(connection: &Connection, guard: &Guard, table: &str) -> rusqlite::Result<Option<Self>> {
        let _entered = guard.enter(Mode::End);
        let mut columns = connection.prepare_cached("select lower(name), pk from pragma_table_xinfo(?1, 'main')")?;
        let columns: Vec<(String, bool)> =
            columns.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
        // Of a table without a key of this kind SQLite says `rowid` too, so a column of that name would deceive.
        if columns.iter().any(|(column, _)| column == "rowid") {
            return Ok(None);
        }
        guard.start_recording();
        let prepared = connection.prepare(&format!("select rowid from main.\"{}\"", table.replace('"', "\"\"")));
        let seen = guard.stop_recording();
        if prepared.is_err() {
            // It has no row numbers: it is WITHOUT ROWID.
            return Ok(None);
        }
        let key = columns.iter().find(|(name, key)| *key && seen.columns.iter().any(|(_, read)| read == name));
        Ok(key.map(|(name, _)| Self {
            name: name.clone(),
            columns: columns.iter().map(|(column, _)| column.clone()).collect(),
        }))
    }

    /// Whether a column of the table, in lower case, is the row number under whatever name.
    pub(crate) fn is(&self, column: &str) -> bool {
        column == self.name || (ROW_NUMBER.contains(&column) && !self.columns.iter().any(|known| known == column))
    }
}
