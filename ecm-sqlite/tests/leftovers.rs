//! Whatever a borrower leaves behind, the next one does not meet it.

mod support;

use ecm_core::{Access, Backend, CheckIn, Connection, Durability, Loan, Transact};
use ecm_sqlite::rusqlite::{self, Connection as Raw};
use std::mem;
use support::{Place, begin, done, forget, read, write};

/// What a checkpoint that wants to empty the log answers: 0, or 1 if somebody stands in the way.
fn checkpoint(place: &Place) -> i64 {
    place.stranger().query_row("pragma wal_checkpoint(truncate)", [], |row| row.get(0)).unwrap()
}

fn filled() -> Place {
    let place = Place::new();
    write(&mut place.writer(), |tx| tx.execute_batch("insert into t values (1, 1), (2, 2), (3, 3)").unwrap());
    place
}

#[test]
fn forgotten_rows_are_reset_with_their_statement() {
    let place = filled();
    let mut reader = place.reader();
    for _ in 0..3 {
        read(&mut reader, |db| {
            let mut statement = db.prepare_cached("select id from t where id > ?1").unwrap();
            let mut rows = statement.query([0]).unwrap();
            assert!(rows.next().unwrap().is_some());
            mem::forget(rows);
        });
    }
    assert_eq!(checkpoint(&place), 0);
}

#[test]
fn a_forgotten_statement_ends_with_its_connection_and_holds_no_checkpoint_back() {
    let place = filled();
    for (cached, row) in [(true, 3), (false, 2)] {
        let mut reader = place.reader();
        reader.check_out(Loan::Read).unwrap();
        let sql = "select id from t";
        let mut statement = if cached { reader.db().prepare_cached(sql) } else { reader.db().prepare(sql) }.unwrap();
        let mut rows = statement.query([]).unwrap();
        assert!(rows.next().unwrap().is_some());
        mem::forget(rows);
        forget(statement);
        write(&mut place.writer(), |tx| tx.execute("delete from t where id = ?1", [row]).unwrap());
        assert_eq!(checkpoint(&place), 1, "the forgotten statement holds its snapshot during the loan");
        assert_eq!(reader.check_in(), CheckIn::Discard);
        assert_eq!(checkpoint(&place), 0, "not even before the connection is closed");
        drop(reader);
        assert_eq!(checkpoint(&place), 0);
    }
}

#[test]
fn a_forgotten_blob_ends_with_its_connection() {
    let place = filled();
    write(&mut place.writer(), |tx| tx.execute("update t set v = x'0102'", []).unwrap());
    let mut reader = place.reader();
    reader.check_out(Loan::Read).unwrap();
    forget(reader.db().blob_open("t", "v", 1).unwrap());
    assert_eq!(reader.check_in(), CheckIn::Discard);
    drop(reader);
    assert_eq!(checkpoint(&place), 0);
}

#[test]
fn a_forgotten_cursor_of_the_writers_does_not_refuse_every_later_write() {
    let place = filled();
    let mut writer = place.writer();
    begin(&mut writer);
    writer.tx().execute("insert into t values (4, 4)", []).unwrap();
    let mut statement = writer.tx().prepare("select id from t").unwrap();
    let mut rows = statement.query([]).unwrap();
    assert!(rows.next().unwrap().is_some());
    mem::forget(rows);
    forget(statement);
    done(writer.commit());
    write(&mut place.writer(), |tx| tx.execute("insert into t values (5, 5)", []).unwrap());
    writer.begin(Durability::Configured).unwrap();
    done(writer.commit());
    assert_eq!(writer.check_in(), CheckIn::Discard);
    assert_eq!(place.rows(), [1, 2, 3, 4, 5]);
}

#[test]
fn an_interrupt_cannot_be_made_to_last_by_a_forgotten_statement() {
    let place = filled();
    let mut reader = place.reader();
    reader.check_out(Loan::Read).unwrap();
    let mut statement = reader.db().prepare("select 1 union all select 2").unwrap();
    let mut rows = statement.query([]).unwrap();
    assert!(rows.next().unwrap().is_some());
    mem::forget(rows);
    forget(statement);
    reader.interrupter().interrupt();
    assert!(reader.db().query_row("select 1", [], |row| row.get::<_, i64>(0)).is_err());
    // The interrupt also stops the COMMIT of the read, so the reset finds what was forgotten.
    assert_eq!(reader.check_in(), CheckIn::Reset);
    assert!(reader.reset().is_err(), "it is closed, not lent again");
}

#[test]
fn an_interrupt_is_over_with_the_statement_and_harmless_after_the_end() {
    let place = filled();
    let mut reader = place.reader();
    let interrupt = reader.interrupter();
    interrupt.interrupt();
    assert_eq!(read(&mut reader, |db| db.query_row("select count(*) from t", [], |row| row.get(0))), Ok(3));
    drop(reader);
    interrupt.interrupt();
}

#[test]
fn an_open_transaction_is_reset_and_nothing_of_it_stays() {
    let place = filled();
    let mut writer = place.writer();
    begin(&mut writer);
    writer.tx().execute("insert into t values (9, 9)", []).unwrap();
    assert_eq!(writer.check_in(), CheckIn::Reset);
    writer.reset().unwrap();
    assert_eq!(place.rows(), [1, 2, 3]);
    write(&mut writer, |tx| tx.execute("insert into t values (4, 4)", []).unwrap());
    assert_eq!(place.rows(), [1, 2, 3, 4]);
}

#[test]
fn an_open_transaction_with_a_forgotten_statement_is_reset_in_vain() {
    let place = filled();
    let mut writer = place.writer();
    begin(&mut writer);
    let mut statement = writer.tx().prepare("insert into t values (9, 9), (10, 10) returning id").unwrap();
    let mut rows = statement.query([]).unwrap();
    assert!(rows.next().unwrap().is_some());
    mem::forget(rows);
    forget(statement);
    assert_eq!(writer.check_in(), CheckIn::Reset);
    let state = writer.reset();
    assert_eq!(state.is_err(), writer.check_in() == CheckIn::Discard, "{state:?}");
    assert_eq!(place.rows(), [1, 2, 3]);
    write(&mut place.writer(), |tx| tx.execute("insert into t values (4, 4)", []).unwrap());
}

#[test]
fn a_connection_that_was_exchanged_is_thrown_away_untouched() {
    let place = filled();
    let mut writer = place.writer();
    writer.check_out(Loan::Raw).unwrap();
    let others = Place::new();
    let other = Raw::open(others.path()).unwrap();
    let stolen = mem::replace(writer.raw(), other);
    writer.raw().execute_batch("begin immediate; insert into t values (1, 1)").unwrap();
    assert_eq!(writer.check_in(), CheckIn::Discard);
    let still_locked = others.stranger().execute_batch("begin immediate");
    assert!(still_locked.is_err(), "what is not ECM's is not rolled back by ECM");
    drop(writer);
    assert_eq!(stolen.query_row("select count(*) from t", [], |row| row.get(0)), Ok(3));
}

#[test]
fn a_connection_that_was_closed_and_exchanged_is_thrown_away() {
    let place = filled();
    let mut reader = place.reader();
    reader.check_out(Loan::Raw).unwrap();
    drop(mem::replace(reader.raw(), Raw::open_in_memory().unwrap()));
    assert_eq!(reader.check_in(), CheckIn::Discard);
    drop(reader);
    assert_eq!(checkpoint(&place), 0);
}

#[test]
fn a_raw_borrower_who_leaves_a_transaction_open_holds_no_lock_afterwards() {
    let place = filled();
    let mut writer = place.writer();
    writer.check_out(Loan::Raw).unwrap();
    writer.raw().execute_batch("begin immediate; insert into t values (9, 9)").unwrap();
    assert_eq!(writer.check_in(), CheckIn::Discard);
    write(&mut place.writer(), |tx| tx.execute("insert into t values (4, 4)", []).unwrap());
    assert_eq!(place.rows(), [1, 2, 3, 4]);
}

#[test]
fn a_reader_whose_drivers_connection_was_lent_is_not_lent_again() {
    let place = filled();
    let mut reader = place.reader();
    reader.check_out(Loan::Read).unwrap();
    let raw: &Raw = reader.db().raw();
    raw.busy_timeout(std::time::Duration::ZERO).unwrap();
    assert_eq!(reader.check_in(), CheckIn::Discard);
}

#[test]
fn a_panic_in_a_closure_leaves_the_connection_fit_for_the_next() {
    let place = filled();
    let mut writer = place.writer();
    begin(&mut writer);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        writer.tx().execute("delete from t", []).unwrap();
        let mut statement = writer.tx().prepare_cached("select 1").unwrap();
        let _rows = statement.query([]).unwrap();
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_eq!(writer.check_in(), CheckIn::Reset);
    writer.reset().unwrap();
    assert_eq!(place.rows(), [1, 2, 3]);
}

#[test]
fn a_read_sees_one_state_from_its_first_statement_to_its_end() {
    let place = filled();
    let mut reader = place.reader();
    reader.check_out(Loan::Read).unwrap();
    let count = |db: &ecm_sqlite::Db| db.query_row("select count(*) from t", [], |row| row.get::<_, i64>(0));
    assert_eq!(count(reader.db()), Ok(3));
    write(&mut place.writer(), |tx| tx.execute("insert into t values (4, 4)", []).unwrap());
    assert_eq!(count(reader.db()), Ok(3));
    assert_eq!(reader.check_in(), CheckIn::Clean);
    assert_eq!(read(&mut reader, count), Ok(4));
}

#[test]
fn a_loan_that_was_not_returned_cannot_be_followed_by_another() {
    let place = filled();
    let mut writer = place.writer();
    begin(&mut writer);
    assert!(writer.check_out(Loan::Raw).is_err());
    assert_eq!(writer.check_in(), CheckIn::Discard);
    assert_eq!(place.rows(), [1, 2, 3]);
}

#[test]
fn a_connection_answers_a_ping_until_its_file_is_damaged() {
    let place = filled();
    let mut reader = place.database.connect(Access::Read, &place.clock).unwrap();
    reader.ping().unwrap();
    assert!(rusqlite::version_number() >= 3_051_003);
}
