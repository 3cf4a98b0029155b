use crate::{Pool, opening::Opening, place::Loaned, slots::Slot};
use ecm_core::{Backend, CheckIn, Connection, Failure, Loan, Time};
use std::{
    fmt, ops,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
};

/// A connection on loan from a [`Pool`]. Dropping it gives it back, also in a panic.
///
/// What comes back is checked in by [`Connection::check_in`], reset if that asks for it, and closed
/// if it is unfit, of an older epoch, surplus, interrupted, evicted, or if the pool is closed. Its
/// place goes to whoever waits, at once. A backend that panics while its connection comes back is
/// caught: the connection is closed, its place is free, and the panic hook has told.
#[must_use = "a connection that is dropped goes back to its pool"]
pub struct Lent<'p, B: Backend> {
    pool: &'p Pool<B>,
    /// Where it is from.
    slot: &'p Slot<B::Connection>,
    hold: Hold<B::Connection>,
}

/// A connection on loan that keeps its pool alive; otherwise as [`Lent`].
///
/// For whoever cannot borrow from the pool. It costs a reference count more, which threads share.
#[must_use = "a connection that is dropped goes back to its pool"]
pub struct Owned<B: Backend> {
    pool: Arc<Pool<B>>,
    hold: Hold<B::Connection>,
}

/// What both kinds of guards hold.
pub(crate) struct Hold<C> {
    /// `None` only while it is being dropped.
    loaned: Option<Loaned<C>>,
    fate: Fate,
}

/// What becomes of a connection when it comes back.
#[derive(Clone, Copy)]
enum Fate {
    /// It is lent again, if it is fit.
    Kept,
    /// As kept, but it has failed its borrower.
    Faulty,
    NotBegun,
    FailedCheck,
    Discarded,
}

impl Fate {
    #[inline]
    fn unfit(self) -> Option<&'static str> {
        match self {
            Self::Kept | Self::Faulty => None,
            Self::NotBegun => Some("it could not be lent"),
            Self::FailedCheck => Some("it failed its check"),
            Self::Discarded => Some("its borrower discarded it"),
        }
    }
}

const HELD: &str = "a lent connection is there until it is dropped";

impl<C> Hold<C> {
    fn loaned(&self) -> &Loaned<C> {
        self.loaned.as_ref().expect(HELD)
    }

    fn connection(&mut self) -> &mut C {
        &mut self.loaned.as_mut().expect(HELD).connection
    }
}

impl<C> Hold<C> {
    /// Whether the loan went well, as far as its borrower has said.
    #[inline]
    pub(crate) fn went_well(&self) -> bool {
        !matches!(self.fate, Fate::Faulty)
    }

    fn report_fault(&mut self) {
        if let Fate::Kept = self.fate {
            self.fate = Fate::Faulty;
        }
    }
}

impl<C: Connection> Hold<C> {
    /// What is given back, and why it cannot be lent again, if it cannot; nothing if it was moved on.
    #[inline]
    pub(crate) fn end(&mut self) -> Option<(Loaned<C>, Option<&'static str>)> {
        let mut loaned = self.loaned.take()?;
        let unfit = self.fate.unfit().or_else(|| return_by(&mut *loaned.connection));
        Some((loaned, unfit))
    }
}

#[inline]
fn return_by(connection: &mut impl Connection) -> Option<&'static str> {
    let returned = panic::catch_unwind(AssertUnwindSafe(|| match connection.check_in() {
        CheckIn::Clean => None,
        CheckIn::Reset => connection.reset().is_err().then_some("it could not be reset"),
        CheckIn::Discard => Some("it came back unfit"),
    }));
    returned.unwrap_or(Some("it panicked when it came back"))
}

impl<'p, B: Backend> Lent<'p, B> {
    /// A loan that has not begun: unless [`start`](Self::start) succeeds, the connection is closed.
    #[inline]
    pub(crate) fn new(pool: &'p Pool<B>, slot: &'p Slot<B::Connection>, loaned: Loaned<B::Connection>) -> Self {
        Self { pool, slot, hold: Hold { loaned: Some(loaned), fate: Fate::NotBegun } }
    }

    pub(crate) fn of(pool: &'p Pool<B>, loaned: Loaned<B::Connection>) -> Self {
        Self::new(pool, pool.front().slots.at(loaned.slot), loaned)
    }

    #[inline]
    pub(crate) fn start(&mut self, loan: Loan) -> Result<(), Failure> {
        let now = self.slot.lent_at();
        if self.pool.front().is_stale(self.slot, now) {
            self.check(now)?;
        }
        self.hold.connection().check_out(loan)?;
        self.hold.fate = Fate::Kept;
        self.slot.count_loan();
        Ok(())
    }

    /// Checks a connection that nobody knows to work.
    #[cold]
    fn check(&mut self, now: Time) -> Result<(), Failure> {
        if let Err(failure) = self.hold.connection().ping() {
            self.hold.fate = Fate::FailedCheck;
            self.pool.front().suspect(now);
            return Err(failure);
        }
        Ok(())
    }

    /// Closes a connection that could not be lent, and keeps its place.
    pub(crate) fn reopen(mut self) -> Opening<'p, B> {
        let loaned = self.hold.loaned.take().expect(HELD);
        let vacancy = self.pool.shared().locked(|state, after| state.reopen(loaned, "it could not be lent", after));
        Opening::new(self.pool, vacancy)
    }

    /// The same loan in the hands of one who keeps the pool alive; `pool` is the pool it is from.
    #[inline]
    pub(crate) fn owned_by(mut self, pool: Arc<Pool<B>>) -> Owned<B> {
        debug_assert!(std::ptr::eq(self.pool, &*pool));
        let hold = Hold { loaned: self.hold.loaned.take(), fate: self.hold.fate };
        drop(self);
        Owned { pool, hold }
    }

    /// Says that the backend has failed on this connection during this loan, for a reason that is not the
    /// statement: it was too slow for its deadline, or met a lock.
    ///
    /// A connection of which that is said three times in a row, while others of the pool do well, is lent
    /// after them for a while; one of which it is said again and again is replaced. Costs a lock when the
    /// loan ends. Where the connection itself cannot be trusted any more, [`discard`](Self::discard) it.
    pub fn report_fault(&mut self) {
        self.hold.report_fault();
    }

    /// Ends the loan and closes the connection, whatever its state.
    pub fn discard(mut self) {
        self.hold.fate = Fate::Discarded;
    }

    /// The epoch of the pool in which the connection was opened; see [`Pool::advance_epoch`].
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.slot.epoch()
    }
}

impl<B: Backend> Owned<B> {
    /// Says that the backend has failed on this connection during this loan, for a reason that is not the
    /// statement: it was too slow for its deadline, or met a lock.
    ///
    /// A connection of which that is said three times in a row, while others of the pool do well, is lent
    /// after them for a while; one of which it is said again and again is replaced. Costs a lock when the
    /// loan ends. Where the connection itself cannot be trusted any more, [`discard`](Self::discard) it.
    pub fn report_fault(&mut self) {
        self.hold.report_fault();
    }

    /// Ends the loan and closes the connection, whatever its state.
    pub fn discard(mut self) {
        self.hold.fate = Fate::Discarded;
    }

    /// The epoch of the pool in which the connection was opened; see [`Pool::advance_epoch`].
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.pool.front().slots.at(self.hold.loaned().slot).epoch()
    }

    /// The pool that it goes back to.
    #[must_use]
    pub fn pool(&self) -> &Arc<Pool<B>> {
        &self.pool
    }
}

impl<B: Backend> Drop for Lent<'_, B> {
    #[inline]
    fn drop(&mut self) {
        self.pool.take_back(self.slot, &mut self.hold);
    }
}

impl<B: Backend> Drop for Owned<B> {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.hold.loaned.as_ref().map(|loaned| loaned.slot) {
            self.pool.take_back(self.pool.front().slots.at(slot), &mut self.hold);
        }
    }
}

impl<B: Backend> ops::Deref for Lent<'_, B> {
    type Target = B::Connection;

    #[inline]
    fn deref(&self) -> &B::Connection {
        &self.hold.loaned().connection
    }
}

impl<B: Backend> ops::DerefMut for Lent<'_, B> {
    #[inline]
    fn deref_mut(&mut self) -> &mut B::Connection {
        self.hold.connection()
    }
}

impl<B: Backend> ops::Deref for Owned<B> {
    type Target = B::Connection;

    #[inline]
    fn deref(&self) -> &B::Connection {
        &self.hold.loaned().connection
    }
}

impl<B: Backend> ops::DerefMut for Owned<B> {
    #[inline]
    fn deref_mut(&mut self) -> &mut B::Connection {
        self.hold.connection()
    }
}

impl<B: Backend> fmt::Debug for Lent<'_, B> {
    /// By hand: the pool would print itself, under its lock.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").field("connection", &**self).field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}

impl<B: Backend> fmt::Debug for Owned<B> {
    /// By hand: the pool would print itself, under its lock.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owned").field("connection", &**self).field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}
