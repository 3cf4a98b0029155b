//! Random steps: everything that changes a database, in each of the ways there are.

use crate::schema::{Schema, Table, Trigger, View};
use ecm::core::Value;
use proptest::{collection::vec, prelude::*};

/// A statement with its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Sql {
    pub(crate) text: String,
    pub(crate) parameters: Vec<Value>,
}

/// A statement that writes. Tables and views are numbers, of which those beyond the last begin anew.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Insert { table: usize, conflict: &'static str, id: Option<i64>, k: i64, v: i64, r: Option<i64> },
    Upsert { table: usize, update: &'static str, id: i64, k: i64, v: i64 },
    Set { table: usize, conflict: &'static str, set: &'static str, to: i64, id: i64 },
    SetWhere { table: usize, conflict: &'static str, set: &'static str, v: i64 },
    Delete { table: usize, id: i64 },
    DeleteWhere { table: usize, v: i64 },
    Truncate { table: usize },
    Copy { conflict: &'static str, from: usize, to: usize },
    View { view: usize, write: &'static str, id: i64, v: i64 },
}

/// A part of a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Write(Write),
    /// One byte of a blob.
    Blob {
        table: usize,
        id: i64,
        byte: u8,
    },
    /// A savepoint; only in a unit of work.
    Part {
        actions: Vec<Self>,
        undone: bool,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    pub(crate) actions: Vec<Action>,
    /// Whether the first error ends it, instead of being passed over.
    pub(crate) careful: bool,
    pub(crate) undone: bool,
    /// Whether all is asked before it ends.
    pub(crate) midway: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Ddl {
    CreateIndex { table: usize, unique: bool },
    DropIndex { table: usize },
    AddColumn { table: usize },
    Swap { one: usize, other: usize },
    Exchange { table: usize, by: Table },
    CreateTrigger { number: usize, trigger: Trigger },
    DropTrigger { number: usize },
    ExchangeView { number: usize, by: View },
}

/// Who carries a change of the schema out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Closure,
    Borrower,
    SomebodyElse,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Execute(Write),
    Returning(Write),
    Batch(Vec<Write>),
    Closure(Transaction),
    /// By the driver's own connection.
    Raw(Transaction),
    Unit(Transaction),
    /// By the whole writer, in autocommit mode or not.
    Borrowed {
        actions: Vec<Action>,
        transaction: bool,
    },
    /// By a connection that is not the manager's.
    Elsewhere {
        actions: Vec<Action>,
        transaction: bool,
    },
    Ddl(Ddl, By),
    Vacuum,
}

const CONFLICTS: [&str; 8] = ["", "", "", "OR REPLACE", "OR REPLACE", "OR IGNORE", "OR FAIL", "OR ROLLBACK"];

const SETS: [&str; 9] = [
    "v = ?1",
    "v = ?1",
    "k = 'k' || ?1",
    "k = ?1",
    "id = ?1",
    "rowid = ?1",
    "r = ?1",
    "v = v + 1",
    "v = ?1, id = id + 1",
];

impl Write {
    fn any() -> impl Strategy<Value = Self> {
        let table = || 0_usize..4;
        let id = || 1_i64..8;
        let number = || 0_i64..6;
        let conflict = || prop::sample::select(&CONFLICTS[..]);
        let set = || prop::sample::select(&SETS[..]);
        let update =
            prop::sample::select(&["NOTHING", "UPDATE SET v = excluded.v", "UPDATE SET id = id + 1, k = 'up'"][..]);
        let view = prop::sample::select(
            &[
                "INSERT INTO VIEW (id, k, v) VALUES (?1, 'view', ?2)",
                "UPDATE VIEW SET v = ?2 WHERE id = ?1",
                "DELETE FROM VIEW WHERE id = ?1 AND v <> ?2",
            ][..],
        );
        prop_oneof![
            8 => (table(), conflict(), prop::option::of(id()), number(), number(), prop::option::weighted(0.3, id()))
                .prop_map(|(table, conflict, id, k, v, r)| Self::Insert { table, conflict, id, k, v, r }),
            2 => (table(), update, id(), number(), number())
                .prop_map(|(table, update, id, k, v)| Self::Upsert { table, update, id, k, v }),
            6 => (table(), conflict(), set(), id(), id())
                .prop_map(|(table, conflict, set, to, id)| Self::Set { table, conflict, set, to, id }),
            2 => (table(), conflict(), set(), number())
                .prop_map(|(table, conflict, set, v)| Self::SetWhere { table, conflict, set, v }),
            3 => (table(), id()).prop_map(|(table, id)| Self::Delete { table, id }),
            1 => (table(), number()).prop_map(|(table, v)| Self::DeleteWhere { table, v }),
            1 => table().prop_map(|table| Self::Truncate { table }),
            1 => (conflict(), table(), table()).prop_map(|(conflict, from, to)| Self::Copy { conflict, from, to }),
            2 => (0_usize..2, view, id(), number()).prop_map(|(view, write, id, v)| Self::View { view, write, id, v }),
        ]
    }

    pub(crate) fn sql(&self, schema: &Schema) -> Sql {
        let integer = |number: i64| Value::Integer(number);
        let optional = |number: Option<i64>| number.map_or(Value::Null, Value::Integer);
        let text = |number: i64| Value::Text(format!("k{number}").into());
        let name = |table: usize| format!("t{}", schema.number(table));
        let (text, parameters) = match *self {
            Self::Insert { table, conflict, id, k, v, r } => (
                format!("INSERT {conflict} INTO {} (id, k, v, r) VALUES (?1, ?2, ?3, ?4)", name(table)),
                vec![optional(id), text(k), integer(v), optional(r)],
            ),
            Self::Upsert { table, update, id, k, v } => (
                format!("INSERT INTO {} (id, k, v) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO {update}", name(table)),
                vec![integer(id), text(k), integer(v)],
            ),
            Self::Set { table, conflict, set, to, id } if set.contains("?1") => {
                (format!("UPDATE {conflict} {} SET {set} WHERE id = ?2", name(table)), vec![integer(to), integer(id)])
            }
            Self::Set { table, conflict, set, id, .. } => {
                (format!("UPDATE {conflict} {} SET {set} WHERE id = ?1", name(table)), vec![integer(id)])
            }
            Self::SetWhere { table, conflict, set, v } => {
                (format!("UPDATE {conflict} {} SET {set} WHERE v >= ?1", name(table)), vec![integer(v)])
            }
            Self::Delete { table, id } => (format!("DELETE FROM {} WHERE id = ?1", name(table)), vec![integer(id)]),
            Self::DeleteWhere { table, v } => (format!("DELETE FROM {} WHERE v = ?1", name(table)), vec![integer(v)]),
            Self::Truncate { table } => (format!("DELETE FROM {}", name(table)), Vec::new()),
            Self::Copy { conflict, from, to } => (
                format!("INSERT {conflict} INTO {} (id, k, v) SELECT id + 1, k, v FROM {}", name(to), name(from)),
                Vec::new(),
            ),
            Self::View { view, write, id, v } => {
                (write.replace("VIEW", &format!("v{view}")), vec![integer(id), integer(v)])
            }
        };
        Sql { text, parameters }
    }
}

impl Action {
    fn flat() -> impl Strategy<Value = Self> {
        prop_oneof![
            8 => Write::any().prop_map(Self::Write),
            2 => (0_usize..4, 1_i64..6, any::<u8>()).prop_map(|(table, id, byte)| Self::Blob { table, id, byte }),
        ]
    }

    fn nested() -> impl Strategy<Value = Self> {
        Self::flat().prop_recursive(2, 6, 3, |inner| {
            (vec(inner, 1..=3), any::<bool>()).prop_map(|(actions, undone)| Self::Part { actions, undone })
        })
    }
}

impl Transaction {
    fn of(actions: impl Strategy<Value = Action>) -> impl Strategy<Value = Self> {
        (vec(actions, 1..=4), any::<bool>(), prop::bool::weighted(0.25), prop::bool::weighted(0.2))
            .prop_map(|(actions, careful, undone, midway)| Self { actions, careful, undone, midway })
    }
}

impl Ddl {
    fn any() -> impl Strategy<Value = Self> {
        let table = || 0_usize..4;
        prop_oneof![
            (table(), any::<bool>()).prop_map(|(table, unique)| Self::CreateIndex { table, unique }),
            table().prop_map(|table| Self::DropIndex { table }),
            table().prop_map(|table| Self::AddColumn { table }),
            (table(), table()).prop_map(|(one, other)| Self::Swap { one, other }),
            (table(), Table::any()).prop_map(|(table, by)| Self::Exchange { table, by }),
            (0_usize..4, Trigger::any()).prop_map(|(number, trigger)| Self::CreateTrigger { number, trigger }),
            (0_usize..4).prop_map(|number| Self::DropTrigger { number }),
            (0_usize..2, View::any()).prop_map(|(number, by)| Self::ExchangeView { number, by }),
        ]
    }

    pub(crate) fn sql(&self, schema: &Schema) -> String {
        match self {
            Self::CreateIndex { table, unique } => {
                let (unique, table) = (if *unique { "UNIQUE" } else { "" }, schema.number(*table));
                format!("CREATE {unique} INDEX x{table} ON t{table} (k, v)")
            }
            Self::DropIndex { table } => format!("DROP INDEX x{}", schema.number(*table)),
            Self::AddColumn { table } => format!("ALTER TABLE t{} ADD COLUMN n DEFAULT 1", schema.number(*table)),
            Self::Swap { one, other } => {
                let (one, other) = (schema.number(*one), schema.number(*other));
                format!(
                    "ALTER TABLE t{one} RENAME TO between; ALTER TABLE t{other} RENAME TO t{one};
                     ALTER TABLE between RENAME TO t{other}"
                )
            }
            Self::Exchange { table, by } => {
                let table = schema.number(*table);
                format!("DROP TABLE t{table}; {}", schema.table(table, by))
            }
            Self::CreateTrigger { number, trigger } => schema.trigger(*number, trigger),
            Self::DropTrigger { number } => format!("DROP TRIGGER g{number}"),
            Self::ExchangeView { number, by } => {
                format!("DROP VIEW IF EXISTS v{number}; {}", schema.view(*number, by))
            }
        }
    }
}

impl Step {
    /// Steps of the manager alone, or also of others who write the same file.
    pub(crate) fn any(others: bool) -> impl Strategy<Value = Self> {
        let flat = || vec(Action::flat(), 1..=3);
        let by = prop::sample::select(if others {
            &[By::Closure, By::Borrower, By::SomebodyElse][..]
        } else {
            &[By::Closure, By::Borrower][..]
        });
        let elsewhere =
            (flat(), any::<bool>()).prop_map(|(actions, transaction)| Self::Elsewhere { actions, transaction });
        let elsewhere = if others { elsewhere.boxed() } else { Write::any().prop_map(Self::Execute).boxed() };
        prop_oneof![
            8 => Write::any().prop_map(Self::Execute),
            2 => Write::any().prop_map(Self::Returning),
            2 => vec(Write::any(), 2..=4).prop_map(Self::Batch),
            4 => Transaction::of(Action::flat()).prop_map(Self::Closure),
            1 => Transaction::of(Action::flat()).prop_map(Self::Raw),
            4 => Transaction::of(Action::nested()).prop_map(Self::Unit),
            1 => (flat(), any::<bool>())
                .prop_map(|(actions, transaction)| Self::Borrowed { actions, transaction }),
            6 => elsewhere,
            3 => (Ddl::any(), by).prop_map(|(ddl, by)| Self::Ddl(ddl, by)),
            1 => Just(Self::Vacuum),
        ]
    }
}
