//! A file that is exchanged below its connections, or gets a log, is noticed.

#![cfg(unix)]

mod support;

use ecm_core::{Access, Backend, CheckIn, Connection, Durability, Error, FaultKind, Loan, Transact};
use ecm_sqlite::{JournalMode, SqliteConfig, SqliteConnection, rusqlite};
use std::{fs, path::Path};
use support::{Place, held, pinned, read, seen, write};

/// Another file with another row at the place of the old one, as a restored backup would be.
fn replace(place: &Place) {
    let new = place.folder.path().join("new.db");
    let connection = rusqlite::Connection::open(&new).unwrap();
    connection
        .execute_batch(
            "pragma journal_mode = wal; create table t(id integer primary key, v); insert into t values (7, 7)",
        )
        .unwrap();
    drop(connection);
    fs::rename(new, place.path()).unwrap();
    forget_log(&place.path());
}

/// The log of the old file is not the new one's.
fn forget_log(path: &Path) {
    for extension in ["db-wal", "db-shm"] {
        let _gone = fs::remove_file(path.with_extension(extension));
    }
}

fn is_told(error: &Error) {
    assert_eq!(error.fault().map(|fault| (fault.kind, fault.code)), Some((FaultKind::Storage, 1032)), "{error}");
    let message = error.to_string();
    assert!(message.contains("test.db") && message.contains("replaced"), "{message}");
}

fn sum(reader: &mut SqliteConnection) -> i64 {
    read(reader, |db| db.query_row("select total(id) from t", [], |row| row.get::<_, f64>(0))).unwrap() as i64
}

#[test]
fn a_connection_in_a_file_that_was_replaced_fails_its_check_and_so_do_the_others_at_their_next_loan() {
    let place = Place::new();
    let (mut writer, mut holding, mut plain) = (place.writer(), held(&place), place.reader());
    let mut checked = place.reader();
    checked.ping().unwrap();
    replace(&place);
    is_told(&seen(checked.ping().unwrap_err()));
    assert_eq!(checked.check_in(), CheckIn::Discard);
    for connection in [&mut holding, &mut plain] {
        is_told(&seen(connection.check_out(Loan::Read).unwrap_err()));
        assert_eq!(connection.check_in(), CheckIn::Discard);
    }
    is_told(&seen(writer.check_out(Loan::Write).unwrap_err()));
    assert_eq!(writer.check_in(), CheckIn::Discard);
    drop((writer, holding, plain, checked));
    assert_eq!(sum(&mut place.reader()), 7);
    write(&mut place.writer(), |tx| tx.execute("insert into t values (8, 8)", []).unwrap());
    assert_eq!(sum(&mut held(&place)), 15, "and the new ones hold snapshots again");
}

#[test]
fn a_connection_that_is_opened_in_another_file_stops_those_in_the_old_one() {
    let place = Place::new();
    let (mut writer, mut holding) = (place.writer(), held(&place));
    replace(&place);
    let mut renewed = place.reader();
    assert_eq!(sum(&mut renewed), 7);
    is_told(&seen(writer.check_out(Loan::Write).unwrap_err()));
    is_told(&seen(holding.check_out(Loan::Read).unwrap_err()));
    assert_eq!((writer.check_in(), holding.check_in()), (CheckIn::Discard, CheckIn::Discard));
    assert_eq!(sum(&mut renewed), 7);
    assert_eq!(renewed.check_in(), CheckIn::Clean);
}

#[test]
fn a_file_that_was_deleted_is_noticed_too() {
    let place = Place::new();
    let mut writer = place.writer();
    fs::remove_file(place.path()).unwrap();
    forget_log(&place.path());
    is_told(&seen(writer.ping().unwrap_err()));
    assert_eq!(writer.check_in(), CheckIn::Discard);
    let missing = place.database.connect(Access::Read, &place.clock).unwrap_err();
    assert!(seen(missing).to_string().contains("does not exist"));
}

#[test]
fn a_write_without_a_log_into_a_file_that_was_replaced_is_a_fault_of_the_database() {
    let place = Place::with(SqliteConfig { journal_mode: JournalMode::Delete, ..SqliteConfig::default() });
    let mut writer = place.writer();
    fs::rename(place.path(), place.folder.path().join("elsewhere.db")).unwrap();
    writer.check_out(Loan::Write).unwrap();
    writer.begin(Durability::Configured).unwrap();
    let error = writer.tx().execute("insert into t values (1, 1)", []).unwrap_err();
    assert_eq!(seen(error.into()).fault().map(|fault| fault.kind), Some(FaultKind::Storage));
}

#[test]
fn a_file_that_gets_a_log_is_held_like_any_other_after_the_next_check() {
    let place = Place::with(SqliteConfig { journal_mode: JournalMode::Delete, ..SqliteConfig::default() });
    // A reader that may find a log: the file has none yet.
    let database = place.database.clone().config(SqliteConfig::default());
    let mut reader = database.connect(Access::Read, &place.clock).unwrap();
    reader.idle(ecm_core::Time::START);
    reader.ping().unwrap();
    for _ in 0..10 {
        assert_eq!(sum(&mut reader), 0);
    }
    assert!(!place.path().with_extension("db-shm").exists(), "looking made one");
    let stranger = place.stranger();
    let mode: String = stranger.query_row("pragma journal_mode = wal", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    reader.ping().unwrap();
    for _ in 0..10 {
        assert_eq!(sum(&mut reader), 0);
    }
    assert!(pinned(&place), "its snapshot is held between loans");
    stranger.execute("insert into t values (3, 3)", []).unwrap();
    assert_eq!(sum(&mut reader), 3, "and is compared with what was committed");
}
