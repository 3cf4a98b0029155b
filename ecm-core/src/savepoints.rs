use crate::{Failure, Member};

/// Parts of an open transaction that can be undone alone, one inside the other: what a nested unit of
/// work needs of a [`Connection::Tx`](crate::Connection::Tx).
///
/// A backend implements it for its `Tx` if it can; one that does not has units of work that do not
/// nest. The caller ends what it has begun, the innermost part first, and also ends what a panic has
/// left.
pub trait Savepoints {
    /// Marks where a part begins, inside the innermost one that has not ended.
    ///
    /// # Errors
    /// Nothing has begun: the transaction is gone, or something in it stands in the way.
    fn savepoint(&self) -> Result<(), Failure>;

    /// Ends the innermost part: kept as part of what is around it, or undone. Never stopped by a limit.
    ///
    /// [`Member::BatchLost`] says that the part cannot be told from what is around it any more: the
    /// transaction is gone, or must be rolled back as a whole. [`Member::Refused`] says that it could not
    /// be kept, and is undone alone.
    fn release(&self, keep: bool) -> Member;
}
