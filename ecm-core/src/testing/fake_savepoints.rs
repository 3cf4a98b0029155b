use super::{FakeError, FakeTx};
use crate::{Failure, FaultKind, Member, Savepoints};

impl Savepoints for FakeTx {
    fn savepoint(&self) -> Result<(), Failure> {
        let written = self.written.borrow().clone().ok_or_else(|| FakeError::new(FaultKind::Statement))?;
        self.parts.borrow_mut().push(written);
        Ok(())
    }

    fn release(&self, keep: bool) -> Member {
        let (Some(before), true) = (self.parts.borrow_mut().pop(), self.written.borrow().is_some()) else {
            return Member::BatchLost;
        };
        if keep {
            return Member::Kept;
        }
        self.written.replace(Some(before));
        Member::Undone
    }
}
