use std::fmt;

/// How a database does, as the last check of it has found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Health {
    /// Whether it can be used: the last check has passed, or there was none yet, and it is not damaged.
    pub ready: bool,
    /// Whether a thorough check has found damage. Nothing goes there any more, until somebody takes it back into use.
    pub damaged: bool,
    /// How often it was checked.
    pub checks: u64,
    /// Why the last check has failed; `None` if it has not.
    pub failure: Option<String>,
    /// What the last check that passed has found, of which people should know.
    pub concerns: Vec<Concern>,
}

/// Something about a database of which people should know before it becomes a failure.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Concern {
    /// The storage is mounted, or the file is marked, as one that is only read, and the database is to be written.
    ReadOnly,
    /// The storage has little room left.
    NearlyFull {
        /// The bytes that are free.
        free: u64,
    },
    /// The log has become long and is not emptied.
    LongLog {
        /// Its bytes.
        bytes: u64,
    },
    /// What is stored is damaged.
    Damaged {
        /// What the database says about it.
        what: String,
    },
}

impl Health {
    /// Of a database that was not checked yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { ready: true, damaged: false, checks: 0, failure: None, concerns: Vec::new() }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Concern {
    /// Whether it keeps the database from being written.
    #[must_use]
    pub const fn forbids_writes(&self) -> bool {
        matches!(self, Self::ReadOnly | Self::Damaged { .. })
    }
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadOnly => f.write_str("the storage can only be read"),
            Self::NearlyFull { free } => write!(f, "the storage has only {free} bytes left"),
            Self::LongLog { bytes } => write!(f, "the log is {bytes} bytes long and is not emptied"),
            Self::Damaged { what } => write!(f, "damaged: {what}"),
        }
    }
}
