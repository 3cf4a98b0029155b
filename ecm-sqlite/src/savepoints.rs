use crate::{Tx, control::Control, guard::Mode};
use ecm_core::{Failure, Member, Savepoints};

impl Savepoints for Tx {
    /// As the trait says. SQLite refuses while a statement that writes is still running, for instance an
    /// `INSERT .. RETURNING` of which rows are left, or a blob is open for writing.
    fn savepoint(&self) -> Result<(), Failure> {
        self.inside()?;
        Ok(self.control(Mode::Begin, Control::NestedSavepoint)?)
    }

    /// As the trait says. Deferred foreign keys are not looked at: what is around the part may still put
    /// them in order. A statement of the part that still writes stands in the way of both ends, and
    /// cannot be reset here, since whoever has it may still use it.
    fn release(&self, keep: bool) -> Member {
        if self.inside().is_err() {
            return Member::BatchLost;
        }
        let refused = if keep {
            match self.control(Mode::End, Control::NestedRelease) {
                Ok(()) => return Member::Kept,
                Err(error) => Some(error),
            }
        } else {
            None
        };
        let undone = self.control(Mode::End, Control::NestedRollbackTo);
        if undone.and_then(|()| self.control(Mode::End, Control::NestedRelease)).is_err() {
            return Member::BatchLost;
        }
        refused.map_or(Member::Undone, |error| Member::Refused(error.into()))
    }
}

impl Tx {
    fn control(&self, mode: Mode, control: Control) -> rusqlite::Result<()> {
        let _entered = self.db.guard.enter(mode);
        self.db.connection.run(control)
    }
}
