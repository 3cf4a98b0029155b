use crate::{
    Lending, Lent, Owned, OwnedLending, PoolConfig, PoolParts,
    asking::Asking,
    draining::Draining,
    front::{Front, Given},
    lent::{self, Ended},
    place::Loaned,
    shared::Shared,
    slots::{Figures, Held},
};
use ecm_core::{Backend, Event, Interest, InvalidConfig, Loan, OldestLoan, PoolStatus, Time};
use std::{
    fmt,
    future::Future,
    panic::{self, AssertUnwindSafe, Location},
    sync::Arc,
    thread,
};

/// Lends the connections of one database, first come, first served.
///
/// A thread is lent the connection that it gave back last if that is idle, else the first that is:
/// so few connections are kept warm, and the others can go. A connection is opened by the caller who
/// needs it, when none is idle and there is room. When there is no room callers queue: whoever gives
/// something back hands it to the head of the queue; [`Fairness`](crate::Fairness) says whether
/// somebody may take it on the way.
///
/// # Concurrency
/// An idle connection is lent by one compare-and-swap and taken back by a plain store, without a lock, a
/// clock, a reference count or an allocation. (Where the system has no `membarrier`, and for a while after
/// somebody has queued, taking back costs a barrier.) Everything else goes through one lock that is held for
/// a few instructions; the backend, the observer and the wakers of callers are never called under it.
pub struct Pool<B: Backend> {
    front: Arc<Front<B::Connection>>,
    shared: Arc<Shared<B>>,
}

impl<B: Backend> Pool<B> {
    /// An empty pool: connections are opened when they are needed.
    ///
    /// # Panics
    /// If [`PoolConfig::check`] refuses `config`.
    #[must_use]
    pub fn new(backend: Arc<B>, config: PoolConfig, parts: PoolParts) -> Self {
        Self::capped(backend, config, u32::MAX, parts)
    }

    /// A pool that never holds more than `cap` connections, whatever its configuration becomes.
    pub(crate) fn capped(backend: Arc<B>, config: PoolConfig, cap: u32, parts: PoolParts) -> Self {
        if let Err(invalid) = config.check() {
            panic!("a pool needs a configuration that was checked: {invalid}");
        }
        let (shared, front) = Shared::new(backend, config, cap, parts);
        Self { front, shared }
    }

    #[inline]
    pub(crate) fn front(&self) -> &Front<B::Connection> {
        &self.front
    }

    pub(crate) fn shared(&self) -> &Shared<B> {
        &self.shared
    }

    /// An idle connection, if nothing has to be waited for or opened.
    #[inline]
    pub(crate) fn take_at_once(&self, now: Time, from: &'static Location<'static>) -> Option<Lent<'_, B>> {
        if !self.front.is_open() {
            return None;
        }
        let held = self.front.lend(now, from)?;
        if held.is_recalled() {
            self.hand_in(held, Ended::Well);
            return None;
        }
        Some(Lent::new(self, held))
    }

    #[inline]
    pub(crate) fn take_back(&self, held: Held<'_, B::Connection>) {
        if self.front.tells {
            return self.take_back_and_tell(held);
        }
        self.take_back_untold(held);
    }

    /// Told before it goes to the next, so that the events of a connection are in their order.
    #[cold]
    fn take_back_and_tell(&self, held: Held<'_, B::Connection>) {
        let connection = lent::has_begun(held.notes()).then(|| held.notes().number());
        let told = panic::catch_unwind(AssertUnwindSafe(|| {
            if let Some(connection) = connection {
                self.shared.tell(Interest::LOANS, |database| Event::Returned { database, connection });
            }
        }));
        self.take_back_untold(held);
        if let Err(panic) = told
            && !thread::panicking()
        {
            panic::resume_unwind(panic);
        }
    }

    #[cold]
    pub(crate) fn tell_lent(&self, notes: &Figures) {
        let (connection, location) = (notes.number(), notes.loan().and_then(|(_, from)| from));
        self.shared.tell(Interest::LOANS, |database| Event::Lent { database, connection, location });
    }

    #[inline]
    fn take_back_untold(&self, mut held: Held<'_, B::Connection>) {
        let ended = lent::end(&mut held);
        if held.notes().is_sampled() {
            self.sample(held.notes());
        }
        match ended {
            Ended::Well => match self.front.give(held) {
                Given::Idle => {}
                Given::Ask(slot) => self.ask(slot),
                Given::Refused(held) => self.hand_in(held, Ended::Well),
            },
            ended => self.hand_in(held, ended),
        }
    }

    #[cold]
    fn hand_in(&self, held: Held<'_, B::Connection>, ended: Ended) {
        let loaned = Loaned::of(held);
        // Looked at before the lock is taken, for which others wait.
        let now = self.shared.clock.now();
        self.shared.locked(|state, after| match ended {
            Ended::Well => state.put_back(loaned, None, now, after),
            Ended::Faulty => {
                state.accuse(loaned.slot, after);
                state.put_back(loaned, None, now, after);
            }
            Ended::Unfit(why) => state.put_back(loaned, Some(why), now, after),
        });
    }

    #[cold]
    fn ask(&self, slot: usize) {
        self.shared.locked(|state, after| state.gave(slot, after));
    }

    #[cold]
    fn sample(&self, loan: &Figures) {
        loan.sample(self.shared.clock.now());
        if self.front.calms_down() {
            self.shared.locked(|state, _| state.calm_down());
        }
    }

    /// Lends an idle connection if there is one and nobody waits; never opens one, never waits.
    ///
    /// `None` also for a connection that could not be lent: it is closed; and for one that is being looked
    /// after at this moment.
    #[must_use]
    #[inline]
    #[track_caller]
    pub fn lend_now(&self, loan: Loan, now: Time) -> Option<Lent<'_, B>> {
        self.lend_now_from(loan, now, Location::caller())
    }

    /// As [`lend_now`](Self::lend_now), for a caller somewhere else: the place that is named where a
    /// loan lasts too long.
    #[must_use]
    #[inline]
    pub fn lend_now_from(&self, loan: Loan, now: Time, from: &'static Location<'static>) -> Option<Lent<'_, B>> {
        let mut lent = self.take_at_once(now, from).or_else(|| self.take_under_lock(now, from))?;
        lent.start(loan).is_ok().then_some(lent)
    }

    #[cold]
    fn take_under_lock(&self, now: Time, from: &'static Location<'static>) -> Option<Lent<'_, B>> {
        if self.front.is_in_vain() {
            return None;
        }
        let loaned = self.shared.locked(|state, after| state.take_idle(now, from, after))?;
        Some(Lent::of(self, loaned))
    }

    /// As [`lend_now`](Self::lend_now), with a guard that keeps the pool alive.
    #[must_use]
    #[inline]
    #[track_caller]
    pub fn lend_owned_now(self: &Arc<Self>, loan: Loan, now: Time) -> Option<Owned<B>> {
        self.lend_now_from(loan, now, Location::caller()).map(|lent| lent.owned_by(Arc::clone(self)))
    }

    /// Lends a connection, at the latest when `deadline` or the configured
    /// [`connection_timeout`](PoolConfig::connection_timeout) after `now` has come.
    ///
    /// Both bound the wait for a connection. One that has to be opened is opened inside the poll,
    /// and however long that takes, it is lent. A pooled connection that cannot be lent is closed
    /// and replaced by a fresh one.
    ///
    /// # Errors
    /// [`Kind::Timeout`](ecm_core::Kind) of `Stage::Wait` with the figures of the pool;
    /// of `Stage::Open` where opening failed and the deadline has passed; `Kind::QueueFull` where
    /// [`max_waiting`](PoolConfig::max_waiting) wait already; `Kind::Closed`; otherwise the reason why
    /// opening failed, as the backend classifies it.
    #[track_caller]
    pub fn lend(&self, loan: Loan, now: Time, deadline: Time) -> Lending<'_, B> {
        self.lend_from(loan, now, deadline, Location::caller())
    }

    /// As [`lend`](Self::lend), for a caller somewhere else: the place that is named where a loan
    /// lasts too long.
    pub fn lend_from(&self, loan: Loan, now: Time, deadline: Time, from: &'static Location<'static>) -> Lending<'_, B> {
        Lending::new(self, Asking::new(loan, now, deadline, from))
    }

    /// As [`lend`](Self::lend), with a guard that keeps the pool alive.
    #[track_caller]
    pub fn lend_owned(self: &Arc<Self>, loan: Loan, now: Time, deadline: Time) -> OwnedLending<B> {
        OwnedLending::new(Arc::clone(self), Asking::new(loan, now, deadline, Location::caller()))
    }

    /// The pool at this moment: all figures are of the same moment. Walks the places under the
    /// lock, so it is for probes and pages.
    ///
    /// A connection that is on its way to a caller who has waited counts as lent, a place in which
    /// such a caller will open one as being opened.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        self.shared.locked(|state, _| state.status())
    }

    /// The loan that has lasted for longest, and where it was made; `None` if nothing is lent. Walks the
    /// places under the lock.
    #[must_use]
    pub fn oldest_loan(&self) -> Option<OldestLoan> {
        let (at, location) = self.shared.locked(|state, _| state.oldest_loan())?;
        Some(OldestLoan { location, age: self.shared.clock.now().since(at) })
    }

    /// Ends all lending: whoever waits or asks from now on gets `Kind::Closed`, idle connections
    /// are closed before this returns, lent ones when they come back. Closing again is harmless.
    pub fn close(&self) {
        self.shared.locked(|state, after| state.close(after));
    }

    /// Waits until nothing is lent, being opened or being closed: true; or until `deadline`: false.
    ///
    /// Meant for after [`close`](Pool::close): in an open pool it may be true for an instant only. It may be
    /// dropped at any moment.
    pub fn drained(&self, deadline: Time) -> impl Future<Output = bool> + Send + use<'_, B> {
        Draining::new(self, deadline)
    }

    /// Interrupts what runs on every lent connection; answers how many there are.
    ///
    /// An interrupted connection is closed when it comes back, since an interrupt that arrives late
    /// must not stop the next borrower.
    pub fn interrupt(&self) -> usize {
        let interrupters = self.shared.locked(|state, _| state.interrupt());
        interrupters.iter().for_each(|interrupter| interrupter.interrupt());
        interrupters.len()
    }

    /// Begins a new epoch, and answers it: every connection of an earlier one is closed, idle ones
    /// before this returns, lent ones and those being opened when they come back.
    ///
    /// For when the database behind the connections has been exchanged.
    pub fn advance_epoch(&self) -> u64 {
        self.shared.locked(|state, after| state.advance_epoch(after))
    }

    /// The present epoch; a pool begins with 0.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.shared.locked(|state, _| state.epoch())
    }

    /// Closes every connection once: idle ones before this returns, lent ones when they come back.
    ///
    /// For when something outside has changed that open connections do not see. Whoever asks
    /// meanwhile is served, by fresh connections.
    pub fn evict(&self) {
        self.shared.locked(|state, after| state.evict(after));
    }

    /// Lends nothing until [`resume`](Self::resume): whoever asks waits, as long as it may wait.
    /// What is lent comes back as usual.
    pub fn suspend(&self) {
        self.shared.locked(|state, after| state.suspend(true, after));
    }

    /// Ends a [`suspend`](Self::suspend), and serves those who wait.
    pub fn resume(&self) {
        self.shared.locked(|state, after| state.suspend(false, after));
    }

    /// Exchanges the configuration while the pool works.
    ///
    /// More connections: those who wait are served at once. Fewer: surplus idle connections are
    /// closed before this returns, those unused for longest first, surplus lent ones when they come
    /// back. A new timeout holds for those who ask from now on. A new strategy begins without what the
    /// one before has learned.
    ///
    /// # Errors
    /// What [`PoolConfig::check`] refuses: nothing has changed.
    pub fn reconfigure(&self, config: PoolConfig) -> Result<(), InvalidConfig> {
        config.check()?;
        self.shared.locked(|state, after| state.reconfigure(config, after));
        Ok(())
    }
}

impl<B: Backend> Drop for Pool<B> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<B: Backend> fmt::Debug for Pool<B> {
    /// By hand: the figures say more than the places.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("name", &self.shared.name).field("status", &self.status()).finish_non_exhaustive()
    }
}
