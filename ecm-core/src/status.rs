use crate::{BreakerState, CacheRereads, CacheStats, Health, LogStatus, Position};
use std::time::Duration;

/// A manager at one moment: for people, dashboards and probes.
///
/// The figures are read one after the other while calls go on, so they are each right but not of
/// exactly the same moment. Serialisable with the feature `serde`; durations are in seconds.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Status {
    /// The manager's name.
    pub name: String,
    /// Whether it takes calls.
    pub open: bool,
    /// How often its configuration has changed, the first one included.
    pub version: u64,
    /// The configuration in force, field by field, as it would be written.
    pub configuration: Vec<(String, String)>,
    /// Every group, in the order of registration.
    pub groups: Vec<GroupStatus>,
    /// The query cache.
    pub cache: CacheStats,
    /// What was read again of it in the background.
    pub cache_rereads: CacheRereads,
}

/// A group of databases at one moment.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GroupStatus {
    /// Its name.
    pub name: String,
    /// Its databases, in the order of registration.
    pub databases: Vec<DatabaseStatus>,
    /// Queries that wait for another one which reads the same.
    pub waiting_for_loads: usize,
    /// Attempts beyond the first of each call, at the same database or at another one.
    pub retries: u64,
    /// Such attempts that were not made, because there had been too many.
    pub retries_refused: u64,
}

/// A database at one moment.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DatabaseStatus {
    /// Its name, unique in the manager.
    pub name: String,
    /// Where it is.
    pub location: String,
    /// Whom to prefer: higher first.
    pub priority: i32,
    /// Whether it is only read.
    pub read_only: bool,
    /// Its tags.
    pub tags: Vec<String>,
    /// How it does, as checks have found.
    pub health: Health,
    /// What its breaker does to those who read.
    pub breaker: BreakerState,
    /// What its breaker does to those who write; `None` for a database that is only read.
    pub write_breaker: Option<BreakerState>,
    /// Writes that wait until that breaker admits them.
    pub waiting_writes: u32,
    /// Calls that it has answered.
    pub calls: u64,
    /// Calls in which it failed: not the statement, not the closure.
    pub failures: u64,
    /// Calls that are in it now.
    pub pending: u32,
    /// Where its last commit by this manager stands.
    pub position: Position,
    /// Its connections for reading.
    pub readers: PoolStatus,
    /// Its connection for writing; `None` for a database that is only read.
    pub writer: Option<PoolStatus>,
    /// What it is in its group.
    pub role: Role,
    /// How far it follows the primary; `None` for one that nobody keeps a copy of another.
    pub replica: Option<ReplicaStatus>,
    /// Its log; `None` for a database that has none, or that is only read.
    pub log: Option<LogStatus>,
}

/// What a database is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Role {
    /// It takes the writes.
    Primary,
    /// It is only read.
    Reader,
    /// Another database has taken its place: it serves nothing.
    Superseded,
}

/// A copy of another database at one moment.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ReplicaStatus {
    /// The database that it was registered as a copy of.
    pub of: String,
    /// Whether it holds a complete copy, so that it may be read.
    pub readable: bool,
    /// A commit of the primary's that it is known to show, with all before it.
    pub position: Position,
    /// How far it may lag behind, in seconds: everything is in it that was visible so long ago. `None` where that is not
    /// known, since the copy was made by an earlier process.
    #[cfg_attr(feature = "serde", serde(serialize_with = "in_seconds"))]
    pub lag: Option<Duration>,
    /// Whether it is being copied now.
    pub copying: bool,
    /// Copies that were made.
    pub copies: u64,
    /// Pages that were copied with them.
    pub pages: u64,
    /// Copies that have failed, and looks at the primary.
    pub failures: u64,
    /// Why the last one has; `None` if one has succeeded since.
    pub last_failure: Option<String>,
}

/// A pool at one moment. `open` is always `idle + lent + opening`.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolStatus {
    /// The most connections that may be open.
    pub max_connections: u32,
    /// Places for connections in use: idle, lent or being opened or checked.
    pub open: u32,
    /// Connections that wait to be lent.
    pub idle: u32,
    /// Connections that are lent.
    pub lent: u32,
    /// Connections that are being opened, or checked in the background.
    pub opening: u32,
    /// Callers who wait for a connection.
    pub waiting: u32,
    /// Loans since the start.
    pub loans: u64,
    /// Callers that had to wait, since the start.
    pub waits: u64,
    /// Waits that were given up, since the start.
    pub timeouts: u64,
    /// Callers that were told that a connection could not be opened, or could not serve their loan,
    /// since the start.
    pub failures: u64,
    /// Connections opened since the start.
    pub opened: u64,
    /// Connections closed since the start.
    pub closed: u64,
    /// Openings that have not come back in time: each has lost its place and holds a thread.
    pub stuck: u32,
    /// Connections that are lent after the others, because they are slower or fail more often.
    pub demoted: u32,
    /// Connections that were replaced for being slower or failing more often than the others, since the
    /// start. They count as closed and opened, too.
    pub replaced: u64,
    /// How long the oldest loan has lasted, in seconds; `None` if nothing is lent.
    #[cfg_attr(feature = "serde", serde(serialize_with = "in_seconds"))]
    pub oldest_loan: Option<Duration>,
    /// The epoch of the pool: connections of an older one are closed instead of lent.
    pub epoch: u64,
}

#[cfg(feature = "serde")]
pub(crate) fn in_seconds<S: serde::Serializer>(span: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::Serialize;
    span.map(|span| span.as_secs_f64()).serialize(serializer)
}

impl Status {
    /// An open manager of which nothing else is known yet.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            open: true,
            version: 0,
            configuration: Vec::new(),
            groups: Vec::new(),
            cache: CacheStats::default(),
            cache_rereads: CacheRereads::default(),
        }
    }

    /// The database of this name.
    #[must_use]
    pub fn database(&self, name: &str) -> Option<&DatabaseStatus> {
        self.groups.iter().flat_map(|group| &group.databases).find(|database| database.name == name)
    }
}

impl GroupStatus {
    /// A group of these databases.
    #[must_use]
    pub fn new(name: impl Into<String>, databases: Vec<DatabaseStatus>) -> Self {
        Self { name: name.into(), databases, waiting_for_loads: 0, retries: 0, retries_refused: 0 }
    }
}

impl ReplicaStatus {
    /// A copy of which nothing else is known yet.
    #[must_use]
    pub fn new(of: impl Into<String>) -> Self {
        Self {
            of: of.into(),
            readable: false,
            position: Position::default(),
            lag: None,
            copying: false,
            copies: 0,
            pages: 0,
            failures: 0,
            last_failure: None,
        }
    }
}

impl DatabaseStatus {
    /// A database of which nothing else is known yet.
    #[must_use]
    pub fn new(name: impl Into<String>, location: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            location: location.into(),
            priority: 0,
            read_only: false,
            tags: Vec::new(),
            health: Health::new(),
            breaker: BreakerState::Closed,
            write_breaker: None,
            waiting_writes: 0,
            calls: 0,
            failures: 0,
            pending: 0,
            position: Position::default(),
            readers: PoolStatus::default(),
            writer: None,
            role: Role::Reader,
            replica: None,
            log: None,
        }
    }
}
