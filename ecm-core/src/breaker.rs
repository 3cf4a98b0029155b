use crate::Time;
use std::{fmt::Debug, sync::Arc, time::Duration};

/// Decides whether a database may be used now. One breaker per database.
///
/// # Concurrency
/// Called by every thread that calls; must not block.
///
/// # Tests
/// With the feature `testing`, `testing::conformance::breaker` holds an implementation to all this.
pub trait Breaker: Send + Sync + Debug {
    /// Admits a call, or says when to ask again.
    ///
    /// Every permit comes back to [`record`](Breaker::record) exactly once: see [`Admission`]. A call may hang,
    /// though: trials that do not come back must not keep it from trying again for ever.
    ///
    /// # Errors
    /// The database may not be used now.
    fn admit(&self, now: Time) -> Result<Permit, Rejected>;

    /// How an admitted call ended. A permit of an epoch that is over must not count.
    ///
    /// What was abandoned counts neither for nor against the database, and makes room for another
    /// trial if it was one. It may come with the time of its admission.
    fn record(&self, permit: Permit, outcome: Outcome, now: Time);

    /// What it would do now, for people and for [`resume`](Breaker::resume).
    fn state(&self) -> BreakerState;

    /// Goes on from this state: of the breaker that this one replaces; or half-open, where it is open and a check of the
    /// database has passed, so that a few calls try it without waiting any longer.
    fn resume(&self, _from: BreakerState, _now: Time) {}
}

/// Shared: a recipe that gives a clone of it to a manager leaves its maker with a handle to the breaker.
impl<B: Breaker + ?Sized> Breaker for Arc<B> {
    #[inline]
    fn admit(&self, now: Time) -> Result<Permit, Rejected> {
        (**self).admit(now)
    }

    #[inline]
    fn record(&self, permit: Permit, outcome: Outcome, now: Time) {
        (**self).record(permit, outcome, now);
    }

    fn state(&self) -> BreakerState {
        (**self).state()
    }

    fn resume(&self, from: BreakerState, now: Time) {
        (**self).resume(from, now);
    }
}

/// Leave to make one call: plain data, so that admitting shares no counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The breaker's state changes before this permit was given; what it means is the breaker's.
    pub epoch: u64,
    /// Whether the call is a trial of a database that has been failing.
    pub probe: bool,
}

/// How an admitted call ended, as far as the database is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The database answered, be it that the statement was wrong.
    Success {
        /// From the admission to the answer.
        took: Duration,
    },
    /// The database failed.
    Failure {
        /// From the admission to the failure.
        took: Duration,
    },
    /// The call ended without an answer of the database: cancelled, panicked, or never sent.
    Abandoned,
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// When asking again makes sense; [`Time::NEVER`] if only a person can change it.
    pub until: Time,
}

/// What a breaker does at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum BreakerState {
    /// Admits every call.
    #[default]
    Closed,
    /// Admits a few trial calls.
    HalfOpen,
    /// Refuses every call.
    Open,
}

/// A permit that cannot get lost: dropped without an outcome, it records [`Outcome::Abandoned`].
///
/// It borrows the breaker that gave the permit, so that exchanging the breaker between admission
/// and outcome is harmless.
///
/// ```
/// use ecm_core::{Admission, NeverOpen, Time};
///
/// let admission = Admission::ask(&NeverOpen, Time::START).unwrap();
/// admission.succeeded(Time::from_nanos(900));
/// ```
#[derive(Debug)]
#[must_use = "an admission that is dropped counts as abandoned"]
pub struct Admission<'a> {
    breaker: &'a dyn Breaker,
    permit: Permit,
    at: Time,
}

impl<'a> Admission<'a> {
    /// Asks `breaker` to admit a call.
    ///
    /// # Errors
    /// It refuses.
    #[inline]
    pub fn ask(breaker: &'a dyn Breaker, now: Time) -> Result<Self, Rejected> {
        let permit = breaker.admit(now)?;
        Ok(Self { breaker, permit, at: now })
    }

    /// The permit.
    #[must_use]
    pub fn permit(&self) -> Permit {
        self.permit
    }

    /// The database has answered.
    #[inline]
    pub fn succeeded(self, now: Time) {
        let took = now.since(self.at);
        self.record(Outcome::Success { took }, now);
    }

    /// The database has failed.
    #[inline]
    pub fn failed(self, now: Time) {
        let took = now.since(self.at);
        self.record(Outcome::Failure { took }, now);
    }

    #[inline]
    fn record(self, outcome: Outcome, now: Time) {
        let this = std::mem::ManuallyDrop::new(self);
        this.breaker.record(this.permit, outcome, now);
    }
}

impl Drop for Admission<'_> {
    #[inline]
    fn drop(&mut self) {
        self.breaker.record(self.permit, Outcome::Abandoned, self.at);
    }
}

/// The null breaker: admits every call, for ever.
#[derive(Clone, Copy, Debug, Default)]
pub struct NeverOpen;

impl Breaker for NeverOpen {
    fn admit(&self, _now: Time) -> Result<Permit, Rejected> {
        Ok(Permit { epoch: 0, probe: false })
    }

    fn record(&self, _permit: Permit, _outcome: Outcome, _now: Time) {}

    fn state(&self) -> BreakerState {
        BreakerState::Closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Debug, Default)]
    struct Recording(Mutex<Vec<(Permit, Outcome)>>);

    impl Breaker for Recording {
        fn admit(&self, now: Time) -> Result<Permit, Rejected> {
            if now == Time::NEVER {
                return Err(Rejected { until: Time::NEVER });
            }
            Ok(Permit { epoch: 3, probe: true })
        }
        fn record(&self, permit: Permit, outcome: Outcome, _now: Time) {
            self.0.lock().unwrap().push((permit, outcome));
        }
        fn state(&self) -> BreakerState {
            BreakerState::HalfOpen
        }
    }

    #[test]
    fn every_permit_is_recorded_exactly_once() {
        let breaker = Recording::default();
        let (start, end) = (Time::from_nanos(100), Time::from_nanos(350));
        Admission::ask(&breaker, start).unwrap().succeeded(end);
        Admission::ask(&breaker, start).unwrap().failed(end);
        drop(Admission::ask(&breaker, start).unwrap());
        let lost = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _admission = Admission::ask(&breaker, start).unwrap();
            panic!("the closure panics");
        }));
        assert!(lost.is_err());
        assert!(Admission::ask(&breaker, Time::NEVER).is_err());

        let permit = Permit { epoch: 3, probe: true };
        let took = Duration::from_nanos(250);
        assert_eq!(
            *breaker.0.lock().unwrap(),
            [
                (permit, Outcome::Success { took }),
                (permit, Outcome::Failure { took }),
                (permit, Outcome::Abandoned),
                (permit, Outcome::Abandoned),
            ]
        );
    }
}
