use crate::{Lending, Lent, PoolConfig, PoolParts, shared::Shared};
use ecm_core::{Backend, InvalidConfig, Loan, PoolStatus, Time};
use std::{
    fmt,
    future::{Future, poll_fn},
    sync::Arc,
    task::Poll,
};

/// Lends the connections of one database, first come, first served.
///
/// Idle connections are lent again in the reverse order of their return, so that the warmest one
/// is used most. A connection is opened by the caller who needs it, when none is idle and there is
/// room. When there is no room callers queue: whoever gives something back hands it to the head of
/// the queue, so that nobody can overtake.
///
/// # Concurrency
/// One lock, held for a few instructions; the backend, the observer and the wakers of callers are
/// never called under it. Lending an idle connection and taking it back allocates nothing and reads
/// no clock.
pub struct Pool<B: Backend> {
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
        Self { shared: Shared::new(backend, config, cap, parts) }
    }

    pub(crate) fn shared(&self) -> &Shared<B> {
        &self.shared
    }

    /// Lends an idle connection if there is one and nobody waits; never opens one, never waits.
    ///
    /// `None` also for a connection that could not be lent: it is closed.
    #[must_use]
    pub fn lend_now(&self, loan: Loan, now: Time) -> Option<Lent<'_, B>> {
        let loaned = self.shared.locked(|state, _| state.take_idle(now))?;
        let mut lent = Lent::new(self, loaned);
        lent.start(loan).is_ok().then_some(lent)
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
    /// of `Stage::Open` where opening failed and the deadline has passed; `Kind::Closed`; otherwise
    /// the reason why opening failed, as the backend classifies it.
    pub fn lend(&self, loan: Loan, now: Time, deadline: Time) -> Lending<'_, B> {
        Lending::new(self, loan, now, deadline)
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

    /// Ends all lending: whoever waits or asks from now on gets `Kind::Closed`, idle connections
    /// are closed before this returns, lent ones when they come back. Closing again is harmless.
    pub fn close(&self) {
        self.shared.locked(|state, after| state.close(after));
    }

    /// Waits until nothing is lent, being opened or being closed: true; or until `deadline`: false.
    ///
    /// Meant for after [`close`](Pool::close): in an open pool it may be true for an instant only.
    pub fn drained(&self, deadline: Time) -> impl Future<Output = bool> + Send + use<'_, B> {
        let mut alarm = None;
        poll_fn(move |context| {
            if self.shared.locked(|state, _| state.drained(context.waker())) {
                return Poll::Ready(true);
            }
            if self.shared.clock.now() >= deadline {
                return Poll::Ready(false);
            }
            drop(alarm.replace(self.shared.clock.wake_at(deadline, context.waker())));
            Poll::Pending
        })
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

    /// Exchanges the configuration while the pool works.
    ///
    /// More connections: those who wait are served at once. Fewer: surplus idle connections are
    /// closed before this returns, those unused for longest first, surplus lent ones when they come
    /// back. A new timeout holds for those who ask from now on.
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
