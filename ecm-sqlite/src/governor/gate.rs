use crate::sync::{
    Condvar, Mutex, MutexGuard, ThreadId,
    atomic::{AtomicBool, AtomicU32, Ordering::SeqCst, fence},
    current, lock,
};
use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

/// Where those who commit and the one who checkpoints meet.
///
/// Transactions that write pass it on their way in and out. While it is closed they wait before it, for as
/// long as each has patience; so the log stands still for as long as the worker needs to empty it.
///
/// There is at most one worker. Whoever has committed calls it by a load and, where there is none, by
/// taking the lock. It goes to sleep in the order *say so, look once more, sleep*, so that a commit which
/// did not call it is one that it has seen.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Transactions that are open.
    inside: AtomicU32,
    closed: AtomicBool,
    /// Whether those who begin to read wait too.
    quiet: AtomicBool,
    /// Whether there is a worker who will look at the log once more before it sleeps.
    awake: AtomicBool,
    state: Mutex<State>,
    /// Told to those who wait before the gate.
    opened: Condvar,
    /// Told to the worker, and to whoever waits for its end.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    connections: u32,
    working: bool,
    /// Which thread the worker is, once it has begun.
    worker: Option<ThreadId>,
    called: bool,
    /// Whether it helps that those who commit wait.
    pressing: bool,
    rung: bool,
}

impl Gate {
    /// A transaction is about to begin: waits while the gate is closed, at most for as long as `patience`
    /// says, which is asked for once and only if it is.
    pub(crate) fn enter(&self, patience: impl FnOnce() -> Duration) {
        self.inside.fetch_add(1, SeqCst);
        if self.closed.load(SeqCst) {
            self.wait_before(patience());
        }
    }

    /// A transaction that has entered is over.
    pub(crate) fn leave(&self) {
        self.inside.fetch_sub(1, SeqCst);
        if self.closed.load(SeqCst) {
            let _under_lock = lock(&self.state);
            self.changed.notify_all();
        }
    }

    #[cold]
    fn wait_before(&self, patience: Duration) {
        let begun = Instant::now();
        loop {
            self.leave();
            let mut state = lock(&self.state);
            while self.closed.load(SeqCst) {
                let waited = begun.elapsed();
                if waited >= patience {
                    break;
                }
                state = wait(&self.opened, state, patience - waited);
            }
            drop(state);
            self.inside.fetch_add(1, SeqCst);
            if !self.closed.load(SeqCst) || begun.elapsed() >= patience {
                return;
            }
        }
    }

    /// Whether those who begin to read wait now.
    pub(crate) fn readers_wait(&self) -> bool {
        self.quiet.load(SeqCst)
    }

    /// Somebody is about to begin to read, in no transaction yet: waits while readers have to, as
    /// [`enter`](Self::enter) does.
    pub(crate) fn wait_to_read(&self, patience: impl FnOnce() -> Duration) {
        if !self.quiet.load(SeqCst) {
            return;
        }
        let (begun, patience) = (Instant::now(), patience());
        let mut state = lock(&self.state);
        while self.quiet.load(SeqCst) {
            let waited = begun.elapsed();
            if waited >= patience {
                return;
            }
            state = wait(&self.opened, state, patience - waited);
        }
    }

    /// Something was committed after which the worker should look at the log. True if there is none: then
    /// the caller has to see that there will be one, or say [`worker_is_gone`](Self::worker_is_gone).
    pub(crate) fn call(&self) -> bool {
        // After what was committed, and before the look at whether somebody is awake.
        fence(SeqCst);
        if self.awake.load(SeqCst) {
            return false;
        }
        let mut state = lock(&self.state);
        self.awake.store(true, SeqCst);
        if state.working {
            state.called = true;
            self.changed.notify_all();
            return false;
        }
        state.working = true;
        state.called = false;
        // It may take its time to start.
        state.pressing = true;
        true
    }

    /// The log has grown so long that those who commit should wait: closes the gate while that helps.
    pub(crate) fn press(&self) {
        let state = lock(&self.state);
        // A worker who sleeps would not open it.
        if state.pressing && self.awake.load(SeqCst) {
            self.closed.store(true, SeqCst);
        }
    }

    /// Whether transactions wait before it.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// The worker begins, on this thread.
    pub(crate) fn begin(&self) {
        lock(&self.state).worker = Some(current().id());
    }

    /// The worker closes it.
    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
    }

    /// The worker has those wait who begin to read, until it opens the gate.
    pub(crate) fn hush(&self) {
        self.quiet.store(true, SeqCst);
    }

    /// The worker opens it, and says whether a long log may close it again.
    pub(crate) fn open(&self, pressing: bool) {
        let mut state = lock(&self.state);
        state.pressing = pressing;
        self.closed.store(false, SeqCst);
        self.quiet.store(false, SeqCst);
        self.opened.notify_all();
    }

    /// The worker waits until no transaction is open: true; or for this long: false.
    pub(crate) fn wait_until_empty(&self, patience: Duration) -> bool {
        let begun = Instant::now();
        let mut state = lock(&self.state);
        while self.inside.load(SeqCst) > 0 {
            let waited = begun.elapsed();
            if waited >= patience {
                return false;
            }
            state = wait(&self.changed, state, patience - waited);
        }
        drop(state);
        true
    }

    /// The worker is about to sleep, with the gate open: it has to look at the log once more now, and then either
    /// [`stay_awake`](Self::stay_awake) or [`sleep`](Self::sleep).
    pub(crate) fn doze(&self) {
        let state = lock(&self.state);
        self.awake.store(false, SeqCst);
        self.closed.store(false, SeqCst);
        self.opened.notify_all();
        drop(state);
        fence(SeqCst);
    }

    /// The worker has seen that there is more to do.
    pub(crate) fn stay_awake(&self) {
        self.awake.store(true, SeqCst);
    }

    /// The worker sleeps until it is called: true. False if nobody has for this long, or no connection is
    /// left: then it has to end, after [`is_over`](Self::is_over) has said so.
    pub(crate) fn sleep(&self, patience: Duration) -> bool {
        let begun = Instant::now();
        let mut state = lock(&self.state);
        loop {
            if std::mem::take(&mut state.called) {
                return true;
            }
            let waited = begun.elapsed();
            if state.connections == 0 || waited >= patience {
                return false;
            }
            state = wait(&self.changed, state, patience - waited);
        }
    }

    /// Whether the worker may end: from then on it is none. False if it was called meanwhile.
    pub(crate) fn is_over(&self) -> bool {
        let mut state = lock(&self.state);
        if std::mem::take(&mut state.called) && state.connections > 0 {
            return false;
        }
        self.end(&mut state);
        true
    }

    /// The worker has ended, in whatever way, or could not be started.
    pub(crate) fn worker_is_gone(&self) {
        self.end(&mut lock(&self.state));
    }

    fn end(&self, state: &mut State) {
        state.working = false;
        state.worker = None;
        state.called = false;
        state.pressing = false;
        state.rung = false;
        self.awake.store(false, SeqCst);
        self.closed.store(false, SeqCst);
        self.quiet.store(false, SeqCst);
        self.opened.notify_all();
        self.changed.notify_all();
    }

    /// The worker waits until it is rung: true; or until no connection is left: false.
    pub(crate) fn wait_for_ring(&self) -> bool {
        let mut state = lock(&self.state);
        while !state.rung && state.connections > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut state.rung)
    }

    /// Ends the worker's wait for a ring, or the next one.
    pub(crate) fn ring(&self) {
        lock(&self.state).rung = true;
        self.changed.notify_all();
    }

    /// Whether no connection is left.
    pub(crate) fn is_deserted(&self) -> bool {
        lock(&self.state).connections == 0
    }

    /// A connection has come.
    pub(crate) fn connect(&self) {
        lock(&self.state).connections += 1;
    }

    /// A connection has gone. After the last one it waits until the worker has ended, whom `stop` makes
    /// hurry; true if none has come meanwhile. The worker itself, which drops one if whoever it tells
    /// something lets go of the last one there, does not wait: it does at its end what is left.
    pub(crate) fn disconnect(&self, stop: impl FnOnce()) -> bool {
        let mut state = lock(&self.state);
        state.connections -= 1;
        if state.connections > 0 {
            return false;
        }
        self.changed.notify_all();
        drop(state);
        stop();
        let mut state = lock(&self.state);
        let me = current().id();
        if state.worker == Some(me) {
            return false;
        }
        while state.working && state.connections == 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.connections == 0
    }
}

fn wait<'s>(told: &Condvar, state: MutexGuard<'s, State>, patience: Duration) -> MutexGuard<'s, State> {
    told.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0
}
