//! A database in memory belongs to its value and its connections, and to nobody else.

mod support;

use ecm_core::{Access, Backend, Clock, Connection, Durability, FaultKind, Loan, SystemClock, Transact};
use ecm_sqlite::{Sqlite, SqliteConfig};
use std::{sync::Arc, time::Duration};
use support::{read, seen, write};

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn tables(database: &Sqlite) -> i64 {
    let mut reader = database.connect(Access::Read, &clock()).unwrap();
    read(&mut reader, |db| db.query_row("select count(*) from sqlite_schema", [], |row| row.get(0))).unwrap()
}

#[test]
fn it_is_shared_by_the_connections_of_one_value_and_its_clones() {
    let database = Sqlite::memory();
    let clone = database.clone().config(SqliteConfig::default()).create(false);
    let mut writer = database.connect(Access::Write, &clock()).unwrap();
    write(&mut writer, |tx| tx.execute_batch("create table t(a)").unwrap());
    assert_eq!(tables(&clone), 1);
    drop(writer);
    assert_eq!(tables(&clone), 1, "no connection was open in between");
    assert_eq!(tables(&Sqlite::memory()), 0, "another value is another database");
}

#[test]
fn a_reader_of_it_cannot_write_by_any_text() {
    let database = Sqlite::memory();
    let mut writer = database.connect(Access::Write, &clock()).unwrap();
    write(&mut writer, |tx| tx.execute_batch("create table t(a)").unwrap());
    let mut reader = database.connect(Access::Read, &clock()).unwrap();
    for sql in
        ["insert into t values (1)", "/* x */ with x as (select 1) insert into t select * from x", "drop table t"]
    {
        read(&mut reader, |db| db.prepare(sql).unwrap().execute([]).unwrap_err());
    }
    assert!(reader.begin(Durability::Configured).is_err());
    let count = |db: &ecm_sqlite::Db| db.query_row("select count(*) from t", [], |row| row.get::<_, i64>(0));
    assert_eq!(read(&mut reader, count), Ok(0));
}

#[test]
fn a_commit_that_meets_a_reader_waits_and_is_then_rolled_back() {
    let config = SqliteConfig { busy_timeout: Duration::from_millis(5), ..SqliteConfig::default() };
    let database = Sqlite::memory().config(config);
    let mut writer = database.connect(Access::Write, &clock()).unwrap();
    write(&mut writer, |tx| tx.execute_batch("create table t(a)").unwrap());
    let mut reader = database.connect(Access::Read, &clock()).unwrap();
    reader.check_out(Loan::Read).unwrap();
    assert_eq!(reader.db().query_row("select count(*) from t", [], |row| row.get(0)), Ok(0));

    writer.check_out(Loan::Write).unwrap();
    writer.begin(Durability::Configured).unwrap();
    writer.tx().execute("insert into t values (1)", []).unwrap();
    match writer.commit() {
        ecm_core::Commit::RolledBack(failure) => {
            assert_eq!(seen(failure).fault().map(|fault| fault.kind), Some(FaultKind::Busy));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(writer.check_in(), ecm_core::CheckIn::Clean);
    assert_eq!(reader.check_in(), ecm_core::CheckIn::Clean);
    write(&mut writer, |tx| tx.execute("insert into t values (2)", []).unwrap());
    let sum = |db: &ecm_sqlite::Db| db.query_row("select sum(a) from t", [], |row| row.get::<_, i64>(0));
    assert_eq!(read(&mut reader, sum), Ok(2));
}

#[test]
fn a_reader_opens_while_somebody_writes_and_its_first_loan_waits() {
    let config = SqliteConfig { busy_timeout: Duration::from_millis(5), ..SqliteConfig::default() };
    let database = Sqlite::memory().config(config);
    let mut writer = database.connect(Access::Write, &clock()).unwrap();
    write(&mut writer, |tx| tx.execute_batch("create table t(a)").unwrap());
    writer.check_out(Loan::Write).unwrap();
    writer.begin(Durability::Configured).unwrap();
    writer.tx().execute("insert into t values (1)", []).unwrap();
    let mut reader = database.connect(Access::Read, &clock()).unwrap();
    let sum = |db: &ecm_sqlite::Db| db.query_row("select sum(a) from t", [], |row| row.get::<_, i64>(0));
    let waited = read(&mut reader, sum).unwrap_err();
    assert_eq!(seen(waited.into()).fault().map(|fault| fault.kind), Some(FaultKind::Busy));
    assert!(matches!(writer.commit(), ecm_core::Commit::Done(_)));
    assert_eq!(writer.check_in(), ecm_core::CheckIn::Clean);
    assert_eq!(read(&mut reader, sum), Ok(1));
    let keys = |db: &ecm_sqlite::Db| db.query_row("pragma foreign_keys", [], |row| row.get::<_, i64>(0));
    assert_eq!(read(&mut reader, keys), Ok(1));
}
