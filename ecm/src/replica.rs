use ecm_core::InvalidConfig;
use std::{sync::Arc, time::Duration};

/// How a database is kept a copy of the primary of its group: given to [`Database::replica`](crate::Database::replica).
///
/// A thread of the manager's looks whether the primary has changed, at a cost of microseconds, and if so copies it as a
/// whole, in the background, by what the backend has for it: SQLite's online backup. Readers of the copy see the former
/// state until the new one is there. While the primary cannot be read, or the copy cannot be written, the
/// former copy stays in service; [`DatabaseStatus::replica`](ecm_core::DatabaseStatus::replica) and
/// [`Event::CopyFailed`](ecm_core::Event::CopyFailed) say so.
///
/// It is for databases that are small enough to be copied whole now and then: each copy reads all of the primary, and
/// writes twice as much. [docs/replicas.md](https://github.com/ecm-rs/ecm/blob/main/docs/replicas.md) has the rest.
///
/// ```
/// # #[cfg(feature = "standard")] {
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ecm::{ConnectionManager, Database, Replica, sqlite::Sqlite};
/// use std::time::Duration;
///
/// # let folder = tempfile::tempdir()?;
/// let (here, there) = (folder.path().join("notes.db"), folder.path().join("copy.db"));
/// let manager = ConnectionManager::builder()
///     .database(Database::new("notes", Sqlite::open(here)))
///     .database(Database::new("copy", Sqlite::open(there)).replica(Replica::of("notes").staleness(Duration::from_secs(5))))
///     .build()?;
/// let session = manager.session();
/// session.execute("CREATE TABLE note (title TEXT)").wait()?;
/// assert_eq!(session.query("SELECT count(*) FROM note").one::<i64>().wait()?, 0, "the copy may not have the table yet");
/// let position = manager.catch_up("copy")?;
/// let copy = manager.database("copy")?;
/// assert_eq!(copy.query("SELECT count(*) FROM note").at_least(position).one::<i64>().wait()?, 0);
/// # Ok(()) }
/// # main().unwrap();
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    pub(crate) of: Arc<str>,
    pub(crate) staleness: Duration,
    pub(crate) pages_per_step: u32,
    pub(crate) pause: Duration,
    pub(crate) promote_after: Option<Duration>,
}

impl Replica {
    /// A copy of the database of this name, which is registered before in the same group.
    ///
    /// Where another one has taken the place of that database, it is a copy of whatever is the primary of the group.
    #[must_use]
    pub fn of(primary: impl Into<Arc<str>>) -> Self {
        Self {
            of: primary.into(),
            staleness: Duration::from_secs(1),
            pages_per_step: 256,
            pause: Duration::from_millis(1),
            promote_after: None,
        }
    }

    /// How far it may lag behind, while the primary can be read and a copy takes less than half of this.
    ///
    /// The primary is looked at twice in this time. A copy that takes longer is followed by a pause of the same length,
    /// so that copying takes half of the time at most; it lags behind by more, then, and says so. *Default:*
    /// 1 second. *Limits:* 1 ms to 1 day.
    #[must_use]
    pub fn staleness(mut self, staleness: Duration) -> Self {
        self.staleness = staleness;
        self
    }

    /// How much is copied in one go, in pages of the database (4 KiB each unless configured otherwise).
    ///
    /// Together with the [`pause`](Self::pause) it bounds what copying takes of the storage. *Default:* 256. *Limits:*
    /// 1 to 1,000,000.
    #[must_use]
    pub fn pages_per_step(mut self, pages: u32) -> Self {
        self.pages_per_step = pages;
        self
    }

    /// How long others have the storage between two steps. The log of the primary cannot be emptied during a copy,
    /// so that long pauses make it grow. A copy for whose end somebody waits makes none. *Default:* 1 ms.
    /// *Limits:* 0 to 1 second.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Promotes this copy by itself when the primary could not be read for so long: see
    /// [`ConnectionManager::promote`](crate::ConnectionManager::promote). *Default:* never. *Limits:* 100 ms to 1 day.
    ///
    /// Of several that may, the one that has come furthest does. **The risk:** what the primary has committed since the
    /// last copy is lost, which is up to the [`staleness`](Self::staleness) and more if copies have failed. And only this
    /// process has seen that the primary is gone: another one that still reaches it goes on writing there, until it
    /// can be told, and what it writes is lost as well.
    #[must_use]
    pub fn promote_automatically(mut self, after: Duration) -> Self {
        self.promote_after = Some(after);
        self
    }

    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        const DAY: Duration = Duration::from_secs(86_400);
        let within = |field, span: Duration, least: Duration, most: Duration, accepted: &str| {
            if (least..=most).contains(&span) {
                Ok(())
            } else {
                Err(InvalidConfig::new(field, format!("{span:?}"), accepted))
            }
        };
        within("staleness", self.staleness, Duration::from_millis(1), DAY, "1 ms to 1 day")?;
        within("pause", self.pause, Duration::ZERO, Duration::from_secs(1), "0 to 1 second")?;
        if let Some(after) = self.promote_after {
            within("promote_automatically", after, Duration::from_millis(100), DAY, "100 ms to 1 day")?;
        }
        if !(1..=1_000_000).contains(&self.pages_per_step) {
            return Err(InvalidConfig::new("pages_per_step", self.pages_per_step, "1 to 1000000"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_out_of_its_limits_is_named() {
        let replica = || Replica::of("main");
        let day = Duration::from_secs(86_401);
        for (wrong, field) in [
            (replica().staleness(Duration::ZERO), "staleness"),
            (replica().staleness(day), "staleness"),
            (replica().pause(day), "pause"),
            (replica().pages_per_step(0), "pages_per_step"),
            (replica().promote_automatically(Duration::ZERO), "promote_automatically"),
        ] {
            let said = wrong.check().unwrap_err().to_string();
            assert!(said.starts_with(field), "{said}");
        }
        replica().promote_automatically(Duration::from_secs(9)).check().unwrap();
    }
}
