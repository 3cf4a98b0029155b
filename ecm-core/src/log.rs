use std::{panic::Location, time::Duration};

/// The log of a database at one moment: what was committed and is not in the file for good.
///
/// Of a backend that writes ahead, such as SQLite with `journal_mode = WAL`; others have none. Figures are
/// those after the last commit by this process, or the last look of whoever keeps the log short.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LogStatus {
    /// How long the log is, in frames: pages, each as often as it was committed.
    pub frames: u64,
    /// How many of them, from the first on, are in the file already.
    pub backfilled: u64,
    /// From how many frames on they are moved into the file; 0 if somebody else has to do it.
    pub threshold: u64,
    /// How long the oldest loan of a connection has lasted, whose snapshot may be in the way, in seconds;
    /// `None` if nothing is lent, or nobody knows.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::status::in_seconds"))]
    pub oldest_snapshot: Option<Duration>,
    /// Who keeps the log from becoming shorter; `None` while nobody does.
    pub pinned: Option<Pinned>,
    /// How often frames were moved, since the start.
    pub checkpoints: u64,
    /// How often that failed, since the start: the disk, not somebody who stood in the way.
    pub failures: u64,
    /// Why it failed the last time; `None` once it has worked again.
    pub last_failure: Option<String>,
}

/// Who keeps a log from becoming shorter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Pinned {
    /// Where in the caller's code the loan was made that has lasted for longest; `None` if no loan is old
    /// enough, so that it is another process, or a place is not known.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
    pub location: Option<&'static Location<'static>>,
    /// How long that loan has lasted; without one, for how long the log could not be emptied. In seconds.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub age: Duration,
}

/// A loan that has begun before all others that last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldestLoan {
    /// Where in the caller's code it was made; `None` if that is not known.
    pub location: Option<&'static Location<'static>>,
    /// How long it has lasted.
    pub age: Duration,
}

/// Who lends the connections of a database, and is told what becomes of its log.
///
/// # Concurrency
/// Called by any thread, without any lock of the backend held. A panic inside is caught, and ends nothing.
pub trait LogObserver: Send + Sync {
    /// The loan that has lasted for longest, of whatever kind; `None` if nothing is lent.
    fn oldest_loan(&self) -> Option<OldestLoan>;

    /// The log of so many frames cannot be emptied, and has not been for a while: told once, until it
    /// could be.
    fn pinned(&self, by: &Pinned, frames: u64);

    /// Frames could not be moved into the file: nothing is lost, and it is tried again after `pause`.
    fn checkpoint_failed(&self, error: &str, pause: Duration);
}

impl Pinned {
    /// By a loan that was made there.
    #[must_use]
    pub const fn new(location: Option<&'static Location<'static>>, age: Duration) -> Self {
        Self { location, age }
    }
}

#[cfg(feature = "serde")]
fn as_text<S: serde::Serializer>(
    location: &Option<&'static Location<'static>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    use serde::Serialize;
    location.map(ToString::to_string).serialize(serializer)
}

#[cfg(feature = "serde")]
fn seconds<S: serde::Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(span.as_secs_f64())
}
