use crate::{Pool, opening::Opening, place::Loaned};
use ecm_core::{Backend, CheckIn, Connection, Failure, Loan};
use std::{
    fmt, ops,
    panic::{self, AssertUnwindSafe},
};

/// A connection on loan from a [`Pool`]. Dropping it gives it back, also in a panic.
///
/// What comes back is checked in by [`Connection::check_in`], reset if that asks for it, and closed
/// if it is unfit, of an older epoch, surplus, interrupted, or if the pool is closed. A backend that
/// panics while its connection comes back is caught: the connection is closed, its place is free,
/// and the panic hook has told.
#[must_use = "a connection that is dropped goes back to its pool"]
pub struct Lent<'p, B: Backend> {
    pool: &'p Pool<B>,
    /// `None` only while it is being dropped.
    loaned: Option<Loaned<B::Connection>>,
    unfit: Option<&'static str>,
    begun: bool,
}

const HELD: &str = "a lent connection is there until it is dropped";

impl<'p, B: Backend> Lent<'p, B> {
    /// A loan that has not begun: unless [`start`](Self::start) succeeds, the connection is closed.
    pub(crate) fn new(pool: &'p Pool<B>, loaned: Loaned<B::Connection>) -> Self {
        Self { pool, loaned: Some(loaned), unfit: Some("it could not be lent"), begun: false }
    }

    pub(crate) fn start(&mut self, loan: Loan) -> Result<(), Failure> {
        self.check_out(loan)?;
        (self.unfit, self.begun) = (None, true);
        Ok(())
    }

    /// Closes a connection that could not be lent, and keeps its place.
    pub(crate) fn reopen(mut self) -> Opening<'p, B> {
        let loaned = self.loaned.take().expect(HELD);
        let vacancy = self.pool.shared().locked(|state, after| state.reopen(loaned, "it could not be lent", after));
        Opening::new(self.pool, vacancy)
    }

    /// Ends the loan and closes the connection, whatever its state.
    pub fn discard(mut self) {
        self.unfit = Some("its borrower discarded it");
    }

    /// The epoch of the pool in which the connection was opened; see [`Pool::advance_epoch`].
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.loaned.as_ref().expect(HELD).epoch
    }
}

fn return_by(connection: &mut impl Connection) -> Option<&'static str> {
    let returned = panic::catch_unwind(AssertUnwindSafe(|| match connection.check_in() {
        CheckIn::Clean => None,
        CheckIn::Reset => connection.reset().is_err().then_some("it could not be reset"),
        CheckIn::Discard => Some("it came back unfit"),
    }));
    returned.unwrap_or(Some("it panicked when it came back"))
}

impl<B: Backend> Drop for Lent<'_, B> {
    fn drop(&mut self) {
        let Some(mut loaned) = self.loaned.take() else { return };
        let unfit = self.unfit.or_else(|| return_by(&mut *loaned.connection));
        self.pool.shared().locked(|state, after| state.put_back(loaned, unfit, self.begun, after));
    }
}

impl<B: Backend> ops::Deref for Lent<'_, B> {
    type Target = B::Connection;

    fn deref(&self) -> &B::Connection {
        &self.loaned.as_ref().expect(HELD).connection
    }
}

impl<B: Backend> ops::DerefMut for Lent<'_, B> {
    fn deref_mut(&mut self) -> &mut B::Connection {
        &mut self.loaned.as_mut().expect(HELD).connection
    }
}

impl<B: Backend> fmt::Debug for Lent<'_, B> {
    /// By hand: the pool would print itself, under its lock.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").field("connection", &**self).field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}
