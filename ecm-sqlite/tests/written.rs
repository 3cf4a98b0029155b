//! What a transaction has written is known exactly, or is called everything.

mod support;

use ecm_core::{
    Backend, CheckIn, Commit, Connection, Durability, ForeignWrites, Loan, Member, Time, Transact, Written,
    WrittenTable,
};
use ecm_sqlite::{JournalMode, SqliteConfig, SqliteConnection, Tx};
use std::io::Write as _;
use support::{Place, begin, done, prepared, read};

const SCHEMA: &str = "
    create table plain(id integer primary key, v);
    create table counted(id integer primary key autoincrement, v);
    create table keyed(k text primary key, v) without rowid;
    create table parent(id integer primary key);
    create table child(id integer primary key, p references parent on delete cascade on update cascade);
    create table log(what);
    create table Watched(id integer primary key, v unique);
    create trigger watch after update on Watched begin insert into log values (new.v); end;
    create view seen as select v from plain;
    create trigger through instead of insert on seen begin insert into plain(v) values (new.v); end;
    create virtual table words using fts5(body);
    insert into parent values (1), (2); insert into child values (1, 1);
    insert into plain values (1, zeroblob(10)); insert into Watched values (1, 'a'), (2, 'b')";

/// A place with tables, and a writer whose first transaction is over: what was before it cannot be known.
fn place() -> (Place, SqliteConnection) {
    let place = Place::new();
    let mut writer = place.writer();
    assert_eq!(after(&mut writer, |tx| tx.execute_batch(SCHEMA).unwrap()), Written::Everything);
    (place, writer)
}

/// What a transaction says it has written.
fn after(writer: &mut SqliteConnection, work: impl FnOnce(&Tx)) -> Written {
    begin(writer);
    work(writer.tx());
    done(writer.commit());
    let written = writer.written();
    assert_eq!(writer.written(), Written::Everything, "it is told once");
    writer.check_in();
    written
}

fn tables<const N: usize>(names: [&str; N]) -> Written {
    Written::Tables(names.map(WrittenTable::any).into())
}

#[test]
fn the_tables_are_those_of_the_statements_their_triggers_and_their_foreign_keys() {
    let (_place, mut writer) = place();
    for (sql, expected) in [
        ("insert into plain(v) values (5)", tables(["plain"])),
        ("INSERT INTO Plain(v) VALUES (6) RETURNING id", tables(["plain"])),
        ("insert into counted(v) values (5)", tables(["counted"])),
        ("insert into keyed values ('a', 1)", tables(["keyed"])),
        ("delete from keyed", tables(["keyed"])),
        ("delete from parent where id = 1", tables(["child", "parent"])),
        ("update parent set id = 7 where id = 2", tables(["child", "parent"])),
        ("update Watched set v = 'c' where id = 1", tables(["log", "watched"])),
        ("insert or replace into watched values (9, 'b')", tables(["watched"])),
        ("insert into seen values (8)", tables(["plain", "seen"])),
        ("update plain set v = 1 where 0", tables(["plain"])),
        ("with x(a) as (select 3) insert into plain(v) select a from x", tables(["plain"])),
        ("select * from plain", tables([])),
        ("pragma user_version = 3", Written::Everything),
    ] {
        // From the authorizer the first time, from memory afterwards.
        for run in 0..3 {
            let written = after(&mut writer, |tx| {
                let mut statement = tx.prepare_cached(sql).unwrap();
                let mut rows = statement.query([]).unwrap_or_else(|error| panic!("{sql}: {error}"));
                while rows.next().is_ok_and(|row| row.is_some()) {}
            });
            assert_eq!(written, expected, "{sql}, run {run}");
        }
    }
}

#[test]
fn several_statements_write_the_tables_of_all_and_a_new_transaction_begins_with_none() {
    let (_place, mut writer) = place();
    let both = |tx: &Tx| {
        tx.execute("insert into plain(v) values (?1)", [1]).unwrap();
        tx.execute("insert into log values (?1)", [2]).unwrap();
    };
    assert_eq!(after(&mut writer, both), tables(["log", "plain"]));
    assert_eq!(after(&mut writer, both), tables(["log", "plain"]));
    assert_eq!(after(&mut writer, |_| ()), tables([]));
    assert_eq!(after(&mut writer, |tx| tx.execute_batch("delete from log; delete from plain").unwrap()), {
        tables(["log", "plain"])
    });
}

#[test]
fn a_statement_of_the_managers_counts_each_time_it_runs() {
    let (_place, mut writer) = place();
    let update = prepared(&mut writer, "update Watched set v = v where id = 1");
    for _ in 0..3 {
        begin(&mut writer);
        writer.execute(&update, &[]).unwrap();
        done(writer.commit());
        assert_eq!(writer.written(), tables(["log", "watched"]));
        assert_eq!(writer.check_in(), CheckIn::Clean);
    }
}

#[test]
fn a_blob_that_is_written_in_place_counts_as_its_table() {
    let (_place, mut writer) = place();
    for _ in 0..2 {
        let written = after(&mut writer, |tx| {
            tx.blob_open("Plain", "v", 1).unwrap().write_all(b"x").unwrap();
        });
        assert_eq!(written, tables(["plain"]));
    }
    assert_eq!(after(&mut writer, |tx| drop(tx.prepare("select 1").unwrap())), tables([]));
}

#[test]
fn a_trigger_that_another_process_has_made_counts_from_its_first_run_on() {
    let (place, mut writer) = place();
    let update = |tx: &Tx| {
        tx.execute("update plain set v = ?1 where id = 1", [1]).unwrap();
    };
    assert_eq!(after(&mut writer, update), tables(["plain"]));
    let create = "create trigger late after update on plain begin insert into log values ('late'); end";
    place.stranger().execute_batch(create).unwrap();
    assert_eq!(after(&mut writer, update), Written::Everything, "somebody else has committed in between");
    assert_eq!(after(&mut writer, update), tables(["log", "plain"]));
    assert_eq!(after(&mut writer, update), tables(["log", "plain"]));
}

#[test]
fn what_nobody_can_know_is_everything() {
    let (_place, mut writer) = place();
    for sql in [
        "create table fresh(a)",
        "create index i on plain(v)",
        "alter table fresh add column b",
        "drop table fresh",
        "analyze",
        "reindex",
    ] {
        assert_eq!(after(&mut writer, |tx| tx.execute_batch(sql).unwrap()), Written::Everything, "{sql}");
    }
    assert_eq!(
        after(&mut writer, |tx| {
            tx.execute("delete from log", []).unwrap();
        }),
        tables(["log"])
    );
    let raw = |tx: &Tx| {
        tx.raw().execute("delete from log", []).unwrap();
    };
    assert_eq!(after(&mut writer, raw), Written::Everything);
}

#[test]
fn a_table_of_words_counts_with_what_it_keeps_them_in() {
    let (_place, mut writer) = place();
    let insert = |tx: &Tx| {
        tx.execute("insert into words values ('one two')", []).unwrap();
    };
    for _ in 0..3 {
        match after(&mut writer, insert) {
            Written::Everything => {}
            Written::Tables(tables) => assert!(tables.iter().any(|table| &*table.name == "words"), "{tables:?}"),
        }
    }
}

#[test]
fn a_commit_of_somebody_else_makes_it_everything_whenever_it_came() {
    let (place, mut writer) = place();
    let stranger = place.stranger();
    let insert = |tx: &Tx| {
        tx.execute("insert into plain(v) values (1)", []).unwrap();
    };
    let foreign = || stranger.execute("insert into log values (1)", []).unwrap();
    assert_eq!(after(&mut writer, insert), tables(["plain"]));
    // Between two transactions of ours, once and several times, and before one that writes nothing.
    foreign();
    assert_eq!(after(&mut writer, insert), Written::Everything);
    assert_eq!(after(&mut writer, insert), tables(["plain"]));
    foreign();
    foreign();
    assert_eq!(after(&mut writer, |_| ()), Written::Everything);
    assert_eq!(after(&mut writer, |_| ()), tables([]));
    foreign();
    assert_eq!(
        after(&mut writer, |tx| {
            tx.execute("update plain set v = 2 where 0", []).unwrap();
        }),
        { Written::Everything }
    );
    // A transaction that is rolled back does not make it forgotten.
    foreign();
    begin(&mut writer);
    writer.roll_back().unwrap();
    assert_eq!(writer.check_in(), CheckIn::Clean);
    assert_eq!(after(&mut writer, insert), Written::Everything);
    assert_eq!(after(&mut writer, insert), tables(["plain"]));
}

#[test]
fn a_checkpoint_and_a_log_that_is_begun_anew_change_nothing() {
    let (place, mut writer) = place();
    let insert = |tx: &Tx| {
        tx.execute("insert into plain(v) values (zeroblob(9000))", []).unwrap();
    };
    let mut exact = 0;
    for round in 0..40 {
        exact += i32::from(after(&mut writer, insert) == tables(["plain"]));
        if round % 5 == 4 {
            place.stranger().query_row("pragma wal_checkpoint(passive)", [], |_| Ok(())).unwrap();
        }
    }
    assert!(exact >= 32, "{exact} of 40");
}

#[test]
fn the_log_is_still_taken_over_into_the_file_after_as_many_pages_as_configured() {
    let place = Place::with(SqliteConfig { wal_autocheckpoint: 10, ..SqliteConfig::default() });
    let mut writer = place.writer();
    for _ in 0..200 {
        after(&mut writer, |tx| {
            tx.execute("insert into t values (null, zeroblob(3000))", []).unwrap();
        });
    }
    let log = std::fs::metadata(place.path().with_extension("db-wal")).unwrap().len();
    assert!(log < 40 * 4120, "{log} bytes, and one frame has 4120");
}

#[test]
fn a_member_that_was_undone_does_not_count_and_a_failed_commit_tells_everything() {
    let (_place, mut writer) = place();
    begin(&mut writer);
    writer.enter().unwrap();
    writer.tx().execute("delete from log", []).unwrap();
    assert!(matches!(writer.leave(false), Member::Undone));
    writer.enter().unwrap();
    writer.tx().execute("delete from plain", []).unwrap();
    assert_eq!(writer.writing(), tables([]), "it is open");
    assert!(matches!(writer.leave(true), Member::Kept));
    writer.enter().unwrap();
    assert!(writer.tx().execute_batch("create table fresh(a); drop table keyed").is_ok() && writer.changes_schema());
    assert!(matches!(writer.leave(false), Member::Undone));
    assert!(!writer.changes_schema());
    assert_eq!(writer.writing(), tables(["plain"]));
    done(writer.commit());
    assert_eq!(writer.written(), tables(["plain"]));
    writer.begin(Durability::Configured).unwrap();
    writer.tx().execute("delete from log", []).unwrap();
    writer.roll_back().unwrap();
    assert!(matches!(writer.commit(), Commit::RolledBack(_)));
    assert_eq!(writer.written(), Written::Everything);
}

#[test]
fn what_it_has_written_itself_is_told_with_where_it_has_begun_whatever_others_did_before() {
    let (place, mut first) = place();
    let seen = place.database.foreign_writes(&place.clock).unwrap();
    let ForeignWrites::Seen(version) = seen else { panic!("it has a log") };
    let mut second = place.writer();
    for writer in [&mut second, &mut first] {
        let before = version.now().unwrap();
        begin(writer);
        writer.tx().execute("insert into plain(v) values (5)", []).unwrap();
        done(writer.commit());
        assert_eq!(writer.written(), Written::Everything, "others have written since its last, or it is its first");
        assert_eq!(writer.written_from(), Some((before, tables(["plain"]))));
        assert_eq!(writer.written_from(), None, "it is told once");
        writer.check_in();
    }
    begin(&mut second);
    second.tx().execute_batch("create table fresh(a)").unwrap();
    done(second.commit());
    assert_eq!((second.written(), second.written_from()), (Written::Everything, None));
    begin(&mut second);
    second.roll_back().unwrap();
    assert_eq!(second.written_from(), None);
}

#[test]
fn without_a_log_it_is_everything() {
    let place = Place::with(SqliteConfig { journal_mode: JournalMode::Delete, ..SqliteConfig::default() });
    let mut writer = place.writer();
    for _ in 0..3 {
        let insert = |tx: &Tx| {
            tx.execute("insert into t values (null, 1)", []).unwrap();
        };
        assert_eq!(after(&mut writer, insert), Written::Everything);
    }
}

#[test]
fn a_loan_of_the_writers_for_reading_or_for_upkeep_leaves_nothing_in_the_next_transaction() {
    let (_place, mut writer) = place();
    read(&mut writer, |db| drop(db.prepare("delete from log").unwrap()));
    writer.check_out(Loan::Upkeep).unwrap();
    writer.db().query_row("pragma wal_checkpoint(passive)", [], |_| Ok(())).unwrap();
    assert_eq!(writer.check_in(), CheckIn::Clean);
    writer.idle(Time::START);
    assert_eq!(
        after(&mut writer, |tx| {
            tx.execute("delete from plain", []).unwrap();
        }),
        tables(["plain"])
    );
}

#[test]
fn a_transaction_of_the_upkeep_counts_like_any_other() {
    let (_place, mut writer) = place();
    for _ in 0..2 {
        writer.check_out(Loan::Upkeep).unwrap();
        writer.begin(Durability::Configured).unwrap();
        writer.tx().execute_batch("delete from log").unwrap();
        writer.tx().execute("delete from keyed where k = ?1", ["x"]).unwrap();
        done(writer.commit());
        assert_eq!(writer.written(), tables(["keyed", "log"]));
        assert_eq!(writer.check_in(), CheckIn::Clean);
    }
}
