use crate::Pool;
use ecm_core::{Alarm, Backend, Time};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// Waits until a pool is quiet: what [`Pool::drained`] answers.
///
/// While it is registered the gate is shut, so that whoever gives back tells; dropped, it leaves.
pub(crate) struct Draining<'p, B: Backend> {
    pool: &'p Pool<B>,
    deadline: Time,
    registered: Option<u64>,
    alarm: Alarm,
}

impl<'p, B: Backend> Draining<'p, B> {
    pub(crate) fn new(pool: &'p Pool<B>, deadline: Time) -> Self {
        Self { pool, deadline, registered: None, alarm: Alarm::none() }
    }

    fn leave(&mut self) {
        if let Some(number) = self.registered.take() {
            self.pool.shared().locked(|state, after| state.forget_drainer(number, after));
        }
    }
}

impl<B: Backend> Future for Draining<'_, B> {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        let this = self.get_mut();
        let shared = this.pool.shared();
        let (waker, known) = (context.waker(), this.registered);
        this.registered = shared.locked(|state, after| state.await_quiet(known, waker, after));
        if this.registered.is_none() {
            return Poll::Ready(true);
        }
        if shared.clock.now() >= this.deadline {
            this.leave();
            return Poll::Ready(false);
        }
        this.alarm = shared.clock.wake_at(this.deadline, waker);
        Poll::Pending
    }
}

impl<B: Backend> Drop for Draining<'_, B> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use crate::{Lent, Pool, PoolConfig, PoolParts};
    use ecm_core::{
        Loan, Time, block_on,
        testing::{Fake, TestClock},
    };
    use std::{
        future::Future,
        pin::{Pin, pin},
        sync::Arc,
        task::{Context, Poll, Waker},
    };

    fn pool() -> Pool<Fake> {
        let parts = PoolParts::new("main", Arc::new(TestClock::new()));
        Pool::new(Arc::new(Fake::new()), PoolConfig::untended(), parts)
    }

    fn lend(pool: &Pool<Fake>) -> Lent<'_, Fake> {
        block_on(pool.lend(Loan::Read, Time::START, Time::NEVER)).unwrap()
    }

    fn poll(draining: Pin<&mut impl Future<Output = bool>>) -> Poll<bool> {
        draining.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn one_who_drains_and_goes_away_opens_the_gate_again() {
        let pool = pool();
        let held = lend(&pool);
        assert!(pool.front().is_open());
        {
            let mut draining = pin!(pool.drained(Time::NEVER));
            assert!(poll(draining.as_mut()).is_pending());
            assert!(!pool.front().is_open());
        }
        assert!(pool.front().is_open(), "although something is lent still");
        drop(held);
    }

    #[test]
    fn one_who_drains_and_goes_away_leaves_another_of_the_same_task_registered() {
        let pool = pool();
        let held = lend(&pool);
        let mut staying = pin!(pool.drained(Time::NEVER));
        {
            let mut going = pin!(pool.drained(Time::NEVER));
            assert!(poll(staying.as_mut()).is_pending() && poll(going.as_mut()).is_pending());
        }
        assert!(!pool.front().is_open());
        drop(held);
        assert!(pool.front().is_open());
        assert_eq!(poll(staying.as_mut()), Poll::Ready(true));
        assert!(pool.front().is_open());
    }
}
