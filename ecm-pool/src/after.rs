use ecm_core::{Interrupt, Time};
use std::{sync::Arc, task::Waker};

/// What an operation on the state leaves to be done without the lock: all foreign code runs there.
pub(crate) struct After<C> {
    pub(crate) wakers: Wakers,
    pub(crate) closing: Vec<Closing<C>>,
    pub(crate) watch: Option<Watch>,
    pub(crate) expire: Option<Watch>,
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

/// Whom to wake: one as a rule, for whom nothing is allocated.
#[derive(Default)]
pub(crate) struct Wakers {
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Extend<Waker> for Wakers {
    #[inline]
    fn extend<I: IntoIterator<Item = Waker>>(&mut self, wakers: I) {
        let mut wakers = wakers.into_iter();
        if self.first.is_none() {
            self.first = wakers.next();
        }
        self.more.extend(wakers);
    }
}

impl IntoIterator for Wakers {
    type Item = Waker;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Waker>, std::vec::IntoIter<Waker>>;

    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.more)
    }
}

/// A connection that has left its place and is to be dropped.
pub(crate) struct Closing<C> {
    pub(crate) connection: Box<C>,
    pub(crate) number: u64,
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
    #[inline]
    fn default() -> Self {
        Self {
            wakers: Wakers::default(),
            closing: Vec::new(),
            watch: None,
            expire: None,
            tend: None,
            visit: None,
            guard: None,
            work: None,
            demoted: Vec::new(),
            stale: None,
        }
    }
}
