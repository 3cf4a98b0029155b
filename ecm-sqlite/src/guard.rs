use crate::{fault, recording::Recording, sqlite::Shared, write_log::WriteLog};
use ecm_core::{Access, Clock, Limit, Time};
use rusqlite::{Connection, ffi};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// How many instructions of SQLite's machine pass between two looks at the limit.
pub(crate) const STEPS_PER_TICK: u32 = 1_000;

/// How long the wait for a lock sleeps between two tries. Constant, so that who has waited longest
/// does not ask more rarely than a newcomer.
const WAIT_STEP: Duration = Duration::from_millis(1);

/// After how many steps of waiting, again and again, the held snapshots of all connections are let go
/// of: whoever has the lock may wait for readers.
const PATIENCE: i32 = 3;

/// For how long nobody begins to hold a snapshot after that.
const AFTER_A_REQUEST: Duration = Duration::from_millis(10);

const UNLIMITED: u64 = u64::MAX;

/// What the hooks of one connection know about the loan it is in.
///
/// The hooks are installed once, because installing an authorizer anew makes every prepared
/// statement of the connection expire; what they answer is switched here. All of it is used by the
/// thread that uses the connection, so the atomics order nothing: they only allow sharing.
#[derive(Debug)]
pub(crate) struct Guard {
    clock: Arc<dyn Clock>,
    /// Whose readers are asked to let go when this waits for a lock.
    shared: Arc<Shared>,
    busy_timeout: Duration,
    mode: AtomicU8,
    commit_allowed: AtomicBool,
    in_transaction: AtomicBool,
    deadline: AtomicU64,
    ticks_left: AtomicU64,
    stopped: AtomicBool,
    /// Whether somebody has interrupted the loan: SQLite itself forgets an interrupt that comes between two statements.
    interrupted: Arc<AtomicBool>,
    /// Whether the thread must not wait.
    in_place: AtomicBool,
    waiting_since: AtomicU64,
    /// Whether a statement exists that may set the journal mode or the locking mode.
    modes_may_change: Arc<AtomicBool>,
    recording: Mutex<Option<Recording>>,
    refusal: Mutex<Option<String>>,
    /// What the transaction writes; `None` on a connection that only reads.
    writes: Option<Mutex<WriteLog>>,
    /// Whether the hook of updates is installed, so that what is written is told by rows.
    follows_rows: AtomicBool,
    /// Where in the log the last commit ended; 0 if it wrote nothing.
    committed_at: AtomicU32,
}

/// Who runs statements on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    /// A closure, or a statement of a caller's: what would outlive the loan is refused.
    Lent = 0,
    /// ECM itself, or a borrower of the whole connection: everything is allowed.
    Open = 1,
    /// ECM begins something: nothing stops it, but waiting for a lock ends with the loan's deadline.
    Begin = 2,
    /// ECM ends something: nothing stops it, and waiting for a lock takes the configured time.
    End = 3,
}

/// A mode that lasts until this is dropped, when the one before comes back.
#[derive(Debug)]
pub(crate) struct Entered<'g> {
    guard: &'g Guard,
    before: u8,
}

impl Guard {
    pub(crate) fn new(clock: Arc<dyn Clock>, shared: Arc<Shared>, access: Access, busy_timeout: Duration) -> Self {
        Self {
            clock,
            shared,
            busy_timeout,
            mode: AtomicU8::new(Mode::Open as u8),
            commit_allowed: AtomicBool::new(false),
            in_transaction: AtomicBool::new(false),
            deadline: AtomicU64::new(UNLIMITED),
            ticks_left: AtomicU64::new(UNLIMITED),
            stopped: AtomicBool::new(false),
            interrupted: Arc::default(),
            in_place: AtomicBool::new(false),
            waiting_since: AtomicU64::new(0),
            modes_may_change: Arc::default(),
            recording: Mutex::default(),
            refusal: Mutex::default(),
            writes: (access == Access::Write).then(Mutex::default),
            follows_rows: AtomicBool::new(false),
            committed_at: AtomicU32::new(0),
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        match self.mode.load(Relaxed) {
            1 => Mode::Open,
            2 => Mode::Begin,
            3 => Mode::End,
            _ => Mode::Lent,
        }
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.mode.store(mode as u8, Relaxed);
    }

    /// Switches the mode until the answer is dropped.
    pub(crate) fn enter(&self, mode: Mode) -> Entered<'_> {
        // Two steps, which is cheaper than one: nobody else sets it.
        let before = self.mode.load(Relaxed);
        self.set_mode(mode);
        Entered { guard: self, before }
    }

    /// Sets whether commits of the writer pass.
    pub(crate) fn allow_commit(&self, allow: bool) {
        self.commit_allowed.store(allow, Relaxed);
    }

    /// Whether the commit that is about to happen must not: the answer of the commit hook.
    pub(crate) fn vetoes_commit(&self) -> bool {
        !self.commit_allowed.load(Relaxed) && self.mode() != Mode::Open
    }

    /// Remembers whether the loan lives in a transaction.
    pub(crate) fn set_in_transaction(&self, inside: bool) {
        self.in_transaction.store(inside, Relaxed);
    }

    pub(crate) fn is_in_transaction(&self) -> bool {
        self.in_transaction.load(Relaxed)
    }

    /// Refuses to run anything once the transaction of the loan is gone: the next statement would
    /// see another state of the database, or commit on its own.
    pub(crate) fn still_in_transaction(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.is_in_transaction() && connection.is_autocommit() {
            return Err(fault::worded(
                ffi::SQLITE_ABORT_ROLLBACK,
                "the transaction is gone, since an earlier error made SQLite roll it back: nothing more runs in it",
            ));
        }
        Ok(())
    }

    pub(crate) fn limit(&self, limit: Limit) {
        let (deadline, ticks) = match limit {
            Limit::None => (UNLIMITED, UNLIMITED),
            // One tick more, because SQLite goes on counting where the last run of a statement ended.
            Limit::Steps(steps) => (UNLIMITED, steps.div_ceil(STEPS_PER_TICK.into())),
            Limit::Until(moment) => (moment.as_nanos(), UNLIMITED),
        };
        self.deadline.store(deadline, Relaxed);
        self.ticks_left.store(ticks, Relaxed);
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// What stops whatever runs in the loan from now on, when another thread sets it.
    pub(crate) fn interrupted(&self) -> &Arc<AtomicBool> {
        &self.interrupted
    }

    /// Nothing waits from now on, until the loan ends.
    pub(crate) fn never_wait(&self) {
        self.in_place.store(true, Relaxed);
    }

    /// What the loan is for would have to wait, and must not: nothing runs in it any more.
    pub(crate) fn decline(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// Whether the loan was given up before anything has run.
    pub(crate) fn has_declined(&self) -> bool {
        self.in_place.load(Relaxed) && self.stopped()
    }

    /// Forgets the loan: no limit, no transaction, nothing stopped, and the strict mode.
    pub(crate) fn end_loan(&self) {
        self.limit(Limit::None);
        self.stopped.store(false, Relaxed);
        self.in_place.store(false, Relaxed);
        self.interrupted.store(false, Relaxed);
        self.allow_commit(false);
        self.set_in_transaction(false);
        self.set_mode(Mode::Lent);
    }

    /// Whether what runs must stop: the answer of the progress handler.
    pub(crate) fn must_stop(&self) -> bool {
        // SQLite also asks after a COMMIT has committed, and would report it as interrupted.
        if matches!(self.mode(), Mode::Begin | Mode::End) {
            return false;
        }
        if self.interrupted.load(Relaxed) {
            return true;
        }
        let ticks = self.ticks_left.load(Relaxed);
        let out_of_ticks = ticks == 0;
        if !out_of_ticks && ticks != UNLIMITED {
            self.ticks_left.store(ticks - 1, Relaxed);
        }
        let stop = out_of_ticks || self.past_deadline();
        if stop {
            self.stopped.store(true, Relaxed);
        }
        stop
    }

    /// Sleeps a step and answers true, or gives the lock up: the answer of the busy handler.
    ///
    /// `tries` counts as well as the clock, so that a clock that stands still ends the wait too.
    pub(crate) fn wait_for_lock(&self, tries: i32) -> bool {
        if self.in_place.load(Relaxed) && self.mode() != Mode::End {
            self.decline();
            return false;
        }
        let now = self.clock.now();
        if tries == 0 {
            self.waiting_since.store(now.as_nanos(), Relaxed);
        }
        if tries > 0 && tries % PATIENCE == 0 {
            self.shared.ask_to_let_go();
            self.shared.hold_nothing_until(now + AFTER_A_REQUEST);
        }
        if self.mode() != Mode::End && self.past_deadline() {
            self.stopped.store(true, Relaxed);
            return false;
        }
        let waited = now.since(Time::from_nanos(self.waiting_since.load(Relaxed)));
        let slept = WAIT_STEP.saturating_mul(tries.max(0).unsigned_abs());
        if waited.max(slept) >= self.busy_timeout {
            return false;
        }
        thread::sleep(WAIT_STEP);
        true
    }

    /// For how long the loan may go on.
    pub(crate) fn time_left(&self) -> Duration {
        let deadline = self.deadline.load(Relaxed);
        if deadline == UNLIMITED { Duration::MAX } else { Time::from_nanos(deadline).since(self.clock.now()) }
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    fn past_deadline(&self) -> bool {
        let deadline = self.deadline.load(Relaxed);
        deadline != UNLIMITED && self.clock.now() >= Time::from_nanos(deadline)
    }

    /// What the transaction writes, on a connection that writes.
    pub(crate) fn writes(&self) -> Option<MutexGuard<'_, WriteLog>> {
        self.writes.as_ref().map(lock)
    }

    /// Whether it is kept what is written: on a connection that writes.
    pub(crate) fn logs_writes(&self) -> bool {
        self.writes.is_some()
    }

    /// Remembers whether the hook of updates is installed.
    pub(crate) fn follow_rows(&self, follow: bool) {
        self.follows_rows.store(follow, Relaxed);
    }

    pub(crate) fn follows_rows(&self) -> bool {
        self.follows_rows.load(Relaxed)
    }

    /// The log was written up to this frame by a commit: what the hook of the log is told.
    pub(crate) fn committed_at(&self, frame: u32) {
        self.committed_at.store(frame, Relaxed);
    }

    /// Where the commits since the last call have ended in the log; 0 if none wrote anything.
    pub(crate) fn take_committed_at(&self) -> u32 {
        self.committed_at.swap(0, Relaxed)
    }

    /// Whether a statement was prepared that may set the journal mode or the locking mode, which takes
    /// the wal-index away. Once true it stays so: nobody knows when the statement runs.
    pub(crate) fn modes_may_change(&self) -> &Arc<AtomicBool> {
        &self.modes_may_change
    }

    /// Starts to record what the authorizer sees.
    pub(crate) fn start_recording(&self) {
        *lock(&self.recording) = Some(Recording::default());
    }

    /// Ends the recording and answers it.
    pub(crate) fn stop_recording(&self) -> Recording {
        lock(&self.recording).take().unwrap_or_default()
    }

    /// The recording, if one is going on.
    pub(crate) fn recording(&self) -> MutexGuard<'_, Option<Recording>> {
        lock(&self.recording)
    }

    /// Keeps why the authorizer refused: SQLite itself only says "not authorized".
    pub(crate) fn refuse(&self, reason: String) {
        *lock(&self.refusal) = Some(reason);
    }

    /// The error, with the reason in place of SQLite's words if the authorizer refused, or if the limit of the
    /// loan has stopped it.
    pub(crate) fn explain(&self, error: rusqlite::Error) -> rusqlite::Error {
        match fault::code_of(&error) & 0xff {
            ffi::SQLITE_AUTH => match lock(&self.refusal).take() {
                Some(reason) => fault::worded(ffi::SQLITE_AUTH, reason),
                None => error,
            },
            ffi::SQLITE_INTERRUPT if self.stopped() && self.deadline.load(Relaxed) == UNLIMITED => {
                fault::worded(fault::code_of(&error), "interrupted: the call has taken all the steps that it may take")
            }
            ffi::SQLITE_INTERRUPT if self.stopped() => {
                fault::worded(fault::code_of(&error), "interrupted: the deadline of the call has passed")
            }
            ffi::SQLITE_BUSY if self.stopped() => {
                fault::worded(fault::code_of(&error), "database is locked, and the deadline of the call has passed")
            }
            _ => error,
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.guard.mode.store(self.before, Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecm_core::testing::TestClock;

    fn guard() -> (TestClock, Guard) {
        let clock = TestClock::new();
        let guard = Guard::new(Arc::new(clock.clone()), Arc::default(), Access::Read, Duration::from_secs(30));
        guard.end_loan();
        (clock, guard)
    }

    #[test]
    fn what_ecm_begins_and_ends_is_never_stopped_by_a_limit() {
        let (clock, guard) = guard();
        clock.advance(Duration::from_secs(1));
        for limit in [Limit::Until(Time::START), Limit::Steps(0)] {
            guard.limit(limit);
            for mode in [Mode::Begin, Mode::End] {
                let _entered = guard.enter(mode);
                assert!(!guard.must_stop(), "{mode:?}: a COMMIT would be told as interrupted after it has committed");
                assert!(!guard.stopped());
            }
            assert!(guard.must_stop());
            assert!(guard.stopped());
            guard.end_loan();
            assert!(!guard.must_stop() && !guard.stopped(), "nothing of one loan reaches the next");
        }
    }

    #[test]
    fn a_mode_inside_a_mode_ends_with_its_own() {
        let (_clock, guard) = guard();
        let outer = guard.enter(Mode::Begin);
        let inner = guard.enter(Mode::End);
        drop(inner);
        assert_eq!(guard.mode(), Mode::Begin);
        drop(outer);
        assert_eq!(guard.mode(), Mode::Lent);
    }

    #[test]
    fn a_commit_passes_only_where_it_was_allowed_or_everything_is() {
        let (_clock, guard) = guard();
        for mode in [Mode::Lent, Mode::Begin, Mode::End] {
            guard.set_mode(mode);
            assert!(guard.vetoes_commit(), "{mode:?}");
        }
        guard.allow_commit(true);
        assert!(!guard.vetoes_commit());
        guard.end_loan();
        assert!(guard.vetoes_commit());
        guard.set_mode(Mode::Open);
        assert!(!guard.vetoes_commit());
    }

    #[test]
    fn the_wait_for_a_lock_ends_with_the_limit_but_that_of_a_commit_does_not() {
        let (clock, guard) = guard();
        guard.limit(Limit::Until(clock.now() + Duration::from_secs(1)));
        assert!(guard.wait_for_lock(0));
        clock.advance(Duration::from_secs(1));
        let entered = guard.enter(Mode::End);
        assert!(guard.wait_for_lock(1));
        drop(entered);
        assert!(!guard.stopped());
        assert!(!guard.wait_for_lock(2));
        assert!(guard.stopped());
    }

    #[test]
    fn what_runs_in_place_waits_for_no_lock_and_counts_as_stopped() {
        let (_clock, guard) = guard();
        guard.never_wait();
        assert!(!guard.has_declined());
        assert!(!guard.wait_for_lock(0));
        assert!(guard.has_declined() && guard.stopped());
        guard.end_loan();
        assert!(guard.wait_for_lock(0), "nothing of it reaches the next loan");
    }

    #[test]
    fn the_wait_for_a_lock_ends_with_the_configured_time_by_either_count() {
        let (clock, guard) = guard();
        assert!(guard.wait_for_lock(0));
        clock.advance(Duration::from_secs(30));
        assert!(!guard.wait_for_lock(1), "by the clock");
        assert!(guard.wait_for_lock(0), "another wait");
        assert!(!guard.wait_for_lock(30_000), "a clock that stands still ends it too");
        assert!(!guard.stopped(), "it is no limit of the loan");
    }
}
