use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a query accepts from the cache, and what it leaves there.
///
/// Ages count from the moment when the read began that gave the answer: what the database held then, or later.
///
/// ```
/// # #[cfg(feature = "standard")] {
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ecm::{CacheMode, ConnectionManager, Source};
/// use std::time::Duration;
///
/// let manager = ConnectionManager::open(":memory:")?;
/// manager.execute("CREATE TABLE note (title)").wait()?;
/// let count = || manager.query("SELECT count(*) FROM note");
/// assert_eq!(count().one::<i64>().wait()?, 0);
/// manager.execute("INSERT INTO note VALUES ('bread')").wait()?;
///
/// let old = count().cache_mode(CacheMode::NotOlderThan(Duration::from_secs(60))).one::<i64>().answer()?;
/// assert_eq!(old.value, 0);
/// assert!(matches!(old.source, Source::Cache { current: false, .. }));
/// assert_eq!(count().one::<i64>().wait()?, 1);
/// # Ok(()) }
/// # main().unwrap();
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CacheMode {
    /// Only an answer that the database would give now. The default.
    #[default]
    Current,
    /// Also one that is out of date, but not older than this.
    NotOlderThan(Duration),
    /// As [`NotOlderThan`](Self::NotOlderThan); and an answer that is served out of date is read anew in the background,
    /// once for all who are served it. Who asks often hardly ever waits for the database, and sees a write a moment
    /// after it instead of at once. (`stale-while-revalidate` of RFC 5861.)
    StaleWhileRevalidate(Duration),
    /// As [`Current`](Self::Current); and if no database answers, since all that were tried have failed or their
    /// breakers refuse, also one that is out of date, but not older than this.
    OrIfFailing(Duration),
    /// Asks the database, and keeps its answer for others.
    Refresh,
    /// Asks the database, and leaves the cache as it is.
    Bypass,
}

impl CacheMode {
    /// How old an answer may be that is out of date; `None` if it must not be.
    #[inline]
    pub(crate) fn oldest(self) -> Option<Duration> {
        match self {
            Self::NotOlderThan(oldest) | Self::StaleWhileRevalidate(oldest) => Some(oldest),
            Self::Current | Self::OrIfFailing(_) | Self::Refresh | Self::Bypass => None,
        }
    }
}
