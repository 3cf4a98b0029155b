use crate::{manager::Shared, topology::Member};
use ecm_core::{
    Access, Alarm, Backend, BreakerState, Clock, Concern, Connection, Error, Event, Failure, FaultKind, Health,
    Interest, Limit, Loan, Observer, Sample, Stage, Time, Transact,
};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
    thread::{self, ThreadId},
    time::Duration,
};

/// How long a check may take, unless it is a thorough one: then the database counts as one that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// After how long a database that fails, or is being left alone, is checked, at first: twice as long each further
/// time. An arbitrary figure: soon for people, and rare for a storage.
const RECHECK: Duration = Duration::from_secs(1);

/// How long closing waits for a check that is under way, whose connection may be the last one.
const FAREWELL: Duration = Duration::from_secs(1);

/// What is known about how a database does.
#[derive(Debug)]
pub(crate) struct Record {
    health: Mutex<Health>,
    /// Copies of what is in there, for those who pick.
    ready: AtomicBool,
    damaged: AtomicBool,
}

/// Checks one database from time to time, on a connection and a thread of its own, so that neither a pool that is used
/// up nor a storage that hangs keeps others from being checked.
pub(crate) struct Checker<B: Backend<Connection: Transact>> {
    manager: Weak<Shared<B>>,
    member: Weak<Member<B>>,
    clock: Arc<dyn Clock>,
    interval: Duration,
    state: Mutex<State>,
    ended: Condvar,
    /// Held while an alarm is set, so that the one that is set last is the one that rings.
    alarm: Mutex<Option<Alarm>>,
}

#[derive(Debug)]
struct State {
    due: Time,
    /// The check that is under way, and by which thread.
    running: Option<(Time, Option<ThreadId>)>,
    /// The next check looks at everything.
    thorough: bool,
    began: Time,
    /// When the last thorough one has ended.
    last_thorough: Option<Time>,
    /// How often in a row it was found well while its breaker was open, or was not found well.
    troubled: u32,
    stopped: bool,
}

impl Record {
    pub(crate) fn new() -> Self {
        let health = Mutex::new(Health::new());
        Self { health, ready: AtomicBool::new(true), damaged: AtomicBool::new(false) }
    }

    pub(crate) fn health(&self) -> Health {
        self.lock().clone()
    }

    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes it; answers what it was, and what it is now.
    fn change(&self, change: impl FnOnce(&mut Health)) -> (Health, Health) {
        let mut health = self.lock();
        let before = health.clone();
        change(&mut health);
        health.ready = health.failure.is_none() && !health.damaged;
        self.ready.store(health.ready, Ordering::Relaxed);
        self.damaged.store(health.damaged, Ordering::Relaxed);
        (before, health.clone())
    }
}

impl<B: Backend<Connection: Transact>> Checker<B> {
    /// Begins to check a database, if its pool says how often.
    pub(crate) fn begin(manager: &Arc<Shared<B>>, member: &Arc<Member<B>>) {
        let interval = member.info.pool.health_check_interval;
        if interval.is_zero() {
            return;
        }
        let now = manager.clock.now();
        let state = State {
            due: Time::NEVER,
            running: None,
            thorough: false,
            began: now,
            last_thorough: None,
            troubled: 0,
            stopped: false,
        };
        let checker = Arc::new(Self {
            manager: Arc::downgrade(manager),
            member: Arc::downgrade(member),
            clock: Arc::clone(&manager.clock),
            interval,
            state: Mutex::new(state),
            ended: Condvar::new(),
            alarm: Mutex::new(None),
        });
        if member.checker.set(Arc::clone(&checker)).is_ok() {
            checker.arm(now + interval);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the next check made at this moment.
    fn arm(self: &Arc<Self>, at: Time) {
        let mut alarm = self.alarm.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        state.due = at;
        let stopped = state.stopped;
        drop(state);
        *alarm = (!stopped).then(|| self.clock.wake_at(at, &Waker::from(Arc::clone(self))));
    }

    /// The database has failed a call: it is checked soon; if it may be damaged thoroughly, and at once if that was not done just before.
    #[cold]
    pub(crate) fn hasten(self: &Arc<Self>, may_be_damaged: bool) {
        let now = self.clock.now();
        let mut state = self.lock();
        state.thorough |= may_be_damaged;
        let pause = self.pause(state.troubled);
        // What a thorough check has not confirmed just now is not looked for again with every call.
        let at = if may_be_damaged { state.last_thorough.map_or(now, |at| at + pause) } else { now + pause };
        let sooner = at < state.due && state.running.is_none();
        drop(state);
        if sooner {
            self.arm(at);
        }
    }

    fn pause(&self, troubled: u32) -> Duration {
        RECHECK.saturating_mul(1 << troubled.min(20)).min(self.interval)
    }

    /// No more checks; waits a while for one that is under way.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        drop(state);
        drop(self.alarm.lock().unwrap_or_else(PoisonError::into_inner).take());
        let me = thread::current().id();
        let elsewhere = |state: &mut State| state.running.is_some_and(|(_, thread)| thread != Some(me));
        drop(self.ended.wait_timeout_while(self.lock(), FAREWELL, elsewhere));
    }

    /// Runs a piece of work of this checker's on a thread of its own; whether it will.
    fn spawn(self: &Arc<Self>, work: impl FnOnce(&Arc<Self>) + Send + 'static) -> bool {
        let this = Arc::clone(self);
        thread::Builder::new().name("ecm-health".into()).spawn(move || work(&this)).is_ok()
    }

    /// Checks the database now, on this thread.
    fn check(self: &Arc<Self>) {
        let mut state = self.lock();
        let now = state.running.map_or_else(|| self.clock.now(), |(began, _)| began);
        let interval = self.member.upgrade().map_or(Duration::ZERO, |member| member.info.pool.integrity_check_interval);
        let due = !interval.is_zero() && now.since(state.last_thorough.unwrap_or(state.began)) >= interval;
        let thorough = std::mem::take(&mut state.thorough) || due;
        if let Some((_, thread)) = &mut state.running {
            *thread = Some(thread::current().id());
        }
        drop(state);
        if !thorough {
            self.arm(now + PATIENCE);
        }
        let troubled = match (self.manager.upgrade(), self.member.upgrade()) {
            (Some(manager), Some(member)) => Some(examine(&manager, &member, thorough)),
            _ => None,
        };
        let mut state = self.lock();
        state.running = None;
        if thorough {
            state.last_thorough = Some(self.clock.now());
        }
        let pause = match troubled {
            Some(Found::Well) | None => {
                state.troubled = 0;
                self.interval
            }
            Some(Found::Troubled) => {
                let pause = self.pause(state.troubled);
                state.troubled = state.troubled.saturating_add(1);
                pause
            }
            Some(Found::Suspicious) => {
                state.thorough = true;
                Duration::ZERO
            }
        };
        let pause = if state.thorough { Duration::ZERO } else { pause };
        drop(state);
        self.ended.notify_all();
        self.arm(self.clock.now() + pause);
        // Last, so that whoever sees it counted finds everything done.
        if let Some(member) = self.member.upgrade() {
            member.record.lock().checks += 1;
        }
    }

    /// A check has not come back in time.
    fn overdue(&self, began: Time) {
        if let (Some(manager), Some(member)) = (self.manager.upgrade(), self.member.upgrade())
            && self.lock().running.is_some_and(|(running, _)| running == began)
        {
            let waited = self.clock.now().since(began);
            let error = Error::timeout(Stage::Run, waited, "a check of its health has not come back");
            note(&manager, &member, |health| health.failure = Some(error.to_string()));
        }
    }
}

impl<B: Backend<Connection: Transact>> Wake for Checker<B> {
    /// An alarm: of the next check, or of one that takes too long. Runs inside of setting an alarm, too.
    fn wake(self: Arc<Self>) {
        let now = self.clock.now();
        let mut state = self.lock();
        if state.stopped {
            return;
        }
        if let Some((began, _)) = state.running {
            drop(state);
            if now >= began + PATIENCE {
                self.spawn(move |checker| checker.overdue(began));
            }
            return;
        }
        state.running = Some((now, None));
        state.due = Time::NEVER;
        drop(state);
        if !self.spawn(Self::check) {
            // Without a thread: the next call that fails asks for a check again.
            self.lock().running = None;
        }
    }
}

impl<B: Backend<Connection: Transact>> fmt::Debug for Checker<B> {
    /// By hand: what it checks knows of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker")
            .field("interval", &self.interval)
            .field("state", &*self.lock())
            .finish_non_exhaustive()
    }
}

/// What a check has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Well,
    /// It is to be checked again soon.
    Troubled,
    /// It may be damaged: a thorough check says whether it is.
    Suspicious,
}

fn examine<B: Backend<Connection: Transact>>(manager: &Shared<B>, member: &Member<B>, thorough: bool) -> Found {
    let began = manager.clock.now();
    let looked = catch_unwind(AssertUnwindSafe(|| look(member, &manager.clock, began, thorough)));
    let looked = looked.unwrap_or_else(|_| Err(Failure::msg("the backend panics when it is checked")));
    let (failure, concerns, took) = match looked {
        Ok((concerns, took)) => (None, concerns, took),
        Err(failure) => (Some(Error::from_failure(failure, &*member.backend)), Vec::new(), Duration::ZERO),
    };
    let corrupt = failure.as_ref().and_then(Error::fault).is_some_and(|fault| fault.kind == FaultKind::Corrupt);
    let damage = corrupt || concerns.iter().any(|concern| matches!(concern, Concern::Damaged { .. }));
    let passed = failure.is_none();
    let writable = !concerns.iter().any(Concern::forbids_writes);
    let (before, after) = note(manager, member, |health| {
        health.failure = failure.map(|error| error.to_string());
        health.concerns = concerns;
        // For good: what a later check passes need not be what was damaged.
        health.damaged |= damage && thorough;
    });
    if after.damaged || !passed || damage {
        return if damage && !after.damaged { Found::Suspicious } else { Found::Troubled };
    }
    let open = |state| state == BreakerState::Open;
    let left_alone = open(member.breaker.state()) || open(member.write_breaker.state());
    if !before.ready || left_alone {
        recovers(manager, member, writable, took);
    }
    if left_alone { Found::Troubled } else { Found::Well }
}

/// Looks at a database on a new connection; answers what it has found, and how long the answer took once it was open.
fn look<B: Backend<Connection: Transact>>(
    member: &Member<B>,
    clock: &Arc<dyn Clock>,
    began: Time,
    thorough: bool,
) -> Result<(Vec<Concern>, Duration), Failure> {
    let mut connection = member.backend.connect(Access::Read, clock)?;
    connection.check_out(Loan::Upkeep)?;
    connection.limit(if thorough { Limit::None } else { Limit::Until(began + PATIENCE) });
    let asked = clock.now();
    connection.ping()?;
    let took = clock.now().since(asked);
    let written = member.writer.get().is_some();
    let concerns = member.backend.examine(&mut connection, written, thorough)?;
    if connection.stopped() {
        return Err(Failure::msg(format_args!("it has not answered a check within {PATIENCE:?}")));
    }
    Ok((concerns, took))
}

/// A database that was not used has passed its check: it is tried again at once, a few calls at a time.
fn recovers<B: Backend<Connection: Transact>>(manager: &Shared<B>, member: &Member<B>, writable: bool, took: Duration) {
    let now = manager.clock.now();
    if let Some(group) = manager.topologies.current().group(&member.info.group)
        && group.nodes.len() > 1
        && let Some(index) = group.nodes.iter().position(|node| node.name == member.info.name)
    {
        // So that a balancer which has learnt to avoid it tries it.
        group.shared.balancer.settled(&group.nodes, index, &Sample::new(took, false).ended(now));
    }
    member.breaker.try_again(now);
    member.breaker.tell(&member.info.name, &manager.observers);
    if writable && member.writer.get().is_some() {
        member.write_breaker.try_again(now);
        member.write_breaker.tell(&member.info.name, &manager.observers);
    }
}

/// Writes down how a database does, and tells those who pick and those who watch.
pub(crate) fn note<B: Backend<Connection: Transact>>(
    manager: &Shared<B>,
    member: &Member<B>,
    change: impl FnOnce(&mut Health),
) -> (Health, Health) {
    let (before, after) = member.record.change(change);
    if before.ready != after.ready
        && let Some(group) = manager.topologies.current().group(&member.info.group)
    {
        group.look_for_unwell();
    }
    let same = (before.ready, before.damaged, &before.concerns) == (after.ready, after.damaged, &after.concerns);
    if !same && manager.observers.wants(Interest::HEALTH) {
        manager.observers.event(&Event::Health { database: &member.info.name, health: &after });
    }
    (before, after)
}
