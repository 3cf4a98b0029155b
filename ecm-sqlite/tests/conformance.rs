//! SQLite under the suite that every backend has to pass.

use ecm_core::testing::conformance::{self, BackendScript};
use ecm_sqlite::{JournalMode, Sqlite, SqliteConfig};
use std::{cell::Cell, time::Duration};

/// A lock is given up at once: the clock of the suite stands still, and nothing in it is worth a wait.
fn config() -> SqliteConfig {
    SqliteConfig { busy_timeout: Duration::from_millis(2), ..SqliteConfig::default() }
}

fn in_files(config: &SqliteConfig) {
    let folder = tempfile::tempdir().unwrap();
    let count = Cell::new(0);
    let make = || {
        count.set(count.get() + 1);
        Sqlite::open(folder.path().join(format!("{}.db", count.get()))).config(config.clone())
    };
    conformance::backend(make, &BackendScript::default());
    conformance::savepoints(make, &BackendScript::default());
}

#[test]
fn a_file_keeps_the_contract_of_a_backend() {
    in_files(&config());
}

#[test]
fn a_file_without_a_log_keeps_the_contract_of_a_backend() {
    in_files(&SqliteConfig { journal_mode: JournalMode::Delete, ..config() });
}

#[test]
fn a_database_in_memory_keeps_the_contract_of_a_backend() {
    let make = || Sqlite::memory().config(config());
    conformance::backend(make, &BackendScript::default());
    conformance::savepoints(make, &BackendScript::default());
}
