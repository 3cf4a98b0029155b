use std::sync::atomic::{AtomicU64, Ordering};

/// What a breaker has done since it was made. Calls that it admitted while it was closed are not counted here:
/// that would cost each of them, and the facade counts them anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Figures {
    /// How often it has opened, the times after a failed trial included.
    pub openings: u64,
    /// How often it has closed again.
    pub closings: u64,
    /// Calls that it has refused.
    pub refused: u64,
    /// Calls that it would have refused, and has admitted because it only [observes](crate::Mode::Observing).
    pub withheld: u64,
    /// Outcomes that came back after the state had changed, and were not counted.
    pub late: u64,
    /// What it has opened for the last time; `None` before that.
    pub cause: Option<Cause>,
}

/// What a breaker has opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// So many calls in a row have failed.
    ConsecutiveFailures,
    /// Of the calls within the window, too large a part has failed.
    FailureRate,
    /// Of the calls within the window, too large a part was slow.
    SlowCallRate,
    /// A trial has failed, or was slow where that counts.
    FailedTrial,
    /// Trials were still under way at their deadline.
    HangingTrial,
    /// The breaker that it has replaced was open.
    Resumed,
}

const CAUSES: [Cause; 6] = [
    Cause::ConsecutiveFailures,
    Cause::FailureRate,
    Cause::SlowCallRate,
    Cause::FailedTrial,
    Cause::HangingTrial,
    Cause::Resumed,
];

/// The same while it is counted: none of it on the way of a call through a closed breaker.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    openings: AtomicU64,
    closings: AtomicU64,
    refused: AtomicU64,
    withheld: AtomicU64,
    late: AtomicU64,
    /// The place of the cause, counted from 1.
    cause: AtomicU64,
}

impl Counted {
    pub(crate) fn opened(&self, cause: Cause) {
        self.openings.fetch_add(1, Ordering::Relaxed);
        self.cause.store(cause as u64 + 1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.closings.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn withheld(&self) {
        self.withheld.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn late(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn figures(&self) -> Figures {
        let cause = self.cause.load(Ordering::Relaxed);
        Figures {
            openings: self.openings.load(Ordering::Relaxed),
            closings: self.closings.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            withheld: self.withheld.load(Ordering::Relaxed),
            late: self.late.load(Ordering::Relaxed),
            cause: CAUSES.into_iter().find(|&known| known as u64 + 1 == cause),
        }
    }
}
