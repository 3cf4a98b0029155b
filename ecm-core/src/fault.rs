use std::fmt;

/// What kind of failure of the database, or of the statement, an error of the backend is.
///
/// A backend gives it from [`Backend::classify`](crate::Backend::classify). A breaker counts only
/// what [`is_of_database`](Fault::is_of_database) says; a retry asks [`repeat`](FaultKind::repeats).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// What happened.
    pub kind: FaultKind,
    /// The backend's own code: for SQLite the extended result code (266 is `SQLITE_IOERR_READ`).
    pub code: i32,
}

/// The kinds of [`Fault`], each with what a caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// Somebody else held a lock for longer than the wait allowed. Run it again.
    Busy,
    /// The transaction lost a race and has to start anew. Run the whole transaction again.
    Conflict,
    /// A constraint of the schema refused the change. Give other data.
    Constraint,
    /// The statement itself is wrong: syntax, a missing table, a type, a size. Give another one.
    Statement,
    /// The statement is not allowed here. Use the means that the message names.
    Denied,
    /// The database, or the connection, cannot be written.
    ReadOnly,
    /// The statement was stopped on request.
    Interrupted,
    /// The storage is full. Reads go on; free some space.
    Full,
    /// Reading, writing or opening the storage failed.
    Storage,
    /// What is stored is damaged, or is not a database.
    Corrupt,
    /// Memory ran out.
    Memory,
    /// The connection to the database is gone.
    Lost,
}

impl Fault {
    /// Whether the database failed, rather than the statement or the caller: what a breaker counts
    /// and what makes a read go to another database.
    #[must_use]
    pub const fn is_of_database(self) -> bool {
        use FaultKind::{Corrupt, Full, Lost, Memory, Storage};
        matches!(self.kind, Full | Storage | Corrupt | Memory | Lost)
    }
}

impl FaultKind {
    /// Whether the same work may succeed when it is run again in the same place.
    #[must_use]
    pub const fn repeats(self) -> bool {
        matches!(self, Self::Busy | Self::Conflict)
    }

    /// Whether the same work may succeed in the same place some moments later: what is worth a retry.
    ///
    /// Not [`Busy`](Self::Busy), for which the backend has waited already as long as it may, nor what somebody has to
    /// mend first: a full storage, damage.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        matches!(self, Self::Conflict | Self::Storage | Self::Memory | Self::Lost)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "the database is locked by somebody else",
            Self::Conflict => "the transaction lost a race and must start anew",
            Self::Constraint => "a constraint refused the change",
            Self::Statement => "the statement is wrong",
            Self::Denied => "the statement is not allowed here",
            Self::ReadOnly => "the database cannot be written",
            Self::Interrupted => "the statement was stopped",
            Self::Full => "the storage is full",
            Self::Storage => "the storage failed",
            Self::Corrupt => "the database is damaged or is not a database",
            Self::Memory => "memory ran out",
            Self::Lost => "the connection is gone",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_own_mistakes_never_count_against_a_database() {
        use FaultKind::*;
        for kind in [Busy, Conflict, Constraint, Statement, Denied, ReadOnly, Interrupted] {
            assert!(!Fault { kind, code: 0 }.is_of_database(), "{kind}");
        }
        for kind in [Full, Storage, Corrupt, Memory, Lost] {
            assert!(Fault { kind, code: 0 }.is_of_database(), "{kind}");
            assert!(!kind.repeats(), "{kind}");
        }
        for kind in [Busy, Constraint, Statement, Denied, ReadOnly, Interrupted, Full, Corrupt] {
            assert!(!kind.may_pass(), "{kind}");
        }
    }
}
