//! Which rows a transaction has written is told where it is certain, and nowhere else.

mod support;

use ecm_core::{Backend, Connection, Member, Savepoints, Transact, ValueRef, Written, WrittenRows};
use ecm_sqlite::{SqliteConnection, Tx};
use std::io::Write as _;
use support::{Place, begin, done, forget, prepared};

const SCHEMA: &str = "
    create table plain(id integer primary key, v);
    create table other(id integer primary key, v);
    create table counted(id integer primary key autoincrement, v);
    create table keyed(k text primary key, v) without rowid;
    create table loose(v);
    create table down(id integer primary key desc, v);
    create table odd(id integer primary key, rowid, v);
    create table named(id integer primary key, email text unique, v);
    create table parent(id integer primary key, v);
    create table child(id integer primary key, p references parent on delete cascade on update cascade);
    create table twin(id integer primary key references parent on update cascade, v);
    create table scratch(id integer primary key, v);
    create table emptier(id integer primary key, v);
    create table audited(id integer primary key, v);
    create table noted(id integer primary key, v);
    create trigger empties after insert on emptier begin delete from scratch; end;
    create trigger audits after update on audited begin insert into noted values (new.id + 100, new.v); end;
    create view seen as select * from plain;
    create trigger through instead of insert on seen begin insert into plain(id, v) values (new.id, new.v); end;
    create virtual table words using fts5(body);
    insert into plain select value, value from generate_series(1, 20);
    insert into other values (1, 1), (2, 2);
    insert into counted values (1, 1);
    insert into keyed values ('a', 1), ('b', 2);
    insert into loose values (1), (2);
    insert into down values (1, 1), (7, 7);
    insert into odd values (1, 10, 1), (7, 70, 7);
    insert into named values (8, 'b', 1), (9, 'c', 1);
    insert into parent values (1, 0), (2, 0), (3, 0);
    insert into child values (10, 1), (11, 1), (12, 2);
    insert into twin values (3, 0);
    insert into scratch values (1, 1), (2, 2), (3, 3);
    insert into audited values (1, 1), (2, 2)";

/// A place with tables, and a writer that tells rows, with its first transaction over: what was before it cannot
/// be known.
fn place() -> (Place, SqliteConnection) {
    let place = Place::new();
    place.database.follow_rows(true);
    let mut writer = place.writer();
    let series =
        "create table generate_series as with s(value) as (values (1) union all select value + 1 from s limit 20)
        select value from s";
    let schema = SCHEMA.replace("generate_series(1, 20)", "generate_series");
    let created = after(&mut writer, |tx| tx.execute_batch(&format!("{series};{schema}")).unwrap());
    assert_eq!(created, Written::Everything);
    (place, writer)
}

/// What a transaction says it has written, before its commit and after it.
fn after(writer: &mut SqliteConnection, work: impl FnOnce(&Tx)) -> Written {
    begin(writer);
    work(writer.tx());
    let writing = writer.writing();
    done(writer.commit());
    let written = writer.written();
    if written != Written::Everything {
        assert_eq!(writing, written);
    }
    writer.check_in();
    written
}

/// What it says of one table: `None` where it may be any row, or everything.
fn rows(written: &Written, table: &str) -> Option<Vec<i64>> {
    let Written::Tables(tables) = written else { return None };
    match &tables.iter().find(|written| &*written.name == table)?.rows {
        WrittenRows::Any => None,
        WrittenRows::Only(rows) => Some(rows.to_vec()),
    }
}

/// What a transaction of some statements says of its tables, in order.
fn told(writer: &mut SqliteConnection, sql: &str) -> Vec<(String, Option<Vec<i64>>)> {
    let written = after(writer, |tx| tx.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}")));
    let Written::Tables(tables) = &written else { panic!("{sql}: {written:?}") };
    tables.iter().map(|table| (table.name.to_string(), rows(&written, &table.name))).collect()
}

fn only<const N: usize>(table: &str, rows: [i64; N]) -> (String, Option<Vec<i64>>) {
    (table.into(), Some(rows.to_vec()))
}

fn any(table: &str) -> (String, Option<Vec<i64>>) {
    (table.into(), None)
}

#[test]
fn the_rows_are_those_of_the_statements_their_triggers_and_their_foreign_keys() {
    for (sql, expected) in [
        ("insert into plain values (30, 1), (-5, 1)", vec![only("plain", [-5, 30])]),
        ("insert into plain(v) values (1)", vec![only("plain", [21])]),
        ("insert into counted(v) values (1)", vec![only("counted", [2])]),
        ("update plain set v = 0 where id in (7, 3)", vec![only("plain", [3, 7])]),
        ("update plain set v = 0 where v = 4", vec![only("plain", [4])]),
        ("update PLAIN set V = 0 where id = 4", vec![only("plain", [4])]),
        ("update plain set v = 0 where id = 400", vec![only("plain", [])]),
        ("delete from plain where id = 5", vec![only("plain", [5])]),
        ("update plain set v = 1 where id = 1; delete from plain where id = 1", vec![only("plain", [1])]),
        ("update audited set v = 5 where id = 2", vec![only("audited", [2]), only("noted", [102])]),
        ("delete from parent where id = 1", vec![only("child", [10, 11]), only("parent", [1])]),
        ("insert into seen values (40, 1)", vec![only("plain", [40]), any("seen")]),
        ("insert into plain select id + 50, v from other", vec![only("plain", [51, 52])]),
        ("insert into plain values (7, 1), (70, 1) on conflict do nothing", vec![only("plain", [70])]),
        ("insert into plain values (7, 1), (70, 1) on conflict(id) do update set v = 9", vec![only("plain", [7, 70])]),
        ("insert or ignore into named values (30, 'b', 1), (31, 'd', 1)", vec![only("named", [31])]),
        ("insert into named values (30, 'b', 1) on conflict(email) do update set v = 9", vec![only("named", [8])]),
        ("insert into other values (3, 1); update plain set v = 1 where id = 2", {
            vec![only("other", [3]), only("plain", [2])]
        }),
        ("insert or replace into plain values (7, 2)", vec![only("plain", [7])]),
        ("select * from plain", vec![]),
    ] {
        let (_place, mut writer) = place();
        assert_eq!(told(&mut writer, sql), expected, "{sql}");
    }
}

#[test]
fn a_row_that_goes_without_a_word_makes_it_any_row() {
    for (sql, expected) in [
        // The row that a key is taken from.
        ("update plain set id = 77 where id = 7", vec![any("plain")]),
        ("update plain set rowid = 77 where id = 7", vec![any("plain")]),
        ("update plain set OID = 77 where id = 7", vec![any("plain")]),
        ("update plain set _rowid_ = 77 where id = 7", vec![any("plain")]),
        ("insert into plain values (7, 1) on conflict(id) do update set id = 99", vec![any("plain")]),
        ("update plain set v = 1 where id = 3; update plain set Id = 77 where id = 7", vec![any("plain")]),
        // As an action of a foreign key; the other child keeps its number.
        ("update parent set id = 33 where id = 3", vec![only("child", []), any("parent"), any("twin")]),
        // A row that gives way to one with another number.
        ("insert or replace into named values (100, 'b', 5)", vec![any("named")]),
        ("rePLACE into named values (100, 'b', 5)", vec![any("named")]),
        ("update or replace named set email = 'b' where id = 9", vec![any("named")]),
        // A table that is emptied at once: its own statement, and one of a trigger.
        ("delete from plain", vec![any("plain")]),
        ("insert into emptier values (1, 1)", vec![any("emptier"), any("scratch")]),
        // Tables whose row numbers nobody sees.
        ("insert into keyed values ('z', 1)", vec![any("keyed")]),
        ("update loose set v = 5 where rowid = 2", vec![any("loose")]),
        ("update down set v = 5 where id = 7", vec![any("down")]),
        ("update odd set v = 5 where id = 7", vec![any("odd")]),
        // One statement spoils those beside it.
        ("update plain set v = 1 where id = 3; delete from other", vec![any("other"), any("plain")]),
        ("update plain set v = 1 where id = 3; insert into keyed values ('z', 1)", vec![any("keyed"), any("plain")]),
    ] {
        let (_place, mut writer) = place();
        assert_eq!(told(&mut writer, sql), expected, "{sql}");
        assert_eq!(told(&mut writer, "insert into noted values (500, 1)"), [only("noted", [500])], "after {sql}");
    }
}

#[test]
fn rows_that_give_way_because_the_schema_says_so_make_it_any_row_of_tables_with_something_unique() {
    let (_place, mut writer) = place();
    let schema = "create table strict_name(id integer primary key, name text unique on conflict REPLACE)";
    assert_eq!(after(&mut writer, |tx| tx.execute_batch(schema).unwrap()), Written::Everything);
    assert_eq!(told(&mut writer, "insert into strict_name values (1, 'a'), (2, 'b')"), [any("strict_name")]);
    assert_eq!(told(&mut writer, "insert into strict_name values (3, 'b')"), [any("strict_name")]);
    assert_eq!(told(&mut writer, "update strict_name set name = 'a' where id = 3"), [any("strict_name")]);
    assert_eq!(told(&mut writer, "update named set v = 1 where id = 8"), [any("named")], "a trigger may say it too");
    assert_eq!(told(&mut writer, "update plain set v = 1 where id = 8"), [only("plain", [8])]);
    assert_eq!(after(&mut writer, |tx| tx.execute_batch("drop table strict_name").unwrap()), Written::Everything);
    assert_eq!(told(&mut writer, "update named set v = 1 where id = 8"), [only("named", [8])]);
}

#[test]
fn a_trigger_that_stops_a_statement_in_the_middle_does_not_hide_a_table_that_is_emptied() {
    let (_place, mut writer) = place();
    // Two rows of `noted` stay of the statement that is stopped, and two of `scratch` are gone: if the first were told
    // of and not counted, the sums would be equal.
    let schema = "
        delete from scratch where id = 3;
        create table cunning(id integer primary key, v);
        create trigger stops after insert on cunning begin
            delete from scratch;
            insert into noted select id, iif(id = 9, raise(ignore), v) from plain where id in (7, 8, 9) order by id;
        end";
    assert_eq!(after(&mut writer, |tx| tx.execute_batch(schema).unwrap()), Written::Everything);
    let first = told(&mut writer, "insert into cunning values (1, 1)");
    assert_eq!(first, [any("cunning"), any("noted"), any("scratch")]);
    assert_eq!(told(&mut writer, "delete from noted where id = 8; delete from noted where id = 7").len(), 1);
    let nothing_left = told(&mut writer, "insert into cunning values (2, 1)");
    assert_eq!(nothing_left, [only("cunning", [2]), only("noted", [7, 8]), only("scratch", [])]);
}

#[test]
fn each_way_to_run_a_statement_is_counted() {
    let (_place, mut writer) = place();
    let sql = "update plain set v = ?1 where id = 4 returning id";
    let id = |row: &ecm_sqlite::rusqlite::Row<'_>| row.get::<_, i64>(0);
    type Way = fn(&Tx, &str);
    let ways: [Way; 10] = [
        |tx, sql| assert_eq!(tx.query_row(sql, [1], |row| row.get::<_, i64>(0)).unwrap(), 4),
        |tx, sql| assert_eq!(tx.query_one(sql, [1], |row| row.get::<_, i64>(0)).unwrap(), 4),
        |tx, sql| assert_eq!(tx.query(sql, [1], |row| row.get::<_, i64>(0)).unwrap(), [4]),
        |tx, sql| assert!(tx.exists(sql, [1]).unwrap()),
        |tx, sql| assert_eq!(tx.execute(sql.trim_end_matches("returning id"), [1]).unwrap(), 1),
        |tx, sql| tx.execute_batch(&sql.replace("?1", "5")).unwrap(),
        |tx, sql| assert!(tx.prepare(sql).unwrap().query([1]).unwrap().next().unwrap().is_some()),
        |tx, sql| {
            let mut statement = tx.prepare_cached(sql).unwrap();
            let mut rows = statement.query([1]).unwrap();
            while rows.next().unwrap().is_some() {}
            assert!(rows.next().unwrap().is_none());
        },
        |tx, sql| {
            let mut statement = tx.prepare(sql).unwrap();
            assert_eq!(statement.query_and_then([1], |row| row.get::<_, i64>(0)).unwrap().next(), Some(Ok(4)));
        },
        |tx, sql| assert!(tx.prepare(sql).unwrap().query([1]).unwrap().raw().next().unwrap().is_some()),
    ];
    for (number, way) in ways.into_iter().enumerate() {
        for run in 0..2 {
            let written = after(&mut writer, |tx| way(tx, sql));
            assert_eq!(rows(&written, "plain"), Some(vec![4]), "way {number}, run {run}");
        }
    }
    let insert = |tx: &Tx| assert_eq!(tx.prepare("insert into plain(v) values (1)").unwrap().insert([]).unwrap(), 21);
    assert_eq!(rows(&after(&mut writer, insert), "plain"), Some(vec![21]));
    // While the rows of a query are read, which only reads.
    let beside = |tx: &Tx| {
        let mut odd = tx.prepare("select id from plain where id % 2 = 1 and id < 6").unwrap();
        for found in odd.query_map([], id).unwrap() {
            tx.execute("update plain set v = 0 where id = ?1", [found.unwrap()]).unwrap();
        }
    };
    assert_eq!(rows(&after(&mut writer, beside), "plain"), Some(vec![1, 3, 5]));
}

#[test]
fn statements_of_the_managers_are_counted() {
    let (_place, mut writer) = place();
    let update = prepared(&mut writer, "update plain set v = 1 where id = ?1");
    let returning = prepared(&mut writer, "update plain set v = v where id < ?1 returning id");
    for _ in 0..3 {
        begin(&mut writer);
        writer.execute(&update, &[ValueRef::Integer(7)]).unwrap();
        writer.query(&returning, &[ValueRef::Integer(3)], &mut |_| Ok(ecm_core::Flow::Stop)).unwrap();
        done(writer.commit());
        assert_eq!(rows(&writer.written(), "plain"), Some(vec![1, 2, 7]));
        writer.check_in();
    }
    let unique = prepared(&mut writer, "insert into plain values (?1, 1)");
    begin(&mut writer);
    writer.execute(&update, &[ValueRef::Integer(7)]).unwrap();
    writer.execute(&unique, &[ValueRef::Integer(7)]).unwrap_err();
    assert_eq!(rows(&writer.writing(), "plain"), None, "it has failed");
    writer.roll_back().unwrap();
}

#[test]
fn a_statement_that_failed_makes_it_any_row_of_all_that_is_written_unless_its_member_is_undone() {
    let (_place, mut writer) = place();
    // Two rows are changed and undone with the statement, and two are gone: the sums are equal.
    let failing = "update named set email = iif(id = 9, 'new', 'x'), v = v";
    let written = after(&mut writer, |tx| {
        tx.execute("update plain set v = 1 where id = 1", []).unwrap();
        tx.execute("insert into named values (10, 'd', 1)", []).unwrap();
        tx.execute(failing, []).unwrap_err();
        tx.execute("delete from other", []).unwrap();
    });
    assert_eq!(["plain", "named", "other"].map(|table| rows(&written, table)), [None, None, None]);
    begin(&mut writer);
    writer.enter().unwrap();
    writer.tx().execute("update plain set v = 1 where id = 1", []).unwrap();
    writer.tx().execute("insert into named values (8, 'd', 1)", []).unwrap_err();
    assert!(matches!(writer.leave(false), Member::Undone));
    writer.enter().unwrap();
    writer.tx().execute("update plain set v = 1 where id = 2", []).unwrap();
    assert!(matches!(writer.leave(true), Member::Kept));
    done(writer.commit());
    let told = rows(&writer.written(), "plain").unwrap();
    assert!(told.contains(&2), "{told:?}");
    writer.check_in();
    // Undone as a part of a unit of work: more rows may be told than were written.
    let written = after(&mut writer, |tx| {
        tx.execute("update plain set v = 1 where id = 1", []).unwrap();
        tx.savepoint().unwrap();
        tx.execute("update plain set v = 1 where id = 2", []).unwrap();
        assert!(matches!(tx.release(false), Member::Undone));
    });
    assert!(rows(&written, "plain").unwrap().contains(&1));
}

#[test]
fn what_spoils_the_rows_of_a_member_that_is_undone_does_not_spoil_those_of_the_others() {
    let (_place, mut writer) = place();
    for spoiler in [
        "delete from other",
        "update plain set id = 77 where id = 7",
        "insert or replace into named values (100, 'b', 5)",
        "insert into words values ('one')",
        "create table fresh(a)",
    ] {
        for keep in [false, true] {
            begin(&mut writer);
            for (sql, keep) in [
                ("update plain set v = 1 where id = 1; update named set v = 1 where id = 8", true),
                (spoiler, keep),
                ("update plain set v = 1 where id = 3", true),
            ] {
                writer.enter().unwrap();
                writer.tx().execute_batch(sql).unwrap();
                assert_eq!(matches!(writer.leave(keep), Member::Kept), keep);
            }
            if keep {
                let written = writer.writing();
                assert!(rows(&written, "plain").is_none() || rows(&written, "named").is_none(), "{spoiler}");
                writer.roll_back().unwrap();
            } else {
                done(writer.commit());
                let written = writer.written();
                assert!(rows(&written, "named").unwrap().starts_with(&[8]), "{spoiler}");
                assert!(rows(&written, "plain").unwrap().starts_with(&[1, 3]), "{spoiler}");
            }
            writer.check_in();
        }
    }
}

#[test]
fn what_is_written_past_statements_or_through_the_drivers_connection_is_any_row_or_everything() {
    let (_place, mut writer) = place();
    let blob = |tx: &Tx| {
        tx.execute("update plain set v = zeroblob(4) where id = 3", []).unwrap();
        tx.execute("update other set v = 1 where id = 1", []).unwrap();
        tx.blob_open("Plain", "v", 3).unwrap().write_all(b"x").unwrap();
    };
    let written = after(&mut writer, blob);
    assert_eq!((rows(&written, "plain"), rows(&written, "other")), (None, Some(vec![1])));
    let virtual_table = after(&mut writer, |tx| {
        tx.execute_batch("insert into words values ('one'); update plain set v = 1 where id = 1").unwrap();
    });
    assert_eq!(rows(&virtual_table, "plain"), None);
    // Also where the counts would be equal, since it has no such rows.
    for _ in 0..3 {
        let nothing = after(&mut writer, |tx| {
            tx.execute_batch("delete from words where rowid = 99; update plain set v = 1 where id = 1").unwrap();
        });
        assert_eq!(rows(&nothing, "plain"), None);
    }
    let raw = |tx: &Tx| {
        tx.raw().execute("update plain set v = 1 where id = 1", []).unwrap();
    };
    assert_eq!(after(&mut writer, raw), Written::Everything);
}

#[test]
fn two_statements_that_write_at_once_or_one_that_was_forgotten_make_it_any_row() {
    let (_place, mut writer) = place();
    let both = |tx: &Tx| {
        let mut outer = tx.prepare("update plain set v = 0 where id < 4 returning id").unwrap();
        let mut rows = outer.query([]).unwrap();
        assert!(rows.next().unwrap().is_some());
        tx.execute("update plain set v = 1 where id = 9", []).unwrap();
    };
    assert_eq!(rows(&after(&mut writer, both), "plain"), None);
    begin(&mut writer);
    let mut statement = writer.tx().prepare("update plain set v = 0 where id < 4 returning id").unwrap();
    let mut forgotten = statement.query([]).unwrap();
    assert!(forgotten.next().unwrap().is_some());
    forget(forgotten);
    drop(statement);
    assert_eq!(rows(&writer.writing(), "plain"), None);
    writer.roll_back().unwrap();
}

#[test]
fn rows_beyond_a_bound_and_statements_beyond_one_are_any_row() {
    let (_place, mut writer) = place();
    let insert = |count: i64| {
        format!(
            "with s(n) as (values (1) union all select n + 1 from s limit {count})
             insert into plain select n + 1000000, 1 from s"
        )
    };
    let delete = "delete from plain where id > 1000000";
    for (count, known) in [(1024, true), (1025, false), (5000, false)] {
        for sql in [&insert(count), delete] {
            let written = after(&mut writer, |tx| tx.execute_batch(sql).unwrap());
            assert_eq!(rows(&written, "plain").map(|rows| rows.len() as i64), known.then_some(count), "{count}");
        }
    }
    let columns: Vec<String> = (0..80).map(|number| format!("c{number}")).collect();
    let wide =
        format!("create table wide(id integer primary key, {}); insert into wide(id) values (1)", columns.join(", "));
    assert_eq!(after(&mut writer, |tx| tx.execute_batch(&wide).unwrap()), Written::Everything);
    for (different, texts, known) in [(64, 64, true), (65, 65, false), (5, 500, true)] {
        let written = after(&mut writer, |tx| {
            for text in 0..texts {
                let column = &columns[text % different];
                tx.execute(&format!("update wide set {column} = 1 where id = 1 -- {text}"), []).unwrap();
            }
        });
        assert_eq!(rows(&written, "wide").is_some(), known, "{different} in {texts}");
    }
}

#[test]
fn a_schema_that_has_changed_is_asked_again_whoever_has_changed_it() {
    let (place, mut writer) = place();
    let update = "update named set v = 1 where id = 8";
    let insert = "insert into named values (20, 'b', 2) on conflict do nothing";
    assert_eq!(told(&mut writer, update), [only("named", [8])]);
    // A key of another name, by ourselves: what was remembered of the statements says nothing of it.
    let rename = "alter table counted rename column id to num";
    assert_eq!(told(&mut writer, "update counted set v = 5 where id = 1"), [only("counted", [1])]);
    assert_eq!(after(&mut writer, |tx| tx.execute_batch(rename).unwrap()), Written::Everything);
    assert_eq!(told(&mut writer, "update counted set num = 500 where num = 1"), [any("counted")]);
    assert_eq!(told(&mut writer, "update counted set v = 6 where num = 500"), [only("counted", [500])]);
    // A schema that replaces, by somebody else.
    let replaces = "create trigger displaces after insert on other begin
        insert or replace into named values (new.id + 50, 'c', 1); end";
    place.stranger().execute_batch(replaces).unwrap();
    assert_eq!(after(&mut writer, |tx| tx.execute_batch(insert).unwrap()), Written::Everything);
    assert_eq!(told(&mut writer, "insert into other values (70, 70)"), [any("named"), only("other", [70])].to_vec());
    assert_eq!(told(&mut writer, update), [any("named")]);
    // Something unique, by ourselves, in a transaction that is then rolled back, and in one that is not.
    let unique = "create unique index one on other(v)";
    begin(&mut writer);
    writer.tx().execute_batch(unique).unwrap();
    assert_eq!(writer.writing(), Written::Everything);
    writer.roll_back().unwrap();
    writer.check_in();
    assert_eq!(told(&mut writer, "update other set v = 7 where id = 1"), [only("other", [1])]);
    assert_eq!(after(&mut writer, |tx| tx.execute_batch(unique).unwrap()), Written::Everything);
    assert_eq!(told(&mut writer, "update other set v = 8 where id = 1"), [any("other")]);
    // By somebody else, and no statement that runs is the first to notice it.
    let insert = "insert into noted values (500, 1) on conflict(id) do update set v = 2";
    assert_eq!(told(&mut writer, insert), [only("noted", [500])]);
    place.stranger().execute_batch("create unique index two on noted(v); create table fresh(a)").unwrap();
    let fresh = |tx: &Tx| tx.execute_batch("insert into fresh values (1)").unwrap();
    assert_eq!(after(&mut writer, fresh), Written::Everything, "SQLite looks again while it prepares");
    assert_eq!(told(&mut writer, insert), [any("noted")]);
}

#[test]
fn a_statement_that_is_prepared_anew_while_it_runs_makes_it_any_row_that_once() {
    let (_place, mut writer) = place();
    let update = |tx: &Tx| {
        tx.execute("update audited set v = 5 where id = ?1", [2]).unwrap();
    };
    assert_eq!(rows(&after(&mut writer, update), "audited"), Some(vec![2]));
    let moves = "create trigger moves after update on audited when old.id = 2 begin
        update plain set id = 70 where id = 7; end;
        drop trigger audits";
    assert_eq!(after(&mut writer, |tx| tx.execute_batch(moves).unwrap()), Written::Everything);
    for known in [false, true] {
        let written = after(&mut writer, update);
        assert_eq!(rows(&written, "plain"), None, "the row 7 is gone");
        assert_eq!(rows(&written, "audited"), known.then(|| vec![2]));
    }
}

#[test]
fn rows_are_told_from_the_transaction_on_that_begins_after_somebody_asked_until_nobody_does() {
    let (place, mut writer) = place();
    let update = "update plain set v = 1 where id = 1";
    place.database.follow_rows(false);
    assert_eq!(told(&mut writer, update), [any("plain")]);
    begin(&mut writer);
    place.database.follow_rows(true);
    writer.tx().execute_batch(update).unwrap();
    done(writer.commit());
    assert_eq!(rows(&writer.written(), "plain"), None, "it began before");
    writer.check_in();
    // One that is remembered from before, and is not prepared again.
    for follow in [false, true, true, false, true] {
        place.database.follow_rows(follow);
        let written = after(&mut writer, |tx| {
            tx.execute("update plain set v = 1 where id = ?1", [6]).unwrap();
        });
        assert_eq!(rows(&written, "plain"), follow.then(|| vec![6]));
        let key = after(&mut writer, |tx| {
            tx.execute("update plain set id = 6 where id = ?1", [6]).unwrap();
        });
        assert_eq!(rows(&key, "plain"), None);
        let other = after(&mut writer, |tx| {
            tx.execute("insert or replace into named values (?1, 'b', 1)", [8]).unwrap();
        });
        assert_eq!(rows(&other, "named"), None);
    }
    // Another connection of the database.
    drop(writer);
    let mut writer = place.writer();
    after(&mut writer, |_| ());
    assert_eq!(told(&mut writer, update), [only("plain", [1])]);
}
