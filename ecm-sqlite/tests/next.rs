//! Whatever a borrower does, the next one meets a fresh connection, or another one.

mod support;

use ecm_core::{CheckIn, Connection, Loan, Transact};
use ecm_sqlite::{
    Db, Sqlite, SqliteConnection, Tx,
    rusqlite::{self, config::DbConfig, functions::FunctionFlags, hooks::Authorization, limits::Limit},
};
use std::{
    mem,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::Duration,
};
use support::{Place, begin, done, forget, held, read, write};

type Deed = (&'static str, fn(&Db));

/// What a closure may try, with its name. Each ignores every error, as a careless borrower does.
const DEEDS: [Deed; 18] = [
    ("begin", |db| every(db, &["begin", "begin immediate", "savepoint s", "commit", "rollback", "end"])),
    ("commit", |db| every(db, &["commit", "begin exclusive", "insert into t values (99, 99)"])),
    ("pragmas", |db| {
        every(db, &["pragma foreign_keys = 0", "pragma query_only = 0", "pragma ignore_check_constraints = 1"]);
        every(
            db,
            &["pragma busy_timeout = 0", "pragma cache_size = 1", "pragma temp_store = 1", "pragma synchronous = 0"],
        );
        every(db, &["pragma recursive_triggers = 1", "pragma case_sensitive_like = 1", "pragma mmap_size = 0"]);
        every(
            db,
            &["select * from pragma_query_only(0)", "pragma journal_mode = delete", "pragma locking_mode = exclusive"],
        );
    }),
    ("attach", |db| every(db, &["attach ':memory:' as other", "create table other.t(a)", "detach main"])),
    ("temp", |db| every(db, &["create temp table t(a)", "create temp view t as select 1", "drop table temp.t"])),
    ("schema", |db| {
        every(db, &["pragma writable_schema = 1", "delete from sqlite_schema", "vacuum", "vacuum into 'x'"])
    }),
    ("forgotten rows", |db| {
        let mut statement = db.prepare_cached("select id from t").unwrap();
        mem::forget(statement.query([]).unwrap());
    }),
    ("forgotten statement", |db| {
        let mut statement = db.prepare("select id from t").unwrap();
        let mut rows = statement.query([]).unwrap();
        assert!(rows.next().unwrap().is_some());
        mem::forget(rows);
        forget(statement);
    }),
    ("forgotten statement of the cache", |db| {
        let mut statement = db.prepare_cached("select id from t").unwrap();
        let mut rows = statement.query([]).unwrap();
        assert!(rows.next().unwrap().is_some());
        mem::forget(rows);
        forget(statement);
    }),
    ("forgotten blob", |db| {
        if let Ok(blob) = db.blob_open("t", "v", 1) {
            forget(blob);
        }
    }),
    ("panic", |db| {
        let mut statement = db.prepare_cached("select id from t").unwrap();
        let _rows = statement.query([]).unwrap();
        panic!("on purpose");
    }),
    ("panic in a row", |db| {
        let _never: i64 = db.query_row("select id from t", [], |_| panic!("on purpose")).unwrap();
    }),
    ("settings", |db| {
        db.raw().busy_timeout(Duration::ZERO).unwrap();
        db.raw().set_prepared_statement_cache_capacity(0);
        let _refused = db.raw().pragma_update(None, "foreign_keys", false);
    }),
    ("functions", |db| {
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
        db.raw().create_scalar_function("upper", 1, flags, |_| Ok("hijacked")).unwrap();
        db.raw().remove_function("lower", 1).unwrap();
    }),
    ("collations", |db| db.raw().create_collation("nocase", |_, _| std::cmp::Ordering::Less).unwrap()),
    ("limits", |db| {
        db.raw().set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, 30).unwrap();
        db.raw().set_limit(Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 0).unwrap();
    }),
    ("switches", |db| {
        for (switch, on) in
            [(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false), (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)]
        {
            db.raw().set_db_config(switch, on).unwrap();
        }
    }),
    ("transactions of the driver", |db| {
        let _refused = db.raw().unchecked_transaction().map(mem::forget);
        let _refused = db.raw().execute_batch("commit; begin; savepoint s");
    }),
];

fn every(db: &Db, texts: &[&str]) {
    for sql in texts {
        for statement in [db.prepare(sql), db.prepare_cached(sql)] {
            let Ok(mut statement) = statement else { continue };
            if statement.column_count() == 0 {
                let _ignored = statement.execute([]);
            } else if let Ok(mut rows) = statement.query([]) {
                while rows.next().is_ok_and(|row| row.is_some()) {}
            }
        }
        let _ignored = db.query(sql, [], |_| Ok(()));
    }
}

/// What every borrower can rely on.
fn is_fresh(db: &Db, writes: bool, what: &str) {
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
    assert_eq!(number("select count(*) from t"), Ok(3), "{what}");
    assert_eq!(number("select count(*) from pragma_database_list where name not in ('main', 'temp')"), Ok(0), "{what}");
    assert_eq!(number("select count(*) from sqlite_temp_schema"), Ok(0), "{what}");
    for (pragma, value) in [
        ("foreign_keys", 1),
        ("query_only", i64::from(!writes)),
        ("ignore_check_constraints", 0),
        ("recursive_triggers", 0),
        ("temp_store", 2),
        ("synchronous", 1),
        ("cache_size", -20_000),
        ("defer_foreign_keys", 0),
    ] {
        assert_eq!(number(&format!("select * from pragma_{pragma}")), Ok(value), "{what}: {pragma}");
    }
    assert_eq!(number("select 'A' like 'a'"), Ok(1), "{what}");
    assert_eq!(number("select upper('a') = 'A' and lower('A') = 'a' and 'A' = 'a' collate nocase"), Ok(1), "{what}");
    let bound =
        db.query_row("select ?1 /* a text that is longer than thirty bytes */", [7], |row| row.get::<_, i64>(0));
    assert_eq!(bound, Ok(7), "{what}");
    assert!(db.prepare("commit").is_err(), "{what}");
}

fn place() -> Place {
    let place = Place::new();
    write(&mut place.writer(), |tx| {
        tx.execute_batch(
            "insert into t values (1, 'one'), (2, 'two'), (3, 'three');
             create table child(parent references t);
             create table seen(parent);
             create trigger sees after insert on child begin insert into seen values (new.parent); end",
        )
        .unwrap();
    });
    place
}

/// Checks in, mends if asked to, and answers whether the connection is lent again.
fn is_lent_again(connection: &mut SqliteConnection) -> bool {
    match connection.check_in() {
        CheckIn::Clean => true,
        CheckIn::Reset => connection.reset().is_ok(),
        CheckIn::Discard => false,
    }
}

#[test]
fn a_reader_is_fresh_for_the_next_or_is_not_lent_again() {
    for (name, deed) in DEEDS {
        for holds in [false, true] {
            let place = place();
            let mut reader = if holds { held(&place) } else { place.reader() };
            for round in 0..3 {
                reader.check_out(Loan::Read).unwrap();
                let _panicked = panic::catch_unwind(AssertUnwindSafe(|| deed(reader.db())));
                if !is_lent_again(&mut reader) {
                    reader = if holds { held(&place) } else { place.reader() };
                }
                read_fresh(&mut reader, &format!("{name}, held: {holds}, round {round}"));
            }
            drop(reader);
            // Nothing is left that a checkpoint would wait for.
            let busy = place.stranger().query_row("pragma wal_checkpoint(truncate)", [], |row| row.get::<_, i64>(0));
            assert_eq!(busy, Ok(0), "{name}, held: {holds}");
        }
    }
}

fn read_fresh(reader: &mut SqliteConnection, what: &str) {
    reader.check_out(Loan::Read).unwrap();
    is_fresh(reader.db(), false, what);
    // What was forgotten in a held snapshot is found at the latest when that ends.
    is_lent_again(reader);
}

#[test]
fn a_writer_is_fresh_for_the_next_or_is_not_lent_again_and_nothing_half_is_committed() {
    for (name, deed) in DEEDS {
        let place = place();
        let mut writer = place.writer();
        for round in 0..3 {
            begin(&mut writer);
            let worked = panic::catch_unwind(AssertUnwindSafe(|| {
                writer.tx().execute("insert into t values (50, 50)", []).unwrap();
                deed(writer.tx());
            }));
            // As the lane does: what panicked is not committed.
            let _rolled_back = if worked.is_err() { writer.roll_back() } else { done_or_not(&mut writer) };
            if !is_lent_again(&mut writer) {
                writer = place.writer();
            }
            let rows = place.rows();
            assert!(rows == [1, 2, 3] || rows == [1, 2, 3, 50] || rows == [1, 2, 3, 50, 99], "{name}: {rows:?}");
            write(&mut writer, |tx| tx.execute("delete from t where id > 3", []).unwrap());
            // A trigger runs, and a foreign key holds, whatever was switched off.
            write(&mut writer, |tx| {
                assert!(tx.execute("insert into child values (77)", []).is_err(), "{name}");
                tx.execute("insert into child values (1)", []).unwrap();
                assert_eq!(tx.query_row("select count(*) from seen", [], |row| row.get(0)), Ok(1), "{name}");
                tx.execute_batch("delete from child; delete from seen").unwrap();
            });
            write(&mut writer, |tx: &Tx| is_fresh(tx, true, &format!("{name}, round {round}")));
        }
    }
}

fn done_or_not(writer: &mut SqliteConnection) -> Result<(), ecm_core::Failure> {
    match writer.commit() {
        ecm_core::Commit::Done(_) => Ok(()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_member_of_a_batch_cannot_spoil_the_others() {
    for (name, deed) in DEEDS {
        let place = place();
        let mut writer = place.writer();
        // Whoever had the driver's own connection may have changed what holds for all of them.
        let loses = matches!(
            name,
            "settings" | "functions" | "collations" | "limits" | "switches" | "transactions of the driver"
        );
        begin(&mut writer);
        for (number, spoils) in [(10, false), (11, true), (12, false)] {
            writer.enter().unwrap();
            writer.tx().execute("insert into t values (?1, 1)", [number]).unwrap();
            if spoils {
                let _panicked = panic::catch_unwind(AssertUnwindSafe(|| deed(writer.tx())));
            }
            // What spoils is undone.
            let left = writer.leave(!spoils);
            let expected = match (spoils, loses) {
                (true, true) => "BatchLost",
                (true, false) => "Undone",
                (false, _) => "Kept",
            };
            assert_eq!(format!("{left:?}"), expected, "{name}");
            if expected == "BatchLost" {
                break;
            }
        }
        if loses {
            assert!(!is_lent_again(&mut writer), "{name}");
            assert_eq!(place.rows(), [1, 2, 3], "{name}");
            continue;
        }
        done(writer.commit());
        is_lent_again(&mut writer);
        drop(writer);
        assert_eq!(place.rows(), [1, 2, 3, 10, 12], "{name}");
    }
}

#[test]
fn a_query_gives_every_row() {
    let place = place();
    let ids: Vec<i64> =
        read(&mut place.reader(), |db| db.query("select id from t order by id", [], |row| row.get(0))).unwrap();
    assert_eq!(ids, [1, 2, 3]);
    let none: Vec<i64> =
        read(&mut place.reader(), |db| db.query("select id from t where id > ?1", [9], |row| row.get(0))).unwrap();
    assert!(none.is_empty());
    let wrong = read(&mut place.reader(), |db| db.query("select v from t", [], |row| row.get::<_, i64>(0)));
    assert!(matches!(wrong, Err(rusqlite::Error::InvalidColumnType(..))));
}

#[test]
fn a_raw_borrower_can_do_anything_and_the_next_gets_another_connection() {
    let place = place();
    let clock = Arc::clone(&place.clock);
    let open = |database: &Sqlite| ecm_core::Backend::connect(database, ecm_core::Access::Write, &clock).unwrap();
    let mut writer = open(&place.database);
    writer.check_out(Loan::Raw).unwrap();
    let raw = writer.raw();
    raw.execute_batch("begin; delete from t; create temp table t(a); attach ':memory:' as other").unwrap();
    raw.pragma_update(None, "foreign_keys", false).unwrap();
    assert_eq!(writer.check_in(), CheckIn::Discard);
    drop(writer);
    write(&mut open(&place.database), |tx: &Tx| is_fresh(tx, true, "raw"));
}

#[test]
fn hooks_of_a_raw_borrower_are_asked_by_nobody_else() {
    let place = place();
    for access in [ecm_core::Access::Read, ecm_core::Access::Write] {
        let open = || ecm_core::Backend::connect(&place.database, access, &place.clock).unwrap();
        let mut connection = open();
        connection.check_out(Loan::Raw).unwrap();
        let raw = connection.raw();
        raw.authorizer(Some(|_: rusqlite::hooks::AuthContext<'_>| Authorization::Deny)).unwrap();
        raw.progress_handler(1, Some(|| true)).unwrap();
        raw.busy_handler(Some(|_| panic!("asked"))).unwrap();
        raw.commit_hook(Some(|| true)).unwrap();
        raw.update_hook(Some(|_, _: &str, _: &str, _| panic!("asked"))).unwrap();
        assert!(raw.query_row("select 1", [], |_| Ok(())).is_err(), "they are in force");
        assert_eq!(connection.check_in(), CheckIn::Discard);
        drop(connection);
        let mut next = open();
        if access == ecm_core::Access::Write {
            write(&mut next, |tx: &Tx| is_fresh(tx, true, "hooks"));
            write(&mut next, |tx| tx.execute("update t set v = 'x' where id = 1", []).unwrap());
        } else {
            read_fresh(&mut next, "hooks");
        }
    }
}
