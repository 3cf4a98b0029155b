use crate::place::{Loaned, Vacancy};
use ecm_core::{PoolStatus, Time};
use std::{panic::Location, sync::Arc, task::Waker};

/// Where a caller stands after having asked.
pub(crate) enum Standing<C> {
    Lend(Loaned<C>),
    Open(Vacancy),
    Wait(u64),
    /// It cannot wait, and a connection that is being visited comes back in a moment.
    Retry,
    TimedOut(Box<Shortage>),
    QueueFull(Box<Shortage>),
    Closed,
}

/// Why a wait was in vain.
pub(crate) struct Shortage {
    pub(crate) status: PoolStatus,
    pub(crate) oldest_loan_from: Option<&'static Location<'static>>,
    pub(crate) last_failure: Option<Arc<str>>,
}

/// A caller who asks, with the moment until which an answer helps.
pub(crate) struct Caller<'a> {
    pub(crate) waker: &'a Waker,
    pub(crate) asked: Time,
    pub(crate) now: Time,
    pub(crate) until: Time,
    pub(crate) from: &'static Location<'static>,
}
