use crate::{
    Cause, Figures, Mode,
    figures::Counted,
    recovery::Recovery,
    sync::{AtomicU64, Ordering},
    trials::Trials,
    word::{State, Word},
};
use ecm_core::{BreakerState, Permit, Rejected, Time};

/// The epoch of a permit whose outcome counts for nothing: no word has it.
const UNCOUNTED: u64 = u64::MAX;

/// The states of a breaker and the ways between them, whatever opens it.
///
/// What decides about a call is one word, so that a change of state is one compare-and-swap. How long it stays
/// open and how many trials it takes is told with each question, and may differ from one to the next.
#[derive(Debug)]
pub(crate) struct Gate {
    word: AtomicU64,
    mode: AtomicU64,
    trials: AtomicU64,
    counted: Counted,
}

/// How a trial has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trial {
    Succeeded,
    Failed,
    Abandoned,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(Word::CLOSED.0),
            mode: AtomicU64::new(Mode::ENFORCING),
            trials: AtomicU64::new(Trials::none(Word::CLOSED.epoch()).0),
            counted: Counted::default(),
        }
    }

    #[inline]
    pub(crate) fn word(&self) -> Word {
        Word(self.word.load(Ordering::SeqCst))
    }

    /// Whether a call that was admitted in this epoch, and was no trial, still counts.
    #[inline]
    pub(crate) fn is_closed_in(&self, epoch: u64) -> bool {
        let word = self.word();
        word.is_closed() && word.epoch() == epoch
    }

    pub(crate) fn trials(&self) -> Trials {
        Trials(self.trials.load(Ordering::Acquire))
    }

    pub(crate) fn mode(&self) -> Mode {
        Mode::from_word(self.mode.load(Ordering::Relaxed))
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.mode.store(mode.word(), Ordering::Relaxed);
    }

    pub(crate) fn figures(&self) -> Figures {
        self.counted.figures()
    }

    /// An outcome came back after its state was over.
    #[cold]
    pub(crate) fn late(&self, epoch: u64) {
        if epoch != UNCOUNTED {
            self.counted.late();
        }
    }

    /// Whether the outcome of this permit is to be looked at.
    #[inline]
    pub(crate) fn counts(permit: Permit) -> bool {
        permit.epoch != UNCOUNTED
    }

    #[inline]
    pub(crate) fn admit<'r>(&self, now: Time, recovery: impl FnOnce() -> &'r Recovery) -> Result<Permit, Rejected> {
        let word = self.word();
        if word.is_closed() && self.mode.load(Ordering::Relaxed) == Mode::ENFORCING {
            Ok(Permit { epoch: word.epoch(), probe: false })
        } else {
            self.admit_by_mode(now, recovery())
        }
    }

    #[cold]
    fn admit_by_mode(&self, now: Time, recovery: &Recovery) -> Result<Permit, Rejected> {
        let uncounted = Permit { epoch: UNCOUNTED, probe: false };
        match self.mode() {
            Mode::Enforcing => self.admit_by_state(now, recovery).inspect_err(|_| self.counted.refused()),
            Mode::Observing => Ok(self.admit_by_state(now, recovery).unwrap_or_else(|_| {
                self.counted.withheld();
                uncounted
            })),
            Mode::ForcedOpen => {
                self.counted.refused();
                Err(Rejected { until: Time::NEVER })
            }
            Mode::Disabled => Ok(uncounted),
        }
    }

    fn admit_by_state(&self, now: Time, recovery: &Recovery) -> Result<Permit, Rejected> {
        loop {
            let word = self.word();
            match word.state() {
                State::Closed { .. } => return Ok(Permit { epoch: word.epoch(), probe: false }),
                State::Open { until } if now < until => return Err(Rejected { until }),
                State::Open { .. } => {
                    self.moved(word, word.then_half_open(now + recovery.half_open_timeout));
                }
                State::HalfOpen { until } => {
                    if let Some(answer) = self.try_half_open(word, until, now, recovery) {
                        return answer;
                    }
                }
            }
        }
    }

    /// Admits a trial, or refuses; `None` if the state has changed, and the question is to be asked again.
    fn try_half_open(
        &self,
        mut word: Word,
        until: Time,
        now: Time,
        recovery: &Recovery,
    ) -> Option<Result<Permit, Rejected>> {
        let seen = self.trials();
        let trials = if seen.epoch() == word.epoch() { seen } else { Trials::none(word.epoch()) };
        if now >= until {
            if trials.under_way() > 0 {
                self.open(word, until, Cause::HangingTrial, recovery);
                return None;
            }
            // Nothing hangs, nobody asked: no reason to think worse of the database.
            let renewed = word.half_open_until(now + recovery.half_open_timeout);
            if !self.moved(word, renewed) {
                return None;
            }
            word = renewed;
        }
        if trials.under_way() >= recovery.half_open_max_calls {
            return Some(Err(Rejected { until }));
        }
        // Had the state moved on before the trials were read, they might be those of a later epoch, and
        // must not be thrown away. If it has not, whatever else they are is of an earlier one.
        if self.word() != word {
            return None;
        }
        let begun = self.trials.compare_exchange(seen.0, trials.begun().0, Ordering::AcqRel, Ordering::Acquire);
        begun.is_ok().then_some(Ok(Permit { epoch: word.epoch(), probe: true }))
    }

    /// A call that was no trial has succeeded: the next failure is the first in a row.
    #[inline]
    pub(crate) fn succeeded(&self, epoch: u64) {
        let without_failures = Word::closed(epoch, 0);
        let mut word = self.word();
        while word != without_failures {
            if !word.is_closed() || word.epoch() != epoch {
                return self.late(epoch);
            }
            if self.moved(word, without_failures) {
                return;
            }
            word = self.word();
        }
    }

    /// A call that was no trial has failed; the `threshold`th in a row opens it.
    pub(crate) fn failed(&self, epoch: u64, now: Time, threshold: u64, recovery: &Recovery) {
        loop {
            let word = self.word();
            let failures = match word.state() {
                State::Closed { failures } if word.epoch() == epoch => failures + 1,
                _ => return self.late(epoch),
            };
            let done = if failures >= threshold {
                self.open(word, now, Cause::ConsecutiveFailures, recovery)
            } else {
                self.moved(word, Word::closed(epoch, failures))
            };
            if done {
                return;
            }
        }
    }

    /// Opens it, if it is still closed in this epoch.
    pub(crate) fn trip(&self, epoch: u64, now: Time, cause: Cause, recovery: &Recovery) {
        loop {
            let word = self.word();
            if !word.is_closed() || word.epoch() != epoch || self.open(word, now, cause, recovery) {
                return;
            }
        }
    }

    /// A trial has ended. `before_closing` is run by everybody who is about to close it, while it is half-open
    /// in this epoch, as its argument tells.
    pub(crate) fn tried(
        &self,
        epoch: u64,
        trial: Trial,
        now: Time,
        recovery: &Recovery,
        before_closing: impl Fn(&dyn Fn() -> bool),
    ) {
        loop {
            let word = self.word();
            let until = match word.state() {
                State::HalfOpen { until } if word.epoch() == epoch => until,
                _ => return self.late(epoch),
            };
            // One that comes back after the deadline was under way when it passed.
            if now >= until || trial == Trial::Failed {
                let cause = if now >= until { Cause::HangingTrial } else { Cause::FailedTrial };
                if self.open(word, now.min(until), cause, recovery) {
                    return;
                }
                continue;
            }
            let seen = self.trials();
            if seen.epoch() != epoch {
                return;
            }
            let Some(ended) = seen.ended(trial == Trial::Succeeded) else { return };
            if self.trials.compare_exchange(seen.0, ended.0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                if ended.succeeded() >= recovery.success_threshold {
                    before_closing(&|| self.is_half_open_in(epoch));
                    self.close(epoch);
                }
                return;
            }
        }
    }

    fn is_half_open_in(&self, epoch: u64) -> bool {
        let word = self.word();
        word.epoch() == epoch && matches!(word.state(), State::HalfOpen { .. })
    }

    fn close(&self, epoch: u64) {
        loop {
            let word = self.word();
            let half_open = matches!(word.state(), State::HalfOpen { .. });
            if !half_open || word.epoch() != epoch {
                return;
            }
            if self.moved(word, word.then_closed()) {
                return self.counted.closed();
            }
        }
    }

    pub(crate) fn resume(&self, from: BreakerState, now: Time, recovery: &Recovery) {
        loop {
            let word = self.word();
            let done = match from {
                BreakerState::HalfOpen if matches!(word.state(), State::Open { .. }) => {
                    self.moved(word, word.then_half_open(now + recovery.half_open_timeout))
                }
                _ if !word.is_closed() => return,
                BreakerState::Open => self.open(word, now, Cause::Resumed, recovery),
                BreakerState::HalfOpen => self.moved(word, word.then_half_open(now + recovery.half_open_timeout)),
                _ => return,
            };
            if done {
                return;
            }
        }
    }

    /// What it does, as callers see it.
    pub(crate) fn state(&self) -> BreakerState {
        match self.mode() {
            Mode::Enforcing => self.would_be(),
            Mode::ForcedOpen => BreakerState::Open,
            Mode::Observing | Mode::Disabled => BreakerState::Closed,
        }
    }

    /// What it would do if it were enforcing.
    pub(crate) fn would_be(&self) -> BreakerState {
        match self.word().state() {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Opens it for as long as it is its turn, counted `from` that moment; false if the word is not `seen` any more.
    fn open(&self, seen: Word, from: Time, cause: Cause, recovery: &Recovery) -> bool {
        let span = recovery.back_off.span(seen.openings() + 1, seen.epoch());
        let opened = self.moved(seen, seen.then_open(from + span));
        if opened {
            self.counted.opened(cause);
        }
        opened
    }

    /// Whether the word was still `seen`, and is `next` now.
    fn moved(&self, seen: Word, next: Word) -> bool {
        self.word.compare_exchange(seen.0, next.0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}
