//! What a borrower may not do is refused with a sentence that says what to do instead.

mod support;

use ecm_core::{CheckIn, Commit, Connection, FaultKind, Loan, Transact};
use ecm_sqlite::rusqlite;
use support::{Place, begin, done, read, seen, told, write};

/// What would outlive the loan, and a word that the message must hold.
const REFUSED: [(&str, &str); 27] = [
    ("begin", "BEGIN"),
    ("/* first */ BEGIN IMMEDIATE", "BEGIN"),
    ("commit", "COMMIT"),
    ("end transaction", "COMMIT"),
    ("rollback", "ROLLBACK"),
    ("savepoint mine", "mine"),
    ("release ecm_member", "ecm_member"),
    ("rollback to ecm_member", "ecm_member"),
    ("attach ':memory:' as other", "ATTACH"),
    ("detach other", "DETACH"),
    ("create temp table hidden(a)", "hidden"),
    ("create temporary view v as select 1", "WITH"),
    ("create temp trigger r after insert on t begin select 1; end", "temporary"),
    ("pragma query_only = 0", "query_only = 0"),
    ("PRAGMA main.Query_Only(off)", "SqliteConfig"),
    ("pragma foreign_keys = off", "foreign_keys"),
    ("pragma ignore_check_constraints = 1", "ignore_check"),
    ("pragma defer_foreign_keys = 1", "defer_foreign_keys"),
    ("pragma busy_timeout = 0", "busy_timeout"),
    ("pragma journal_mode = delete", "journal_mode"),
    ("pragma synchronous = off", "synchronous"),
    ("pragma wal_checkpoint", "wal_checkpoint"),
    ("pragma wal_checkpoint(truncate)", "wal_checkpoint"),
    ("pragma optimize", "optimize"),
    ("pragma writable_schema = 1", "writable_schema"),
    ("pragma case_sensitive_like = 1", "case_sensitive_like"),
    ("explain pragma recursive_triggers = 1", "recursive_triggers"),
];

#[test]
fn what_would_outlive_the_loan_is_refused_in_reading_closures() {
    let place = Place::new();
    let mut reader = place.reader();
    for (sql, word) in REFUSED {
        read(&mut reader, |db| {
            for error in [db.prepare(sql).unwrap_err(), db.prepare_cached(sql).unwrap_err()] {
                let error = seen(error.into());
                assert_eq!(error.fault().map(|fault| fault.kind), Some(FaultKind::Denied), "{sql}: {error}");
                let message = error.to_string();
                assert!(message.contains(word) && message.contains("connection()"), "{sql}: {message}");
            }
        });
    }
}

#[test]
fn what_would_outlive_the_loan_is_refused_in_writing_closures_and_harms_nothing() {
    let place = Place::new();
    let mut writer = place.writer();
    write(&mut writer, |tx| {
        tx.execute("insert into t values (1, 'kept')", []).unwrap();
        for (sql, word) in REFUSED {
            for error in [tx.execute_batch(sql).unwrap_err(), tx.execute(sql, []).unwrap_err()] {
                assert!(error.to_string().contains(word), "{sql}: {error}");
            }
        }
    });
    assert_eq!(place.rows(), [1]);
}

#[test]
fn what_would_outlive_the_loan_is_refused_when_it_is_analysed() {
    let place = Place::new();
    for mut connection in [place.reader(), place.writer()] {
        for (sql, word) in REFUSED {
            let error = seen(connection.analyse(sql).unwrap_err());
            assert_eq!(error.fault().map(|fault| fault.kind), Some(FaultKind::Denied), "{sql}");
            assert!(error.to_string().contains(word), "{sql}: {error}");
        }
    }
}

#[test]
fn the_same_is_refused_on_the_drivers_connection_inside_a_closure() {
    let place = Place::new();
    let mut writer = place.writer();
    begin(&mut writer);
    let raw = writer.tx().raw();
    assert!(raw.unchecked_transaction().is_err());
    assert!(raw.execute_batch("commit").is_err());
    assert!(raw.pragma_update(None, "foreign_keys", false).is_err());
    done(writer.commit());
    assert_eq!(writer.check_in(), CheckIn::Discard, "nobody knows what else was done");
}

#[test]
fn what_only_looks_is_allowed() {
    let place = Place::new();
    let mut reader = place.reader();
    for sql in [
        "pragma table_info(t)",
        "pragma table_xinfo('t')",
        "pragma index_list(t)",
        "pragma foreign_key_list(t)",
        "pragma foreign_key_check",
        "pragma integrity_check",
        "pragma quick_check(1)",
        "pragma user_version",
        "pragma application_id",
        "pragma schema_version",
        "pragma data_version",
        "pragma journal_mode",
        "pragma query_only",
        "pragma compile_options",
        "pragma function_list",
        "select * from pragma_table_info('t')",
        "select * from pragma_table_list",
        "explain query plan select * from t",
    ] {
        read(&mut reader, |db| {
            let mut statement = db.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            let mut rows = statement.query([]).unwrap();
            while rows.next().unwrap_or_else(|error| panic!("{sql}: {error}")).is_some() {}
        });
    }
}

#[test]
fn a_version_of_the_applications_own_is_part_of_the_transaction() {
    let place = Place::new();
    let mut writer = place.writer();
    let version = |place: &Place| place.stranger().pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    begin(&mut writer);
    writer.tx().execute_batch("pragma user_version = 7").unwrap();
    writer.roll_back().unwrap();
    assert_eq!(writer.check_in(), CheckIn::Clean);
    assert_eq!(version(&place), Ok(0));
    write(&mut writer, |tx| tx.execute_batch("pragma user_version = 7").unwrap());
    assert_eq!(version(&place), Ok(7));
}

#[test]
fn a_reader_cannot_write_by_any_text() {
    let place = Place::new();
    let mut reader = place.reader();
    for sql in [
        "insert into t values (1, 1)",
        "-- a comment first\ninsert into t values (1, 1)",
        "with x as (select 1) insert into t select 1, 1 from x",
        "insert into t values (1, 1) returning id",
        "update t set v = 1",
        "delete from t",
        "create table u(a)",
        "drop table t",
        "pragma user_version = 3",
        "analyze",
        "vacuum",
    ] {
        let error = read(&mut reader, |db| {
            let mut statement = db.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            match statement.execute([]) {
                Err(rusqlite::Error::ExecuteReturnedResults) => panic!("{sql} ran"),
                other => other.unwrap_err(),
            }
        });
        let fault = seen(error.into());
        assert!(matches!(fault.kind(), ecm_core::Kind::ReadOnly) || sql == "vacuum", "{sql}: {fault}");
    }
    assert!(place.rows().is_empty());
    assert_eq!(place.stranger().pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)), Ok(0));
}

#[test]
fn a_reader_cannot_begin_a_write() {
    let place = Place::new();
    let mut reader = place.reader();
    reader.check_out(Loan::Write).unwrap();
    let (kind, message) = told(reader.begin(ecm_core::Durability::Configured).unwrap_err());
    assert_eq!(kind, ecm_core::Kind::ReadOnly);
    assert!(message.contains("reading only"), "{message}");
    assert_eq!(reader.check_in(), CheckIn::Clean);
}

#[test]
fn a_commit_that_was_cached_by_a_raw_borrower_never_reaches_the_next_loan() {
    let place = Place::new();
    let mut writer = place.writer();
    writer.check_out(Loan::Raw).unwrap();
    let raw = writer.raw();
    raw.execute_batch("begin").unwrap();
    raw.prepare_cached("commit").unwrap().execute([]).unwrap();
    assert_eq!(writer.check_in(), CheckIn::Discard);
}

#[test]
fn a_commit_that_ecm_has_run_is_not_in_the_cache_for_a_borrower() {
    let place = Place::new();
    let mut writer = place.writer();
    write(&mut writer, |tx| tx.execute("insert into t values (1, 1)", []).unwrap());
    begin(&mut writer);
    writer.tx().execute("insert into t values (2, 2)", []).unwrap();
    for sql in ["COMMIT", "commit", "ROLLBACK", "BEGIN IMMEDIATE"] {
        assert!(writer.tx().prepare_cached(sql).is_err());
        assert!(writer.tx().raw().prepare_cached(sql).is_err());
    }
    assert_eq!(place.rows(), [1]);
    writer.roll_back().unwrap();
    assert_eq!(writer.check_in(), CheckIn::Discard);
}

#[test]
fn a_commit_without_ecm_is_vetoed_even_where_nothing_else_stops_it() {
    let place = Place::new();
    let mut writer = place.writer();
    writer.check_out(Loan::Read).unwrap();
    // A closure that reads on the writer's connection, and writes through a statement all the same.
    let mut insert = writer.db().prepare("insert into t values (1, 1)").unwrap();
    insert.execute([]).unwrap();
    drop(insert);
    assert_eq!(writer.check_in(), CheckIn::Clean);
    assert!(place.rows().is_empty());
}

#[test]
fn a_raw_borrower_may_do_everything_in_autocommit_mode() {
    let place = Place::new();
    let mut writer = place.writer();
    writer.check_out(Loan::Raw).unwrap();
    let raw = writer.raw();
    assert!(raw.is_autocommit());
    let transaction = raw.transaction().unwrap();
    transaction.execute("insert into t values (1, 1)", []).unwrap();
    transaction.commit().unwrap();
    raw.execute_batch("attach ':memory:' as other; create temp table x(a); pragma foreign_keys = off; vacuum").unwrap();
    assert_eq!(writer.check_in(), CheckIn::Discard);
    assert_eq!(place.rows(), [1]);
}

#[test]
fn upkeep_may_checkpoint_and_leaves_no_statement_behind() {
    let place = Place::new();
    let mut writer = place.writer();
    write(&mut writer, |tx| tx.execute("insert into t values (1, 1)", []).unwrap());
    writer.check_out(Loan::Upkeep).unwrap();
    let busy: i64 = writer.db().query_row("pragma wal_checkpoint(truncate)", [], |row| row.get(0)).unwrap();
    assert_eq!(busy, 0);
    assert_eq!(writer.check_in(), CheckIn::Clean);
    begin(&mut writer);
    assert!(writer.tx().prepare_cached("pragma wal_checkpoint(truncate)").is_err());
    assert!(matches!(writer.commit(), Commit::Done(_)));
    assert_eq!(writer.check_in(), CheckIn::Clean);
}
