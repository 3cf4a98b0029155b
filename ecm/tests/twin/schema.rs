//! Random schemas: all tables have the same columns, and differ in everything that decides what a write touches.

use proptest::prelude::*;

/// The tables are `t0`, `t1`, ..; the triggers `g0`, ..; the views `v0`, ...
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    pub(crate) tables: Vec<Table>,
    pub(crate) triggers: Vec<Trigger>,
    pub(crate) views: Vec<View>,
}

/// A table `(id, k TEXT, v INTEGER, b BLOB, r INTEGER)`, and perhaps a generated column `g`.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) key: Key,
    unique: Unique,
    generated: Generated,
    index: Index,
    reference: Option<Reference>,
}

/// What `id` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Alias,
    AutoIncrement,
    /// A primary key that is no alias of the rowid.
    Descending,
    WithoutRowid,
    /// An alias beside an ordinary column of the name `rowid`.
    RowidColumn,
    /// A column as any other.
    Nothing,
}

#[derive(Clone, Copy, Debug)]
enum Unique {
    No,
    Yes,
    Replace,
    Ignore,
}

#[derive(Clone, Copy, Debug)]
enum Generated {
    No,
    Virtual,
    Stored,
}

#[derive(Clone, Copy, Debug)]
enum Index {
    No,
    Plain,
    Partial,
    UniquePartial,
}

/// A foreign key to `id` of another table, or of the same.
#[derive(Clone, Copy, Debug)]
struct Reference {
    to: usize,
    /// From `id`, instead of from `r`.
    by_key: bool,
    on_delete: &'static str,
    on_update: &'static str,
    deferred: bool,
}

/// A trigger on a table, which writes to another, or the same.
#[derive(Clone, Debug)]
pub(crate) struct Trigger {
    on: usize,
    event: &'static str,
    to: usize,
    body: &'static str,
}

#[derive(Clone, Debug)]
pub(crate) struct View {
    of: usize,
    with: usize,
    select: &'static str,
    writable: bool,
}

impl Schema {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let tables = prop::collection::vec(Table::any(), 2..=4);
        let triggers = prop::collection::vec(Trigger::any(), 0..=3);
        let views = prop::collection::vec(View::any(), 0..=2);
        (tables, triggers, views).prop_map(|(tables, triggers, views)| Self { tables, triggers, views })
    }

    pub(crate) fn sql(&self) -> String {
        let tables = (0..self.tables.len()).map(|number| self.table(number, &self.tables[number]));
        let triggers = self.triggers.iter().enumerate().map(|(number, trigger)| self.trigger(number, trigger));
        let views = self.views.iter().enumerate().map(|(number, view)| self.view(number, view));
        tables.chain(triggers).chain(views).collect::<Vec<_>>().join(";\n")
    }

    /// Some rows for each table, as far as its foreign keys take them.
    pub(crate) fn rows(&self) -> impl Iterator<Item = String> {
        let rows = "(id, k, v) VALUES (1, 'k1', 1), (2, 'k2', 2), (3, 'k3', 3), (5, '7', 5)";
        (0..self.tables.len()).map(move |number| format!("INSERT INTO t{number} {rows}"))
    }

    /// The number of a table that is there, whatever number was drawn.
    pub(crate) fn number(&self, table: usize) -> usize {
        table % self.tables.len()
    }

    pub(crate) fn table(&self, number: usize, table: &Table) -> String {
        let reference = table.reference.map(|reference| (reference.by_key, self.reference(reference)));
        let by = |key: bool| match &reference {
            Some((by_key, sql)) if *by_key == key => sql.as_str(),
            _ => "",
        };
        let key = match table.key {
            Key::Alias | Key::RowidColumn => "PRIMARY KEY",
            Key::AutoIncrement => "PRIMARY KEY AUTOINCREMENT",
            Key::Descending => "PRIMARY KEY DESC",
            Key::WithoutRowid => "PRIMARY KEY",
            Key::Nothing => "",
        };
        let unique = match table.unique {
            Unique::No => "",
            Unique::Yes => "UNIQUE",
            Unique::Replace => "UNIQUE ON CONFLICT REPLACE",
            Unique::Ignore => "UNIQUE ON CONFLICT IGNORE",
        };
        let generated = match table.generated {
            Generated::No => "",
            Generated::Virtual => ", g AS (v * 2 + id) VIRTUAL",
            Generated::Stored => ", g AS (v * 2 + length(k)) STORED",
        };
        let rowid = if table.key == Key::RowidColumn { ", rowid TEXT DEFAULT '7'" } else { "" };
        let end = if table.key == Key::WithoutRowid { "WITHOUT ROWID" } else { "" };
        let index = match table.index {
            Index::No => String::new(),
            Index::Plain => format!(";\nCREATE INDEX i{number} ON t{number} (v)"),
            Index::Partial => format!(";\nCREATE INDEX i{number} ON t{number} (k) WHERE v > 2"),
            Index::UniquePartial => format!(";\nCREATE UNIQUE INDEX i{number} ON t{number} (v) WHERE v > 3"),
        };
        let (id, r) = (by(true), by(false));
        format!(
            "CREATE TABLE t{number} (id INTEGER {key} {id}, k TEXT {unique}, v INTEGER, b BLOB DEFAULT x'0000', \
             r INTEGER {r}{rowid}{generated}) {end}{index}"
        )
    }

    fn reference(&self, reference: Reference) -> String {
        let Reference { to, on_delete, on_update, deferred, .. } = reference;
        let to = self.number(to);
        if self.tables[to].key == Key::Nothing {
            return String::new();
        }
        let deferred = if deferred { "DEFERRABLE INITIALLY DEFERRED" } else { "" };
        format!("REFERENCES t{to} (id) ON DELETE {on_delete} ON UPDATE {on_update} {deferred}")
    }

    pub(crate) fn trigger(&self, number: usize, trigger: &Trigger) -> String {
        let (on, to) = (self.number(trigger.on), self.number(trigger.to));
        let row = if trigger.event.contains("DELETE") { "old" } else { "new" };
        let body = trigger.body.replace("{TO}", &format!("t{to}")).replace("{ROW}", row);
        format!("CREATE TRIGGER g{number} {} ON t{on} BEGIN {body}; END", trigger.event)
    }

    pub(crate) fn view(&self, number: usize, view: &View) -> String {
        let (of, with) = (self.number(view.of), self.number(view.with));
        let select = view.select.replace("{OF}", &format!("t{of}")).replace("{WITH}", &format!("t{with}"));
        let view_sql = format!("CREATE VIEW v{number} AS {select}");
        if !view.writable {
            return view_sql;
        }
        format!(
            "{view_sql};
             CREATE TRIGGER vi{number} INSTEAD OF INSERT ON v{number} BEGIN
                INSERT OR REPLACE INTO t{of} (id, k, v) VALUES (new.id, new.k, new.v);
             END;
             CREATE TRIGGER vu{number} INSTEAD OF UPDATE ON v{number} BEGIN
                UPDATE t{of} SET v = new.v WHERE id = old.id;
             END;
             CREATE TRIGGER vd{number} INSTEAD OF DELETE ON v{number} BEGIN
                DELETE FROM t{with} WHERE v = old.v;
             END"
        )
    }
}

impl Table {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let key = prop_oneof![
            4 => Just(Key::Alias),
            1 => Just(Key::AutoIncrement),
            1 => Just(Key::Descending),
            1 => Just(Key::WithoutRowid),
            1 => Just(Key::RowidColumn),
            1 => Just(Key::Nothing),
        ];
        let unique = prop_oneof![
            3 => Just(Unique::No),
            2 => Just(Unique::Yes),
            2 => Just(Unique::Replace),
            1 => Just(Unique::Ignore),
        ];
        let generated = prop_oneof![Just(Generated::No), Just(Generated::Virtual), Just(Generated::Stored)];
        let index = prop_oneof![Just(Index::No), Just(Index::Plain), Just(Index::Partial), Just(Index::UniquePartial)];
        (key, unique, generated, index, prop::option::of(Reference::any()))
            .prop_map(|(key, unique, generated, index, reference)| Self { key, unique, generated, index, reference })
    }
}

impl Reference {
    fn any() -> impl Strategy<Value = Self> {
        let action = || prop::sample::select(&["CASCADE", "SET NULL", "RESTRICT", "NO ACTION"][..]);
        (0_usize..4, prop::bool::weighted(0.3), action(), action(), prop::bool::weighted(0.3)).prop_map(
            |(to, by_key, on_delete, on_update, deferred)| Self { to, by_key, on_delete, on_update, deferred },
        )
    }
}

const EVENTS: [&str; 6] =
    ["AFTER INSERT", "AFTER UPDATE", "AFTER UPDATE OF v", "AFTER DELETE", "BEFORE INSERT", "BEFORE DELETE"];

const BODIES: [&str; 8] = [
    "INSERT OR IGNORE INTO {TO} (id, k, v) VALUES ({ROW}.id + 1, 't', {ROW}.v)",
    "REPLACE INTO {TO} (id, k, v) VALUES ({ROW}.id, {ROW}.k, 5)",
    "UPDATE {TO} SET v = v + 1 WHERE id % 2 = 0",
    "UPDATE OR IGNORE {TO} SET id = id + 10 WHERE id = {ROW}.id",
    "UPDATE OR REPLACE {TO} SET k = {ROW}.k WHERE v = {ROW}.v",
    "DELETE FROM {TO} WHERE v = {ROW}.v",
    "DELETE FROM {TO}",
    "SELECT RAISE(IGNORE) WHERE {ROW}.v = 3",
];

impl Trigger {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let (event, body) = (prop::sample::select(&EVENTS[..]), prop::sample::select(&BODIES[..]));
        (0_usize..4, event, 0_usize..4, body).prop_map(|(on, event, to, body)| Self { on, event, to, body })
    }
}

const SELECTS: [&str; 4] = [
    "SELECT id, k, v FROM {OF} WHERE v > 1",
    "SELECT a.id, a.k, b.v FROM {OF} AS a JOIN {WITH} AS b ON b.id = a.r",
    "SELECT count(*) AS id, max(k) AS k, sum(v) AS v FROM {OF}",
    "SELECT id, k, v FROM {OF} UNION SELECT id, k, v FROM {WITH}",
];

impl View {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        (0_usize..4, 0_usize..4, prop::sample::select(&SELECTS[..]), any::<bool>())
            .prop_map(|(of, with, select, writable)| Self { of, with, select, writable })
    }
}
