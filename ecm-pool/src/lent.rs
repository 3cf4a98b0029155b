use crate::{
    Pool,
    cell::Detached,
    opening::Opening,
    place::Loaned,
    slots::{Figures, Held, Slot},
};
use ecm_core::{Backend, CheckIn, Connection, Failure, Loan, Time};
use std::{
    fmt, mem, ops,
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
    /// `None` only while it is being dropped.
    held: Option<Held<'p, B::Connection>>,
}

/// A connection on loan that keeps its pool alive; otherwise as [`Lent`].
///
/// For whoever cannot borrow from the pool. It costs a reference count more, which threads share.
#[must_use = "a connection that is dropped goes back to its pool"]
pub struct Owned<B: Backend> {
    pool: Arc<Pool<B>>,
    /// `None` only while it is being dropped.
    held: Option<Detached<Box<B::Connection>>>,
}

/// What becomes of a connection when it comes back: kept with its slot, for whoever has it.
#[derive(Clone, Copy)]
#[repr(u8)]
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
    /// Notes it for a connection that the caller has taken.
    fn set(self, of: &Figures) {
        of.set_fate(self as u8);
    }

    /// What was noted and is not the usual, which is forgotten then; the connection may still be unfit.
    #[cold]
    fn take(of: &Figures) -> Ended {
        let fate = of.fate();
        Self::Kept.set(of);
        match fate {
            fate if fate == Self::Faulty as u8 => Ended::Faulty,
            fate if fate == Self::NotBegun as u8 => Ended::Unfit("it could not be lent"),
            fate if fate == Self::FailedCheck as u8 => Ended::Unfit("it failed its check"),
            fate if fate == Self::Discarded as u8 => Ended::Unfit("its borrower discarded it"),
            _ => Ended::Well,
        }
    }
}

/// A loan that begins: unless it is begun to the end, its connection is closed when it comes back.
struct Beginning<'f> {
    of: &'f Figures,
    fate: Fate,
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        self.fate.set(self.of);
    }
}

const HELD: &str = "a lent connection is there until it is dropped";

/// How a loan has ended.
pub(crate) enum Ended {
    Well,
    /// As well, but its borrower says that the backend has failed on it.
    Faulty,
    /// So that its connection cannot be lent again.
    Unfit(&'static str),
}

/// Whether a loan was begun to its end.
pub(crate) fn has_begun(notes: &Figures) -> bool {
    ![Fate::NotBegun as u8, Fate::FailedCheck as u8].contains(&notes.fate())
}

/// Ends a loan.
#[inline]
pub(crate) fn end<C: Connection>(held: &mut Held<'_, C>) -> Ended {
    let notes = held.notes();
    let noted = if notes.fate() == Fate::Kept as u8 { Ended::Well } else { Fate::take(notes) };
    if let Ended::Unfit(_) = noted {
        return noted;
    }
    return_by(&mut **held.get_mut()).map_or(noted, Ended::Unfit)
}

fn accuse(notes: &Figures) {
    if notes.fate() == Fate::Kept as u8 {
        Fate::Faulty.set(notes);
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
    /// An idle connection that was taken a moment ago: [`start`](Self::start) comes next.
    #[inline]
    pub(crate) fn new(pool: &'p Pool<B>, held: Held<'p, B::Connection>) -> Self {
        Self { pool, held: Some(held) }
    }

    /// A loan that has not begun: unless [`start`](Self::start) succeeds, its connection is closed.
    pub(crate) fn of(pool: &'p Pool<B>, loaned: Loaned<B::Connection>) -> Self {
        let Loaned { slot, key, connection } = loaned;
        let held = pool.front().slots.at(slot).cell.fill(key, connection);
        Fate::NotBegun.set(held.notes());
        Self::new(pool, held)
    }

    /// Begins the loan. If that fails the connection is closed when it comes back.
    #[inline]
    pub(crate) fn start(&mut self, loan: Loan) -> Result<(), Failure> {
        let (notes, pool) = (self.notes(), self.pool);
        let mut beginning = Beginning { of: notes, fate: Fate::NotBegun };
        let now = notes.lent_at();
        if pool.front().is_stale(notes, now) {
            self.check(now, &mut beginning)?;
        }
        self.check_out(loan)?;
        mem::forget(beginning);
        Fate::Kept.set(notes);
        notes.count_loan();
        if pool.front().tells {
            pool.tell_lent(notes);
        }
        Ok(())
    }

    #[inline]
    fn check_out(&mut self, loan: Loan) -> Result<(), Failure> {
        self.held.as_mut().expect(HELD).get_mut().check_out(loan)
    }

    /// Checks a connection that nobody knows to work.
    #[cold]
    fn check(&mut self, now: Time, beginning: &mut Beginning<'_>) -> Result<(), Failure> {
        if let Err(failure) = self.held.as_mut().expect(HELD).get_mut().ping() {
            beginning.fate = Fate::FailedCheck;
            self.pool.front().suspect(now);
            return Err(failure);
        }
        Ok(())
    }

    /// Closes a connection that could not be lent, and keeps its place.
    pub(crate) fn reopen(mut self) -> Opening<'p, B> {
        let held = self.held.take().expect(HELD);
        Fate::Kept.set(held.notes());
        let loaned = Loaned::of(held);
        let vacancy = self.pool.shared().locked(|state, after| state.reopen(loaned, "it could not be lent", after));
        Opening::new(self.pool, vacancy)
    }

    /// The same loan in the hands of one who keeps the pool alive; `pool` is the pool it is from.
    #[inline]
    pub(crate) fn owned_by(mut self, pool: Arc<Pool<B>>) -> Owned<B> {
        debug_assert!(std::ptr::eq(self.pool, &*pool));
        let held = self.held.take().map(Held::detach);
        Owned { pool, held }
    }

    #[inline]
    fn notes(&self) -> &'p Figures {
        self.held.as_ref().expect(HELD).notes()
    }

    /// Says that the backend has failed on this connection during this loan, for a reason that is not the
    /// statement: it was too slow for its deadline, or met a lock.
    ///
    /// A connection of which that is said three times in a row, while others of the pool do well, is lent
    /// after them for a while; one of which it is said again and again is replaced. Costs a lock when the
    /// loan ends. Where the connection itself cannot be trusted any more, [`discard`](Self::discard) it.
    pub fn report_fault(&mut self) {
        accuse(self.notes());
    }

    /// Ends the loan and closes the connection, whatever its state.
    pub fn discard(self) {
        Fate::Discarded.set(self.notes());
    }

    /// The epoch of the pool in which the connection was opened; see [`Pool::advance_epoch`].
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.notes().epoch()
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
        accuse(self.slot(self.held.as_ref().expect(HELD)));
    }

    /// Ends the loan and closes the connection, whatever its state.
    pub fn discard(self) {
        Fate::Discarded.set(self.slot(self.held.as_ref().expect(HELD)));
    }

    /// The epoch of the pool in which the connection was opened; see [`Pool::advance_epoch`].
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.slot(self.held.as_ref().expect(HELD)).epoch()
    }

    /// The pool that it goes back to.
    #[must_use]
    pub fn pool(&self) -> &Arc<Pool<B>> {
        &self.pool
    }

    #[inline]
    fn slot(&self, held: &Detached<Box<B::Connection>>) -> &Slot<B::Connection> {
        self.pool.front().slots.at(held.tag().into())
    }
}

impl<B: Backend> Drop for Lent<'_, B> {
    #[inline]
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.pool.take_back(held);
        }
    }
}

impl<B: Backend> Drop for Owned<B> {
    #[inline]
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.pool.take_back(self.slot(&held).cell.attach(held));
        }
    }
}

impl<B: Backend> ops::Deref for Lent<'_, B> {
    type Target = B::Connection;

    #[inline]
    fn deref(&self) -> &B::Connection {
        self.held.as_ref().expect(HELD).get()
    }
}

impl<B: Backend> ops::DerefMut for Lent<'_, B> {
    #[inline]
    fn deref_mut(&mut self) -> &mut B::Connection {
        self.held.as_mut().expect(HELD).get_mut()
    }
}

impl<B: Backend> ops::Deref for Owned<B> {
    type Target = B::Connection;

    #[inline]
    fn deref(&self) -> &B::Connection {
        let held = self.held.as_ref().expect(HELD);
        self.slot(held).cell.get(held)
    }
}

impl<B: Backend> ops::DerefMut for Owned<B> {
    #[inline]
    fn deref_mut(&mut self) -> &mut B::Connection {
        let held = self.held.as_mut().expect(HELD);
        self.pool.front().slots.at(held.tag().into()).cell.get_mut(held)
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

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use ecm_core::testing::Nothing;

    /// Answered in registers: through memory a guard costs as much as the rest of a loan.
    #[test]
    fn a_guard_is_two_words() {
        const WORDS: usize = 2 * size_of::<usize>();
        assert_eq!(size_of::<Option<Lent<'static, Nothing>>>(), WORDS);
        assert_eq!(size_of::<Option<Owned<Nothing>>>(), WORDS);
    }
}
