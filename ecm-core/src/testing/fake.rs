use super::{FakeConnection, TestClock};
use crate::{
    Abilities, Access, Backend, Clock, DataVersion, Failure, Fault, FaultKind, ForeignWrites, Limit, Position, Stamp,
    Time, block_on,
};
use std::{
    collections::BTreeMap,
    error::Error as StdError,
    fmt,
    future::poll_fn,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

/// A database in memory that does as it is told: slow, failing, hanging, and always counting.
///
/// Clones are the same database. It holds numbers under names, in transactions that commit or
/// roll back. Its statements are `get NAME`, which answers one row with one column, `get`, which takes an integer for a name, `all`, which
/// answers every name and number, `set NAME`, which takes one parameter, `echo`, which answers its
/// parameter, and `endless`, which answers one number after the other until it is stopped. A limit in
/// steps counts statements, and rows of `endless`.
#[derive(Clone, Debug, Default)]
pub struct Fake(pub(super) Arc<Shared>);

/// What a [`Fake`] has been asked to do since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FakeCounts {
    /// Connections asked for, those that failed included.
    pub connects: u64,
    /// Connections that were closed.
    pub closes: u64,
    /// Loans begun.
    pub check_outs: u64,
    /// Loans ended.
    pub check_ins: u64,
    /// Connections put back into order.
    pub resets: u64,
    /// Connections that were asked whether they work.
    pub pings: u64,
    /// Statements looked at.
    pub analyses: u64,
    /// Statements begun.
    pub statements: u64,
    /// Transactions begun.
    pub begins: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Transactions rolled back.
    pub roll_backs: u64,
    /// Interrupts received.
    pub interrupts: u64,
    /// Visits of upkeep.
    pub upkeeps: u64,
    /// Visits to connections that were idle.
    pub idles: u64,
    /// Connections that keep something between loans now.
    pub kept: u64,
}

impl FakeCounts {
    /// Connections that are open now.
    ///
    /// # Panics
    /// If connects are steered to fail, since those are counted as well.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.connects.checked_sub(self.closes).expect("every connection is closed once at most")
    }
}

/// The error of a [`Fake`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FakeError {
    kind: FaultKind,
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    hanging: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) data: BTreeMap<String, i64>,
    pub(super) counts: FakeCounts,
    pub(super) read_only: bool,
    pub(super) next_connection: u64,
    pub(super) fail_connects: Fails,
    pub(super) fail_check_outs: Fails,
    pub(super) fail_statements: Fails,
    pub(super) fail_resets: Fails,
    pub(super) fail_pings: Fails,
    pub(super) fail_commits: Fails,
    pub(super) lose_commits: u32,
    pub(super) keep: Option<Duration>,
    /// How often anybody has committed.
    pub(super) version: u64,
    pub(super) schema: u64,
    pub(super) tells_writes: bool,
    pub(super) follows_rows: bool,
    file: u64,
    foreign: FakeForeignWrites,
    held_statements: u32,
    held_connects: u32,
    held_idles: u32,
    held_pings: u32,
    held_resets: u32,
    slow_statements: Duration,
    slow_connects: Option<(Duration, TestClock)>,
    sleepers: Vec<Waker>,
    pub(super) asleep: usize,
}

/// How a [`Fake`] tells of what is written past the manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FakeForeignWrites {
    /// As [`ForeignWrites::None`]: there are none.
    #[default]
    None,
    /// As [`ForeignWrites::Seen`]: a version of the data tells.
    Seen,
    /// As [`ForeignWrites::Unseen`].
    Unseen,
}

/// The version of a fake's data.
#[derive(Debug)]
struct FakeVersion {
    of: Fake,
    file: u64,
}

impl DataVersion for FakeVersion {
    fn now(&self) -> Option<Stamp> {
        let state = self.of.0.lock();
        (state.file == self.file).then_some(Stamp([state.version, 0, 0, 0, 0, 0]))
    }

    fn schema(&self) -> Option<u64> {
        Some(self.of.0.lock().schema)
    }

    fn is_over(&self) -> bool {
        self.of.0.lock().file != self.file
    }
}

#[derive(Debug, Default)]
pub(super) struct Fails {
    kind: Option<FaultKind>,
    left: u32,
}

impl Fails {
    pub(super) fn next(&mut self) -> Result<(), Failure> {
        match (self.kind, self.left.checked_sub(1)) {
            (Some(kind), Some(left)) => {
                self.left = left;
                Err(FakeError { kind }.into())
            }
            _ => Ok(()),
        }
    }
}

impl Fake {
    /// An empty database that works.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What it has been asked to do so far.
    #[must_use]
    pub fn counts(&self) -> FakeCounts {
        self.0.lock().counts
    }

    /// The number under a name, as committed.
    #[must_use]
    pub fn committed(&self, name: &str) -> Option<i64> {
        self.0.lock().data.get(name).copied()
    }

    /// The next `times` connects fail like this.
    pub fn fail_connects(&self, kind: FaultKind, times: u32) {
        self.0.lock().fail_connects = Fails { kind: Some(kind), left: times };
    }

    /// The next `times` loans cannot begin, for this reason.
    pub fn fail_check_outs(&self, kind: FaultKind, times: u32) {
        self.0.lock().fail_check_outs = Fails { kind: Some(kind), left: times };
    }

    /// The next `times` statements fail like this.
    pub fn fail_statements(&self, kind: FaultKind, times: u32) {
        self.0.lock().fail_statements = Fails { kind: Some(kind), left: times };
    }

    /// The next `times` resets fail like this.
    pub fn fail_resets(&self, kind: FaultKind, times: u32) {
        self.0.lock().fail_resets = Fails { kind: Some(kind), left: times };
    }

    /// The next `times` connections that are asked whether they work do not, for this reason.
    pub fn fail_pings(&self, kind: FaultKind, times: u32) {
        self.0.lock().fail_pings = Fails { kind: Some(kind), left: times };
    }

    /// Every connect, also one that fails, takes this long: it moves the clock on by so much.
    pub fn slow_connects(&self, span: Duration, clock: &TestClock) {
        self.0.lock().slow_connects = Some((span, clock.clone()));
    }

    /// The next `times` commits fail like this, and nothing of them is there.
    pub fn fail_commits(&self, kind: FaultKind, times: u32) {
        self.0.lock().fail_commits = Fails { kind: Some(kind), left: times };
    }

    /// The next `times` commits are done, but say that it cannot be known.
    pub fn lose_commits(&self, times: u32) {
        self.0.lock().lose_commits = times;
    }

    /// Connections that have read keep something between loans, and let go of it when they are found
    /// idle for the second time, this much later.
    ///
    /// Whether it has to be looked after is asked when a pool is made.
    pub fn keep(&self, span: Duration) {
        self.0.lock().keep = Some(span);
    }

    /// How it tells, when it is asked the next time, of what is written past the manager.
    pub fn tell_foreign_writes(&self, how: FakeForeignWrites) {
        self.0.lock().foreign = how;
    }

    /// From now on a transaction tells that it has written the one table `numbers`, and which rows of it if it is asked
    /// and their names are integers; unless it is the first of its connection, or somebody else has written since the one
    /// before. Otherwise it tells [`Written::Everything`](crate::Written::Everything).
    pub fn tell_writes(&self) {
        self.0.lock().tells_writes = true;
    }

    /// Somebody else writes a number, of whom no connection of this fake's knows.
    pub fn write_elsewhere(&self, name: &str, number: i64) {
        let mut state = self.0.lock();
        state.data.insert(name.to_owned(), number);
        state.version += 1;
    }

    /// Somebody else changes the schema.
    pub fn change_schema_elsewhere(&self) {
        let mut state = self.0.lock();
        state.schema += 1;
        state.version += 1;
    }

    /// The file is exchanged for another one: what has told of foreign writes is over.
    pub fn exchange_file(&self) {
        self.0.lock().file += 1;
    }

    /// Whether every write is refused.
    pub fn set_read_only(&self, read_only: bool) {
        self.0.lock().read_only = read_only;
    }

    /// Every statement takes this long on the clock.
    pub fn slow_statements(&self, span: Duration) {
        self.0.lock().slow_statements = span;
    }

    /// Every statement hangs, until what this returns is dropped.
    #[must_use = "nothing hangs any more once this is dropped"]
    pub fn hold_statements(&self) -> Held {
        self.0.lock().held_statements += 1;
        Held { fake: self.clone(), what: Hanging::Statements }
    }

    /// Every connect hangs, until what this returns is dropped.
    #[must_use = "nothing hangs any more once this is dropped"]
    pub fn hold_connects(&self) -> Held {
        self.0.lock().held_connects += 1;
        Held { fake: self.clone(), what: Hanging::Connects }
    }

    /// Every visit to an idle connection hangs, until what this returns is dropped.
    #[must_use = "nothing hangs any more once this is dropped"]
    pub fn hold_idles(&self) -> Held {
        self.0.lock().held_idles += 1;
        Held { fake: self.clone(), what: Hanging::Idles }
    }

    /// Every check of whether a connection works hangs, until what this returns is dropped.
    #[must_use = "nothing hangs any more once this is dropped"]
    pub fn hold_pings(&self) -> Held {
        self.0.lock().held_pings += 1;
        Held { fake: self.clone(), what: Hanging::Pings }
    }

    /// Every reset hangs, until what this returns is dropped.
    #[must_use = "nothing hangs any more once this is dropped"]
    pub fn hold_resets(&self) -> Held {
        self.0.lock().held_resets += 1;
        Held { fake: self.clone(), what: Hanging::Resets }
    }

    /// Blocks until at least `count` of all that can be made to hang do.
    ///
    /// # Panics
    /// After 30 seconds of real time, since a test that hangs tells nothing.
    pub fn wait_for_hanging(&self, count: usize) {
        let state = self.0.lock();
        let patience = Duration::from_secs(30);
        let waited = self.0.hanging.wait_timeout_while(state, patience, |state| state.asleep < count);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "waited for {count} that hang, only {} do", state.asleep);
    }
}

/// Makes a [`Fake`] hang for as long as it lives.
#[derive(Debug)]
pub struct Held {
    fake: Fake,
    what: Hanging,
}

#[derive(Clone, Copy, Debug)]
enum Hanging {
    Statements,
    Connects,
    Idles,
    Pings,
    Resets,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.fake.0.lock();
        let held = match self.what {
            Hanging::Statements => &mut state.held_statements,
            Hanging::Connects => &mut state.held_connects,
            Hanging::Idles => &mut state.held_idles,
            Hanging::Pings => &mut state.held_pings,
            Hanging::Resets => &mut state.held_resets,
        };
        *held -= 1;
        drop(state);
        self.fake.0.wake_sleepers();
    }
}

/// Why a statement of a [`Fake`] did not reach its end.
pub(super) enum Ended {
    AtItsEnd,
    ByLimit,
    ByInterrupt,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wake_sleepers(&self) {
        let sleepers = std::mem::take(&mut self.lock().sleepers);
        sleepers.into_iter().for_each(Waker::wake);
    }

    /// Takes as long as it was told to, or until it is stopped.
    pub(super) fn take_time(&self, clock: &dyn Clock, limit: Limit, interrupted: &dyn Fn() -> bool) -> Ended {
        let slow = self.lock().slow_statements;
        let done = clock.now() + slow;
        let stop = match limit {
            Limit::Until(time) => time,
            Limit::Steps(_) | Limit::None => Time::NEVER,
        };
        self.sleep(
            clock,
            &|state, now| {
                if interrupted() {
                    Some(Ended::ByInterrupt)
                } else if now >= stop {
                    Some(Ended::ByLimit)
                } else if state.held_statements > 0 {
                    None
                } else {
                    (now >= done).then_some(Ended::AtItsEnd)
                }
            },
            [done, stop],
        )
    }

    /// Hangs while visits to idle connections are told to.
    pub(super) fn be_idle(&self, clock: &dyn Clock) {
        self.hang(clock, |state| state.held_idles);
    }

    /// Hangs while checks are told to.
    pub(super) fn be_checked(&self, clock: &dyn Clock) {
        self.hang(clock, |state| state.held_pings);
    }

    /// Hangs while resets are told to.
    pub(super) fn be_reset(&self, clock: &dyn Clock) {
        self.hang(clock, |state| state.held_resets);
    }

    fn hang(&self, clock: &dyn Clock, held: fn(&State) -> u32) {
        self.sleep(clock, &|state, _| (held(state) == 0).then_some(()), [Time::NEVER; 2]);
    }

    fn sleep<T>(&self, clock: &dyn Clock, over: &dyn Fn(&State, Time) -> Option<T>, moments: [Time; 2]) -> T {
        let mut alarms = Vec::new();
        let mut asleep = false;
        block_on(poll_fn(|context| {
            let mut state = self.lock();
            let now = clock.now();
            if let Some(ended) = over(&state, now) {
                state.asleep -= usize::from(asleep);
                return Poll::Ready(ended);
            }
            state.sleepers.push(context.waker().clone());
            state.asleep += usize::from(!asleep);
            asleep = true;
            drop(state);
            alarms = moments.iter().filter(|&&at| at > now).map(|&at| clock.wake_at(at, context.waker())).collect();
            self.hanging.notify_all();
            Poll::Pending
        }))
    }
}

impl Backend for Fake {
    type Connection = FakeConnection;

    fn connect(&self, access: Access, clock: &Arc<dyn Clock>) -> Result<FakeConnection, Failure> {
        self.0.lock().counts.connects += 1;
        self.0.hang(&**clock, |state| state.held_connects);
        let slow = self.0.lock().slow_connects.clone();
        if let Some((span, clock)) = slow {
            clock.advance(span);
        }
        let mut state = self.0.lock();
        if let Err(failure) = state.fail_connects.next() {
            state.counts.closes += 1;
            return Err(failure);
        }
        state.next_connection += 1;
        Ok(FakeConnection::new(&self.0, access, Arc::clone(clock), state.next_connection))
    }

    fn classify(&self, error: &(dyn StdError + 'static)) -> Option<Fault> {
        error.downcast_ref::<FakeError>().map(|error| Fault { kind: error.kind, code: error.kind as i32 })
    }

    fn abilities(&self) -> Abilities {
        Abilities { one_writer: true, answers_in_process: true, group_commit: true }
    }

    fn keeps(&self, access: Access) -> bool {
        access == Access::Read && self.0.lock().keep.is_some()
    }

    fn position(&self) -> Option<Position> {
        Some(Position { epoch: 0, commit: self.0.lock().counts.commits })
    }

    fn describe(&self) -> String {
        "fake".into()
    }

    fn foreign_writes(&self, _clock: &Arc<dyn Clock>) -> Result<ForeignWrites, Failure> {
        let state = self.0.lock();
        Ok(match state.foreign {
            FakeForeignWrites::None => ForeignWrites::None,
            FakeForeignWrites::Unseen => ForeignWrites::Unseen,
            FakeForeignWrites::Seen => {
                ForeignWrites::Seen(Box::new(FakeVersion { of: self.clone(), file: state.file }))
            }
        })
    }

    fn follow_rows(&self, wanted: bool) {
        self.0.lock().follows_rows = wanted;
    }

    fn upkeep(&self, _writer: &mut FakeConnection, now: Time) -> Option<Time> {
        self.0.lock().counts.upkeeps += 1;
        Some(now + Duration::from_secs(1))
    }
}

impl FakeError {
    /// An error of this kind.
    #[must_use]
    pub const fn new(kind: FaultKind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for FakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "told to fail: {}", self.kind)
    }
}

impl StdError for FakeError {}
