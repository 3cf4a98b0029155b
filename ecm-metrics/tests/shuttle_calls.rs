//! Calls that end while databases come and go, in many schedules: none is lost.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test -p ecm-metrics --test shuttle_calls
//! ```
#![cfg(shuttle)]

use ecm_core::{CallKind, CallReport, Context, DatabaseStatus, Error, Event, GroupStatus, Managed, Observer, Status};
use ecm_metrics::Metrics;
use shuttle::thread;
use std::{panic::Location, time::Duration};

const ROUNDS: usize = 20_000;
/// A thread has more than twenty steps to go while another one stands between two: chosen at random, schedules
/// hardly ever do that; with few switches of priority they do.
const SWITCHES: usize = 3;

struct Still(Status);

impl Managed for Still {
    fn name(&self) -> &str {
        &self.0.name
    }
    fn status(&self) -> Status {
        self.0.clone()
    }
    fn apply(&self, _field: &str, _value: &str) -> Result<(), Error> {
        Ok(())
    }
    fn close(&self, _patience: Duration) -> Result<(), Error> {
        Ok(())
    }
}

fn call(metrics: &Metrics, database: &str) {
    let mut report = CallReport::new(CallKind::Query, "default", Location::caller(), &Context::NONE);
    report.database = Some(database);
    metrics.event(&Event::Call(&report));
}

fn scrape(metrics: &Metrics, databases: &[&str]) -> String {
    let mut status = Status::new("ecm");
    let databases = databases.iter().map(|name| DatabaseStatus::new(*name, "memory")).collect();
    status.groups = vec![GroupStatus::new("default", databases)];
    metrics.encode(&[&Still(status)])
}

fn counted(page: &str, database: &str) -> Option<u64> {
    let series = format!("familyos_database_query_duration_seconds_count{{manager=\"ecm\",database=\"{database}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
}

fn threads(actions: Vec<Box<dyn FnOnce() + Send>>) {
    let threads: Vec<_> = actions.into_iter().map(thread::spawn).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn threads_that_meet_a_new_database_count_in_one_place() {
    shuttle::check_pct(
        || {
            let metrics = Metrics::limited_to(2);
            let calls = |names: [&'static str; 2]| -> Box<dyn FnOnce() + Send> {
                let metrics = metrics.clone();
                Box::new(move || names.into_iter().for_each(|name| call(&metrics, name)))
            };
            threads(vec![calls(["a", "b"]), calls(["b", "a"]), calls(["a", "a"])]);
            let page = metrics.encode(&[]);
            assert_eq!((counted(&page, "a"), counted(&page, "b")), (Some(4), Some(2)), "{page}");
        },
        ROUNDS,
        SWITCHES,
    );
}

#[test]
fn no_call_is_lost_while_other_databases_come_and_go() {
    shuttle::check_pct(
        || {
            // Four places, so that the databases stand in each other's way.
            let metrics = Metrics::limited_to(2);
            call(&metrics, "old");
            call(&metrics, "stays");
            let counting: Box<dyn FnOnce() + Send> = {
                let metrics = metrics.clone();
                Box::new(move || (0..4).for_each(|_| call(&metrics, "stays")))
            };
            let changing: Box<dyn FnOnce() + Send> = {
                let metrics = metrics.clone();
                Box::new(move || {
                    scrape(&metrics, &["stays"]);
                    scrape(&metrics, &["stays"]);
                    call(&metrics, "new");
                })
            };
            threads(vec![counting, changing]);
            let page = scrape(&metrics, &["stays", "new"]);
            assert_eq!((counted(&page, "stays"), counted(&page, "new")), (Some(5), Some(1)), "{page}");
            assert_eq!((counted(&page, "old"), counted(&page, "other")), (None, None), "{page}");
        },
        ROUNDS,
        SWITCHES,
    );
}
