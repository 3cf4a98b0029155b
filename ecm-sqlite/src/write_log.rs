use crate::{
    effects::Effects,
    row_log::RowLog,
    schema_facts::{SchemaFacts, may_replace},
};
use ecm_core::{Written, WrittenRows, WrittenTable};
use rusqlite::hooks::AuthContext;
use std::{collections::HashMap, mem, sync::Arc};

/// How many texts are remembered: far more than the driver keeps statements of, by default.
const REMEMBERED: usize = 4096;

/// How many different statements a transaction may run before its rows are not told apart any more.
const MOST_STATEMENTS: usize = 64;

/// Which tables the statements of a transaction write, as SQLite says when it prepares them, and which rows, if
/// somebody asks for that.
///
/// SQLite names the tables of triggers and of actions of foreign keys too. It is silent about a
/// statement from the cache, which was prepared earlier, so that what it said then is remembered by
/// the text.
///
/// The rows are those that the hook of updates is told. It is not told all: not of a row whose key is changed, nor of
/// one that gives way to another, nor of a table without row numbers, nor of a table that is emptied at once. So they
/// count only where it is certain that nothing of that kind has happened ([`rows_of`](WriteLog::rows_of)).
#[derive(Debug)]
pub(crate) struct WriteLog {
    /// What the statements of the transaction write: first of the transaction itself, then of each part
    /// that is open in it. The room of those that have ended is kept.
    parts: Vec<Part>,
    /// How many parts are open inside the transaction.
    depth: usize,
    /// What was answered last: most transactions write the same tables as the one before, and ask for no
    /// memory then.
    told: Arc<[WrittenTable]>,
    /// What is being prepared.
    window: Option<Window>,
    remembered: HashMap<Box<str>, Arc<Effects>>,
    /// Whether some statement was prepared anew while it ran, so that what is remembered of it, which
    /// cannot be told from the others, holds no more.
    outdated: bool,
    /// Whether the schema may have changed since this was asked last.
    schema_may_differ: bool,
    /// The rows that were touched; `None` while nobody asks for them.
    rows: Option<RowLog>,
}

#[derive(Debug, Default)]
struct Window {
    /// Whether SQLite has said anything: not about a statement from the cache.
    asked: bool,
    effects: Effects,
}

/// What is prepared.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Text<'t> {
    /// It came from the driver's cache, or goes there: under this text.
    Cached(&'t str),
    /// It is prepared for one use, and its text may ask that rows give way, or does not.
    Once { replaces: bool },
}

/// What has run in a transaction, or in a part of it.
#[derive(Debug, Default)]
struct Part {
    /// Sorted, each once. Shared and not copied, and the room for them is kept: a transaction that runs
    /// known statements asks for no memory here.
    tables: Vec<Arc<str>>,
    /// Whether more may be written than the tables tell: the schema, above all.
    everything: bool,
    /// What has run, each once, while rows are asked for.
    statements: Vec<Arc<Effects>>,
    /// Whether rows may have been written of which the hook was not told, or other statements than those.
    unclear: bool,
}

/// What is to be known about a transaction that begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    /// Whether the driver's cache of statements must be emptied, since it is not known any more what those
    /// in it write.
    pub(crate) forgets_statements: bool,
    /// Whether the schema may be another one than in the transaction before.
    pub(crate) schema_may_differ: bool,
}

impl Default for WriteLog {
    fn default() -> Self {
        Self {
            parts: vec![Part::default()],
            depth: 0,
            told: Arc::new([]),
            window: None,
            remembered: HashMap::new(),
            outdated: false,
            schema_may_differ: false,
            rows: None,
        }
    }
}

impl WriteLog {
    /// A transaction begins, with this count of changes. The hook of updates is installed, or is not, as
    /// `follows_rows` says.
    #[must_use]
    pub(crate) fn begin(&mut self, follows_rows: bool, changes: u64) -> Beginning {
        self.depth = 0;
        self.now().clear();
        self.window = None;
        if follows_rows {
            self.rows.get_or_insert_default().begin(changes);
        } else {
            self.rows = None;
        }
        let outdated = mem::take(&mut self.outdated);
        if outdated {
            self.remembered.clear();
        }
        let schema_may_differ = mem::take(&mut self.schema_may_differ) || outdated;
        Beginning { forgets_statements: outdated, schema_may_differ }
    }

    /// A part of the transaction begins, which may be undone alone.
    pub(crate) fn enter(&mut self, changes: u64) {
        self.settle(changes);
        self.depth += 1;
        if self.parts.len() == self.depth {
            self.parts.push(Part::default());
        }
        self.now().clear();
    }

    /// The part that began last has ended, and stays in what it is part of if it was kept.
    pub(crate) fn leave(&mut self, kept: bool, changes: u64) {
        let Some(outer) = self.depth.checked_sub(1) else { return };
        self.settle(changes);
        self.depth = outer;
        if kept && let Some([around, part]) = self.parts.get_mut(outer..outer + 2) {
            around.add(part);
        }
    }

    /// What the statements that run now write.
    fn now(&mut self) -> &mut Part {
        &mut self.parts[self.depth]
    }

    /// Something is about to be prepared.
    pub(crate) fn open(&mut self) {
        self.window = Some(Window::default());
    }

    /// What was about to be prepared is.
    pub(crate) fn close(&mut self, text: Text<'_>) {
        let Some(Window { asked, mut effects }) = self.window.take() else { return };
        let part = &mut self.parts[self.depth];
        let follows_rows = self.rows.is_some();
        let text = match text {
            Text::Once { replaces } => {
                effects.replaces = replaces;
                self.schema_may_differ |= effects.everything;
                part.run(&Arc::new(effects), follows_rows);
                return;
            }
            Text::Cached(text) => text,
        };
        if asked {
            effects.replaces = may_replace(text);
            self.schema_may_differ |= effects.everything;
            let effects = Arc::new(effects);
            part.run(&effects, follows_rows);
            if self.remembered.len() >= REMEMBERED {
                self.remembered.clear();
                self.outdated = true;
            }
            self.remembered.insert(text.into(), effects);
            return;
        }
        match self.remembered.get(text) {
            Some(effects) => {
                self.schema_may_differ |= effects.everything;
                part.run(effects, follows_rows);
            }
            None => {
                self.schema_may_differ = true;
                part.everything = true;
            }
        }
    }

    /// What the authorizer is asked.
    pub(crate) fn note(&mut self, context: &AuthContext<'_>) {
        if let Some(window) = &mut self.window {
            window.asked = true;
            window.effects.note(context);
            return;
        }
        self.outdated = true;
        let mut effects = Effects::default();
        effects.note(context);
        self.schema_may_differ |= effects.everything;
        let part = self.now();
        part.unclear = true;
        part.write(&effects);
    }

    /// A table is written past any statement.
    pub(crate) fn add(&mut self, table: &str) {
        let follows_rows = self.rows.is_some();
        self.now().run(&Arc::new(Effects::past_statements(table)), follows_rows);
    }

    /// A statement that writes starts, at this count of changes.
    pub(crate) fn start(&mut self, changes: u64) {
        let Some(rows) = &mut self.rows else { return };
        let clear = rows.start(changes);
        self.now().unclear |= !clear;
    }

    /// It has ended, and is reset.
    pub(crate) fn end(&mut self, changes: u64, failed: bool) {
        let Some(rows) = &mut self.rows else { return };
        let clear = rows.end(changes) && !failed;
        self.now().unclear |= !clear;
    }

    /// Everything that was to run has: whatever has changed without a word is noticed now.
    pub(crate) fn settle(&mut self, changes: u64) {
        let Some(rows) = &mut self.rows else { return };
        let clear = rows.settle(changes);
        self.now().unclear |= !clear;
    }

    /// What the hook of updates is told.
    ///
    /// The database does not matter: whoever writes another one than `main` has written everything.
    pub(crate) fn touch(&mut self, table: &str, row: i64) {
        if let Some(rows) = &mut self.rows {
            rows.touch(table, row);
        }
    }

    /// Whether more may be written so far than tables.
    pub(crate) fn is_everything(&self) -> bool {
        self.parts.iter().take(self.depth + 1).any(|part| part.everything)
    }

    /// The tables that `facts` has to know for telling rows apart, and does not.
    pub(crate) fn unknown_tables(&self, facts: &SchemaFacts) -> Vec<Arc<str>> {
        match self.parts.first() {
            Some(part) if self.rows.is_some() && !part.everything && !part.unclear => {
                part.tables.iter().filter(|table| !facts.know(table)).map(Arc::clone).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What the transaction writes, at its end.
    pub(crate) fn written(&mut self, facts: &SchemaFacts) -> Written {
        if let Some(rows) = &mut self.rows {
            rows.sort();
        }
        let Some(Part { tables, everything: false, .. }) = self.parts.first() else { return Written::Everything };
        let same = tables.len() == self.told.len()
            && tables.iter().zip(&*self.told).all(|(name, told)| {
                *name == told.name
                    && match &told.rows {
                        WrittenRows::Any => self.rows_of(name, facts).is_none(),
                        WrittenRows::Only(rows) => self.rows_of(name, facts) == Some(rows),
                    }
            });
        if !same {
            let table = |name: &Arc<str>| WrittenTable {
                name: Arc::clone(name),
                rows: self.rows_of(name, facts).map_or(WrittenRows::Any, |rows| WrittenRows::Only(rows.into())),
            };
            self.told = tables.iter().map(table).collect();
        }
        Written::Tables(Arc::clone(&self.told))
    }

    /// The rows of a table that the transaction has written, if it is certain that there are no others.
    fn rows_of(&self, table: &str, facts: &SchemaFacts) -> Option<&[i64]> {
        let (rows, part) = (self.rows.as_ref()?, self.parts.first()?);
        if part.unclear || part.tables.iter().any(|written| facts.may_be_virtual(written)) {
            return None;
        }
        let keyed = facts.keyed(table)?;
        let gives_way = |effects: &Effects| keyed.unique && (keyed.schema_replaces || effects.replaces);
        let unseen =
            |effects: &Effects| effects.is_silent_about(table) || effects.sets(table, keyed.key) || gives_way(effects);
        if part.statements.iter().any(|effects| unseen(effects)) {
            return None;
        }
        rows.rows(table)
    }
}

impl Part {
    /// A statement runs.
    fn run(&mut self, effects: &Arc<Effects>, follows_rows: bool) {
        self.write(effects);
        if follows_rows {
            self.remember(effects);
        }
    }

    fn write(&mut self, effects: &Effects) {
        self.everything |= effects.everything;
        effects.tables.iter().for_each(|table| self.insert(table));
    }

    fn add(&mut self, other: &Self) {
        self.everything |= other.everything;
        self.unclear |= other.unclear;
        other.tables.iter().for_each(|table| self.insert(table));
        other.statements.iter().for_each(|effects| self.remember(effects));
    }

    fn insert(&mut self, table: &Arc<str>) {
        if let Err(place) = self.tables.binary_search(table) {
            self.tables.insert(place, Arc::clone(table));
        }
    }

    fn remember(&mut self, effects: &Arc<Effects>) {
        let same = |statement: &Arc<Effects>| Arc::ptr_eq(statement, effects);
        if effects.tables.is_empty() || self.statements.iter().any(same) || self.statements.contains(effects) {
            return;
        }
        if self.statements.len() == MOST_STATEMENTS {
            self.unclear = true;
        } else {
            self.statements.push(Arc::clone(effects));
        }
    }

    fn clear(&mut self) {
        self.tables.clear();
        self.statements.clear();
        self.everything = false;
        self.unclear = false;
    }
}
