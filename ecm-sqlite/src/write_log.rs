use ecm_core::{Written, WrittenTable};
use rusqlite::hooks::{AuthAction, AuthContext};
use std::{collections::HashMap, sync::Arc};

/// How many texts are remembered: far more than the driver keeps statements of, by default.
const REMEMBERED: usize = 4096;

/// Which tables the statements of a transaction write, as SQLite says when it prepares them.
///
/// SQLite names the tables of triggers and of actions of foreign keys too. It is silent about a
/// statement from the cache, which was prepared earlier, so that what it said then is remembered by
/// the text.
#[derive(Debug)]
pub(crate) struct WriteLog {
    /// What the statements of the transaction write: first of the transaction itself, then of each part
    /// that is open in it. The room of those that have ended is kept.
    parts: Vec<Tables>,
    /// How many parts are open inside the transaction.
    depth: usize,
    /// What was answered last: most transactions write the same tables as the one before, and ask for no
    /// memory then.
    told: Arc<[WrittenTable]>,
    /// What is being prepared.
    window: Option<Window>,
    remembered: HashMap<Box<str>, Tables>,
    /// Whether some statement was prepared anew while it ran, so that what is remembered of it, which
    /// cannot be told from the others, holds no more.
    outdated: bool,
}

#[derive(Debug, Default)]
struct Window {
    /// Whether SQLite has said anything: not about a statement from the cache.
    asked: bool,
    tables: Tables,
}

#[derive(Debug, Default)]
struct Tables {
    /// Sorted, each once. Shared and not copied, and the room for them is kept: a transaction that runs
    /// known statements asks for no memory here.
    names: Vec<Arc<str>>,
    /// Whether more may be written than the names tell: the schema, above all.
    everything: bool,
}

impl Default for WriteLog {
    fn default() -> Self {
        Self {
            parts: vec![Tables::default()],
            depth: 0,
            told: Arc::new([]),
            window: None,
            remembered: HashMap::new(),
            outdated: false,
        }
    }
}

impl WriteLog {
    /// A transaction begins. Answers whether the driver's cache of statements must be emptied, since
    /// it is not known any more what those in it write.
    #[must_use]
    pub(crate) fn begin(&mut self) -> bool {
        self.depth = 0;
        self.now().clear();
        self.window = None;
        let outdated = std::mem::take(&mut self.outdated);
        if outdated {
            self.remembered.clear();
        }
        outdated
    }

    /// A part of the transaction begins, which may be undone alone.
    pub(crate) fn enter(&mut self) {
        self.depth += 1;
        if self.parts.len() == self.depth {
            self.parts.push(Tables::default());
        }
        self.now().clear();
    }

    /// The part that began last has ended, and stays in what it is part of if it was kept.
    pub(crate) fn leave(&mut self, kept: bool) {
        let Some(outer) = self.depth.checked_sub(1) else { return };
        self.depth = outer;
        if kept && let Some([around, part]) = self.parts.get_mut(outer..outer + 2) {
            around.add(part);
        }
    }

    /// What the statements that run now write.
    fn now(&mut self) -> &mut Tables {
        &mut self.parts[self.depth]
    }

    /// Something is about to be prepared.
    pub(crate) fn open(&mut self) {
        self.window = Some(Window::default());
    }

    /// What was about to be prepared is, under this text if it came from the driver's cache, or goes
    /// there.
    pub(crate) fn close(&mut self, cached: Option<&str>) {
        let Some(window) = self.window.take() else { return };
        match cached {
            None => self.now().add(&window.tables),
            Some(text) if window.asked => {
                self.now().add(&window.tables);
                if self.remembered.len() >= REMEMBERED {
                    self.remembered.clear();
                    self.outdated = true;
                }
                self.remembered.insert(text.into(), window.tables);
            }
            Some(text) => {
                let now = &mut self.parts[self.depth];
                match self.remembered.get(text) {
                    Some(tables) => now.add(tables),
                    None => now.everything = true,
                }
            }
        }
    }

    /// What the authorizer is asked.
    pub(crate) fn note(&mut self, context: &AuthContext<'_>) {
        match &mut self.window {
            Some(window) => {
                window.asked = true;
                window.tables.note(context);
            }
            None => {
                self.outdated = true;
                self.now().note(context);
            }
        }
    }

    /// A table is written past any statement.
    pub(crate) fn add(&mut self, table: &str) {
        self.now().insert(&table.to_ascii_lowercase().into());
    }

    /// Whether more may be written so far than tables.
    pub(crate) fn is_everything(&self) -> bool {
        self.parts.iter().take(self.depth + 1).any(|part| part.everything)
    }

    /// What the transaction writes, at its end.
    pub(crate) fn written(&mut self) -> Written {
        let Some(Tables { names, everything: false }) = self.parts.first() else { return Written::Everything };
        if !names.iter().eq(self.told.iter().map(|table| &table.name)) {
            self.told = names.iter().map(|name| WrittenTable::any(Arc::clone(name))).collect();
        }
        Written::Tables(Arc::clone(&self.told))
    }
}

impl Tables {
    fn note(&mut self, context: &AuthContext<'_>) {
        use AuthAction as Action;
        match context.action {
            Action::Insert { table_name } | Action::Update { table_name, .. } | Action::Delete { table_name } => {
                let in_main = context.database_name.is_none_or(|name| name.eq_ignore_ascii_case("main"));
                let schema = ["sqlite_master", "sqlite_schema"].iter().any(|own| own.eq_ignore_ascii_case(table_name));
                if in_main && !schema {
                    self.insert(&table_name.to_ascii_lowercase().into());
                } else {
                    self.everything = true;
                }
            }
            Action::Select | Action::Read { .. } | Action::Function { .. } | Action::Recursive => {}
            Action::Pragma { .. } | Action::Transaction { .. } | Action::Savepoint { .. } => {}
            // A change of the schema, or something that this version does not know.
            _ => self.everything = true,
        }
    }

    fn add(&mut self, other: &Self) {
        self.everything |= other.everything;
        other.names.iter().for_each(|name| self.insert(name));
    }

    fn insert(&mut self, name: &Arc<str>) {
        if let Err(place) = self.names.binary_search(name) {
            self.names.insert(place, Arc::clone(name));
        }
    }

    fn clear(&mut self) {
        self.names.clear();
        self.everything = false;
    }
}
