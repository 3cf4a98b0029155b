//! The systems that run SQL in this process, all on the same SQLite.

mod async_sqlite;
mod bb8;
mod deadpool;
mod driver;
mod ecm;
mod fast_pool;
mod mutex;
mod plain;
mod r2d2;
mod readers;

pub(crate) use driver::{bare, read, read_begun};
pub(crate) use readers::readers;

use workload::Open;

/// A system: its name, where its version is found, and what it takes part in.
pub(crate) struct System {
    pub(crate) name: &'static str,
    /// Its package in the lock file; `None` for ECM itself.
    pub(crate) package: Option<&'static str>,
    pub(crate) suites: &'static [&'static str],
    pub(crate) open: Open,
}

const ALL: &[&str] = &["read", "write", "mixed"];
const WRITING: &[&str] = &["write", "mixed"];

pub(crate) const SYSTEMS: &[System] = &[
    System { name: "ecm", package: None, suites: ALL, open: ecm::open },
    System { name: "ecm-query", package: None, suites: &["read"], open: ecm::open_query },
    System { name: "ecm-closure", package: None, suites: WRITING, open: ecm::open_closure },
    System { name: "rusqlite", package: Some("rusqlite"), suites: ALL, open: plain::open },
    System { name: "mutex", package: Some("rusqlite"), suites: ALL, open: mutex::open },
    System { name: "r2d2", package: Some("r2d2"), suites: ALL, open: r2d2::open },
    System { name: "deadpool", package: Some("deadpool"), suites: ALL, open: deadpool::open },
    System { name: "bb8", package: Some("bb8"), suites: ALL, open: bb8::open },
    System { name: "fast_pool", package: Some("fast_pool"), suites: ALL, open: fast_pool::open },
    System { name: "async-sqlite", package: Some("async-sqlite"), suites: ALL, open: async_sqlite::open },
];
