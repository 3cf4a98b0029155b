use crate::{
    guard::{Guard, Mode},
    integer_key::IntegerKey,
};
use rusqlite::{Connection, OptionalExtension};
use std::{collections::HashMap, sync::Arc};

/// What has to be known of the schema to tell whether the hook of updates names every row that is written.
///
/// Asked once for each table that is written, and forgotten when the schema may be another one.
#[derive(Debug, Default)]
pub(crate) struct SchemaFacts {
    /// Whether the word stands anywhere in it, also for something else; `None` until the first table is asked for.
    replaces: Option<bool>,
    tables: HashMap<Arc<str>, TableFacts>,
}

#[derive(Debug)]
enum TableFacts {
    /// An ordinary one with an integer primary key.
    Keyed {
        /// The name of the key, in lower case.
        key: String,
        /// Whether something else than the key must be unique.
        unique: bool,
    },
    /// One whose module writes whatever it likes.
    Virtual,
    /// Rows are not told apart: views, tables without a key of this kind.
    Other,
}

/// A table whose rows can be told apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyedTable<'f> {
    /// The name of its integer primary key, in lower case.
    pub(crate) key: &'f str,
    /// Whether a row may give way to one with another number: something else than the key must be unique.
    pub(crate) unique: bool,
    /// Whether some text in the schema may ask that rows give way.
    pub(crate) schema_replaces: bool,
}

impl SchemaFacts {
    /// Asks for what is not known of these tables, whose names are in lower case. Some ten microseconds for each, and
    /// once the time to read the schema.
    ///
    /// # Errors
    /// Whatever SQLite says; what could not be asked stays unknown.
    pub(crate) fn learn(
        &mut self,
        connection: &Connection,
        guard: &Guard,
        tables: &[Arc<str>],
    ) -> rusqlite::Result<()> {
        let _entered = guard.enter(Mode::End);
        for table in tables {
            if self.replaces.is_none() {
                self.replaces = Some(replaces(connection)?);
            }
            if !self.tables.contains_key(table) {
                let facts = TableFacts::of(connection, guard, table)?;
                self.tables.insert(Arc::clone(table), facts);
            }
        }
        Ok(())
    }

    pub(crate) fn forget(&mut self) {
        self.replaces = None;
        self.tables.clear();
    }

    pub(crate) fn know(&self, table: &str) -> bool {
        self.tables.contains_key(table)
    }

    /// Whether it is a virtual table, or may be one since nothing is known of it.
    pub(crate) fn may_be_virtual(&self, table: &str) -> bool {
        matches!(self.tables.get(table), Some(TableFacts::Virtual) | None)
    }

    /// `None` for a table whose rows cannot be told apart, or of which nothing is known.
    pub(crate) fn keyed(&self, table: &str) -> Option<KeyedTable<'_>> {
        let Some(TableFacts::Keyed { key, unique }) = self.tables.get(table) else { return None };
        Some(KeyedTable { key, unique: *unique, schema_replaces: self.replaces? })
    }
}

/// Whether some text in the schema may ask that rows give way.
fn replaces(connection: &Connection) -> rusqlite::Result<bool> {
    let mut texts = connection.prepare("select sql from main.sqlite_schema where sql is not null")?;
    let mut rows = texts.query([])?;
    while let Some(row) = rows.next()? {
        if may_replace(row.get_ref(0)?.as_bytes()?) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl TableFacts {
    fn of(connection: &Connection, guard: &Guard, table: &str) -> rusqlite::Result<Self> {
        let kind = connection
            .prepare("select type from pragma_table_list(?1) where schema = 'main'")?
            .query_row([table], |row| row.get::<_, String>(0))
            .optional()?;
        match kind.as_deref() {
            Some("table") => {}
            Some("virtual") => return Ok(Self::Virtual),
            _ => return Ok(Self::Other),
        }
        let Some(key) = IntegerKey::of(connection, guard, table)? else { return Ok(Self::Other) };
        let unique =
            connection.prepare("select 1 from pragma_index_list(?1, 'main') where \"unique\"")?.exists([table])?;
        Ok(Self::Keyed { key: key.name, unique })
    }
}

/// Whether a text may ask that rows give way: whether it holds the word, also as a part of another one.
pub(crate) fn may_replace(text: impl AsRef<[u8]>) -> bool {
    const WORD: &[u8] = b"replace";
    text.as_ref().windows(WORD.len()).any(|part| part.eq_ignore_ascii_case(WORD))
}
