/// Where a commit stands in the history of a database, for reading one's own writes.
///
/// Positions of the same epoch are ordered; a higher epoch means that another database has become
/// the primary, and what an older epoch committed after that moment may be gone. Commits of other processes, and
/// those that are made past the manager, have no position of their own: the next one stands after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Position {
    /// Which primary: moves when another database takes over.
    pub epoch: u64,
    /// How many commits that primary had made, this one included, as far as it has counted: it goes on from a higher
    /// number when it is opened again, where it remembers that others copy it, and from 0 otherwise.
    pub commit: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_primary_is_ahead_of_every_commit_of_the_old_one() {
        let old = Position { epoch: 1, commit: 900 };
        let new = Position { epoch: 2, commit: 1 };
        assert!(old < new && Position::default() < old);
    }
}
