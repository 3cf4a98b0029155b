//! A setting for the whole process, and hence a process of its own.
#![expect(unsafe_code, reason = "calls what may only be called before there are threads that use SQLite")]

use ecm_core::{Access, Backend, Clock, Connection, Error, Kind, Loan, SystemClock};
use ecm_sqlite::{Sqlite, forgo_memory_statistics, rusqlite::ffi};
use std::sync::Arc;

#[test]
fn sqlite_counts_no_memory_where_it_was_told_so_in_time_and_says_when_it_is_too_late() {
    // SAFETY: this is the only test, and the thread that has started it does not use SQLite.
    unsafe { forgo_memory_statistics() }.unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let database = Sqlite::memory();
    let mut connection = database.connect(Access::Write, &clock).unwrap();
    connection.check_out(Loan::Read).unwrap();
    let text: String = connection.db().query_row("select hex(zeroblob(100000))", [], |row| row.get(0)).unwrap();
    assert_eq!(text.len(), 200_000);
    // SAFETY: they only read a number.
    assert_eq!(unsafe { (ffi::sqlite3_memory_used(), ffi::sqlite3_memory_highwater(0)) }, (0, 0));
    // SAFETY: as above.
    let late = unsafe { forgo_memory_statistics() }.unwrap_err();
    assert_eq!(Error::from_failure(late, &database).kind(), Kind::Misuse);
    connection.check_in();
}
