use crate::integer_key::ROW_NUMBER;
use rusqlite::hooks::{AuthAction, AuthContext};
use std::sync::Arc;

/// What a statement writes, as SQLite says when it prepares it. All names are in lower case.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// The tables, sorted, each once: those of triggers and of actions of foreign keys too.
    pub(crate) tables: Vec<Arc<str>>,
    /// Whether more may be written than the tables tell: the schema, above all.
    pub(crate) everything: bool,
    /// The columns that are set in rows that are there already, each with its table.
    updates: Vec<(Arc<str>, Box<str>)>,
    /// Tables of which a row may be written that the hook of updates does not name.
    silent: Vec<Arc<str>>,
    /// Whether its own text may ask that other rows give way.
    pub(crate) replaces: bool,
}

impl Effects {
    /// What it is to write a table past any statement.
    pub(crate) fn past_statements(table: &str) -> Self {
        let table: Arc<str> = table.to_ascii_lowercase().into();
        Self { tables: vec![Arc::clone(&table)], silent: vec![table], ..Self::default() }
    }

    pub(crate) fn note(&mut self, context: &AuthContext<'_>) {
        use AuthAction as Action;
        let (table, column) = match context.action {
            Action::Insert { table_name } | Action::Delete { table_name } => (table_name, None),
            Action::Update { table_name, column_name } => (table_name, Some(column_name)),
            Action::Select | Action::Read { .. } | Action::Function { .. } | Action::Recursive => return,
            Action::Pragma { .. } | Action::Transaction { .. } | Action::Savepoint { .. } => return,
            // A change of the schema, or something that this version does not know.
            _ => {
                self.everything = true;
                return;
            }
        };
        let in_main = context.database_name.is_none_or(|name| name.eq_ignore_ascii_case("main"));
        let schema = ["sqlite_master", "sqlite_schema"].iter().any(|own| own.eq_ignore_ascii_case(table));
        if !in_main || schema {
            self.everything = true;
            return;
        }
        let table = self.table(table);
        if let Some(column) = column {
            let column: Box<str> = column.to_ascii_lowercase().into();
            if ROW_NUMBER.contains(&&*column) && !self.silent.contains(&table) {
                self.silent.push(Arc::clone(&table));
            }
            if !self.sets(&table, &column) {
                self.updates.push((table, column));
            }
        }
    }

    /// The name, as one of the tables.
    fn table(&mut self, name: &str) -> Arc<str> {
        let name: Arc<str> = name.to_ascii_lowercase().into();
        match self.tables.binary_search(&name) {
            Ok(place) => Arc::clone(&self.tables[place]),
            Err(place) => {
                self.tables.insert(place, Arc::clone(&name));
                name
            }
        }
    }

    /// Whether it sets this column in rows that are there already.
    pub(crate) fn sets(&self, table: &str, column: &str) -> bool {
        self.updates.iter().any(|(known, set)| **known == *table && **set == *column)
    }

    /// Whether it may write a row of the table that the hook of updates does not name, whatever the table is like.
    pub(crate) fn is_silent_about(&self, table: &str) -> bool {
        self.silent.iter().any(|known| **known == *table)
    }
}
