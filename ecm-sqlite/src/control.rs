/// The statements by which ECM itself begins and ends transactions and their parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// Begins a transaction that reads.
    Begin,
    /// Begins a transaction that writes, and waits for whoever writes now.
    BeginImmediate,
    /// Ends the transaction, and keeps what it did.
    Commit,
    /// Ends the transaction, and undoes what it did.
    Rollback,
    /// Marks where the work of one member of a batch begins.
    Savepoint,
    /// Keeps the work of the member, and forgets the mark.
    Release,
    /// Undoes the work of the member; the mark stays.
    RollbackTo,
    /// Marks where a part of a member's work begins. Of several marks the last one counts.
    NestedSavepoint,
    /// Keeps the part, and forgets its mark.
    NestedRelease,
    /// Undoes the part; its mark stays.
    NestedRollbackTo,
}

impl Control {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 10] = [
        Self::Begin,
        Self::BeginImmediate,
        Self::Commit,
        Self::Rollback,
        Self::Savepoint,
        Self::Release,
        Self::RollbackTo,
        Self::NestedSavepoint,
        Self::NestedRelease,
        Self::NestedRollbackTo,
    ];

    /// What SQLite is told.
    pub(crate) const fn sql(self) -> &'static str {
        match self {
            Self::Begin => "BEGIN",
            Self::BeginImmediate => "BEGIN IMMEDIATE",
            Self::Commit => "COMMIT",
            Self::Rollback => "ROLLBACK",
            Self::Savepoint => "SAVEPOINT ecm_member",
            Self::Release => "RELEASE ecm_member",
            Self::RollbackTo => "ROLLBACK TO ecm_member",
            // Another name, so that undoing a member never stops at a part that was left open.
            Self::NestedSavepoint => "SAVEPOINT ecm_nested",
            Self::NestedRelease => "RELEASE ecm_nested",
            Self::NestedRollbackTo => "ROLLBACK TO ecm_nested",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_at_its_own_number() {
        for (number, control) in Control::ALL.into_iter().enumerate() {
            assert_eq!(control as usize, number, "{control:?}");
        }
    }
}
