//! Hosts the systems whose latest version asks for rusqlite 0.40: the comparison runs this program beside its
//! own.

mod deadpool_sqlite;
mod driver;
#[path = "../../src/slow_vfs.rs"]
mod slow_vfs;
mod tokio_rusqlite;

pub(crate) use rusqlite::ffi;

use std::process::ExitCode;
use workload::{Hosted, Line, host, locked_version};

const LOCK: &str = include_str!("../Cargo.lock");

const SYSTEMS: [Hosted; 2] = [
    Hosted { name: "tokio-rusqlite", open: tokio_rusqlite::open },
    Hosted { name: "deadpool-sqlite", open: deadpool_sqlite::open },
];

fn main() -> ExitCode {
    let mut about = Vec::new();
    for Hosted { name, .. } in SYSTEMS {
        about.push(Line::condition("", name, "version", locked_version(LOCK, name).unwrap_or("unknown")));
        about.push(Line::condition("", name, "sqlite", rusqlite::version()));
    }
    match slow_vfs::register().map_err(workload::Problem).and_then(|()| host(&about, &SYSTEMS)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}
