use super::{
    Governor,
    checkpointer::{Checkpointer, is_busy},
    escalation::{Escalation, Outcome, PATIENCE, Seen, Step},
    pinned,
};
use crate::sync::lock;
use ecm_core::{Clock, Time};
use std::{
    sync::{Arc, atomic::Ordering},
    task::{Wake, Waker},
    thread,
    time::Duration,
};

/// How long the worker keeps its thread and its connection after there was something to do.
const LINGER: Duration = Duration::from_millis(50);

/// How long it waits for a transaction to end before it empties the log. Nobody waits for it meanwhile
/// who would not have to wait for that transaction.
const TRANSACTION: Duration = Duration::from_secs(1);

/// How often the worker looks whether readers have gone, while those who commit wait: for 16 ms.
const GLANCES: u32 = 64;

/// After so many of these looks those who begin to read wait too, so that those who do read come to their end.
const ALOUD: u32 = 4;

/// For how long nobody begins to hold a snapshot after held ones were asked for.
const FREE: Duration = Duration::from_millis(2);

/// Between two of these looks.
const GLANCE: Duration = Duration::from_micros(250);

/// So often frames are moved beside those who have no patience left, before their last ones are moved
/// inside SQLite's lock: where the disk is slower than they are patient.
const MOVES: u32 = 4;

/// What the worker has in its hands.
struct Work<'g> {
    governor: &'g Governor,
    clock: Arc<dyn Clock>,
    checkpointer: Option<Checkpointer>,
    escalation: Escalation,
    /// Whether it was told who stands in the way.
    told: bool,
    /// What was there when there was nothing to do.
    rested: Option<Seen>,
}

/// What the alarm of a pause rings.
struct Ring(Arc<Governor>);

/// Sees that nobody waits for a worker that has panicked.
struct Ending<'g>(Option<&'g Governor>);

impl Governor {
    /// What the worker's thread does.
    pub(super) fn work(self: Arc<Self>) {
        let mut ending = Ending(Some(&self));
        self.gate.begin();
        loop {
            if let Some(clock) = self.clock() {
                let escalation = Escalation::new(self.threshold);
                let mut work =
                    Work { governor: &self, clock, checkpointer: None, escalation, told: false, rested: None };
                self.gate.open(true);
                while work.goes_on(&self) {}
                self.moving.store(false, Ordering::Relaxed);
                lock(&self.figures).vain_since = None;
            }
            *lock(&self.interrupt) = None;
            if self.gate.is_deserted() {
                self.close();
            }
            if self.gate.is_over() {
                ending.0 = None;
                return;
            }
        }
    }

    /// After the last connection: what is left in the log is moved into the file.
    pub(super) fn close(&self) {
        let mut clock = lock(&self.clock);
        // Somebody may have come since, with a clock.
        if self.gate.is_deserted() {
            *clock = None;
        }
        drop(clock);
        let wanted = self.threshold > 0 && self.writes.load(Ordering::Relaxed) && self.opener.log_is_there();
        if !wanted {
            return;
        }
        // Where it is the last one of all processes, SQLite does the same when it closes, and removes the log.
        if let Err(error) = self.opener.open().and_then(|checkpointer| checkpointer.backfill())
            && !is_busy(&error)
        {
            self.tell_failure(&error, Duration::ZERO);
        }
    }

    fn tell_failure(&self, error: &rusqlite::Error, pause: Duration) {
        let error = error.to_string();
        let mut figures = lock(&self.figures);
        figures.failures += 1;
        figures.last_failure = Some(error.clone());
        drop(figures);
        // Whoever hears of it and asks for the status finds it there.
        self.each_observer(|observer| observer.checkpoint_failed(&error, pause));
    }
}

impl Work<'_> {
    /// Does what is next; false if there is nothing more to do.
    fn goes_on(&mut self, ring: &Arc<Governor>) -> bool {
        if self.governor.gate.is_deserted() {
            return false;
        }
        let seen = match self.look() {
            Ok(Some(seen)) => seen,
            // The journal mode was changed, and commits call nobody any more.
            Ok(None) => return false,
            Err(error) => {
                self.governor.moving.store(false, Ordering::Relaxed);
                self.failed(&error);
                return self.pause_if_asked(ring);
            }
        };
        let step = if self.rested == Some(seen) { Step::Rest } else { self.escalation.next(seen) };
        self.free_the_log(matches!(step, Step::Backfill | Step::Empty { .. }));
        match step {
            Step::Rest => return self.rest(seen),
            Step::Pause(pause) => self.pause(pause, seen, ring),
            Step::Backfill | Step::Empty { .. } => {
                self.rested = None;
                self.take(step, seen);
            }
        }
        true
    }

    /// Says whether frames are being moved. From the beginning of that on readers hold no snapshot, and let go of those
    /// they hold, so that none is in the way when the log is to be emptied: whoever waits for the gate by then would
    /// not come back to let go.
    fn free_the_log(&self, moving: bool) {
        if !self.governor.moving.swap(moving, Ordering::Relaxed)
            && moving
            && let Some(shared) = self.governor.shared.upgrade()
        {
            shared.ask_to_let_go();
        }
    }

    fn look(&mut self) -> rusqlite::Result<Option<Seen>> {
        if self.checkpointer.is_none() {
            let opened = self.governor.opener.open()?;
            *lock(&self.governor.interrupt) = Some(opened.interrupt_handle());
            self.checkpointer = Some(opened);
        }
        let Some(checkpointer) = &self.checkpointer else { return Ok(None) };
        let seen = checkpointer.look()?;
        if let Some(seen) = seen {
            self.governor.saw(seen);
        }
        Ok(seen)
    }

    fn take(&mut self, step: Step, before: Seen) {
        let Some(checkpointer) = &self.checkpointer else { return };
        let taken = match step {
            Step::Empty { cut } => self.empty(checkpointer, cut),
            _ => checkpointer.backfill(),
        };
        match taken.and_then(|outcome| Ok((outcome, self.look()?))) {
            Ok((outcome, after)) => {
                let now = self.clock.now();
                self.escalation.took(step, before, after.unwrap_or(before), outcome, now);
                self.publish(outcome);
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Empties the log while nobody of this process commits.
    fn empty(&self, checkpointer: &Checkpointer, cut: bool) -> rusqlite::Result<Outcome> {
        let gate = &self.governor.gate;
        gate.close();
        let result =
            if gate.wait_until_empty(TRANSACTION) { self.empty_still(checkpointer, cut) } else { Ok(Outcome::Busy) };
        gate.open(self.escalation.is_pressing(self.clock.now()));
        result
    }

    /// Empties a log that stands still. Frames are moved by what takes no lock that commits need, so that
    /// nobody is blocked inside SQLite while the disk works; only once all are moved the lock is taken, for
    /// a moment, to see that no reader is left in the log. Never waits for one inside SQLite.
    fn empty_still(&self, checkpointer: &Checkpointer, cut: bool) -> rusqlite::Result<Outcome> {
        let nothing = Seen { frames: 0, backfilled: 0, log: 0 };
        let look = || Ok::<_, rusqlite::Error>(checkpointer.look()?.unwrap_or(nothing));
        let mut moves = 0;
        for glance in 0..GLANCES {
            if glance == ALOUD {
                self.governor.gate.hush();
                self.let_go();
            }
            if glance > 0 {
                thread::sleep(GLANCE);
            }
            let mut seen = look()?;
            if !seen.is_whole() && moves < MOVES {
                checkpointer.backfill()?;
                let before = std::mem::replace(&mut seen, look()?);
                // Where readers stood in the way nothing was moved, and hardly any time was lost.
                moves += u32::from(seen.backfilled > before.backfilled);
            }
            if (seen.is_whole() || moves >= MOVES) && checkpointer.empty(cut)? == Outcome::Done {
                return Ok(Outcome::Done);
            }
        }
        Ok(Outcome::Busy)
    }

    fn publish(&mut self, outcome: Outcome) {
        let mut figures = lock(&self.governor.figures);
        figures.vain_since = self.escalation.vain_since();
        if outcome == Outcome::Done {
            figures.checkpoints += 1;
            figures.last_failure = None;
        }
        self.told &= figures.vain_since.is_some();
    }

    /// The disk has failed: what the connection has in memory is not trusted any more.
    fn failed(&mut self, error: &rusqlite::Error) {
        *lock(&self.governor.interrupt) = None;
        self.checkpointer = None;
        self.rested = None;
        if is_busy(error) {
            let nothing = Seen { frames: 0, backfilled: 0, log: 0 };
            return self.escalation.took(Step::Backfill, nothing, nothing, Outcome::Busy, self.clock.now());
        }
        self.escalation.failed();
        if let Some(pause) = self.escalation.pause() {
            self.governor.tell_failure(error, pause);
        }
    }

    /// Waits after the log could not even be looked at.
    fn pause_if_asked(&mut self, ring: &Arc<Governor>) -> bool {
        if let Some(pause) = self.escalation.take_pause() {
            self.wait(pause, ring);
        }
        true
    }

    fn pause(&mut self, pause: Duration, seen: Seen, ring: &Arc<Governor>) {
        self.let_go();
        let now = self.clock.now();
        if let Some(since) = self.escalation.vain_since()
            && now.since(since) >= PATIENCE
            && !std::mem::replace(&mut self.told, true)
        {
            self.tell_pinned(now.since(since), seen);
        }
        self.wait(pause, ring);
    }

    /// Asks for the snapshots that readers hold.
    fn let_go(&self) {
        if let Some(shared) = self.governor.shared.upgrade() {
            shared.ask_to_let_go();
            shared.hold_nothing_until(self.clock.now() + FREE);
        }
    }

    fn tell_pinned(&self, age: Duration, seen: Seen) {
        let by = pinned(self.governor.oldest_loan(), age);
        self.governor.each_observer(|observer| observer.pinned(&by, seen.frames.into()));
    }

    fn wait(&self, pause: Duration, ring: &Arc<Governor>) {
        let gate = &self.governor.gate;
        let now = self.clock.now();
        gate.open(self.escalation.is_pressing(now));
        let until: Time = now + pause;
        let waker = Waker::from(Arc::new(Ring(Arc::clone(ring))));
        while self.clock.now() < until {
            let _alarm = self.clock.wake_at(until, &waker);
            if !gate.wait_for_ring() {
                break;
            }
        }
    }

    /// Rests until somebody calls; false if nobody does.
    fn rest(&mut self, seen: Seen) -> bool {
        let gate = &self.governor.gate;
        self.rested = Some(seen);
        lock(&self.governor.figures).vain_since = self.escalation.vain_since();
        gate.open(self.escalation.is_pressing(self.clock.now()));
        gate.doze();
        // Once more, because whoever committed while this was awake has not called.
        if self.look().is_ok_and(|again| again == Some(seen)) {
            return gate.sleep(LINGER);
        }
        gate.stay_awake();
        true
    }
}

impl Governor {
    fn saw(&self, seen: Seen) {
        self.frames.store(seen.frames, Ordering::Relaxed);
        self.backfilled.store(seen.backfilled, Ordering::Relaxed);
    }
}

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        self.0.gate.ring();
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if let Some(governor) = self.0 {
            governor.moving.store(false, Ordering::Relaxed);
            governor.gate.worker_is_gone();
        }
    }
}
