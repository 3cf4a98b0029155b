#![expect(unsafe_code, reason = "four functions of SQLite that rusqlite does not wrap")]

use rusqlite::{Connection, ffi};

/// Where SQLite keeps this connection: which one it is, for telling whether it was exchanged.
///
/// Only a number: after the connection is closed another one may get the same.
pub(crate) fn address(connection: &Connection) -> usize {
    // SAFETY: the handle is turned into a number at once and never used as a pointer.
    let handle = unsafe { connection.handle() };
    handle as usize
}

/// Whether the open transaction holds violations of foreign keys that only its commit would find.
pub(crate) fn defers_violations(connection: &Connection) -> bool {
    let (mut current, mut highest) = (0, 0);
    // SAFETY: the handle is open, since `connection` is borrowed, and is used by this thread alone,
    // since `Connection` is not `Sync`. Both out-pointers live until after the call, which keeps
    // none of them.
    let code = unsafe {
        let handle = connection.handle();
        ffi::sqlite3_db_status(handle, ffi::SQLITE_DBSTATUS_DEFERRED_FKS, &raw mut current, &raw mut highest, 0)
    };
    code == ffi::SQLITE_OK && current != 0
}

/// Whether the file of the connection is not the one at its path any more. False where SQLite cannot tell. One system
/// call.
pub(crate) fn has_moved(connection: &Connection) -> bool {
    let mut moved: std::ffi::c_int = 0;
    // SAFETY: the handle is open, since `connection` is borrowed, and is used by this thread alone, since `Connection`
    // is not `Sync`. The operation writes one `int` to its argument, which lives until after the call, and keeps
    // nothing.
    let code = unsafe {
        let handle = connection.handle();
        ffi::sqlite3_file_control(handle, c"main".as_ptr(), ffi::SQLITE_FCNTL_HAS_MOVED, (&raw mut moved).cast())
    };
    code == ffi::SQLITE_OK && moved != 0
}

/// Forgets the last inserted rowid, so that a later one is known to be new.
pub(crate) fn forget_last_insert_rowid(connection: &Connection) {
    // SAFETY: the handle is open, since `connection` is borrowed, and is used by this thread alone,
    // since `Connection` is not `Sync`. The call stores a number and keeps no pointer.
    unsafe { ffi::sqlite3_set_last_insert_rowid(connection.handle(), 0) };
}
