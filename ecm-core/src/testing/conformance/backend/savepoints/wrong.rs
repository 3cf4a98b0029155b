use super::{
    super::wrong::{Bent, BentConnection},
    *,
};
use crate::{
    Failure,
    testing::{Fake, conformance::promise::each_is_caught_by_name},
};

impl Savepoints for BentConnection {
    fn savepoint(&self) -> Result<(), Failure> {
        let open = self.parts.replace(self.parts.get() + 1);
        self.clings.set(self.breaks == OPEN);
        match self.breaks {
            NESTED if open > 0 => Ok(()),
            OUTSIDE => self.fake.tx.savepoint().or(Ok(())),
            _ => self.fake.tx.savepoint(),
        }
    }

    fn release(&self, keep: bool) -> Member {
        let open = self.parts.replace(self.parts.get() - 1);
        match self.breaks {
            NESTED if open > 1 && keep => Member::Kept,
            NESTED if open > 1 => Member::Undone,
            PARTS if !keep => match self.fake.tx.release(true) {
                Member::Kept => Member::Undone,
                left => left,
            },
            _ => self.fake.tx.release(keep),
        }
    }
}

#[test]
fn each_promise_catches_the_backend_that_breaks_it() {
    each_is_caught_by_name(PROMISES, |breaks| savepoints(|| Bent::new(breaks), &BackendScript::fake()));
}

#[test]
fn a_backend_that_breaks_none_passes() {
    savepoints(|| Bent::new("none"), &BackendScript::fake());
    savepoints(Fake::new, &BackendScript::fake());
}
