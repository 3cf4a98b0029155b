use ecm_core::{Interrupt, Time};
use std::sync::Arc;

/// The place of one connection. Vacant or being opened: neither connection nor interrupter. Lent:
/// only the interrupter. Idle or handed over: both.
pub(crate) struct Place<C> {
    pub(crate) connection: Option<Box<C>>,
    pub(crate) interrupter: Option<Arc<dyn Interrupt>>,
    pub(crate) epoch: u64,
    pub(crate) lent_at: Time,
    pub(crate) interrupted: bool,
}

/// A connection on loan, with the place that it goes back to.
pub(crate) struct Loaned<C> {
    pub(crate) place: usize,
    pub(crate) epoch: u64,
    pub(crate) connection: Box<C>,
}

/// A place in which its owner opens a connection.
pub(crate) struct Vacancy {
    pub(crate) place: usize,
    pub(crate) epoch: u64,
}
