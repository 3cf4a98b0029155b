use crate::topology::Member;
use ecm_core::{Backend, Connection, Error, Failure, FaultKind, Transact};
use ecm_pool::Lent;

/// What a job that reads has come to on its connection, which is given back.
#[derive(Debug)]
pub(crate) enum Ran<T> {
    Answered(T),
    Failed(Error),
    /// A limit has stopped it, whatever it made of that.
    Stopped,
}

impl<T> Ran<T> {
    #[inline]
    pub(crate) fn of<B: Backend<Connection: Transact>>(
        member: &Member<B>,
        mut lent: Lent<'_, B>,
        result: Result<T, Failure>,
    ) -> Self {
        // A limit that was hit wins over whatever the closure made of it.
        if lent.stopped() {
            lent.report_fault();
            return Self::Stopped;
        }
        match result {
            Ok(value) => Self::Answered(value),
            Err(failure) => {
                let error = Error::from_failure(failure, &*member.backend);
                match error.fault() {
                    // What it has read into its caches may be damaged, and outlive the damage.
                    Some(fault) if fault.is_of_database() => lent.discard(),
                    Some(fault) if fault.kind == FaultKind::Busy => lent.report_fault(),
                    _ => {}
                }
                Self::Failed(error)
            }
        }
    }
}
