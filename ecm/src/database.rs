#[cfg(feature = "sqlite")]
use ecm_sqlite::Sqlite;

use crate::Replica;
use ecm_core::{Backend, InvalidConfig, Node};
use ecm_pool::PoolConfig;
use std::sync::Arc;

/// The group of a database that names no other, and of a call that names none.
pub const DEFAULT_GROUP: &str = "default";

/// A database to register: what it is called, how it is opened, whom it stands beside.
///
/// ```
/// # #[cfg(feature = "sqlite")] {
/// use ecm::{Database, sqlite::Sqlite};
///
/// let replica = Database::new("notes-replica", Sqlite::open("/var/lib/notes/replica.db"))
///     .read_only(true)
///     .priority(-1)
///     .tag("nearby");
/// assert_eq!(replica.name(), "notes-replica");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Database<#[cfg(feature = "sqlite")] B: Backend = Sqlite, #[cfg(not(feature = "sqlite"))] B: Backend> {
    pub(crate) info: DatabaseInfo,
    pub(crate) backend: B,
}

/// What is known about a database apart from how it is opened: what a recipe sees.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DatabaseInfo {
    /// Its name, unique in the manager.
    pub name: Arc<str>,
    /// The group whose data it holds.
    pub group: Arc<str>,
    /// Whom to prefer: higher first.
    pub priority: i32,
    /// Its share of the work, relative to the others.
    pub weight: u32,
    /// Whether it is only read.
    pub read_only: bool,
    /// Free words.
    pub tags: Vec<Box<str>>,
    /// How it follows the primary of its group; `None` where nobody keeps it a copy.
    pub replica: Option<Replica>,
    /// How its connections are pooled, and when its breaker acts.
    pub pool: PoolConfig,
}

/// What is known about a group: what a recipe for balancers sees.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupInfo {
    /// Its name.
    pub name: Arc<str>,
}

impl<B: Backend> Database<B> {
    /// A database of the group `default`, written and read, with the default pool.
    pub fn new(name: impl Into<Arc<str>>, backend: B) -> Self {
        Self { info: DatabaseInfo::new(name.into()), backend }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// The group whose data it holds. *Default:* `default`. A group has one database that may be
    /// written, its primary; the others have to be [`read_only`](Self::read_only).
    #[must_use]
    pub fn group(mut self, group: impl Into<Arc<str>>) -> Self {
        self.info.group = group.into();
        self
    }

    /// Whom to prefer where no balancer decides otherwise: higher first. *Default:* 0.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.info.priority = priority;
        self
    }

    /// Its share of the work for balancers that weigh, relative to the others. *Default:* 1.
    /// *Limits:* at least 1.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.info.weight = weight;
        self
    }

    /// Whether it is only read. No write reaches such a database, whatever its text looks like: no
    /// connection to it is ever opened for writing. *Default:* false.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.info.read_only = read_only;
        self
    }

    /// Keeps it a copy of the primary of its group, and with that [`read_only`](Self::read_only): see [`Replica`]. It
    /// serves reads once it holds its first copy, which is made before registering it returns. What is at its place
    /// and is no copy of that database is not overwritten: registering it fails.
    #[must_use]
    pub fn replica(mut self, replica: Replica) -> Self {
        self.info.replica = Some(replica);
        self.read_only(true)
    }

    /// Adds a free word, for balancers that filter and for people.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<Box<str>>) -> Self {
        self.info.tags.push(tag.into());
        self
    }

    /// How its connections for reading are pooled. A database that may be written has one more, for
    /// writing, which waits as long. *Default:* [`PoolConfig::default`].
    ///
    /// A manager made by `standard()` or `open()` gives it a breaker with the
    /// [`failure_threshold`](PoolConfig::failure_threshold) and the other words for it in here.
    #[must_use]
    pub fn pool(mut self, pool: PoolConfig) -> Self {
        self.info.pool = pool;
        self
    }

    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        if self.info.name.trim().is_empty() {
            return Err(InvalidConfig::new("name", format!("{:?}", self.info.name), "a name that is not blank"));
        }
        if self.info.group.trim().is_empty() {
            return Err(InvalidConfig::new("group", format!("{:?}", self.info.group), "a name that is not blank"));
        }
        if self.info.weight == 0 {
            return Err(InvalidConfig::new("weight", 0, "at least 1"));
        }
        if let Some(replica) = &self.info.replica {
            replica.check()?;
            if !self.info.read_only {
                return Err(InvalidConfig::new("read_only", false, "true for a replica: it is promoted to be written"));
            }
        }
        self.info.pool.check()
    }
}

impl DatabaseInfo {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            group: DEFAULT_GROUP.into(),
            priority: 0,
            weight: 1,
            read_only: false,
            tags: Vec::new(),
            replica: None,
            pool: PoolConfig::default(),
        }
    }

    pub(crate) fn node(&self) -> Node {
        Node {
            name: Arc::clone(&self.name),
            weight: self.weight,
            priority: self.priority,
            writable: !self.read_only,
            tags: self.tags.clone().into(),
            load: Arc::default(),
        }
    }
}

impl GroupInfo {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self { name }
    }
}
