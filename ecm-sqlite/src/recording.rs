use rusqlite::hooks::{AuthAction, AuthContext};
use std::collections::BTreeSet;

/// What the authorizer saw while one statement was prepared.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    /// Names that were read: tables, views, and the names of common table expressions.
    pub(crate) reads: BTreeSet<String>,
    /// The columns of them, each with what it is of.
    pub(crate) columns: BTreeSet<(String, String)>,
    /// Tables that are written.
    pub(crate) writes: BTreeSet<String>,
    /// Functions that are called.
    pub(crate) functions: BTreeSet<String>,
    /// Whether it does anything besides reading.
    pub(crate) acts: bool,
    /// Whether it is a pragma: what one answers depends on more than the tables.
    pub(crate) asks_pragma: bool,
    /// Whether it reads a database other than `main`.
    pub(crate) leaves_main: bool,
}

impl Recording {
    pub(crate) fn note(&mut self, context: &AuthContext<'_>) {
        match context.action {
            AuthAction::Select | AuthAction::Recursive => {}
            AuthAction::Function { function_name } => {
                self.functions.insert(function_name.to_ascii_lowercase());
            }
            AuthAction::Read { table_name, column_name } => {
                // Without a database it may be a real table all the same: `count(*)` reads no column.
                if context.database_name.is_some_and(|name| !name.eq_ignore_ascii_case("main")) {
                    self.leaves_main = true;
                }
                let table = table_name.to_ascii_lowercase();
                self.columns.insert((table.clone(), column_name.to_ascii_lowercase()));
                self.reads.insert(table);
            }
            AuthAction::Insert { table_name }
            | AuthAction::Update { table_name, .. }
            | AuthAction::Delete { table_name }
            | AuthAction::CreateTable { table_name }
            | AuthAction::DropTable { table_name }
            | AuthAction::CreateVtable { table_name, .. }
            | AuthAction::DropVtable { table_name, .. }
            | AuthAction::AlterTable { table_name, .. } => {
                self.writes.insert(table_name.to_ascii_lowercase());
                self.acts = true;
            }
            AuthAction::Pragma { .. } => self.asks_pragma = true,
            _ => self.acts = true,
        }
    }
}
