//! A snapshot that is held between loans never serves an old state, and stands in nobody's way.

mod support;

use ecm_core::{
    Access, Backend, CheckIn, Clock, Connection, Durability, FaultKind, Loan, Time, Transact, testing::TestClock,
};
use ecm_sqlite::{Db, JournalMode, Sqlite, SqliteConfig, SqliteConnection, rusqlite};
use std::{fs, mem, sync::Arc, time::Duration};
use support::{Place, begin, done, forget, held, pinned, prepared, read, seen, write};

fn count(db: &Db) -> i64 {
    db.query_row("select count(*) from t", [], |row| row.get(0)).unwrap()
}

/// What a checkpoint that wants to empty the log answers: whether somebody stood in the way.
fn checkpoint_is_busy(place: &Place) -> bool {
    let busy = place.stranger().query_row("pragma wal_checkpoint(truncate)", [], |row| row.get::<_, i64>(0));
    busy.unwrap() != 0
}

#[test]
fn a_snapshot_is_held_after_some_loans_that_found_nothing_changed_and_not_before() {
    let place = Place::new();
    for loans in 0..12 {
        let mut reader = place.kept_reader();
        for _ in 0..loans {
            read(&mut reader, count);
        }
        assert_eq!(pinned(&place), loans >= 5, "after {loans} loans");
        read(&mut reader, count);
        assert!(!pinned(&place), "it is let go of at the first change");
    }
}

#[test]
fn nothing_is_held_until_somebody_looks_after_idle_connections() {
    let place = Place::new();
    let mut reader = place.reader();
    for _ in 0..20 {
        read(&mut reader, count);
    }
    assert!(!pinned(&place));
    reader.idle(Time::START);
    for _ in 0..20 {
        read(&mut reader, count);
    }
    assert!(pinned(&place));
}

#[test]
fn a_commit_of_any_connection_is_seen_by_the_next_loan() {
    let place = Place::new();
    let (mut closure, mut statement) = (held(&place), held(&place));
    let sql = prepared(&mut statement, "select count(*) from t");
    let mut writer = place.writer();
    for number in 1..=50 {
        if number % 2 == 0 {
            write(&mut writer, |tx| tx.execute("insert into t values (?1, 1)", [number]).unwrap());
        } else {
            place.stranger().execute("insert into t values (?1, 1)", [number]).unwrap();
        }
        // Long enough that some changes meet a held snapshot and some do not.
        for _ in 0..number % 9 {
            assert_eq!(read(&mut closure, count), number);
            assert_eq!(asked(&mut statement, &sql), number);
        }
    }
}

/// What a statement of the manager's answers, in a loan of its own.
fn asked(reader: &mut SqliteConnection, sql: &ecm_core::Prepared) -> i64 {
    reader.check_out(Loan::Statement).unwrap();
    let answer = support::number(reader, sql);
    assert_eq!(reader.check_in(), CheckIn::Clean);
    answer
}

#[test]
fn a_commit_is_seen_although_the_log_was_begun_anew_and_is_as_long_as_before() {
    let place = Place::new();
    let stranger = place.stranger();
    stranger.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    stranger.execute("insert into t values (1, 0)", []).unwrap();
    let mut reader = held(&place);
    for round in 1..20 {
        stranger.execute("update t set v = ?1", [round]).unwrap();
        stranger.query_row("pragma wal_checkpoint(passive)", [], |_| Ok(())).unwrap();
        for _ in 0..10 {
            let seen: i64 = read(&mut reader, |db| db.query_row("select v from t", [], |row| row.get(0)).unwrap());
            assert_eq!(seen, round);
        }
    }
}

#[test]
fn a_read_in_a_held_snapshot_sees_one_state_from_its_start_to_its_end() {
    let place = Place::new();
    let mut reader = held(&place);
    reader.check_out(Loan::Read).unwrap();
    write(&mut place.writer(), |tx| tx.execute("insert into t values (1, 1)", []).unwrap());
    assert_eq!(count(reader.db()), 0);
    assert_eq!(reader.check_in(), CheckIn::Clean);
    assert_eq!(read(&mut reader, count), 1);
}

#[test]
fn a_commit_between_the_check_out_and_the_first_read_does_not_mark_an_old_state_as_new() {
    let place = Place::new();
    let mut reader = held(&place);
    for number in 1..20 {
        reader.check_out(Loan::Read).unwrap();
        write(&mut place.writer(), |tx| tx.execute("insert into t values (?1, 1)", [number]).unwrap());
        assert_eq!(reader.check_in(), CheckIn::Clean);
        for _ in 0..number {
            assert_eq!(read(&mut reader, count), number);
        }
    }
}

#[test]
fn a_forgotten_cursor_never_makes_an_old_snapshot_pass_for_the_present_one() {
    let place = Place::new();
    let mut reader = held(&place);
    write(&mut place.writer(), |tx| tx.execute_batch("insert into t values (1, 1), (2, 2)").unwrap());
    for _ in 0..10 {
        read(&mut reader, count);
    }
    reader.check_out(Loan::Read).unwrap();
    let mut statement = reader.db().prepare("select id from t").unwrap();
    let mut rows = statement.query([]).unwrap();
    assert!(rows.next().unwrap().is_some());
    mem::forget(rows);
    forget(statement);
    assert_eq!(reader.check_in(), CheckIn::Clean, "it is held, where a forgotten cursor changes nothing yet");
    write(&mut place.writer(), |tx| tx.execute("insert into t values (3, 3)", []).unwrap());
    reader.check_out(Loan::Read).unwrap();
    assert_eq!(count(reader.db()), 3);
    assert_eq!(reader.check_in(), CheckIn::Discard);
    assert!(!checkpoint_is_busy(&place), "not even before it is closed");
}

#[test]
fn an_attached_file_is_never_held() {
    let place = Place::new();
    let mut reader = held(&place);
    reader.check_out(Loan::Read).unwrap();
    assert!(reader.db().prepare("attach ':memory:' as other").is_err());
    assert_eq!(reader.check_in(), CheckIn::Clean);
    // Upkeep may attach: what it leaves behind is not lent again.
    reader.check_out(Loan::Upkeep).unwrap();
    reader.db().prepare("attach ':memory:' as other").unwrap().execute([]).unwrap();
    assert_eq!(reader.check_in(), CheckIn::Discard);
    assert!(!checkpoint_is_busy(&place));
}

#[test]
fn after_somebody_has_waited_for_a_lock_nobody_holds_anything_for_a_while() {
    let clock = TestClock::new();
    let config = SqliteConfig { busy_timeout: Duration::from_millis(20), ..SqliteConfig::default() };
    let place = Place::at(config, Arc::new(clock.clone()));
    let mut reader = held(&place);
    let mut writer = place.writer();
    let stranger = place.stranger();
    stranger.execute_batch("begin immediate").unwrap();
    writer.check_out(Loan::Write).unwrap();
    assert!(writer.begin(Durability::Configured).is_err(), "somebody else has the lock");
    stranger.execute_batch("rollback").unwrap();
    let read_often = |reader: &mut SqliteConnection| {
        (0..20).for_each(|_| read(reader, |db| db.query_row("select count(*) from t", [], |_| Ok(())).unwrap()));
    };
    read_often(&mut reader);
    assert!(!pinned(&place));
    read_often(&mut reader);
    assert!(!pinned(&place), "not after a change either");
    clock.advance(Duration::from_millis(10));
    read_often(&mut reader);
    assert!(pinned(&place));
}

#[test]
fn a_checkpoint_by_somebody_else_is_not_blocked_by_readers_that_are_lent_all_the_time() {
    let place = Place::new();
    let mut readers = [held(&place), held(&place), held(&place)];
    write(&mut place.writer(), |tx| tx.execute("insert into t values (1, 1)", []).unwrap());
    for reader in &mut readers {
        for _ in 0..10 {
            read(reader, count);
        }
    }
    assert!(checkpoint_is_busy(&place), "they hold snapshots in the log");
    // But everything is in the file by now, so that each reader leaves the log at its next loan.
    for reader in &mut readers {
        assert_eq!(read(reader, count), 1);
    }
    assert!(!checkpoint_is_busy(&place));
    for reader in &mut readers {
        assert_eq!(read(reader, count), 1);
    }
}

#[test]
fn a_request_to_let_go_is_obeyed_by_every_reader_before_its_next_loan() {
    let place = Place::new();
    let mut readers = [held(&place), held(&place)];
    let clone = place.database.clone();
    clone.let_go();
    for reader in &mut readers {
        read(reader, count);
    }
    assert!(!pinned(&place));
}

#[test]
fn what_is_asked_for_during_a_loan_is_let_go_of_at_its_end_and_not_only_before_the_next_one() {
    let place = Place::new();
    let mut reader = held(&place);
    reader.check_out(Loan::Read).unwrap();
    place.database.let_go();
    assert_eq!(count(reader.db()), 0, "the loan keeps what it has");
    assert_eq!(reader.check_in(), CheckIn::Clean);
    assert!(!pinned(&place));
    assert_eq!(read(&mut reader, count), 0);
}

#[test]
fn a_writer_that_waits_for_the_lock_makes_the_readers_let_go() {
    let place = Place::new();
    let mut reader = held(&place);
    let stranger = place.stranger();
    stranger.execute_batch("begin immediate").unwrap();
    let mut writer = place.writer();
    writer.check_out(Loan::Write).unwrap();
    let refused = ecm_core::Transact::begin(&mut writer, ecm_core::Durability::Configured);
    assert_eq!(seen(refused.unwrap_err()).fault().map(|fault| fault.kind), Some(FaultKind::Busy));
    stranger.execute_batch("rollback").unwrap();
    read(&mut reader, count);
    assert!(!pinned(&place));
}

#[test]
fn an_idle_snapshot_is_let_go_of_and_taken_again_by_the_next_loan() {
    let place = Place::new();
    let mut reader = held(&place);
    let at = |millis| Time::START + Duration::from_secs(3_600) + Duration::from_millis(millis);
    read(&mut reader, count);
    // Older than the longest time by this clock: let go at once.
    assert_eq!(reader.idle(at(0)), None);
    assert!(!pinned(&place));
    assert_eq!(reader.idle(at(1)), None);
    assert_eq!(read(&mut reader, count), 0);
}

#[test]
fn an_idle_snapshot_rests_for_some_milliseconds_and_its_age_has_a_limit() {
    let clock = Arc::new(TestClock::new());
    let place = Place::at(SqliteConfig::default(), Arc::clone(&clock) as Arc<dyn Clock>);
    let mut reader = held(&place);
    let again = reader.idle(clock.now());
    assert_eq!(again, Some(clock.now() + Duration::from_millis(5)));
    clock.advance(Duration::from_millis(5));
    read(&mut reader, count);
    assert!(reader.idle(clock.now()).is_some(), "it was lent in between");
    clock.advance(Duration::from_millis(5));
    assert_eq!(reader.idle(clock.now()), None);
    assert!(!pinned(&place));

    // Lent all the time, so that nobody ever finds it idle.
    for _ in 0..10 {
        read(&mut reader, count);
    }
    assert!(reader.idle(clock.now()).is_some(), "it is held");
    clock.advance(Duration::from_millis(49));
    read(&mut reader, count);
    assert!(reader.idle(clock.now()).is_some());
    clock.advance(Duration::from_millis(1));
    for _ in 0..64 {
        read(&mut reader, count);
    }
    assert!(reader.idle(clock.now()).is_some(), "it is held, and young again");
    clock.advance(Duration::from_millis(50));
    assert_eq!(reader.idle(clock.now()), None);
}

#[test]
fn a_file_that_was_replaced_is_not_read_from_what_was_held_of_the_old_one() {
    let place = Place::new();
    let mut reader = held(&place);
    let copy = place.folder.path().join("copy.db");
    place.stranger().execute("vacuum into ?1", [copy.to_str().unwrap()]).unwrap();
    fs::rename(&copy, place.path()).unwrap();
    for extension in ["db-wal", "db-shm"] {
        let _gone = fs::remove_file(place.path().with_extension(extension));
    }
    // A new connection is in the new file, and its snapshots are compared with that one's commits.
    let mut renewed = held(&place);
    place.stranger().execute("insert into t values (1, 1)", []).unwrap();
    assert_eq!(read(&mut renewed, count), 1);
    assert!(reader.check_out(Loan::Read).is_err(), "the old file is nobody's any more");
    assert_eq!(reader.check_in(), CheckIn::Discard);
}

#[test]
fn a_file_without_a_log_and_a_database_in_memory_are_read_as_ever() {
    let config = SqliteConfig { journal_mode: JournalMode::Delete, ..SqliteConfig::default() };
    let place = Place::with(config);
    let mut reader = place.kept_reader();
    for number in 1..20 {
        for _ in 0..10 {
            read(&mut reader, count);
        }
        write(&mut place.writer(), |tx| tx.execute("insert into t values (?1, 1)", [number]).unwrap());
        assert_eq!(read(&mut reader, count), number);
    }
    assert!(!place.path().with_extension("db-shm").exists(), "looking for a wal-index made one");

    let database = Sqlite::memory();
    let mut writer = database.connect(Access::Write, &place.clock).unwrap();
    write(&mut writer, |tx| tx.execute_batch("create table t(id)").unwrap());
    let mut reader = database.connect(Access::Read, &place.clock).unwrap();
    reader.idle(Time::START);
    for number in 1..20 {
        for _ in 0..10 {
            read(&mut reader, count);
        }
        write(&mut writer, |tx| tx.execute("insert into t values (?1)", [number]).unwrap());
        assert_eq!(read(&mut reader, count), number);
    }
}

#[test]
fn a_journal_mode_that_upkeep_has_changed_takes_the_index_away_and_harms_nobody() {
    let place = Place::new();
    let mut reader = held(&place);
    drop(reader);
    let mut writer = place.writer();
    writer.idle(Time::START);
    for mode in ["delete", "wal", "truncate", "wal"] {
        writer.check_out(Loan::Upkeep).unwrap();
        let got = writer.db().query_row(&format!("pragma journal_mode = {mode}"), [], |row| row.get::<_, String>(0));
        assert_eq!(got.as_deref(), Ok(mode));
        assert_eq!(writer.check_in(), CheckIn::Clean);
        for _ in 0..10 {
            read(&mut writer, count);
            write(&mut writer, |tx| tx.execute("update t set v = v", []).unwrap());
        }
    }
    reader = held(&place);
    reader.check_out(Loan::Read).unwrap();
    for pragma in ["journal_mode = delete", "locking_mode = exclusive", "main.journal_mode(delete)"] {
        assert!(reader.db().prepare(&format!("pragma {pragma}")).is_err());
        assert!(reader.db().raw().execute_batch(&format!("pragma {pragma}")).is_err());
    }
    assert_eq!(reader.check_in(), CheckIn::Discard);
}

#[test]
fn the_last_connection_that_closes_takes_nothing_with_it_that_is_still_looked_at() {
    let place = Place::new();
    let mut reader = held(&place);
    for _ in 0..10 {
        let mut other = held(&place);
        assert_eq!(read(&mut other, count), 0);
        drop(other);
        assert_eq!(read(&mut reader, count), 0);
    }
    drop(reader);
    assert_eq!(read(&mut held(&place), count), 0);
}

#[test]
fn a_transaction_that_the_borrower_ended_is_not_held() {
    let place = Place::new();
    let mut reader = held(&place);
    reader.check_out(Loan::Read).unwrap();
    // The driver's connection as `raw` lends it; a closure that reads never gets it by `&mut`.
    reader.raw().authorizer(None::<fn(rusqlite::hooks::AuthContext<'_>) -> rusqlite::hooks::Authorization>).unwrap();
    reader.raw().execute_batch("commit").unwrap();
    assert!(reader.db().query_row("select 1", [], |_| Ok(())).is_err(), "another state would be seen");
    assert_eq!(reader.check_in(), CheckIn::Discard);
    assert!(!checkpoint_is_busy(&place));
}

#[test]
fn an_interrupted_read_is_followed_by_one_that_is_not() {
    let place = Place::new();
    let mut reader = held(&place);
    for _ in 0..10 {
        reader.check_out(Loan::Read).unwrap();
        let endless = "with recursive n(x) as (select 1 union all select x + 1 from n) select count(*) from n";
        reader.limit(ecm_core::Limit::Steps(10_000));
        let error = reader.db().query_row(endless, [], |_| Ok(())).unwrap_err();
        assert_eq!(seen(error.into()).fault().map(|fault| fault.kind), Some(FaultKind::Interrupted));
        assert!(reader.stopped());
        assert_eq!(reader.check_in(), CheckIn::Clean);
        write(&mut place.writer(), |tx| tx.execute("insert into t values (null, 1)", []).unwrap());
        let now = read(&mut reader, count);
        assert_eq!(now, place.rows().len().try_into().unwrap());
        reader.interrupter().interrupt();
        for _ in 0..10 {
            assert_eq!(read(&mut reader, count), now);
        }
    }
}

#[test]
fn an_interrupt_is_not_made_to_last_by_what_was_forgotten_in_a_held_snapshot() {
    let place = Place::new();
    let mut reader = held(&place);
    reader.check_out(Loan::Read).unwrap();
    let mut statement = reader.db().prepare("select 1 union all select 2").unwrap();
    let mut rows = statement.query([]).unwrap();
    assert!(rows.next().unwrap().is_some());
    mem::forget(rows);
    forget(statement);
    reader.interrupter().interrupt();
    assert!(reader.db().query_row("select 1", [], |_| Ok(())).is_err());
    assert_ne!(reader.check_in(), CheckIn::Clean);
}

#[test]
fn a_held_reader_that_is_lent_for_something_else_arrives_in_autocommit_mode() {
    let place = Place::new();
    for loan in [Loan::Raw, Loan::Upkeep, Loan::Write] {
        let mut reader = held(&place);
        reader.check_out(loan).unwrap();
        assert!(!pinned(&place));
        if loan == Loan::Raw {
            assert!(reader.raw().is_autocommit());
        }
        assert_eq!(reader.check_in(), if loan == Loan::Raw { CheckIn::Discard } else { CheckIn::Clean });
    }
}

#[test]
fn a_write_on_a_reader_is_refused_alike_whether_a_snapshot_is_held_or_not() {
    let place = Place::new();
    let messages: Vec<String> = [place.reader(), held(&place)]
        .into_iter()
        .map(|mut reader| {
            let insert = prepared(&mut reader, "insert into t values (1, 1)");
            reader.check_out(Loan::Statement).unwrap();
            seen(reader.execute(&insert, &[]).unwrap_err()).to_string()
        })
        .collect();
    assert_eq!(messages[0], messages[1]);
}

#[test]
fn the_writers_own_loans_that_read_hold_nothing() {
    let place = Place::new();
    let mut writer = place.writer();
    writer.idle(Time::START);
    for _ in 0..20 {
        read(&mut writer, count);
    }
    assert!(!pinned(&place));
    begin(&mut writer);
    done(ecm_core::Transact::commit(&mut writer));
    assert_eq!(writer.check_in(), CheckIn::Clean);
}

#[test]
fn a_file_that_is_said_never_to_change_is_read_without_shared_memory() {
    let place = Place::new();
    write(&mut place.writer(), |tx| tx.execute("insert into t values (1, 1)", []).unwrap());
    let files = || fs::read_dir(place.folder.path()).unwrap().count();
    let before = files();
    let uri = format!("file:{}?immutable=1", place.path().display());
    let mut reader = Sqlite::open(uri).connect(Access::Read, &place.clock).unwrap();
    reader.idle(Time::START);
    for _ in 0..20 {
        assert_eq!(read(&mut reader, count), 1);
    }
    assert_eq!(files(), before);
}
