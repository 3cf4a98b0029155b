//! Which rows alone decide an answer: said only where it is certain.

mod support;

use ecm_core::Connection;
use ecm_sqlite::{SqliteConnection, rusqlite};
use proptest::{prelude::*, sample::select, test_runner::TestRunner};
use std::cell::{Cell, RefCell};
use support::Place;

const SCHEMA: &str = "
    create table note(id integer primary key, body text, author integer);
    create table [odd name](\"Key\" integer primary key, v);
    create table falling(id integer primary key desc, v);
    create table shadowed(rowid text, id integer primary key);
    create table false_number(rowid integer primary key desc, v);
    create table number_is_text(id text primary key, v);
    create table pair(a integer, b integer, primary key (a, b));
    create table keyed(id integer primary key, v) without rowid;
    create table keyless(v);
    create table generated(id integer primary key, v, twice as (v * 2));
    create view notes as select * from note;
    create virtual table words using fts5(body)";

fn place() -> (Place, SqliteConnection) {
    let place = Place::new();
    place.stranger().execute_batch(SCHEMA).unwrap();
    let reader = place.reader();
    (place, reader)
}

/// The table and the parameters, as `note 0 2`; empty if any row may decide.
fn keys(reader: &mut SqliteConnection, sql: &str) -> String {
    let analysis = reader.analyse(sql).unwrap_or_else(|failure| panic!("{sql}: {failure}"));
    analysis.rows.map_or_else(String::new, |rows| {
        let parameters: Vec<String> = rows.parameters.iter().map(usize::to_string).collect();
        format!("{} {}", rows.table, parameters.join(" "))
    })
}

#[test]
fn a_primary_key_that_equals_a_parameter_names_its_row() {
    let (_place, mut reader) = place();
    for (sql, expected) in [
        ("select body from note where id = ?", "note 0"),
        ("select body from note where id == ?1", "note 0"),
        ("select body from note where ?1 = id", "note 0"),
        ("select * from Note where (ID) = (?1)", ""),
        ("select * from Note where ((ID) = ?1)", "note 0"),
        ("select body from note where rowid = :key", "note 0"),
        ("select body from note where _rowid_ = $key", "note 0"),
        ("select n.body from note n where n.oid = @key", "note 0"),
        ("select body from main.note where main.note.id = ?", "note 0"),
        ("select body from note where \"id\" = ?", "note 0"),
        ("select body from note where id in (?2, ?1, ?2)", "note 0 1"),
        ("select ?, body from note where author = ? and id = ? and body > ?", "note 2"),
        ("select ?3, body from note where id = ? limit ?", "note 3"),
        ("select :a, ?, :a from note where id = :b limit :a", "note 2"),
        ("select ?2, body from note where id = ?1", "note 0"),
        ("select count(*), max(author) from note where id = ? group by body having 1", "note 0"),
        ("select body, row_number() over (order by author) from note where id = ? order by 1 limit 1", "note 0"),
        ("select author as id from note where id = ?", "note 0"),
        ("/* id = ? */ select body -- where\n from note where id = ?;", "note 0"),
        ("select v from [odd name] where [key] = ?", "odd name 0"),
        ("select id from shadowed where id = ?", ""),
        ("select twice from generated where id = ?", "generated 0"),
    ] {
        assert_eq!(keys(&mut reader, sql), expected, "{sql}");
    }
}

#[test]
fn everything_else_depends_on_the_whole_table() {
    let (_place, mut reader) = place();
    for sql in [
        "select body from note",
        "select body from note where id = 7",
        "select body from note where id = ? or author = 1",
        "select body from note where not id = ?",
        "select body from note where id > ?",
        "select body from note where id is ?",
        "select body from note where id between ? and ?",
        "select body from note where id = ? + 1",
        "select body from note where id = -?",
        "select body from note where +id = ?",
        "select body from note where id = ? collate nocase",
        "select body from note where id = ?1 = ?2",
        "select body from note where id = ?1 isnull",
        "select body from note where id not in (?)",
        "select body from note where id in ()",
        "select body from note where id in (?, 7)",
        "select body from note where (id, author) = (?, ?)",
        "select body from note where author = ?",
        "select body from note where case when id = ? then 1 end",
        "select body from notes where id = ?",
        "select a.body from note a join note b where a.id = ?",
        "select a.body from note a, note b where a.id = ?",
        "select body from note where id = ? and exists (select 1 from note b where b.author = 2)",
        "select (select count(*) from note) from note where id = ?",
        "select body from note where id = ? and author in (select author from note)",
        "select body from note where id = ? and author in keyless",
        "select body from note where id = ? union select body from note",
        "select body from note where id = ? order by (select max(id) from note)",
        "select body from note where id = ? limit (select max(id) from note)",
        "select sum(author) filter (where author in (select id from note)) from note where id = ?",
        "select body from (select * from note) where id = ?",
        "with n as (select * from note) select body from n where id = ?",
        "select body from note where id = ? and author in (values (1))",
        "select body from note where id = ? and body > datetime('now')",
        "select rowid from words where rowid = ?",
        "select v from falling where id = ?",
        "select v from falling where rowid = ?",
        "select id from shadowed where rowid = ?",
        "select v from false_number where rowid = ?",
        "select v from false_number where oid = ?",
        "select v from number_is_text where id = ?",
        "select b from pair where a = ? and b = ?",
        "select v from keyed where id = ?",
        "select v from keyless where rowid = ?",
        "values (?)",
        "update note set body = '' where id = ?",
    ] {
        assert_eq!(keys(&mut reader, sql), "", "{sql}");
    }
}

/// A query from parts that are likely to be mistaken for another; most are refused by SQLite or depend
/// on the whole table, some depend on rows.
fn query() -> impl Strategy<Value = String> {
    let term = || {
        select(vec![
            "id = ?",
            "id = ?1",
            "?2 = id",
            "rowid in (?, ?)",
            "id in (?2, ?1)",
            "n = ?",
            "n in (?1, 2)",
            "not id = ?",
            "id = ? is null",
            "(id = ?)",
            "id = (?)",
            "id + 0 = ?",
            "v > ?",
            "id = ?1 = 1",
            "id <> ?",
            "n = id",
            "id in (select n from t)",
            "exists (select 1 from t where n = 1)",
            "id in t",
            "id = :k",
            "n = :k",
        ])
    };
    let glue = || select(vec![" and ", " or ", " and not ", " = "]);
    let columns = select(vec!["v", "count(*)", "?, v", "*", "max(n) over ()", "(select max(v) from t)", "id as n"]);
    let from = select(vec!["t", "t as n", "t, t as o", "t left join t as o on 1", "(select * from t)", "main.t"]);
    let end = select(vec!["", " order by v", " limit ?", " group by n", " union all select v from t", " order by ?"]);
    (columns, from, term(), prop::collection::vec((glue(), term()), 0..3), end).prop_map(
        |(columns, from, first, others, end)| {
            let others: String = others.into_iter().flat_map(|(glue, term)| [glue, term]).collect();
            format!("select {columns} from {from} where {first}{others}{end}")
        },
    )
}

/// The answer of a query, in words.
fn answer(connection: &rusqlite::Connection, sql: &str, keys: &[i64]) -> String {
    let mut statement = connection.prepare(sql).unwrap();
    let width = statement.column_count();
    let mut rows = statement.query(rusqlite::params_from_iter(keys)).unwrap();
    let mut told = String::new();
    while let Some(row) = rows.next().unwrap() {
        (0..width).for_each(|column| told += &format!("{:?},", row.get_ref(column).unwrap()));
        told.push(';');
    }
    told
}

#[test]
fn no_other_row_changes_the_answer() {
    let place = Place::new();
    let (stranger, reader) = (place.stranger(), RefCell::new(place.reader()));
    stranger.execute_batch("drop table t; create table t(id integer primary key, n integer, v)").unwrap();
    let certain = Cell::new(0);
    let config = ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&(query(), prop::collection::vec(0_i64..6, 8)), |(sql, bound)| {
        let Ok(analysis) = reader.borrow_mut().analyse(&sql) else { return Ok(()) };
        let Some(rows) = analysis.rows else { return Ok(()) };
        certain.set(certain.get() + 1);
        let bound = &bound[..analysis.parameters];
        let decide: Vec<String> = rows.parameters.iter().map(|&index| bound[index].to_string()).collect();
        let others = format!("not in ({})", decide.join(", "));
        let transaction = stranger.unchecked_transaction().unwrap();
        transaction.execute_batch("insert into t values (1, 2, 'a'), (2, 1, 'b'), (3, 3, 'c'), (4, 1, 'd')").unwrap();
        let before = answer(&transaction, &sql, bound);
        for change in [
            format!("update t set v = v || 'x', n = n + 1 where id {others}"),
            format!(
                "insert or ignore into t select value, value, 0 from json_each('[0,1,2,3,4,5]') where value {others}"
            ),
            format!("delete from t where id {others}"),
        ] {
            transaction.execute_batch(&change).unwrap();
            prop_assert_eq!(&before, &answer(&transaction, &sql, bound), "{} with {:?} after {}", sql, bound, change);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}\n{runner}"));
    assert!(certain.get() > 50, "only {} queries depended on single rows", certain.get());
}
