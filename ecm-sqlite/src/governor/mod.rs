//! Who keeps the log of a database short.
//!
//! Nothing is checkpointed inside a commit. The hook of the log tells how long it is, and calls the worker
//! once that is too long: a thread that lives while there is something to do, with a connection of its own.
//! What it does is decided by [`escalation`], as plain data; who waits for whom is [`gate`].

mod checkpointer;
mod escalation;
mod gate;
mod presence;
mod worker;

pub(crate) use presence::Presence;

use crate::{
    Sqlite,
    sqlite::Shared,
    sync::{Mutex, lock},
};
use checkpointer::Opener;
use ecm_core::{Clock, LogObserver, LogStatus, OldestLoan, Pinned, Time};
use escalation::{Escalation, PATIENCE};
use gate::Gate;
use rusqlite::InterruptHandle;
use std::{
    fmt,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

/// For how long somebody who is about to commit waits for the log to be emptied, at most.
const BEFORE_THE_GATE: Duration = Duration::from_millis(16);

/// As above, for somebody who is about to read.
const READERS: Duration = Duration::from_millis(5);

/// Keeps the log of one database short. See the module.
pub(crate) struct Governor {
    opener: Opener,
    /// From how many frames on it acts; 0 for never.
    threshold: u32,
    gate: Gate,
    /// Whether frames are being moved, after which the log may have to be emptied.
    moving: AtomicBool,
    /// Whose readers are asked to let go.
    shared: Weak<Shared>,
    observers: Mutex<Vec<Weak<dyn LogObserver>>>,
    /// `None` while no connection is open.
    clock: Mutex<Option<Arc<dyn Clock>>>,
    /// Stops the worker's connection.
    interrupt: Mutex<Option<InterruptHandle>>,
    /// Whether a connection of this process has been opened for writing.
    writes: AtomicBool,
    frames: AtomicU32,
    backfilled: AtomicU32,
    figures: Mutex<Figures>,
}

/// What is told in the status and nowhere else.
#[derive(Debug, Default)]
struct Figures {
    checkpoints: u64,
    failures: u64,
    last_failure: Option<String>,
    vain_since: Option<Time>,
}

impl Governor {
    /// `None` for a database without a log.
    pub(crate) fn of(database: &Sqlite) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            opener: Opener::of(database)?,
            threshold: database.config.wal_autocheckpoint,
            gate: Gate::default(),
            moving: AtomicBool::new(false),
            shared: Arc::downgrade(&database.shared),
            observers: Mutex::default(),
            clock: Mutex::default(),
            interrupt: Mutex::default(),
            writes: AtomicBool::new(false),
            frames: AtomicU32::new(0),
            backfilled: AtomicU32::new(0),
            figures: Mutex::default(),
        }))
    }

    /// A commit has made the log so long: what the hook of the log is told.
    pub(crate) fn committed(self: &Arc<Self>, frames: u32) {
        if frames < self.frames.swap(frames, Ordering::Relaxed) {
            self.backfilled.store(0, Ordering::Relaxed);
        }
        if self.threshold == 0 || frames < self.threshold {
            return;
        }
        if self.gate.call() {
            let governor = Arc::clone(self);
            let started = thread::Builder::new().name("ecm-checkpoint".into()).spawn(move || governor.work());
            if started.is_err() {
                // The next commit tries again.
                self.gate.worker_is_gone();
            }
        }
        if frames >= Escalation::high_water(self.threshold) {
            self.gate.press();
        }
    }

    /// Whether readers should hold nothing, since somebody waits for them, or is about to.
    pub(crate) fn wants_readers_gone(&self) -> bool {
        self.moving.load(Ordering::Relaxed) || self.gate.is_closed()
    }

    pub(crate) fn observe(&self, observer: Weak<dyn LogObserver>) {
        let mut observers = lock(&self.observers);
        observers.retain(|observer| observer.strong_count() > 0);
        observers.push(observer);
    }

    /// The log, if somebody of this process writes it.
    pub(crate) fn status(&self) -> Option<LogStatus> {
        if !self.writes.load(Ordering::Relaxed) {
            return None;
        }
        let vain_since = lock(&self.figures).vain_since;
        let oldest = self.oldest_loan();
        let pinned = vain_since.zip(self.clock()).and_then(|(since, clock)| {
            let age = clock.now().since(since);
            (age >= PATIENCE).then(|| pinned(oldest, age))
        });
        let figures = lock(&self.figures);
        let mut status = LogStatus::default();
        status.frames = self.frames.load(Ordering::Relaxed).into();
        status.backfilled = u64::from(self.backfilled.load(Ordering::Relaxed)).min(status.frames);
        status.threshold = self.threshold.into();
        status.oldest_snapshot = oldest.map(|loan| loan.age);
        status.pinned = pinned;
        status.checkpoints = figures.checkpoints;
        status.failures = figures.failures;
        status.last_failure.clone_from(&figures.last_failure);
        Some(status)
    }

    fn clock(&self) -> Option<Arc<dyn Clock>> {
        lock(&self.clock).clone()
    }

    fn oldest_loan(&self) -> Option<OldestLoan> {
        let mut oldest: Option<OldestLoan> = None;
        self.each_observer(|observer| {
            let loan = observer.oldest_loan();
            oldest = [oldest, loan].into_iter().flatten().max_by_key(|loan| loan.age);
        });
        oldest
    }

    fn each_observer(&self, mut each: impl FnMut(&dyn LogObserver)) {
        let observers: Vec<_> = lock(&self.observers).iter().filter_map(Weak::upgrade).collect();
        for observer in observers {
            // Of a panic the panic hook has told; the log has to be kept short all the same.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| each(&*observer)));
        }
    }
}

/// Who has kept the log from being emptied for so long: the oldest loan, if it is as old as that.
fn pinned(oldest: Option<OldestLoan>, age: Duration) -> Pinned {
    match oldest.filter(|loan| loan.age >= age) {
        Some(loan) => Pinned::new(loan.location, loan.age),
        None => Pinned::new(None, age),
    }
}

impl fmt::Debug for Governor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Governor").field("threshold", &self.threshold).field("gate", &self.gate).finish_non_exhaustive()
    }
}
