//! What runs is stopped when its limit is reached, and only then.

mod support;

use ecm_core::{CheckIn, Clock, Connection, Flow, Limit, Loan, Time, testing::TestClock};
use ecm_sqlite::SqliteConfig;
use std::{sync::Arc, thread, time::Duration};
use support::{Place, prepared, read};

const ENDLESS: &str = "with recursive n(i) as (values (1) union all select i + 1 from n) select count(*) from n";
const LONG: &str =
    "with recursive n(i) as (values (1) union all select i + 1 from n limit 20000) select count(*) from n";

fn count(db: &ecm_sqlite::Db, sql: &str) -> Result<i64, String> {
    db.query_row(sql, [], |row| row.get(0)).map_err(|error| error.to_string())
}

#[test]
fn steps_stop_what_takes_more_and_the_next_loan_has_no_limit() {
    let place = Place::new();
    let mut reader = place.reader();
    for sql in [ENDLESS, LONG] {
        reader.check_out(Loan::Read).unwrap();
        reader.limit(Limit::Steps(5_000));
        assert!(count(reader.db(), sql).unwrap_err().contains("steps"));
        assert!(reader.stopped());
        assert_eq!(reader.check_in(), CheckIn::Clean);
        assert_eq!(read(&mut reader, |db| count(db, LONG)), Ok(20_000));
        assert!(!reader.stopped(), "nothing of the loan before");
    }
    reader.check_out(Loan::Read).unwrap();
    reader.limit(Limit::Steps(10_000_000));
    assert_eq!(count(reader.db(), LONG), Ok(20_000));
    assert!(!reader.stopped());
    assert_eq!(reader.check_in(), CheckIn::Clean);
}

#[test]
fn a_moment_stops_what_runs_beyond_it_by_the_clock_of_the_manager() {
    let clock = TestClock::new();
    let place = Place::at(SqliteConfig::default(), Arc::new(clock.clone()));
    let mut reader = place.reader();
    let until = clock.now() + Duration::from_secs(5);
    reader.check_out(Loan::Read).unwrap();
    reader.limit(Limit::Until(until));
    assert_eq!(count(reader.db(), LONG), Ok(20_000), "time stands still");
    clock.advance(Duration::from_secs(4));
    assert_eq!(count(reader.db(), LONG), Ok(20_000));
    assert!(!reader.stopped());
    clock.advance(Duration::from_secs(1));
    assert_eq!(count(reader.db(), ENDLESS).unwrap_err(), "interrupted: the deadline of the call has passed");
    assert!(reader.stopped());
    reader.limit(Limit::Until(Time::NEVER));
    assert_eq!(count(reader.db(), LONG), Ok(20_000));
    assert!(reader.stopped(), "what was stopped in this loan stays stopped");
    assert_eq!(reader.check_in(), CheckIn::Clean);
}

#[test]
fn a_statement_of_the_managers_is_stopped_too() {
    let place = Place::new();
    let mut reader = place.reader();
    let statement = prepared(&mut reader, ENDLESS);
    reader.check_out(Loan::Statement).unwrap();
    reader.limit(Limit::Until(Time::START));
    assert!(reader.query(&statement, &[], &mut |_| Ok(Flow::Continue)).is_err());
    assert!(reader.stopped());
    assert_eq!(reader.check_in(), CheckIn::Clean);
}

#[test]
fn another_thread_stops_what_runs_and_the_connection_goes_on() {
    let place = Place::new();
    let mut reader = place.reader();
    let interrupter = reader.interrupter();
    reader.check_out(Loan::Read).unwrap();
    thread::scope(|scope| {
        let (ended, is_ended) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            // Again and again, since an interrupt before the statement runs is lost.
            while is_ended.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                interrupter.interrupt();
                thread::yield_now();
            }
        });
        assert_eq!(count(reader.db(), ENDLESS).unwrap_err(), "interrupted");
        drop(ended);
    });
    assert!(!reader.stopped(), "an interrupt is no limit");
    assert_eq!(reader.check_in(), CheckIn::Clean);
    assert_eq!(read(&mut reader, |db| count(db, LONG)), Ok(20_000));
}

#[test]
fn an_error_between_two_rows_says_as_much_as_one_before_the_first() {
    const ROWS: &str = "with recursive n(i) as (values (1) union all select i + 1 from n) select i from n";
    let place = Place::new();
    let mut reader = place.reader();
    let expected = "interrupted: the deadline of the call has passed";
    let late = Limit::Until(Time::START);

    reader.check_out(Loan::Read).unwrap();
    let mut statement = reader.db().prepare(ROWS).unwrap();
    drop(statement.query([]).unwrap());
    drop(statement);
    reader.limit(late);
    let db = reader.db();
    let mut statement = db.prepare_cached(ROWS).unwrap();
    let mut rows = statement.query([]).unwrap();
    let error = loop {
        match rows.next() {
            Ok(row) => assert!(row.is_some(), "there is no end"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.to_string(), expected);
    drop(rows);
    let of_maps: Result<Vec<i64>, _> = statement.query_map([], |row| row.get(0)).unwrap().collect();
    assert_eq!(of_maps.unwrap_err().to_string(), expected);
    let own: Result<Vec<i64>, Box<dyn std::error::Error>> =
        statement.query_and_then([], |row| Ok(row.get(0)?)).unwrap().collect();
    assert_eq!(own.unwrap_err().to_string(), expected);
    assert_eq!(db.query(ROWS, [], |row| row.get::<_, i64>(0)).unwrap_err().to_string(), expected);
    drop(statement);
    assert_eq!(reader.check_in(), CheckIn::Clean);
}

#[test]
fn rows_are_given_one_by_one_as_a_closure_makes_them_and_to_what_wants_the_drivers() {
    let place = Place::new();
    let ids = read(&mut place.reader(), |db| {
        let mut statement = db.prepare("values (1), (2), (3)").unwrap();
        let mut rows = statement.query([]).unwrap();
        let first: i64 = rows.next().unwrap().unwrap().get(0).unwrap();
        let second: i64 = rows.raw().next().unwrap().unwrap().get(0).unwrap();
        let rest: Vec<i64> = rows.mapped(|row| row.get(0)).map(Result::unwrap).collect();
        (first, second, rest)
    });
    assert_eq!(ids, (1, 2, vec![3]));
}
