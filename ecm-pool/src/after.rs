use ecm_core::{Interrupt, Time};
use std::{sync::Arc, task::Waker};

/// What an operation on the state leaves to be done without the lock: all foreign code runs there.
pub(crate) struct After<C> {
    pub(crate) wakers: Vec<Waker>,
    pub(crate) closing: Vec<Closing<C>>,
    pub(crate) watch: Option<Watch>,
    pub(crate) tend: Option<Watch>,
    pub(crate) visit: Option<Watch>,
    pub(crate) guard: Option<Watch>,
    /// The number of the worker that has to come, if one has to.
    pub(crate) work: Option<u64>,
    /// Why connections were demoted.
    pub(crate) demoted: Vec<&'static str>,
    /// A waker that is only dropped: that may drop a whole task, with other waits inside.
    pub(crate) stale: Option<Waker>,
}

/// A connection that has left its place and is to be dropped.
pub(crate) struct Closing<C> {
    pub(crate) connection: Box<C>,
    pub(crate) interrupter: Option<Arc<dyn Interrupt>>,
    pub(crate) why: &'static str,
}

/// An alarm to be set. Alarms are set without the lock, so they may overtake each
/// other: the highest number is the one that counts.
pub(crate) struct Watch {
    pub(crate) number: u64,
    pub(crate) at: Time,
}

impl<C> Default for After<C> {
    fn default() -> Self {
        Self {
            wakers: Vec::new(),
            closing: Vec::new(),
            watch: None,
            tend: None,
            visit: None,
            guard: None,
            work: None,
            demoted: Vec::new(),
            stale: None,
        }
    }
}
