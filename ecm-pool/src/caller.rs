use crate::{
    place::{Loaned, Vacancy},
    state::SLOW,
};
use ecm_core::{PoolStatus, Stage, Time};
use std::{panic::Location, sync::Arc, task::Waker, time::Duration};

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
    /// How long the longest opening that is under way has lasted, if any is.
    pub(crate) opening_for: Option<Duration>,
    pub(crate) last_failure: Option<Arc<str>>,
}

impl Shortage {
    /// What was waited for: an opening that takes long, if there would be room for a connection.
    pub(crate) fn stage(&self) -> Stage {
        let is_slow = self.opening_for.is_some_and(|span| span >= SLOW);
        if is_slow && self.status.lent < self.status.max_connections { Stage::Open } else { Stage::Wait }
    }
}

/// A caller who asks, with the moment until which an answer helps.
pub(crate) struct Caller<'a> {
    pub(crate) waker: &'a Waker,
    pub(crate) asked: Time,
    pub(crate) until: Time,
    /// Whether it asked when the deadline of its call had passed.
    pub(crate) late: bool,
    pub(crate) from: &'static Location<'static>,
}
