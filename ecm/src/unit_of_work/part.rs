use super::{Tx, Unit, hooks::Mark, lost};
use ecm_core::{Backend, Failure, Member, Savepoints};

/// A part of a unit that is under way. Dropped without an end, which only a panic does, it is undone.
pub(super) struct Part<'p, 'r, B: Backend>
where
    Tx<B>: Savepoints,
{
    unit: &'p Unit<'r, B>,
    mark: Mark,
    ended: bool,
}

impl<'p, 'r, B: Backend> Part<'p, 'r, B>
where
    Tx<B>: Savepoints,
{
    pub(super) fn begin(unit: &'p Unit<'r, B>) -> Result<Self, Failure> {
        unit.check_kept()?;
        unit.tx.savepoint()?;
        Ok(Self { unit, mark: unit.hooks.borrow().mark(), ended: false })
    }

    /// Keeps the part if the answer is good, and undoes it otherwise.
    pub(super) fn end<T>(mut self, answer: Result<T, Failure>) -> Result<T, Failure> {
        let left = self.release(answer.is_ok());
        match (answer, left) {
            (Ok(answer), Member::Kept) => Ok(answer),
            (Ok(_), Member::Refused(failure)) => Err(failure),
            (Ok(_), Member::Undone) => Err(Failure::msg("the backend has undone a part that was to be kept")),
            (Ok(_), Member::BatchLost) => Err(lost()),
            (Err(failure), _) => Err(failure),
        }
    }

    fn release(&mut self, keep: bool) -> Member {
        self.ended = true;
        let left = self.unit.tx.release(keep);
        match left {
            Member::Kept if keep => return left,
            Member::Undone | Member::Refused(_) => {}
            // What is kept although it was to be undone cannot be told from the rest either.
            Member::Kept | Member::BatchLost => self.unit.lost.set(true),
        }
        // Dropped without a borrow: what they have captured may do anything when it is dropped.
        let gone = self.unit.hooks.borrow_mut().undo(self.mark);
        drop(gone);
        left
    }
}

impl<B: Backend> Drop for Part<'_, '_, B>
where
    Tx<B>: Savepoints,
{
    fn drop(&mut self) {
        if !self.ended {
            self.release(false);
        }
    }
}
