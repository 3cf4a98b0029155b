use crate::{
    cell::Key,
    slots::Held,
    state::{Conduct, Rest},
};
use ecm_core::{Interrupt, Time};
use std::sync::Arc;

/// What is known under the lock of the connection in a slot.
pub(crate) struct Place {
    /// There while there is a connection, wherever it is.
    pub(crate) interrupter: Option<Arc<dyn Interrupt>>,
    /// Why it is closed when it comes back, if it has to be.
    pub(crate) leave: Option<&'static str>,
    /// When it is too old.
    pub(crate) retires: Time,
    /// The beginning of the loan that was reported as overdue.
    pub(crate) reported: Time,
    pub(crate) rest: Rest,
    /// By which opening it came: tells it from a later one in the same slot.
    pub(crate) number: u64,
    pub(crate) conduct: Conduct,
}

impl Place {
    pub(crate) const EMPTY: Self = Self {
        interrupter: None,
        leave: None,
        retires: Time::NEVER,
        reported: Time::NEVER,
        rest: Rest::NEW,
        number: 0,
        conduct: Conduct::NEW,
    };

    /// Whether it is too old, or does worse than the others.
    pub(crate) fn wants_to_go(&self, now: Time) -> bool {
        self.retires <= now || self.conduct.is_condemned()
    }
}

/// A connection that is out of its slot, with what it takes to put it back.
pub(crate) struct Loaned<C> {
    pub(crate) slot: usize,
    pub(crate) key: Key,
    pub(crate) connection: Box<C>,
}

impl<C> Loaned<C> {
    /// Takes a connection out of its slot.
    pub(crate) fn of(held: Held<'_, C>) -> Self {
        let slot = held.notes().index();
        let (key, connection) = held.empty();
        Self { slot, key, connection }
    }
}

/// A slot in which its owner opens a connection.
pub(crate) struct Vacancy {
    pub(crate) slot: usize,
    pub(crate) epoch: u64,
    pub(crate) key: Key,
}

/// What is handed to somebody who waits.
pub(crate) enum Handed<C> {
    Connection(Loaned<C>),
    Room(Vacancy),
}

impl<C> Handed<C> {
    pub(crate) fn slot(&self) -> usize {
        match self {
            Self::Connection(loaned) => loaned.slot,
            Self::Room(vacancy) => vacancy.slot,
        }
    }
}
