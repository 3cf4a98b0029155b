use super::promise::{Promise, ensure, hold};
use crate::{Breaker, BreakerState, Outcome, Permit, Rejected, Time};
use std::{sync::Barrier, thread, time::Duration};

#[cfg(test)]
mod wrong;

/// What a breaker does otherwise than most, by design and as its documentation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerException {
    /// No number of failures opens it, such as one that only a person opens.
    NeverOpens,
    /// It begins closed, whatever state the breaker that it replaces was in.
    ForgetsOnResume,
}

/// Holds a breaker to what [`Breaker`] promises: it opens, tries again, and counts what it should.
///
/// Failures come a millisecond apart, up to 10,000 of them, until it opens. Whatever it may not be
/// asked then, since it does not open or names no moment at which it tries again, is left out.
///
/// ```
/// use ecm_core::{NeverOpen, testing::conformance::{self, BreakerException}};
///
/// let exceptions = [BreakerException::NeverOpens, BreakerException::ForgetsOnResume];
/// conformance::breaker_except(&exceptions, || NeverOpen);
/// ```
///
/// # Panics
/// If a promise is broken, with its name and what was seen.
#[track_caller]
pub fn breaker<B: Breaker + 'static>(make: impl Fn() -> B + 'static) {
    breaker_except(&[], make);
}

/// The same for a breaker with documented exceptions.
///
/// # Panics
/// If a promise is broken, with its name and what was seen.
#[track_caller]
pub fn breaker_except<B: Breaker + 'static>(exceptions: &[BreakerException], make: impl Fn() -> B + 'static) {
    let excepted = |promise: &Promise<Make>| {
        exceptions.iter().any(|exception| match exception {
            BreakerException::NeverOpens => promise.name == OPENS,
            BreakerException::ForgetsOnResume => promise.name == RESUMES || promise.name == TRIES,
        })
    };
    let make: &Make = &move || Box::new(make());
    hold("breaker", PROMISES.iter().filter(|promise| !excepted(promise)), make);
}

type Make = dyn Fn() -> Box<dyn Breaker>;

const OPENS: &str = "is opened by failures";
const RESUMES: &str = "stays open when it takes over from an open one";
const TRIES: &str = "tries at once when it is to go on half-open";

const PROMISES: &[Promise<Make>] = &[
    Promise { name: "admits every call before one has failed", holds: admits_at_first },
    Promise { name: "is not opened by successes", holds: stays_closed },
    Promise { name: OPENS, holds: opens },
    Promise { name: "names a moment to come when it refuses", holds: names_a_moment },
    Promise { name: "refuses until the moment that it names", holds: refuses_until_then },
    Promise { name: "admits at the moment that it names", holds: admits_then },
    Promise { name: "is in the state that it says", holds: says_its_state },
    Promise { name: "admits only a few while it is half-open", holds: admits_a_few },
    Promise { name: "is closed by trials that succeed", holds: closes },
    Promise { name: "is not closed by a trial that fails", holds: a_failure_does_not_close },
    Promise { name: "counts for nothing what is abandoned", holds: abandoned_counts_for_nothing },
    Promise { name: "is not closed by abandoned trials", holds: abandoned_does_not_close },
    Promise { name: "takes back the places of abandoned trials", holds: abandoned_gives_back },
    Promise { name: "counts for nothing a success that comes late", holds: a_late_success_is_nothing },
    Promise { name: "counts for nothing a failure that comes late", holds: a_late_failure_is_nothing },
    Promise { name: "frees no place for a trial that comes back late", holds: a_late_trial_frees_nothing },
    Promise { name: "tries again although trials hang", holds: tries_again },
    Promise { name: "counts what many threads record as what one does", holds: counts_failures_of_many_threads },
    Promise { name: "bears times that are out of order", holds: bears_any_time },
    Promise { name: "gives many threads no more places than one", holds: counts_for_many_threads },
    Promise { name: RESUMES, holds: resumes },
    Promise { name: TRIES, holds: tries_at_once },
];

const MANY: usize = 10_000;
/// More than "a few trial calls".
const HERD: usize = 1_000;
const MILLI: Duration = Duration::from_millis(1);
const SUCCESS: Outcome = Outcome::Success { took: MILLI };
const FAILURE: Outcome = Outcome::Failure { took: MILLI };

struct Subject {
    breaker: Box<dyn Breaker>,
    now: Time,
}

impl Subject {
    fn new(make: &Make) -> Self {
        Self { breaker: make(), now: Time::START + Duration::from_secs(1) }
    }

    /// Which has just refused a call for the first time, and until when; `None` if it never does.
    fn opened(make: &Make) -> Option<(Self, Time)> {
        let mut subject = Self::new(make);
        let until = subject.fail()?;
        Some((subject, until))
    }

    /// Which may be tried again now; `None` if it never opens, or never tries again.
    fn recovering(make: &Make) -> Option<Self> {
        let (mut subject, until) = Self::opened(make)?;
        subject.reach(until).then_some(subject)
    }

    /// Lets calls fail until one is refused.
    fn fail(&mut self) -> Option<Time> {
        (0..MANY).find_map(|_| match self.breaker.admit(self.now) {
            Ok(permit) => {
                self.now = self.now + MILLI;
                self.record(permit, FAILURE);
                None
            }
            Err(Rejected { until }) => Some(until),
        })
    }

    fn record(&self, permit: Permit, outcome: Outcome) {
        self.breaker.record(permit, outcome, self.now);
    }

    /// Goes to this moment; false if it is never.
    fn reach(&mut self, until: Time) -> bool {
        self.now = self.now.max(until);
        until != Time::NEVER
    }

    /// A permit, after waiting for it where that helps.
    fn wait(&mut self) -> Option<Permit> {
        (0..MANY).find_map(|_| match self.breaker.admit(self.now) {
            Ok(permit) => Some(permit),
            Err(Rejected { until }) => {
                let until = until.max(self.now + MILLI);
                self.reach(until);
                None
            }
        })
    }

    /// As many permits as it gives at once, up to a herd of them.
    fn permits(&self) -> Vec<Permit> {
        (0..HERD).map_while(|_| self.breaker.admit(self.now).ok()).collect()
    }

    /// Lets trials succeed until it is closed; false if that does not help.
    fn recover(&mut self) -> bool {
        for _ in 0..MANY {
            match self.wait() {
                Some(permit) => self.record(permit, SUCCESS),
                None => return false,
            }
            if self.state() == BreakerState::Closed {
                return true;
            }
        }
        false
    }

    fn state(&self) -> BreakerState {
        self.breaker.state()
    }

    fn refused_until(&self) -> Option<Time> {
        self.breaker.admit(self.now).err().map(|refused| refused.until)
    }
}

fn admits_at_first(make: &Make) -> Result<(), String> {
    let subject = Subject::new(make);
    let admitted = subject.permits().len();
    ensure(admitted == HERD, || format!("of {HERD} calls at the same time it has admitted {admitted}"))?;
    ensure(subject.state() == BreakerState::Closed, || format!("it is {:?}", subject.state()))
}

fn stays_closed(make: &Make) -> Result<(), String> {
    let mut subject = Subject::new(make);
    for n in 0..MANY {
        let Ok(permit) = subject.breaker.admit(subject.now) else {
            return Err(format!("it refused after {n} of them"));
        };
        subject.now = subject.now + MILLI;
        subject.record(permit, SUCCESS);
        ensure(subject.state() == BreakerState::Closed, || format!("it is {:?} after {n}", subject.state()))?;
    }
    Ok(())
}

fn opens(make: &Make) -> Result<(), String> {
    ensure(Subject::opened(make).is_some(), || format!("it has admitted a call after {MANY} failures in a row"))
}

fn names_a_moment(make: &Make) -> Result<(), String> {
    let Some((subject, until)) = Subject::opened(make) else { return Ok(()) };
    ensure(until > subject.now, || format!("at {:?} it names {until:?}", subject.now))
}

fn refuses_until_then(make: &Make) -> Result<(), String> {
    let Some((mut subject, until)) = Subject::opened(make) else { return Ok(()) };
    let opened = subject.now;
    let left = until.since(opened);
    for part in [Duration::ZERO, left / 2, left.saturating_sub(Duration::from_nanos(1))] {
        subject.now = opened + part;
        let refused = subject.refused_until().is_some();
        ensure(refused, || format!("refusing at {opened:?} it named {until:?}, and admits at {:?}", subject.now))?;
    }
    Ok(())
}

fn admits_then(make: &Make) -> Result<(), String> {
    let Some(subject) = Subject::recovering(make) else { return Ok(()) };
    let refused = subject.refused_until();
    ensure(refused.is_none(), || format!("it named {:?} and refuses then, until {refused:?}", subject.now))
}

fn says_its_state(make: &Make) -> Result<(), String> {
    let Some((mut subject, until)) = Subject::opened(make) else { return Ok(()) };
    ensure(subject.state() != BreakerState::Closed, || "it refuses, and says that it is closed".into())?;
    if subject.reach(until) && subject.refused_until().is_none() {
        ensure(subject.state() != BreakerState::Open, || "it admits, and says that it is open".into())?;
    }
    Ok(())
}

fn admits_a_few(make: &Make) -> Result<(), String> {
    let Some(subject) = Subject::recovering(make) else { return Ok(()) };
    let permits = subject.permits();
    let trial = subject.state() == BreakerState::HalfOpen || permits.iter().any(|permit| permit.probe);
    ensure(!trial || permits.len() < HERD, || format!("it has admitted {HERD} at once, before any has ended"))
}

fn closes(make: &Make) -> Result<(), String> {
    let Some(mut subject) = Subject::recovering(make) else { return Ok(()) };
    ensure(subject.recover(), || format!("it is {:?} after {MANY} successes", subject.state()))?;
    let admitted = subject.permits().len();
    ensure(admitted == HERD, || format!("it says that it is closed, and has admitted {admitted} of {HERD}"))
}

fn a_failure_does_not_close(make: &Make) -> Result<(), String> {
    let Some(mut subject) = Subject::recovering(make) else { return Ok(()) };
    for _ in 0..20 {
        let Some(permit) = subject.wait() else { return Ok(()) };
        if !permit.probe {
            return Ok(());
        }
        subject.record(permit, FAILURE);
        ensure(subject.state() != BreakerState::Closed, || "it is closed".into())?;
    }
    Ok(())
}

fn abandoned_counts_for_nothing(make: &Make) -> Result<(), String> {
    let subject = Subject::new(make);
    let abandon = |subject: &Subject| {
        let permit = subject.breaker.admit(subject.now).map_err(|_| "they have opened it".to_owned())?;
        subject.record(permit, Outcome::Abandoned);
        Ok::<_, String>(())
    };
    (0..MANY).try_for_each(|_| abandon(&subject))?;
    ensure(subject.state() == BreakerState::Closed, || format!("they have made it {:?}", subject.state()))?;

    let failures = |abandoned: bool| {
        let mut subject = Subject::new(make);
        for failures in 0..MANY {
            let Ok(permit) = subject.breaker.admit(subject.now) else { return Some(failures) };
            if abandoned {
                abandon(&subject).ok()?;
            }
            subject.now = subject.now + MILLI;
            subject.record(permit, FAILURE);
        }
        None
    };
    let (alone, between) = (failures(false), failures(true));
    ensure(alone == between, || {
        format!("{alone:?} failures open it, but {between:?} where a call is abandoned between any two")
    })
}

fn abandoned_does_not_close(make: &Make) -> Result<(), String> {
    let Some(mut subject) = Subject::recovering(make) else { return Ok(()) };
    for n in 1..=MANY {
        let Some(permit) = subject.wait() else { return Ok(()) };
        if !permit.probe {
            return Ok(());
        }
        subject.record(permit, Outcome::Abandoned);
        ensure(subject.state() != BreakerState::Closed, || format!("it is closed after {n} of them"))?;
    }
    Ok(())
}

fn abandoned_gives_back(make: &Make) -> Result<(), String> {
    let Some(subject) = Subject::recovering(make) else { return Ok(()) };
    let first = subject.permits();
    first.iter().for_each(|&permit| subject.record(permit, Outcome::Abandoned));
    let again = subject.permits().len();
    ensure(again >= first.len(), || format!("it has admitted {}, and when all were abandoned {again}", first.len()))
}

/// The state, and the moment it names; asking may admit a trial.
fn looked_at(subject: &Subject) -> (Option<Time>, BreakerState) {
    let until = subject.refused_until();
    (until, subject.state())
}

fn a_late_success_is_nothing(make: &Make) -> Result<(), String> {
    let mut subject = Subject::new(make);
    let early = subject.permits();
    let Some(until) = subject.fail() else { return Ok(()) };
    let open = looked_at(&subject);
    early.iter().take(HERD / 2).for_each(|&permit| subject.record(permit, SUCCESS));
    let after = looked_at(&subject);
    ensure(after == open, || format!("calls from before have made {open:?} to {after:?}"))?;

    if subject.reach(until) && subject.breaker.admit(subject.now).is_ok_and(|permit| permit.probe) {
        early.iter().skip(HERD / 2).for_each(|&permit| subject.record(permit, SUCCESS));
        ensure(subject.state() != BreakerState::Closed, || "calls from before have closed it".into())?;
    }
    Ok(())
}

fn a_late_failure_is_nothing(make: &Make) -> Result<(), String> {
    let mut subject = Subject::new(make);
    let early = subject.permits();
    let Some(until) = subject.fail() else { return Ok(()) };
    let open = looked_at(&subject);
    subject.now = subject.now + Duration::from_nanos(1);
    early.iter().take(HERD / 2).for_each(|&permit| subject.record(permit, FAILURE));
    let after = looked_at(&subject);
    ensure(after == open, || format!("calls from before have made {open:?} to {after:?}"))?;

    if subject.reach(until) && subject.recover() {
        early.iter().skip(HERD / 2).for_each(|&permit| subject.record(permit, FAILURE));
        let after = looked_at(&subject);
        let closed = (None, BreakerState::Closed);
        ensure(after == closed, || format!("calls from before have made {closed:?} to {after:?}"))?;
    }
    Ok(())
}

fn a_late_trial_frees_nothing(make: &Make) -> Result<(), String> {
    let Some(mut subject) = Subject::recovering(make) else { return Ok(()) };
    let mut early = subject.permits();
    let Some(failing) = early.pop().filter(|permit| permit.probe && early.len() < HERD - 1) else { return Ok(()) };
    subject.record(failing, FAILURE);
    let Some(until) = subject.refused_until() else { return Ok(()) };
    if subject.state() != BreakerState::Open || !subject.reach(until) {
        return Ok(());
    }
    let places = subject.permits().len();
    early.iter().for_each(|&permit| subject.record(permit, Outcome::Abandoned));
    let freed = subject.permits().len();
    ensure(freed == 0, || format!("{} of an earlier recovery have freed {freed} of {places} places", early.len()))
}

fn tries_again(make: &Make) -> Result<(), String> {
    let Some(mut subject) = Subject::recovering(make) else { return Ok(()) };
    let hanging = subject.permits();
    if !hanging.iter().all(|permit| permit.probe) || hanging.len() == HERD {
        return Ok(());
    }
    let recovered = subject.recover();
    ensure(recovered, || format!("{} trials hang, and at {:?} it still refuses", hanging.len(), subject.now))
}

fn counts_failures_of_many_threads(make: &Make) -> Result<(), String> {
    const THREADS: usize = 8;
    let alone = Subject::new(make);
    let mut failures = 0;
    while let Ok(permit) = alone.breaker.admit(alone.now) {
        alone.record(permit, FAILURE);
        failures += 1;
        if failures == MANY {
            return Ok(());
        }
    }
    for _ in 0..20 {
        let (start, subject) = (Barrier::new(THREADS), Subject::new(make));
        let permits: Vec<_> = (0..failures).filter_map(|_| subject.breaker.admit(subject.now).ok()).collect();
        thread::scope(|scope| {
            for own in 0..THREADS {
                let (start, subject, permits) = (&start, &subject, &permits);
                scope.spawn(move || {
                    start.wait();
                    permits.iter().skip(own).step_by(THREADS).for_each(|&permit| subject.record(permit, FAILURE));
                });
            }
        });
        let open = subject.refused_until().is_some();
        ensure(open, || format!("{failures} failures of one thread open it, as many of {THREADS} threads do not"))?;
    }
    Ok(())
}

fn bears_any_time(make: &Make) -> Result<(), String> {
    let moments = [Time::NEVER, Time::START, Time::from_nanos(u64::MAX - 1), Time::from_nanos(1), Time::NEVER];
    for first in moments {
        let breaker = make();
        for (asked, ended) in moments.into_iter().cycle().take(50).zip(moments.into_iter().cycle().skip(1)) {
            for now in [first, asked] {
                if let Ok(permit) = breaker.admit(now) {
                    breaker.record(permit, FAILURE, ended);
                }
            }
        }
        breaker.resume(breaker.state(), first);
    }
    Ok(())
}

fn counts_for_many_threads(make: &Make) -> Result<(), String> {
    const THREADS: usize = 8;
    for _ in 0..30 {
        let (Some(alone), Some(together)) = (Subject::recovering(make), Subject::recovering(make)) else {
            return Ok(());
        };
        let places = alone.permits().len();
        let (start, subject) = (Barrier::new(THREADS), &together);
        let ask = || {
            start.wait();
            (0..HERD).map_while(|_| subject.breaker.admit(subject.now).ok()).collect::<Vec<_>>()
        };
        let permits: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        });
        let unlimited = places == HERD;
        ensure(unlimited || permits.len() <= places, || {
            format!("one thread gets {places} trials at once, {THREADS} threads get {}", permits.len())
        })?;
        let give_back = |permits: &[Permit]| {
            permits.iter().for_each(|&permit| subject.record(permit, Outcome::Abandoned));
        };
        thread::scope(|scope| {
            permits.chunks(permits.len().div_ceil(THREADS).max(1)).for_each(|permits| {
                scope.spawn(move || give_back(permits));
            });
        });
        let again = subject.permits().len();
        ensure(again >= permits.len().min(places), || format!("of {} places {again} came back", permits.len()))?;
    }
    Ok(())
}

fn resumes(make: &Make) -> Result<(), String> {
    let subject = Subject::new(make);
    subject.breaker.resume(BreakerState::Closed, subject.now);
    let closed = looked_at(&subject);
    ensure(closed == (None, BreakerState::Closed), || format!("from a closed one it has become {closed:?}"))?;

    let mut subject = Subject::new(make);
    subject.breaker.resume(BreakerState::Open, subject.now);
    let Some(until) = subject.refused_until() else { return Err("it admits".into()) };
    ensure(until > subject.now, || format!("at {:?} it names {until:?}", subject.now))?;
    if subject.reach(until) {
        ensure(subject.refused_until().is_none(), || format!("it named {until:?} and refuses then"))?;
    }
    Ok(())
}

fn tries_at_once(make: &Make) -> Result<(), String> {
    let subject = Subject::new(make);
    subject.breaker.resume(BreakerState::Open, subject.now);
    subject.breaker.resume(BreakerState::HalfOpen, subject.now);
    match subject.breaker.admit(subject.now) {
        Ok(permit) => ensure(permit.probe, || "open before, it admits a call that is no trial".into()),
        Err(refused) => Err(format!("it refuses until {:?}", refused.until)),
    }
}
