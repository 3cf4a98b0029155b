use crate::{Replica, report::Observers};
use arc_swap::ArcSwapOption;
use ecm_core::{
    Alarm, Clock, Error, Event, Failure, Follow, FollowError, Interest, Kind, Observer, Position, ReplicaStatus, Time,
    block_on,
};
use ecm_pool::{OwnThread, Workers};
use std::{
    fmt,
    future::poll_fn,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Poll, Wake, Waker},
    time::Duration,
};

/// Keeps one database a copy of the primary of its group, and knows how far it has come.
///
/// What does the work is in a slot, and taken out of it by whoever works: the thread that follows, a caller who
/// waits for a copy, a promotion. So no lock is held while anything is copied.
pub(crate) struct Following {
    /// Which one it is.
    pub(crate) id: u64,
    pub(crate) config: Replica,
    name: Arc<str>,
    clock: Arc<dyn Clock>,
    observers: Arc<Observers>,
    /// What the copy is known to show; `None` while it must not be read.
    reached: ArcSwapOption<Reached>,
    /// The copy shows nothing that was committed later than this, in nanoseconds of the clock.
    ceiling: AtomicU64,
    slot: Mutex<Slot>,
    /// Moves under the lock of the slot.
    generation: AtomicU64,
    changed: Condvar,
    /// Whoever copies in the background breaks off.
    hurry: AtomicBool,
    /// Whoever copies for somebody who waits does so, too.
    ends: AtomicBool,
    paused: Mutex<Option<Waker>>,
    alarm: Mutex<Alarm>,
    workers: OwnThread,
    figures: Mutex<Figures>,
    /// Who is asked to promote this one; none where nobody is to.
    promoter: Option<Weak<dyn Promoter>>,
}

/// What a copy is known to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// At least this commit of the primary.
    pub(crate) position: Position,
    /// Everything that was visible before this; `None` where it was copied by an earlier process.
    pub(crate) as_of: Option<Time>,
}

/// Promotes a copy whose primary is gone.
pub(crate) trait Promoter: Send + Sync {
    fn promote_unasked(&self, name: &Arc<str>);
}

/// Where the source stands, by its own account.
pub(crate) type Stand = Box<dyn Fn() -> Position + Send + Sync>;

/// What does the work.
pub(crate) struct Work {
    pub(crate) follow: Box<dyn Follow>,
    pub(crate) stand: Stand,
    has_begun: bool,
    /// Whether the source was told that another one takes its place, which has not come to pass, and could not be told
    /// otherwise.
    pub(crate) lift_fence: bool,
    /// How often the source had been exchanged for another one: what is known of an earlier one does not count.
    generation: u64,
}

impl Work {
    pub(crate) fn new(follow: Box<dyn Follow>, stand: Stand) -> Self {
        Self { follow, stand, has_begun: false, lift_fence: false, generation: 0 }
    }
}

enum Slot {
    /// Nobody works.
    Free(Work),
    /// Somebody does.
    Taken,
    /// Nobody will any more.
    Over,
}

#[derive(Debug, Default)]
struct Figures {
    copies: u64,
    pages: u64,
    failures: u64,
    last_failure: Option<String>,
    in_a_row: u32,
    copying: bool,
    took: Duration,
    /// Since when the source could not be read.
    source_gone_since: Option<Time>,
}

/// How long whoever ends the following waits for a step of a copy that is under way: one that takes longer ends
/// by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Whether somebody waits for a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    Yes,
    No,
}

impl Following {
    pub(crate) fn new(
        name: Arc<str>,
        config: Replica,
        work: Work,
        clock: Arc<dyn Clock>,
        observers: Arc<Observers>,
        promoter: Weak<dyn Promoter>,
    ) -> Arc<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let promoter = config.promote_after.map(|_| promoter);
        Arc::new(Self {
            id: COUNT.fetch_add(1, Ordering::Relaxed),
            config,
            name,
            clock,
            observers,
            reached: ArcSwapOption::empty(),
            ceiling: AtomicU64::new(0),
            slot: Mutex::new(Slot::Free(work)),
            generation: AtomicU64::new(0),
            changed: Condvar::new(),
            hurry: AtomicBool::new(false),
            ends: AtomicBool::new(false),
            paused: Mutex::new(None),
            alarm: Mutex::new(Alarm::none()),
            workers: OwnThread::new(),
            figures: Mutex::default(),
            promoter,
        })
    }

    /// What the copy is known to show; `None` while it must not be read.
    #[inline]
    pub(crate) fn reached(&self) -> Option<Reached> {
        self.reached.load().as_deref().copied()
    }

    /// Whether it may be read at all.
    #[inline]
    pub(crate) fn is_readable(&self) -> bool {
        self.reached.load().is_some()
    }

    /// The copy shows nothing that was committed later than this: asked after it was read.
    pub(crate) fn ceiling(&self) -> Time {
        Time::from_nanos(self.ceiling.load(Ordering::SeqCst))
    }

    /// It holds a complete copy that was made by an earlier process.
    pub(crate) fn found_copy(&self) {
        self.reached.store(Some(Arc::new(Reached { position: Position::default(), as_of: None })));
    }

    /// Begins to follow, in the background.
    pub(crate) fn start(self: &Arc<Self>) {
        self.look_in(Duration::ZERO);
    }

    /// Makes the copy show everything that is visible now, unless it does, and answers what it shows.
    ///
    /// # Errors
    /// What has failed; [`Kind::Closed`] where nobody follows any more.
    pub(crate) fn catch_up(self: &Arc<Self>) -> Result<Reached, Error> {
        let work = self.take()?;
        self.work(work, Waits::Yes).map_err(|error| self.error(error))
    }

    /// What does the work, for whoever gives it back by [`give`](Self::give): a copy in the background breaks off.
    pub(crate) fn take(&self) -> Result<Work, Error> {
        let mut slot = self.lock();
        loop {
            match std::mem::replace(&mut *slot, Slot::Taken) {
                Slot::Free(work) => return Ok(work),
                Slot::Taken => {
                    self.break_off();
                    slot = self.changed.wait(slot).unwrap_or_else(PoisonError::into_inner);
                }
                Slot::Over => {
                    *slot = Slot::Over;
                    let message = "it follows no database any more, since it was promoted, unregistered or closed";
                    return Err(Error::new(Kind::Closed, message).in_database(&self.name));
                }
            }
        }
    }

    pub(crate) fn give(&self, work: Work) {
        let mut slot = self.lock();
        // Where it is over, or goes on with another source, the work ends here, and closes what it has open.
        if matches!(*slot, Slot::Taken) && self.is_present(&work) {
            *slot = Slot::Free(work);
        }
        self.hurry.store(false, Ordering::SeqCst);
        drop(slot);
        self.changed.notify_all();
    }

    /// Makes one copy if one is due; the work is given back.
    fn work(self: &Arc<Self>, mut work: Work, waits: Waits) -> Result<Reached, FollowError> {
        let worked = self.copy(&mut work, waits);
        self.give(work);
        self.tell(&worked);
        worked.map(|(reached, _)| reached)
    }

    /// Copies, if the source has changed: what the copy shows now, and how long that took, if it was copied.
    pub(crate) fn copy_now(&self, work: &mut Work) -> Result<Reached, FollowError> {
        self.copy(work, Waits::Yes).map(|(reached, _)| reached)
    }

    fn copy(&self, work: &mut Work, waits: Waits) -> Result<(Reached, Option<Duration>), FollowError> {
        if work.lift_fence {
            work.follow.lift_fence()?;
            work.lift_fence = false;
        }
        if !work.has_begun {
            work.follow.begin()?;
            work.has_begun = true;
        }
        // Before the source is looked at: what is visible by now is seen.
        let at = self.clock.now();
        let position = (work.stand)();
        let before = self.reached();
        let shows = |position: Position| {
            let known = before.map(|before| before.position).unwrap_or_default();
            Reached { position: position.max(known), as_of: Some(at) }
        };
        if before.is_some() && !work.follow.is_behind()? {
            return Ok((self.publish(work, shows(position))?, None));
        }
        self.figures().copying = true;
        let mut first = true;
        let copied = work.follow.copy(self.config.pages_per_step, &mut |_| {
            if std::mem::take(&mut first) {
                // Before anybody can see what is copied.
                self.ceiling.fetch_max(self.clock.now().as_nanos(), Ordering::SeqCst);
            } else if waits == Waits::No {
                self.pause();
            }
            let asked = if waits == Waits::Yes { &self.ends } else { &self.hurry };
            !asked.load(Ordering::SeqCst)
        });
        let took = self.clock.now().since(at);
        let mut figures = self.figures();
        figures.copying = false;
        let copied = copied?;
        figures.copies += 1;
        figures.pages += copied.pages;
        figures.took = took;
        drop(figures);
        Ok((self.publish(work, shows(position))?, Some(took)))
    }

    fn publish(&self, work: &Work, reached: Reached) -> Result<Reached, FollowError> {
        let _exchanges_nothing = self.lock();
        if !self.is_present(work) {
            return Err(FollowError::Stopped);
        }
        self.reached.store(Some(Arc::new(reached)));
        Ok(reached)
    }

    fn is_present(&self, work: &Work) -> bool {
        work.generation == self.generation.load(Ordering::SeqCst)
    }

    /// Leaves the storage to others for a while.
    fn pause(&self) {
        if self.config.pause.is_zero() {
            return;
        }
        let until = self.clock.now() + self.config.pause;
        let mut _alarm = Alarm::none();
        block_on(poll_fn(|context| {
            *lock(&self.paused) = Some(context.waker().clone());
            if self.hurry.load(Ordering::SeqCst) || self.clock.now() >= until {
                return Poll::Ready(());
            }
            _alarm = self.clock.wake_at(until, context.waker());
            Poll::Pending
        }));
    }

    fn break_off(&self) {
        self.hurry.store(true, Ordering::SeqCst);
        let paused = lock(&self.paused).take();
        paused.into_iter().for_each(Waker::wake);
    }

    /// One look in the background.
    fn tick(self: &Arc<Self>) {
        let work = {
            let mut slot = self.lock();
            match std::mem::replace(&mut *slot, Slot::Taken) {
                Slot::Free(work) => work,
                other => {
                    *slot = other;
                    drop(slot);
                    // Whoever works does what is due here.
                    return self.look_in(self.config.staleness / 2);
                }
            }
        };
        let worked = self.work(work, Waits::No);
        let pause = self.next_pause();
        if matches!(worked, Err(FollowError::Source(_))) && self.has_been_gone() {
            let promoter = self.promoter.as_ref().and_then(Weak::upgrade);
            promoter.into_iter().for_each(|promoter| promoter.promote_unasked(&self.name));
        }
        self.look_in(pause);
    }

    fn has_been_gone(&self) -> bool {
        let since = self.figures().source_gone_since;
        match (since, self.config.promote_after) {
            (Some(since), Some(after)) => self.clock.now().since(since) >= after,
            _ => false,
        }
    }

    fn next_pause(&self) -> Duration {
        let figures = self.figures();
        let half = (self.config.staleness / 2).max(figures.took);
        let pause = half.saturating_mul(1 << figures.in_a_row.min(16)).min(LONGEST_PAUSE.max(half));
        match self.config.promote_after {
            // So that it is not noticed late.
            Some(after) if figures.in_a_row > 0 => pause.min(after / 2),
            _ => pause,
        }
    }

    fn look_in(self: &Arc<Self>, pause: Duration) {
        if matches!(*self.lock(), Slot::Over) {
            return;
        }
        let waker = Waker::from(Arc::new(Ring(Arc::downgrade(self))));
        if pause.is_zero() {
            return waker.wake();
        }
        let alarm = self.clock.wake_at(self.clock.now() + pause, &waker);
        *lock(&self.alarm) = alarm;
    }

    /// Counts, and tells who wants to know.
    fn tell(&self, worked: &Result<(Reached, Option<Duration>), FollowError>) {
        let wants = self.observers.wants(Interest::REPLICAS);
        let mut figures = self.figures();
        match worked {
            Ok((reached, took)) => {
                figures.in_a_row = 0;
                figures.last_failure = None;
                figures.source_gone_since = None;
                drop(figures);
                if let Some(took) = took.filter(|_| wants) {
                    self.observers.event(&Event::Copied { database: &self.name, took, position: reached.position });
                }
            }
            Err(FollowError::Stopped) => {}
            Err(error) => {
                figures.failures += 1;
                figures.in_a_row = figures.in_a_row.saturating_add(1);
                let why = error.to_string();
                figures.last_failure = Some(why.clone());
                match error {
                    FollowError::Source(_) => drop(figures.source_gone_since.get_or_insert_with(|| self.clock.now())),
                    _ => figures.source_gone_since = None,
                }
                drop(figures);
                if wants {
                    self.observers.event(&Event::CopyFailed { database: &self.name, error: &why });
                }
            }
        }
    }

    /// It must not be read until it has copied what does the work from now on.
    pub(crate) fn follows_another(self: &Arc<Self>, work: Work) {
        let mut slot = self.wait_until_free();
        if matches!(*slot, Slot::Over) {
            return;
        }
        self.reached.store(None);
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        *slot = Slot::Free(Work { generation, ..work });
        self.hurry.store(false, Ordering::SeqCst);
        drop(slot);
        self.changed.notify_all();
        self.start();
    }

    /// Follows nobody any more; what is open for it is closed.
    pub(crate) fn stop(&self) {
        self.ends.store(true, Ordering::SeqCst);
        *lock(&self.alarm) = Alarm::none();
        let mut slot = self.wait_until_free();
        let work = std::mem::replace(&mut *slot, Slot::Over);
        drop(slot);
        self.changed.notify_all();
        drop(work);
    }

    /// Has whoever works break off, and waits until it has, for a while.
    fn wait_until_free(&self) -> MutexGuard<'_, Slot> {
        let slot = self.lock();
        if !matches!(*slot, Slot::Taken) {
            return slot;
        }
        self.break_off();
        let taken = |slot: &mut Slot| matches!(slot, Slot::Taken);
        self.changed.wait_timeout_while(slot, PATIENCE, taken).unwrap_or_else(PoisonError::into_inner).0
    }

    /// As [`stop`](Self::stop), by whoever has taken the work.
    pub(crate) fn is_over(&self) {
        *lock(&self.alarm) = Alarm::none();
        *self.lock() = Slot::Over;
        self.changed.notify_all();
    }

    pub(crate) fn status(&self) -> ReplicaStatus {
        let reached = self.reached();
        let now = self.clock.now();
        let figures = self.figures();
        let mut status = ReplicaStatus::new(&*self.config.of);
        status.readable = reached.is_some();
        status.position = reached.map(|reached| reached.position).unwrap_or_default();
        status.lag = reached.and_then(|reached| reached.as_of).map(|as_of| now.since(as_of));
        status.copying = figures.copying;
        status.copies = figures.copies;
        status.pages = figures.pages;
        status.failures = figures.failures;
        status.last_failure.clone_from(&figures.last_failure);
        status
    }

    /// An error of copying as that of a call.
    pub(crate) fn error(&self, error: FollowError) -> Error {
        let why = error.to_string();
        let failure = match error {
            FollowError::Source(failure) | FollowError::Copy(failure) => failure,
            FollowError::Stopped => return Error::new(Kind::Closed, why).in_database(&self.name),
        };
        wrapped(failure, &why).in_database(&self.name)
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        lock(&self.slot)
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        lock(&self.figures)
    }
}

/// The backend's error with what was done in front.
fn wrapped(failure: Failure, why: &str) -> Error {
    match failure.downcast::<Error>() {
        Ok(error) => Error::new(error.kind(), why).caused_by(error.into()),
        Err(failure) => Error::new(Kind::Unavailable, why).caused_by(failure),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the next look taken.
struct Ring(Weak<Following>);

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        let Some(following) = self.0.upgrade() else { return };
        let ticks = Arc::clone(&following);
        // Without a thread it is tried again.
        if !following.workers.run(Box::new(move || ticks.tick())) {
            following.look_in(following.config.staleness);
        }
    }
}

impl fmt::Debug for Following {
    /// By hand: what does the work cannot be looked at while it does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Following");
        shown.field("name", &self.name).field("config", &self.config).field("reached", &self.reached());
        shown.finish_non_exhaustive()
    }
}
