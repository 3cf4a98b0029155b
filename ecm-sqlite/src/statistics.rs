#![expect(unsafe_code, reason = "a setting of SQLite's for the whole process, which rusqlite does not wrap")]

use crate::fault::refused;
use ecm_core::{Failure, Kind};
use rusqlite::ffi;

/// Has SQLite count none of the memory that it asks for, in the whole process, for which it would take a
/// lock each time.
///
/// Statements that ask for much memory (sorting, grouping, long values) run side by side faster without it:
/// on two threads 1.8 times as fast where 50 rows are sorted and joined to one text. Reading single rows asks for
/// none, and gains nothing. What is lost: `sqlite3_memory_used` and the like tell 0, and `PRAGMA soft_heap_limit`
/// and `PRAGMA hard_heap_limit` limit nothing. Programs that compile SQLite themselves get the same without this
/// call, by `-DSQLITE_DEFAULT_MEMSTATUS=0` in the environment variable `LIBSQLITE3_FLAGS`.
///
/// ```standalone_crate
/// // At the start of `main`, before there are threads that could use SQLite.
/// // SAFETY: this is the only thread.
/// unsafe { ecm_sqlite::forgo_memory_statistics() }.expect("SQLite has not been used yet");
/// ```
///
/// # Errors
/// [`Kind::Misuse`]: SQLite is in use already, by whomever. Nothing has changed.
///
/// # Safety
/// No other thread may use SQLite during the call, also not past ECM: see
/// [`sqlite3_config`](https://sqlite.org/c3ref/config.html).
pub unsafe fn forgo_memory_statistics() -> Result<(), Failure> {
    // SAFETY: as the caller promises. The option takes one `int`.
    match unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_MEMSTATUS, 0) } {
        ffi::SQLITE_OK => Ok(()),
        _ => Err(refused(
            Kind::Misuse,
            "SQLite is in use already: forgo its statistics before the first connection is opened",
        )),
    }
}
