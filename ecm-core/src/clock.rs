use crate::Time;
use std::{
    collections::BTreeMap,
    fmt,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    task::Waker,
    thread,
    time::Instant,
};

/// Where all time comes from: deadlines, ages, durations.
///
/// One clock serves a whole manager. Everything that waits until a moment does so by
/// [`wake_at`](Clock::wake_at), never by sleeping, so that a test can move time by hand.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present moment. Must never go back.
    fn now(&self) -> Time;

    /// Wakes `waker` once at or soon after `at`, unless the alarm is dropped before.
    ///
    /// A moment that has passed wakes at once, possibly before this returns. May wake early or more
    /// than once; whoever waits looks at [`now`](Clock::now) again. [`Time::NEVER`] never rings.
    fn wake_at(&self, at: Time, waker: &Waker) -> Alarm;
}

/// Where an [`Alarm`] is taken back: implemented by whoever implements [`Clock`].
pub trait Alarms: Send + Sync + fmt::Debug {
    /// Forgets the alarm `id` of moment `at`; called at most once, possibly after it has rung.
    fn cancel(&self, at: Time, id: u64);
}

/// A wake-up that was asked for; dropping it takes it back.
#[derive(Debug)]
#[must_use = "an alarm that is dropped does not ring"]
pub struct Alarm {
    registered: Option<(Weak<dyn Alarms>, Time, u64)>,
}

impl Alarm {
    /// An alarm that `owner` has registered for the moment `at` under `id`.
    pub fn new(owner: Weak<dyn Alarms>, at: Time, id: u64) -> Self {
        Self { registered: Some((owner, at, id)) }
    }

    /// An alarm of which nothing is registered: it has rung already, or never will.
    pub const fn none() -> Self {
        Self { registered: None }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some((owner, at, id)) = self.registered.take()
            && let Some(owner) = owner.upgrade()
        {
            owner.cancel(at, id);
        }
    }
}

/// The monotonic clock of the machine, with one thread (the keeper) that rings every alarm.
///
/// The keeper starts with the first alarm, sleeps until the earliest one, and ends when the clock
/// is dropped. A wake-up comes typically within 0.1 ms of its moment.
pub struct SystemClock {
    origin: Instant,
    keeper: Arc<Keeper>,
}

impl SystemClock {
    /// A clock that starts now.
    #[must_use]
    pub fn new() -> Self {
        let origin = Instant::now();
        Self { origin, keeper: Arc::new(Keeper { origin, state: Mutex::default(), changed: Condvar::new() }) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SystemClock {
    /// By hand: the alarms of other threads are noise, and printing them would take their lock.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SystemClock").field(&self.now()).finish()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Time {
        elapsed(self.origin)
    }

    fn wake_at(&self, at: Time, waker: &Waker) -> Alarm {
        if at == Time::NEVER {
            return Alarm::none();
        }
        if at <= self.now() {
            waker.wake_by_ref();
            return Alarm::none();
        }
        let id = self.keeper.add(at, waker.clone());
        let owner: Weak<dyn Alarms> = Arc::downgrade(&self.keeper) as Weak<dyn Alarms>;
        Alarm::new(owner, at, id)
    }
}

impl Drop for SystemClock {
    fn drop(&mut self) {
        self.keeper.lock().stopped = true;
        self.keeper.changed.notify_one();
    }
}

#[inline]
fn elapsed(origin: Instant) -> Time {
    // In 64 bits, which last 584 years.
    let elapsed = origin.elapsed();
    Time::from_nanos(elapsed.as_secs().wrapping_mul(1_000_000_000).wrapping_add(elapsed.subsec_nanos().into()))
}

#[derive(Debug)]
struct Keeper {
    origin: Instant,
    state: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    alarms: BTreeMap<(Time, u64), Waker>,
    next_id: u64,
    running: bool,
    stopped: bool,
}

impl Keeper {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(self: &Arc<Self>, at: Time, waker: Waker) -> u64 {
        let mut pending = self.lock();
        let id = pending.next_id;
        pending.next_id += 1;
        pending.alarms.insert((at, id), waker);
        if !pending.running {
            let keeper = Arc::clone(self);
            let started = thread::Builder::new().name("ecm-keeper".into()).spawn(move || keeper.run());
            pending.running = started.is_ok();
            if !pending.running
                && let Some(waker) = pending.alarms.remove(&(at, id))
            {
                // Without a thread nobody would ever ring: waking early is allowed, and whoever
                // waits asks again, which tries to start the keeper once more.
                drop(pending);
                thread::yield_now();
                waker.wake();
                return id;
            }
        }
        let earliest = pending.alarms.first_key_value().is_some_and(|(&first, _)| first == (at, id));
        drop(pending);
        if earliest {
            self.changed.notify_one();
        }
        id
    }

    fn run(&self) {
        let mut pending = self.lock();
        while !pending.stopped {
            let now = elapsed(self.origin);
            let later = pending.alarms.split_off(&(now + std::time::Duration::from_nanos(1), 0));
            let due = std::mem::replace(&mut pending.alarms, later);
            if !due.is_empty() {
                drop(pending);
                for waker in due.into_values() {
                    // Foreign code, of which the panic hook has told: it must not end the alarms of
                    // all others, whose timeouts would never come.
                    let _ = panic::catch_unwind(AssertUnwindSafe(|| waker.wake()));
                }
                pending = self.lock();
                continue;
            }
            pending = match pending.alarms.first_key_value() {
                Some((&(at, _), _)) => {
                    let waited = self.changed.wait_timeout(pending, at.since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(pending).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Alarms for Keeper {
    fn cancel(&self, at: Time, id: u64) {
        let waker = self.lock().alarms.remove(&(at, id));
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        task::Wake,
        time::Duration,
    };

    struct Bell(mpsc::Sender<usize>, AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(self.1.fetch_add(1, Ordering::Relaxed));
        }
    }

    fn bell() -> (Waker, mpsc::Receiver<usize>) {
        let (send, receive) = mpsc::channel();
        (Waker::from(Arc::new(Bell(send, AtomicUsize::new(0)))), receive)
    }

    #[test]
    fn a_past_moment_rings_at_once_and_never_does_not() {
        let clock = SystemClock::new();
        let (waker, rings) = bell();
        let _past = clock.wake_at(Time::START, &waker);
        assert_eq!(rings.try_recv(), Ok(0));
        let _never = clock.wake_at(Time::NEVER, &waker);
        assert!(rings.try_recv().is_err());
        assert!(!clock.keeper.lock().running, "no thread is started for these");
    }

    #[test]
    fn one_keeper_rings_all_alarms_in_order_and_not_early() {
        let clock = SystemClock::new();
        let start = clock.now();
        let (late, rung_late) = bell();
        let (early, rung_early) = bell();
        let _late = clock.wake_at(start + Duration::from_millis(20), &late);
        let _early = clock.wake_at(start + Duration::from_millis(5), &early);
        rung_early.recv().unwrap();
        assert!(clock.now() >= start + Duration::from_millis(5));
        rung_late.recv().unwrap();
        assert!(clock.now() >= start + Duration::from_millis(20));
    }

    #[test]
    fn a_dropped_alarm_is_forgotten() {
        let clock = SystemClock::new();
        let (waker, rings) = bell();
        let alarm = clock.wake_at(clock.now() + Duration::from_secs(3600), &waker);
        assert_eq!(clock.keeper.lock().alarms.len(), 1);
        drop(alarm);
        assert_eq!(clock.keeper.lock().alarms.len(), 0);
        assert!(rings.try_recv().is_err());
    }

    #[test]
    fn one_who_panics_when_it_is_rung_does_not_silence_the_others() {
        struct Panics;
        impl Wake for Panics {
            fn wake(self: Arc<Self>) {
                panic!("as the test wants");
            }
        }
        let clock = SystemClock::new();
        let start = clock.now();
        let (waker, rings) = bell();
        let _panics = clock.wake_at(start + Duration::from_millis(2), &Waker::from(Arc::new(Panics)));
        let _later = clock.wake_at(start + Duration::from_millis(5), &waker);
        assert_eq!(rings.recv_timeout(Duration::from_secs(10)), Ok(0));
    }

    #[test]
    fn the_keeper_ends_with_its_clock() {
        let clock = SystemClock::new();
        let (waker, _rings) = bell();
        let alarm = clock.wake_at(clock.now() + Duration::from_secs(3600), &waker);
        let keeper = Arc::downgrade(&clock.keeper);
        drop(alarm);
        drop(clock);
        let deadline = Instant::now() + Duration::from_secs(10);
        while keeper.strong_count() > 0 {
            assert!(Instant::now() < deadline, "the keeper thread still runs");
            thread::yield_now();
        }
    }
}
