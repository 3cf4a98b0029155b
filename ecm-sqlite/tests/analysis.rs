//! SQLite judges a statement; its text deceives nobody.

mod support;

use ecm_core::{Analysis, Connection, Flow, Kind, Loan, Transact, ValueRef};
use ecm_sqlite::SqliteConnection;
use support::{Place, begin, done, prepared, seen, told, write};

fn library() -> Place {
    let place = Place::new();
    write(&mut place.writer(), |tx| {
        tx.execute_batch(
            "create table log(id);
             create table Child(id integer primary key, parent references t on delete cascade);
             create trigger tr after update on t begin insert into log values (new.id); end;
             create view v as select id, v from t;
             create virtual table words using fts5(body);",
        )
        .unwrap();
    });
    place
}

fn analysis(connection: &mut SqliteConnection, sql: &str) -> Analysis {
    connection.analyse(sql).unwrap_or_else(|failure| panic!("{sql}: {failure}"))
}

#[test]
fn a_statement_that_writes_is_known_whatever_it_looks_like() {
    let place = library();
    // A reader judges as the writer does: the manager asks a reader.
    for mut connection in [place.reader(), place.writer()] {
        for (sql, writes) in [
            ("insert into t values (1, 1)", &["t"][..]),
            ("/* select */ -- x\n insert into t values (1, 1)", &["t"]),
            ("with x as (select 1) insert into t select 1, 1 from x", &["t"]),
            ("insert into t values (1, 1) returning id", &["t"]),
            ("update t set v = 1", &["log", "t"]),
            ("delete from T", &["child", "t"]),
            ("create table other(a)", &["other", "sqlite_master"]),
            ("drop table log", &["log", "sqlite_master"]),
            ("create index i on t(v)", &["sqlite_master"]),
            ("alter table t add column w", &["sqlite_master", "t"]),
            ("pragma user_version = 7", &[]),
            ("reindex", &[]),
            ("vacuum", &[]),
        ] {
            let Ok(judged) = connection.analyse(sql) else {
                assert_eq!(sql, "vacuum", "only this one is refused");
                continue;
            };
            assert!(!judged.read_only, "{sql}: {judged:?}");
            assert!(!judged.cacheable, "{sql}: {judged:?}");
            for table in writes {
                assert!(judged.writes.iter().any(|written| **written == **table), "{sql}: {judged:?}");
            }
            assert!(judged.writes.is_sorted(), "{sql}: {judged:?}");
        }
        for sql in ["select 1", "select * from t", "values (1)", "explain delete from t", "pragma user_version"] {
            assert!(analysis(&mut connection, sql).read_only, "{sql}");
        }
    }
    assert!(place.rows().is_empty(), "nothing was run");
}

#[test]
fn columns_parameters_and_tables_are_told() {
    let place = library();
    let mut reader = place.reader();
    let judged =
        analysis(&mut reader, "select v.id as number, log.id from v join log using (id) where v.v in (?1, ?2)");
    let columns: Vec<&str> = judged.columns.iter().map(|name| &**name).collect();
    assert_eq!((columns, judged.parameters), (vec!["number", "id"], 2));
    let reads: Vec<&str> = judged.reads.iter().map(|name| &**name).collect();
    assert_eq!(reads, ["log", "t"], "the tables behind the view");
    let counted = analysis(&mut reader, "with x as (select count(*) as n from t) select n from x");
    assert_eq!(counted.reads.iter().map(|name| &**name).collect::<Vec<_>>(), ["t"]);
}

#[test]
fn an_answer_may_be_kept_only_if_nothing_but_tables_decides_it() {
    let place = library();
    let mut reader = place.reader();
    for (sql, cacheable) in [
        ("select * from t", true),
        ("select upper(v), count(*) from t group by 1", true),
        ("select id from v where id = ?1", true),
        ("select sum(id), avg(id), max(id), max(id, 1), group_concat(v) from t", true),
        ("select row_number() over (order by id), lag(v) over (order by id) from t", true),
        ("select random()", false),
        ("select * from t order by random()", false),
        ("select date('now')", false),
        ("select v, current_timestamp from t", false),
        ("select last_insert_rowid()", false),
        ("select changes() from t", false),
        ("select * from sqlite_schema", false),
        ("select * from pragma_table_info('t')", false),
        ("pragma user_version", false),
        ("explain select * from t", false),
        ("select body from words where words match 'x'", false),
        ("select value from json_each('[1]')", false),
        ("select t.id from t, json_each(t.v)", false),
    ] {
        let judged = analysis(&mut reader, sql);
        assert!(judged.read_only, "{sql}");
        assert_eq!(judged.cacheable, cacheable, "{sql}: {judged:?}");
    }
}

#[test]
fn what_is_no_single_statement_is_refused_with_the_means_that_does_it() {
    let place = library();
    let mut reader = place.reader();
    for (sql, says) in [
        ("", "no statement"),
        (" -- nothing\n/* at all */ ", "no statement"),
        ("select 1; select 2", "execute_batch"),
        ("delete from t where id = 1 \0 and v = 2", "NUL"),
    ] {
        let (kind, message) = told(reader.analyse(sql).unwrap_err());
        assert_eq!(kind, Kind::Misuse, "{sql:?}");
        assert!(message.contains(says), "{message}");
    }
    assert!(analysis(&mut reader, "select 1; -- the end").read_only);
    for sql in ["selekt 1", "select missing from t", "select * from nowhere"] {
        let error = seen(reader.analyse(sql).unwrap_err());
        assert!(error.fault().is_some_and(|fault| !fault.is_of_database()), "{sql:?}: {error:?}");
    }
}

#[test]
fn what_another_connection_has_just_made_is_there() {
    let place = library();
    for (make, sql) in [
        ("create table fresh(a)", "select a from fresh"),
        ("create index fresh_a on fresh(a)", "reindex fresh_a"),
        ("create view fresh_view as select a from fresh", "drop view fresh_view"),
    ] {
        let mut reader = place.reader();
        assert!(reader.analyse(sql).is_err(), "{sql}");
        place.stranger().execute_batch(make).unwrap();
        analysis(&mut reader, sql);
    }
}

#[test]
fn rows_are_named_as_they_are_now_not_as_they_were_analysed() {
    let place = library();
    let mut reader = place.reader();
    let statement = prepared(&mut reader, "select * from t");
    place.stranger().execute_batch("insert into t values (1, 2); alter table t add column w default 3").unwrap();
    reader.check_out(Loan::Statement).unwrap();
    let mut shown = Vec::new();
    let mut each = |row: &dyn ecm_core::Row| {
        let names: Vec<String> = row.columns().iter().map(ToString::to_string).collect();
        shown.push((names.join(","), row.value(2)?.to_value()));
        assert!(row.value(3).is_err(), "there is no fourth column");
        Ok(Flow::Continue)
    };
    reader.query(&statement, &[], &mut each).unwrap();
    assert_eq!(shown, [("id,v,w".to_owned(), ecm_core::Value::Integer(3))]);
    reader.check_in();
}

#[test]
fn a_sink_that_has_enough_ends_the_statement_and_one_that_fails_comes_back_as_it_is() {
    let place = library();
    let mut writer = place.writer();
    write(&mut writer, |tx| tx.execute_batch("insert into t values (1, x'00ff'), (2, 'two')").unwrap());
    let statement = prepared(&mut writer, "select id from t where id >= ?1");
    begin(&mut writer);
    let mut rows = 0;
    let mut stop = |_: &dyn ecm_core::Row| {
        rows += 1;
        Ok(Flow::Stop)
    };
    writer.query(&statement, &[ValueRef::Integer(1)], &mut stop).unwrap();
    assert_eq!(rows, 1);
    let mut fail = |_: &dyn ecm_core::Row| Err(std::io::Error::other("enough").into());
    let failure = writer.query(&statement, &[ValueRef::Integer(1)], &mut fail).unwrap_err();
    assert_eq!(seen(failure).kind(), Kind::Closure);
    done(writer.commit());
    let broken = prepared(&mut writer, "select cast(x'ff' as text) as broken");
    let mut look = |row: &dyn ecm_core::Row| row.value(0).map(|_| Flow::Continue);
    let (kind, message) = told(writer.query(&broken, &[], &mut look).unwrap_err());
    assert_eq!(kind, Kind::Decode);
    assert!(message.contains("\"broken\"") && message.contains("UTF-8"), "{message}");
    writer.check_in();
}
