use super::*;
use crate::{NeverOpen, testing::conformance::promise::each_is_caught};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    thread::ThreadId,
};

/// Opens with the third failure in a row, for ten seconds; two trials at once, two have to succeed, and after a
/// minute they have failed. But for one flaw.
#[derive(Debug, Default)]
struct Flawed {
    flaw: Option<Flaw>,
    now: Mutex<Now>,
    of_threads: Mutex<HashMap<ThreadId, u32>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Now {
    state: BreakerState,
    epoch: u64,
    failures: u32,
    until: Time,
    under_way: u32,
    succeeded: u32,
    seen: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    StartsHalfOpen,
    CountsSuccesses,
    IgnoresFailures,
    NamesThePast,
    NamesLater,
    NamesEarlier,
    SaysClosed,
    LetsTheHerdIn,
    NeverCloses,
    ClosesOnFailure,
    CountsAbandoned,
    ClosesOnAbandoned,
    KeepsPlaces,
    CountsLateSuccesses,
    CountsLateFailures,
    FreesForLateTrials,
    WaitsForTrials,
    CountsForEachThread,
    SubtractsTimes,
    CountsInTwoSteps,
    ForgetsOnResume,
    WaitsOnResume,
}

const FLAWS: [(Flaw, &str); 22] = [
    (Flaw::StartsHalfOpen, "admits every call before one has failed"),
    (Flaw::CountsSuccesses, "is not opened by successes"),
    (Flaw::IgnoresFailures, "is opened by failures"),
    (Flaw::NamesThePast, "names a moment to come when it refuses"),
    (Flaw::NamesLater, "refuses until the moment that it names"),
    (Flaw::NamesEarlier, "admits at the moment that it names"),
    (Flaw::SaysClosed, "is in the state that it says"),
    (Flaw::LetsTheHerdIn, "admits only a few while it is half-open"),
    (Flaw::NeverCloses, "is closed by trials that succeed"),
    (Flaw::ClosesOnFailure, "is not closed by a trial that fails"),
    (Flaw::CountsAbandoned, "counts for nothing what is abandoned"),
    (Flaw::ClosesOnAbandoned, "is not closed by abandoned trials"),
    (Flaw::KeepsPlaces, "takes back the places of abandoned trials"),
    (Flaw::CountsLateSuccesses, "counts for nothing a success that comes late"),
    (Flaw::CountsLateFailures, "counts for nothing a failure that comes late"),
    (Flaw::FreesForLateTrials, "frees no place for a trial that comes back late"),
    (Flaw::WaitsForTrials, "tries again although trials hang"),
    (Flaw::CountsForEachThread, "counts what many threads record as what one does"),
    (Flaw::SubtractsTimes, "bears times that are out of order"),
    (Flaw::CountsInTwoSteps, "gives many threads no more places than one"),
    (Flaw::ForgetsOnResume, "stays open when it takes over from an open one"),
    (Flaw::WaitsOnResume, "tries at once when it is to go on half-open"),
];

impl Flawed {
    fn with(flaw: Flaw) -> Self {
        let state = if flaw == Flaw::StartsHalfOpen { BreakerState::HalfOpen } else { BreakerState::Closed };
        Self { flaw: Some(flaw), now: Mutex::new(Now { state, ..Now::default() }), ..Self::default() }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Now) -> T) -> T {
        change(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn named(&self, until: Time, now: Time) -> Time {
        match self.flaw {
            Some(Flaw::NamesThePast) => now,
            Some(Flaw::NamesLater) => until + Duration::from_secs(1),
            Some(Flaw::NamesEarlier) => Time::from_nanos(until.as_nanos() - 1),
            _ => until,
        }
    }
}

impl Now {
    fn become_state(&mut self, state: BreakerState) {
        *self = Self { state, epoch: self.epoch + 1, until: self.until, seen: self.seen, ..Self::default() };
    }

    fn open(&mut self, now: Time) {
        self.become_state(BreakerState::Open);
        self.until = now + Duration::from_secs(10);
    }
}

impl Breaker for Flawed {
    fn admit(&self, now: Time) -> Result<Permit, Rejected> {
        let seen = self.change(|state| {
            if self.has(Flaw::SubtractsTimes) {
                now.as_nanos().checked_sub(state.seen.as_nanos()).expect("time goes on");
            }
            state.seen = now;
            if state.state == BreakerState::Open && now >= state.until {
                state.become_state(BreakerState::HalfOpen);
            }
            let late = state.state == BreakerState::HalfOpen && now >= state.until + Duration::from_secs(60);
            if late && state.under_way >= 2 && !self.has(Flaw::WaitsForTrials) {
                state.open(now);
                state.until = now;
                state.become_state(BreakerState::HalfOpen);
            }
            *state
        });
        if self.has(Flaw::CountsInTwoSteps) && seen.state == BreakerState::HalfOpen {
            if seen.under_way >= 2 {
                return Err(Rejected { until: now + MILLI * 10 });
            }
            thread::yield_now();
            self.change(|state| state.under_way += 1);
            return Ok(Permit { epoch: seen.epoch, probe: true });
        }
        self.change(|state| match state.state {
            BreakerState::Closed => Ok(Permit { epoch: state.epoch, probe: false }),
            BreakerState::Open => Err(Rejected { until: self.named(state.until, now) }),
            BreakerState::HalfOpen if state.under_way >= 2 && !self.has(Flaw::LetsTheHerdIn) => {
                Err(Rejected { until: now + MILLI * 10 })
            }
            BreakerState::HalfOpen => {
                state.under_way += 1;
                Ok(Permit { epoch: state.epoch, probe: true })
            }
        })
    }

    fn record(&self, permit: Permit, outcome: Outcome, now: Time) {
        let late_counts = match outcome {
            Outcome::Success { .. } => self.has(Flaw::CountsLateSuccesses),
            Outcome::Failure { .. } => self.has(Flaw::CountsLateFailures),
            _ => permit.probe && self.has(Flaw::FreesForLateTrials),
        };
        self.change(|state| {
            if permit.epoch != state.epoch && !late_counts {
                return;
            }
            let success = matches!(outcome, Outcome::Success { .. });
            let failure = matches!(outcome, Outcome::Failure { .. });
            if state.state == BreakerState::Closed {
                let abandoned = !success && !failure && self.has(Flaw::CountsAbandoned);
                if (failure && !self.has(Flaw::IgnoresFailures)) || (success && self.has(Flaw::CountsSuccesses)) {
                    state.failures += 1;
                } else if success || abandoned {
                    state.failures = 0;
                }
                if self.has(Flaw::CountsForEachThread) && failure {
                    let mut of_threads = self.of_threads.lock().unwrap_or_else(PoisonError::into_inner);
                    let own = of_threads.entry(thread::current().id()).or_default();
                    *own += 1;
                    state.failures = *own;
                }
                if state.failures == 3 {
                    state.open(now);
                }
                return;
            }
            let counts_as_success = match outcome {
                Outcome::Success { .. } => !self.has(Flaw::NeverCloses),
                Outcome::Failure { .. } => self.has(Flaw::ClosesOnFailure),
                _ => self.has(Flaw::ClosesOnAbandoned),
            };
            if failure && !counts_as_success {
                state.open(now);
                return;
            }
            let keeps_place = !success && self.has(Flaw::KeepsPlaces);
            state.under_way = state.under_way.saturating_sub(u32::from(!keeps_place));
            state.succeeded += u32::from(counts_as_success);
            if state.succeeded == 2 {
                state.become_state(BreakerState::Closed);
            }
        });
    }

    fn state(&self) -> BreakerState {
        if self.has(Flaw::SaysClosed) { BreakerState::Closed } else { self.change(|state| state.state) }
    }

    fn resume(&self, from: BreakerState, now: Time) {
        if from == BreakerState::Open && !self.has(Flaw::ForgetsOnResume) {
            self.change(|state| state.open(now));
        }
        if from == BreakerState::HalfOpen && !self.has(Flaw::ForgetsOnResume) && !self.has(Flaw::WaitsOnResume) {
            self.change(|state| {
                state.until = now;
                state.become_state(BreakerState::HalfOpen);
            });
        }
    }
}

#[test]
fn what_breaks_a_promise_is_caught_by_its_name() {
    each_is_caught(PROMISES.iter().map(|promise| promise.name), FLAWS, |flaw| breaker(move || Flawed::with(flaw)));
}

#[test]
fn what_keeps_all_promises_passes() {
    breaker(Flawed::default);
    breaker_except(&[BreakerException::ForgetsOnResume], || Flawed::with(Flaw::ForgetsOnResume));
    breaker_except(&[BreakerException::NeverOpens, BreakerException::ForgetsOnResume], || NeverOpen);
}
