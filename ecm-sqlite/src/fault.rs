use ecm_core::{Error, Failure, Fault, FaultKind, Kind};
use rusqlite::ffi;
use std::{error::Error as StdError, fmt};

/// What an extended result code of SQLite means for the caller.
///
/// Codes that this table does not name are the statement's own fault, which is never repeated and
/// never counted against the database.
///
/// ```
/// use ecm_core::FaultKind;
/// use ecm_sqlite::classify_code;
///
/// assert_eq!(classify_code(5), FaultKind::Busy); // SQLITE_BUSY
/// assert_eq!(classify_code(517), FaultKind::Conflict); // SQLITE_BUSY_SNAPSHOT
/// assert_eq!(classify_code(2067), FaultKind::Constraint); // SQLITE_CONSTRAINT_UNIQUE
/// ```
#[must_use]
pub fn classify_code(extended: i32) -> FaultKind {
    match extended {
        // Waiting cannot help these: the snapshot, or the transaction, is gone.
        ffi::SQLITE_BUSY_SNAPSHOT | ffi::SQLITE_ABORT_ROLLBACK => return FaultKind::Conflict,
        // The index of the log could not grow: what a full disk looks like to a reader.
        ffi::SQLITE_IOERR_SHMSIZE => return FaultKind::Full,
        // A journal that a writer has left, and that only a writer can undo: nothing wanted to write.
        // The file was exchanged below the connection.
        ffi::SQLITE_READONLY_ROLLBACK | ffi::SQLITE_READONLY_DBMOVED => return FaultKind::Storage,
        ffi::SQLITE_IOERR_NOMEM => return FaultKind::Memory,
        ffi::SQLITE_IOERR_CORRUPTFS => return FaultKind::Corrupt,
        // The hook of every writer refused to commit outside the transaction of the loan.
        ffi::SQLITE_CONSTRAINT_COMMITHOOK => return FaultKind::Denied,
        _ => {}
    }
    match extended & 0xff {
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED | ffi::SQLITE_PROTOCOL => FaultKind::Busy,
        // SQLite has prepared the statement anew fifty times: somebody changes the schema all the time.
        ffi::SQLITE_SCHEMA => FaultKind::Conflict,
        ffi::SQLITE_CONSTRAINT => FaultKind::Constraint,
        ffi::SQLITE_IOERR | ffi::SQLITE_CANTOPEN | ffi::SQLITE_PERM | ffi::SQLITE_NOLFS => FaultKind::Storage,
        ffi::SQLITE_FULL => FaultKind::Full,
        ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => FaultKind::Corrupt,
        ffi::SQLITE_NOMEM => FaultKind::Memory,
        ffi::SQLITE_READONLY => FaultKind::ReadOnly,
        ffi::SQLITE_INTERRUPT => FaultKind::Interrupted,
        ffi::SQLITE_AUTH => FaultKind::Denied,
        _ => FaultKind::Statement,
    }
}

/// What one link of a chain of errors means, if it is rusqlite's.
///
/// Errors about the closure's own handling of a row (no row, a wrong type, a wrong column) are not
/// the backend's: they come back to the caller as they are.
pub(crate) fn classify(error: &(dyn StdError + 'static)) -> Option<Fault> {
    use rusqlite::Error as Sql;
    // What `io::Error` wraps (reading and writing a blob) shows only SQLite's code in its sources.
    if let Some(error) = error.downcast_ref::<ffi::Error>() {
        return Some(fault(error.extended_code));
    }
    match error.downcast_ref::<Sql>()? {
        Sql::SqliteFailure(error, _) | Sql::SqlInputError { error, .. } => Some(fault(error.extended_code)),
        Sql::InvalidParameterCount(..) | Sql::InvalidParameterName(_) => {
            Some(Fault { kind: FaultKind::Statement, code: ffi::SQLITE_RANGE })
        }
        Sql::MultipleStatement | Sql::ExecuteReturnedResults | Sql::InvalidQuery | Sql::NulError(_) => {
            Some(Fault { kind: FaultKind::Statement, code: ffi::SQLITE_MISUSE })
        }
        Sql::SqliteSingleThreadedMode => Some(Fault { kind: FaultKind::Storage, code: ffi::SQLITE_MISUSE }),
        _ => None,
    }
}

fn fault(code: i32) -> Fault {
    Fault { kind: classify_code(code), code }
}

/// An error of SQLite with SQLite's code and words of our own.
pub(crate) fn worded(code: i32, message: impl fmt::Display) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(message.to_string()))
}

/// The extended code of an error; 0 for one that SQLite did not give.
pub(crate) fn code_of(error: &rusqlite::Error) -> i32 {
    classify(error).map_or(ffi::SQLITE_OK, |fault| fault.code)
}

/// An error that names what failed, with its cause, and that passes through the facade unchanged.
pub(crate) fn failed(what: impl fmt::Display, error: rusqlite::Error) -> Failure {
    let kind = match classify(&error) {
        Some(Fault { kind: FaultKind::ReadOnly, .. }) => Kind::ReadOnly,
        Some(fault) => Kind::Fault(fault),
        None => Kind::Invalid,
    };
    Error::new(kind, format_args!("{what}: {error}")).caused_by(error.into()).into()
}

/// An error that nothing but a sentence describes, and that passes through the facade unchanged.
pub(crate) fn refused(kind: Kind, message: impl fmt::Display) -> Failure {
    Error::new(kind, message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_codes_that_mean_something_else_than_their_family_are_told_apart() {
        for (code, kind) in [
            (ffi::SQLITE_BUSY, FaultKind::Busy),
            (ffi::SQLITE_BUSY_TIMEOUT, FaultKind::Busy),
            (ffi::SQLITE_BUSY_SNAPSHOT, FaultKind::Conflict),
            (ffi::SQLITE_LOCKED, FaultKind::Busy),
            (ffi::SQLITE_ABORT, FaultKind::Statement),
            (ffi::SQLITE_ABORT_ROLLBACK, FaultKind::Conflict),
            (ffi::SQLITE_SCHEMA, FaultKind::Conflict),
            (ffi::SQLITE_IOERR_READ, FaultKind::Storage),
            (ffi::SQLITE_IOERR_SHMSIZE, FaultKind::Full),
            (ffi::SQLITE_IOERR_NOMEM, FaultKind::Memory),
            (ffi::SQLITE_IOERR_CORRUPTFS, FaultKind::Corrupt),
            (ffi::SQLITE_CANTOPEN, FaultKind::Storage),
            (ffi::SQLITE_FULL, FaultKind::Full),
            (ffi::SQLITE_NOMEM, FaultKind::Memory),
            (ffi::SQLITE_CORRUPT_INDEX, FaultKind::Corrupt),
            (ffi::SQLITE_NOTADB, FaultKind::Corrupt),
            (ffi::SQLITE_READONLY_DBMOVED, FaultKind::Storage),
            (ffi::SQLITE_READONLY_ROLLBACK, FaultKind::Storage),
            (ffi::SQLITE_INTERRUPT, FaultKind::Interrupted),
            (ffi::SQLITE_AUTH, FaultKind::Denied),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, FaultKind::Constraint),
            (ffi::SQLITE_CONSTRAINT_COMMITHOOK, FaultKind::Denied),
            (ffi::SQLITE_ERROR, FaultKind::Statement),
            (ffi::SQLITE_TOOBIG, FaultKind::Statement),
            (ffi::SQLITE_RANGE, FaultKind::Statement),
        ] {
            assert_eq!(classify_code(code), kind, "{code}");
        }
    }

    #[test]
    fn a_code_that_nobody_knows_yet_is_never_counted_against_the_database() {
        for code in [0, 99, 25 | (77 << 8), i32::MAX, -1] {
            assert!(!fault(code).is_of_database(), "{code}");
        }
    }

    #[test]
    fn what_a_closure_does_with_a_row_is_not_the_databases() {
        use rusqlite::{Error as Sql, types::Type};
        for error in [Sql::QueryReturnedNoRows, Sql::InvalidColumnName("x".into()), Sql::IntegralValueOutOfRange(0, 7)]
        {
            assert_eq!(classify(&error), None, "{error}");
        }
        assert_eq!(classify(&Sql::InvalidColumnType(0, "x".into(), Type::Null)), None);
        let io = std::io::Error::other(ffi::Error::new(ffi::SQLITE_IOERR_READ));
        let source: &(dyn StdError + 'static) = io.get_ref().unwrap();
        assert_eq!(classify(source).map(|fault| fault.kind), Some(FaultKind::Storage));
    }
}
