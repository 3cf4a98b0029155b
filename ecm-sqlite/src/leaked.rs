#![expect(unsafe_code, reason = "statements that a borrower forgot are reachable only through SQLite's own list")]

use rusqlite::{Connection, ffi};
use std::ptr;

/// Resets every statement that is still running, and answers how many there were.
///
/// A statement that was forgotten (`mem::forget`, a leaked box, a cycle of references) keeps its
/// read transaction for ever: the log cannot be reset, and the next `BEGIN IMMEDIATE` is refused.
/// Resetting ends that. It is not finalised, because the list also holds the statements that
/// virtual tables keep for themselves; the memory and the file descriptor of a connection with a
/// forgotten statement stay with the process, its locks do not.
///
/// Exclusive access is what makes this sound: a `Rows`, `Statement` or `Blob` that somebody could
/// still use borrows the connection.
pub(crate) fn reset_running(connection: &mut Connection) -> usize {
    // SAFETY: the handle is open and used by this thread alone, since `connection` is borrowed
    // exclusively.
    let handle = unsafe { connection.handle() };
    let mut count = 0;
    // SAFETY: `handle` is open for the whole loop, as above; null asks for the first statement.
    let mut statement = unsafe { ffi::sqlite3_next_stmt(handle, ptr::null_mut()) };
    while !statement.is_null() {
        // SAFETY: `statement` comes from the list of `handle` and is not finalised: resetting may
        // finalise statements that a virtual table keeps for a cursor, but it never finalises the
        // one that is reset, and the next one is asked for after the reset. No value that a row
        // lends out can still be read, since whoever holds one borrows `connection`.
        unsafe {
            if ffi::sqlite3_stmt_busy(statement) != 0 {
                // The code repeats the error of the statement's last step, which nobody waits for.
                ffi::sqlite3_reset(statement);
                count += 1;
            }
            statement = ffi::sqlite3_next_stmt(handle, statement);
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("create table t(a); insert into t values (1), (2), (3)").unwrap();
        connection
    }

    #[test]
    fn a_forgotten_cursor_in_the_statement_cache_is_reset() {
        let mut connection = open();
        let mut statement = connection.prepare_cached("select a from t").unwrap();
        let mut rows = statement.query([]).unwrap();
        assert!(rows.next().unwrap().is_some());
        std::mem::forget(rows);
        drop(statement);
        assert!(connection.is_busy());
        assert_eq!(reset_running(&mut connection), 1);
        assert!(!connection.is_busy());
        let again: i64 = connection.prepare_cached("select a from t").unwrap().query_row([], |row| row.get(0)).unwrap();
        assert_eq!(again, 1);
    }

    #[test]
    fn a_forgotten_cursor_of_a_virtual_table_is_reset_with_the_statements_of_the_table_itself() {
        let mut connection = open();
        let create = "create virtual table f using fts5(body); insert into f values ('one two'), ('two three')";
        connection.execute_batch(create).unwrap();
        for _ in 0..3 {
            let mut statement = connection.prepare_cached("select body from f where f match 'two'").unwrap();
            let mut rows = statement.query([]).unwrap();
            assert!(rows.next().unwrap().is_some());
            std::mem::forget(rows);
            drop(statement);
            assert!(reset_running(&mut connection) >= 1);
            assert!(!connection.is_busy());
        }
        let check = "insert into f(f) values ('integrity-check')";
        connection.execute_batch(check).unwrap();
        connection.close().unwrap();
    }

    #[test]
    fn nothing_running_is_nothing_reset() {
        let mut connection = open();
        drop(connection.prepare_cached("select a from t").unwrap());
        assert_eq!(reset_running(&mut connection), 0);
    }
}
