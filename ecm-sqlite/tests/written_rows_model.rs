//! Which rows a transaction has written, over random schemas and random transactions: each row that differs after a
//! commit is covered by what the writer says.

mod support;

use ecm_core::{Backend, CheckIn, Commit, Connection, Durability, Loan, Member, Transact, Written, WrittenRows};
use ecm_sqlite::{SqliteConfig, SqliteConnection, Synchronous, Tx, rusqlite};
use proptest::{prelude::*, sample::select, test_runner::TestRunner};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use support::{Place, begin};

const TABLES: [&str; 4] = ["t0", "T1", "t2", "t3"];

/// How one of the tables is made. All have the columns `id`, `a`, `b` and `p`.
#[derive(Clone, Debug)]
struct Table {
    key: &'static str,
    /// What is said of the column `b`.
    unique: &'static str,
    /// What `p`, or the key, refers to: an earlier table, and what becomes of it with the row there.
    parent: Option<(usize, bool, &'static str)>,
    more_columns: &'static str,
    index: &'static str,
    options: &'static str,
}

fn table() -> impl Strategy<Value = Table> {
    let key = prop_oneof![
        8 => Just("integer primary key"),
        1 => Just("integer primary key autoincrement"),
        1 => Just("integer primary key on conflict replace"),
        1 => Just("integer primary key desc"),
        1 => Just("int primary key"),
        1 => Just(""),
    ];
    let unique = prop_oneof![
        6 => Just(""),
        2 => Just("unique"),
        1 => Just("unique on conflict replace"),
        1 => Just("unique on conflict ignore"),
        1 => Just("default 3 not null on conflict replace"),
    ];
    let actions = select(vec![
        "",
        "on delete cascade",
        "on update cascade",
        "on delete cascade on update cascade",
        "on delete set null on update set null",
        "on delete set default on update cascade",
    ]);
    let parent = prop::option::weighted(0.4, (0..TABLES.len(), prop::bool::weighted(0.3), actions));
    let more = prop_oneof![
        6 => Just(""),
        2 => Just(", g as (a + b), h generated always as (a * 2) stored"),
        1 => Just(", rowid"),
        1 => Just(", oid, _rowid_"),
    ];
    let index = prop_oneof![5 => Just(""), 1 => Just("(a)"), 1 => Just("(a + b) where b > 1"), 1 => Just("(b desc)")];
    let options = prop_oneof![8 => Just(""), 1 => Just("without rowid")];
    (key, unique, parent, more, index, options).prop_map(|(key, unique, parent, more_columns, index, options)| Table {
        key,
        unique,
        parent,
        more_columns,
        index,
        options,
    })
}

impl Table {
    fn sql(&self, number: usize, unique_index: bool) -> String {
        let Self { key, unique, parent, more_columns, options, .. } = self;
        let name = TABLES[number];
        let key = if *options == "without rowid" && key.is_empty() { "integer primary key" } else { key };
        let key = if *options == "without rowid" { key.replace(" autoincrement", "") } else { key.into() };
        let (mut of_key, mut of_p) = (String::new(), String::new());
        if let Some((parent, by_key, actions)) = parent
            && *parent < number
        {
            let references = format!("default 1 references {}(id) {actions}", TABLES[*parent]);
            if *by_key { of_key = references } else { of_p = references }
        }
        let index = match self.index {
            "" => String::new(),
            columns => {
                format!("create {}index i{number} on {name}{columns};", if unique_index { "unique " } else { "" })
            }
        };
        format!("create table {name}(id {key} {of_key}, a, b {unique}, p {of_p}{more_columns}) {options}; {index}")
    }
}

/// A statement that writes one of the tables.
fn statement() -> impl Strategy<Value = String> {
    let number = || -1_i64..9;
    let or = || select(vec!["", "", "", "", "", "or ignore", "or ignore", "or replace", "or fail"]);
    let table = || select(TABLES.to_vec());
    let row = (number(), number(), number(), prop::option::of(number()))
        .prop_map(|(id, a, b, p)| format!("{id}, {a}, {b}, {}", p.map_or_else(|| "null".into(), |p| p.to_string())));
    let column = || select(vec!["a", "b", "p", "id", "rowid", "OID", "a, b", "A"]);
    let set = (column(), number()).prop_map(|(column, value)| match column {
        "a, b" => format!("(a, b) = ({value}, {value} + 1)"),
        column => format!("{column} = {value}"),
    });
    let plain_set = number().prop_map(|value| format!("a = {value}"));
    let set = prop_oneof![3 => plain_set, 2 => set].boxed();
    let which = prop_oneof![
        4 => number().prop_map(|id| format!("where id = {id}")),
        1 => number().prop_map(|a| format!("where a < {a}")),
        1 => number().prop_map(|a| format!("where id in ({a}, {a} + 2)")),
    ]
    .boxed();
    let row = row.boxed();
    prop_oneof![
        6 => (or(), table(), row.clone())
            .prop_map(|(or, table, row)| format!("insert {or} into {table}(id, a, b, p) values ({row})")),
        2 => (or(), table(), row.clone(), row.clone())
            .prop_map(|(or, table, one, two)| format!("insert {or} into {table}(id, a, b, p) values ({one}), ({two})")),
        2 => (table(), row.clone(), select(vec!["", "(id)", "(b)"]), set.clone()).prop_map(|(table, row, target, set)| {
            format!("insert into {table}(id, a, b, p) values ({row}) on conflict{target} do update set {set}")
        }),
        1 => (table(), row).prop_map(|(table, row)| format!("replace into {table}(id, a, b, p) values ({row})")),
        1 => (or(), table(), table())
            .prop_map(|(or, to, from)| format!("insert {or} into {to}(id, a, b, p) select id + 1, a, b, p from {from}")),
        1 => (table(), table()).prop_map(|(to, from)| format!("insert into {to} select * from {from}")),
        6 => (or(), table(), set, which.clone())
            .prop_map(|(or, table, set, which)| format!("update {or} {table} set {set} {which}")),
        3 => (table(), which).prop_map(|(table, which)| format!("delete from {table} {which}")),
        1 => table().prop_map(|table| format!("delete from {table}")),
    ]
}

fn trigger() -> impl Strategy<Value = String> {
    let event = select(vec!["insert", "update", "update of a", "delete"]);
    let stops = prop::bool::weighted(0.2);
    let when = select(vec!["before", "after"]);
    let on = select(TABLES.to_vec());
    (when, event, on, prop::collection::vec(statement(), 1..3), stops).prop_map(|(when, event, on, body, stops)| {
        let row = if event == "delete" { "old" } else { "new" };
        let stop = if stops { format!("select raise(ignore) where {row}.a = 3;") } else { String::new() };
        format!("{when} {event} on {on} begin {}; {stop} end", body.join("; "))
    })
}

#[derive(Clone, Debug)]
struct Transaction {
    /// Statements that run together, and whether they stay.
    members: Vec<(Vec<String>, bool)>,
    /// How they are run.
    way: u8,
    /// What somebody else does first.
    foreign: Option<String>,
}

fn transaction() -> impl Strategy<Value = Transaction> {
    let any = prop_oneof![
        40 => statement(),
        1 => (0..TABLES.len()).prop_map(|table| format!("create unique index if not exists u{table} on {}(b)", TABLES[table])),
        1 => (0..TABLES.len()).prop_map(|table| format!("drop index if exists i{table}")),
        1 => trigger().prop_map(|trigger| format!("create trigger if not exists later {trigger}")),
    ];
    let member = (prop::collection::vec(any, 1..3), prop::bool::weighted(0.8));
    let foreign = prop_oneof![
        1 => trigger().prop_map(|trigger| format!("create trigger if not exists foreign_one {trigger}")),
        1 => Just("drop trigger if exists foreign_one".into()),
        1 => statement(),
    ];
    (
        prop_oneof![2 => prop::collection::vec(member.clone(), 1..2), 1 => prop::collection::vec(member, 2..4)],
        0_u8..6,
        prop::option::weighted(0.1, foreign),
    )
        .prop_map(|(members, way, foreign)| Transaction { members, way, foreign })
}

/// Each row of each table, by its key, as one text; by the whole row for a table whose key is no row number.
type State = BTreeMap<String, BTreeSet<(Option<i64>, String)>>;

fn state(connection: &rusqlite::Connection) -> State {
    TABLES
        .iter()
        .map(|table| {
            let mut statement = connection.prepare(&format!("select * from {table}")).unwrap();
            let columns = statement.column_count();
            let rows = statement
                .query_map([], |row| {
                    let values: rusqlite::Result<Vec<rusqlite::types::Value>> =
                        (0..columns).map(|at| row.get(at)).collect();
                    Ok((row.get::<_, i64>(0).ok(), format!("{values:?}")))
                })
                .unwrap();
            (table.to_ascii_lowercase(), rows.map(Result::unwrap).collect())
        })
        .collect()
}

static TOLD: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];

/// What is wrong with what was said.
fn uncovered(before: &State, now: &State, written: &Written) -> Option<String> {
    let Written::Tables(tables) = written else {
        TOLD[0].fetch_add(1, Ordering::Relaxed);
        return None;
    };
    for (table, rows) in now {
        let differs: Vec<_> = rows.symmetric_difference(&before[table]).collect();
        let told = tables.iter().find(|told| *told.name == **table).map(|told| &told.rows);
        match told {
            None if differs.is_empty() => {}
            None => return Some(format!("{table} is not named")),
            Some(WrittenRows::Any) => {
                TOLD[1].fetch_add(1, Ordering::Relaxed);
            }
            Some(WrittenRows::Only(only)) => {
                TOLD[2].fetch_add(u32::from(!differs.is_empty()), Ordering::Relaxed);
                if !only.is_sorted_by(|one, next| one < next) {
                    return Some(format!("{table}: {only:?} is not sorted, each once"));
                }
                let lost = differs.iter().find(|(key, _)| key.is_none_or(|key| !only.contains(&key)));
                if let Some(lost) = lost {
                    return Some(format!("{table}: {lost:?} is not among {only:?}"));
                }
            }
        }
    }
    None
}

fn run(tx: &Tx, sql: &str, way: u8) {
    let returning =
        if sql.starts_with("create") || sql.starts_with("drop") { String::new() } else { " returning a".into() };
    // What fails is part of the model.
    let _may_fail = match way {
        0 => tx.execute(sql, []).map(drop),
        1 => tx.execute_batch(sql),
        2 => tx.query_row(&format!("{sql}{returning}"), [], |_| Ok(())),
        3 => tx.prepare(sql).and_then(|mut statement| statement.execute([]).map(drop)),
        4 => tx.query(&format!("{sql}{returning}"), [], |_| Ok(())).map(drop),
        _ => tx.prepare_cached(&format!("{sql}{returning}")).and_then(|mut statement| {
            let mut rows = statement.query([])?;
            rows.next().map(drop)
        }),
    };
}

fn transact(writer: &mut SqliteConnection, transaction: &Transaction) -> Option<Written> {
    begin(writer);
    let alone = transaction.members.len() == 1;
    for (statements, keep) in &transaction.members {
        if !alone {
            writer.enter().unwrap();
        }
        for sql in statements {
            run(writer.tx(), sql, transaction.way);
        }
        if !alone && matches!(writer.leave(*keep), Member::BatchLost) {
            break;
        }
    }
    let writing = writer.writing();
    let commit = writer.commit();
    let written = matches!(commit, Commit::Done(_)).then(|| writer.written());
    if let (Some(written), true) = (&written, writing != Written::Everything) {
        assert!(*written == Written::Everything || *written == writing, "{writing:?}, then {written:?}");
    }
    assert_eq!(writer.check_in(), CheckIn::Clean);
    written
}

fn holds(schema: &[String], transactions: &[Transaction]) -> Result<(), String> {
    let config = SqliteConfig {
        busy_timeout: Duration::from_millis(20),
        synchronous: Synchronous::Off,
        ..SqliteConfig::default()
    };
    let place = Place::with(config);
    place.database.follow_rows(true);
    let mut writer = place.writer();
    let stranger = place.stranger();
    stranger.pragma_update(None, "foreign_keys", 1).unwrap();
    for sql in schema {
        if let Err(error) = stranger.execute_batch(sql) {
            // A trigger may name a column that its table has not, or a conflict that it has no constraint for.
            assert!(sql.starts_with("create trigger"), "{sql}: {error}");
        }
    }
    writer.check_out(Loan::Write).unwrap();
    writer.begin(Durability::Configured).unwrap();
    assert!(matches!(writer.commit(), Commit::Done(_)));
    writer.check_in();
    let mut before = state(&stranger);
    for (number, transaction) in transactions.iter().enumerate() {
        if let Some(foreign) = &transaction.foreign {
            let _may_fail = stranger.execute_batch(foreign);
        }
        let written = transact(&mut writer, transaction);
        let now = state(&stranger);
        if let Some(written) = written
            && let Some(wrong) = uncovered(&before, &now, &written)
        {
            return Err(format!("transaction {number}: {wrong}; said {written:?}"));
        }
        before = now;
    }
    Ok(())
}

#[test]
fn each_row_that_differs_after_a_commit_is_covered_by_what_the_writer_says() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(200);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let strategy = (
        prop::collection::vec(table(), TABLES.len()),
        any::<bool>(),
        prop::collection::vec(trigger(), 0..3),
        prop::collection::vec(transaction(), 1..20),
        any::<bool>(),
    );
    let result = TestRunner::new(config).run(&strategy, |(tables, unique_index, triggers, transactions, calm)| {
        let tables = tables.iter().enumerate().map(|(at, table)| table.sql(at, unique_index));
        let triggers =
            triggers.iter().enumerate().map(|(number, trigger)| format!("create trigger x{number} {trigger}"));
        let mut schema: Vec<String> = tables.chain(triggers).collect();
        if calm {
            for word in ["or replace", "on conflict replace"] {
                schema.iter_mut().for_each(|sql| *sql = sql.replace(word, ""));
            }
        }
        holds(&schema, &transactions).map_err(|wrong| TestCaseError::fail(format!("{wrong}\n{}", schema.join("\n"))))
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let [everything, any, only] = TOLD.each_ref().map(|count| count.load(Ordering::Relaxed));
    eprintln!(
        "told: everything {everything} times, any row of a table {any} times, single rows that differ {only} times"
    );
    assert!(only > cases / 4, "rows were told {only} times: the rest says nothing");
}
