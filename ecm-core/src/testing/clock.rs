use crate::{Alarm, Alarms, Clock, Time};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
    time::Duration,
};

/// A clock that stands still until a test moves it.
///
/// Clones are the same clock. A test that waits for other threads to have gone to sleep uses
/// [`wait_for_alarms`](TestClock::wait_for_alarms), then [`advance`](TestClock::advance).
#[derive(Clone, Debug, Default)]
pub struct TestClock(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    now: AtomicU64,
    alarms: Mutex<Pending>,
    added: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    alarms: BTreeMap<(Time, u64), Waker>,
    next_id: u64,
}

impl TestClock {
    /// A clock at [`Time::START`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves time on and rings every alarm that has become due, the earliest first.
    pub fn advance(&self, by: Duration) {
        let mut pending = self.0.lock();
        let now = self.now() + by;
        self.0.now.store(now.as_nanos(), Ordering::SeqCst);
        let later = pending.alarms.split_off(&(now + Duration::from_nanos(1), 0));
        let due = std::mem::replace(&mut pending.alarms, later);
        drop(pending);
        due.into_values().for_each(Waker::wake);
    }

    /// How many alarms are set.
    #[must_use]
    pub fn alarms(&self) -> usize {
        self.0.lock().alarms.len()
    }

    /// Blocks until at least `count` alarms are set: until so many waiters wait.
    ///
    /// # Panics
    /// After 30 seconds of real time, since a test that hangs tells nothing.
    pub fn wait_for_alarms(&self, count: usize) {
        let pending = self.0.lock();
        let patience = Duration::from_secs(30);
        let waited = self.0.added.wait_timeout_while(pending, patience, |pending| pending.alarms.len() < count);
        let (pending, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "waited for {count} alarms, only {} were set", pending.alarms.len());
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        Time::from_nanos(self.0.now.load(Ordering::SeqCst))
    }

    fn wake_at(&self, at: Time, waker: &Waker) -> Alarm {
        if at == Time::NEVER {
            return Alarm::none();
        }
        let mut pending = self.0.lock();
        // Under the lock, so that an advance cannot slip in between and never ring this alarm.
        if at <= self.now() {
            drop(pending);
            waker.wake_by_ref();
            return Alarm::none();
        }
        let id = pending.next_id;
        pending.next_id += 1;
        pending.alarms.insert((at, id), waker.clone());
        drop(pending);
        self.0.added.notify_all();
        let owner: Weak<dyn Alarms> = Arc::downgrade(&self.0) as Weak<dyn Alarms>;
        Alarm::new(owner, at, id)
    }
}

impl Alarms for Inner {
    fn cancel(&self, at: Time, id: u64) {
        let waker = self.lock().alarms.remove(&(at, id));
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block_on;
    use std::{future::poll_fn, task::Poll, thread};

    #[test]
    fn a_thread_that_waits_for_a_moment_sleeps_until_the_test_reaches_it() {
        let clock = TestClock::new();
        let until = Time::START + Duration::from_secs(10);
        let waiting = thread::spawn({
            let clock = clock.clone();
            move || {
                let mut alarm = None;
                block_on(poll_fn(|context| {
                    if clock.now() >= until {
                        return Poll::Ready(clock.now());
                    }
                    alarm = Some(clock.wake_at(until, context.waker()));
                    Poll::Pending
                }))
            }
        });
        clock.wait_for_alarms(1);
        clock.advance(Duration::from_secs(9));
        assert_eq!(clock.alarms(), 1);
        clock.advance(Duration::from_secs(1));
        assert_eq!(waiting.join().unwrap(), until);
        assert_eq!(clock.alarms(), 0);
    }
}
