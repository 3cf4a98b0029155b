//! What runs on a thread that must not wait gives up where it would.

mod support;

use ecm_core::{CheckIn, Connection, Flow, Limit, Loan, Prepared};
use ecm_sqlite::{JournalMode, SqliteConfig, SqliteConnection};
use std::{
    io::{Read, Seek, SeekFrom, Write},
    mem,
    time::Duration,
};
use support::{Place, prepared};

const COUNT: &str = "select count(*) from t";

/// How many rows the statement has answered; an error if it was given up.
fn asked(reader: &mut SqliteConnection, statement: &Prepared, limit: Limit) -> Result<u32, String> {
    reader.check_out(Loan::InPlace).unwrap();
    reader.limit(limit);
    let mut rows = 0;
    let ran = reader.query(statement, &[], &mut |_| {
        rows += 1;
        Ok(Flow::Continue)
    });
    let stopped = reader.stopped();
    assert_eq!(reader.check_in(), CheckIn::Clean);
    assert_eq!(ran.is_err(), stopped, "{ran:?}");
    ran.map(|()| rows).map_err(|failure| failure.to_string())
}

#[test]
fn a_lock_that_somebody_holds_is_not_waited_for() {
    // Long enough that the test would not end if it were waited for. In this mode a writer keeps readers out.
    let busy_timeout = Duration::from_secs(3_000);
    let place =
        Place::with(SqliteConfig { busy_timeout, journal_mode: JournalMode::Delete, ..SqliteConfig::default() });
    let mut reader = place.reader();
    let statement = prepared(&mut reader, COUNT);
    assert_eq!(asked(&mut reader, &statement, Limit::None), Ok(1));
    let stranger = place.stranger();
    stranger.execute_batch("begin exclusive").unwrap();
    asked(&mut reader, &statement, Limit::None).unwrap_err();
    stranger.execute_batch("rollback").unwrap();
    assert_eq!(asked(&mut reader, &statement, Limit::None), Ok(1));
}

#[test]
fn a_state_that_somebody_is_in_the_middle_of_writing_is_not_waited_for() {
    let place = Place::new();
    let mut reader = place.reader();
    let statement = prepared(&mut reader, COUNT);
    assert_eq!(asked(&mut reader, &statement, Limit::None), Ok(1));
    let mut index =
        std::fs::OpenOptions::new().read(true).write(true).open(place.path().with_extension("db-shm")).unwrap();
    // The count of commits in the copy that whoever commits writes first.
    index.seek(SeekFrom::Start(48 + 8)).unwrap();
    index.write_all(&[0xff]).unwrap();
    asked(&mut reader, &statement, Limit::None).unwrap_err();
    let mut first = [0];
    index.seek(SeekFrom::Start(8)).unwrap();
    index.read_exact(&mut first).unwrap();
    index.seek(SeekFrom::Start(48 + 8)).unwrap();
    index.write_all(&first).unwrap();
    assert_eq!(asked(&mut reader, &statement, Limit::None), Ok(1));
    // Closing it would drop every lock that the process has on it.
    mem::forget(index);
}

#[test]
fn an_interrupt_that_comes_before_the_statement_stops_it_and_nothing_of_the_next_loan() {
    let place = Place::new();
    let mut reader = place.reader();
    let endless = "with recursive n(i) as (values (1) union all select i + 1 from n) select count(*) from n";
    let (endless, short) = (prepared(&mut reader, endless), prepared(&mut reader, COUNT));
    let interrupter = reader.interrupter();
    reader.check_out(Loan::Statement).unwrap();
    interrupter.interrupt();
    reader.query(&endless, &[], &mut |_| Ok(Flow::Continue)).unwrap_err();
    assert_eq!(reader.check_in(), CheckIn::Clean);
    assert_eq!(asked(&mut reader, &short, Limit::None), Ok(1));
}

#[test]
fn what_takes_more_steps_than_it_may_is_stopped_and_runs_elsewhere() {
    let place = Place::new();
    let mut reader = place.reader();
    let long = "with recursive n(i) as (values (1) union all select i + 1 from n limit 20000) select count(*) from n";
    let statement = prepared(&mut reader, long);
    asked(&mut reader, &statement, Limit::Steps(3_000)).unwrap_err();
    assert_eq!(asked(&mut reader, &statement, Limit::Steps(100_000_000)), Ok(1));
}
