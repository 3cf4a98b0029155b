use crate::job::Job;
use ecm_core::{Backend, Transact};

/// A job that can be awaited: its answer may go to another thread, and what runs on one of the database's threads owns
/// what it needs.
///
/// Statements always do, also where they borrow their text and their parameters, which are copied if the call has to
/// wait. Closures do if they and their answer are `Send + 'static`. Implemented by the crate for every verb.
pub trait Awaitable<B: Backend<Connection: Transact>>: Job<B> + sealed::Travel<B> {}

impl<B: Backend<Connection: Transact>, J: sealed::Travel<B>> Awaitable<B> for J {}

mod sealed {
    use crate::{job::Work, unit_of_work::hooks::Ended};
    use ecm_core::{Backend, Error, Failure, Transact};
    use std::any::Any;

    /// How a job gets to another thread and its answer back.
    #[expect(unnameable_types, reason = "sealed: only this crate implements it")]
    pub trait Travel<B: Backend<Connection: Transact>>: Work<B, Output: Send> + Send {
        /// Everything that runs, owned.
        type Parcel: Send + 'static;
        /// What it answers there.
        type Brought: Send + 'static;

        /// The number of its statement, if that may run where it is polled: it reads, running it twice is harmless,
        /// and nobody sees its rows before it has ended.
        fn runs_in_place(&mut self) -> Option<u32> {
            None
        }

        /// Before a run on another thread.
        fn pack(&mut self) -> Result<Self::Parcel, Error>;

        fn run_away(parcel: &mut Self::Parcel, connection: &mut B::Connection) -> Result<Self::Brought, Failure>;

        /// Does there what is to be done when it is known how the transaction has ended; answers a panic of that.
        fn ended_away(_: &mut Self::Parcel, _: Ended) -> Option<Box<dyn Any + Send>> {
            None
        }

        /// After it: the job may run again.
        fn unpack(&mut self, parcel: Self::Parcel);

        /// The answer, from what was answered there.
        fn bring(&mut self, brought: Self::Brought) -> Result<Self::Output, Failure>;
    }
}

pub(crate) use sealed::Travel;

pub(crate) const NEVER_READS: &str = "a statement that writes goes through the lane";
