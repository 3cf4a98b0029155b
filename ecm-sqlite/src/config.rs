use ecm_core::InvalidConfig;
use std::{fmt, time::Duration};

/// The settings that every connection of a database is opened with.
///
/// Each is read back from SQLite after it was set; one that did not take is an error of opening.
///
/// ```
/// use ecm_sqlite::{SqliteConfig, Synchronous};
///
/// let config = SqliteConfig { synchronous: Synchronous::Full, ..SqliteConfig::default() };
/// config.check().unwrap();
/// let wrong = SqliteConfig { page_size: 5000, ..config };
/// assert_eq!(
///     wrong.check().unwrap_err().to_string(),
///     "page_size = 5000 is not acceptable: a power of two from 512 to 65536",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteConfig {
    /// How a transaction can be undone: by a log of new pages, or by a journal of old ones.
    ///
    /// Only with [`JournalMode::Wal`] do readers and the writer not wait for each other. Memory
    /// databases have a journal of their own and ignore it; readers take what the file has. Default:
    /// `Wal`. Changing it on an existing file needs that nobody else has it open.
    pub journal_mode: JournalMode,
    /// How often what is written is forced onto the disk.
    ///
    /// Interplay: with `Wal`, `Normal` keeps the file consistent and may lose the last commits when
    /// the power fails; a single transaction asks for more by `Durability::Synced`. Default:
    /// `Normal`. `Off` may damage the file when the power fails.
    pub synchronous: Synchronous,
    /// The memory that one connection may use to keep pages, in bytes.
    ///
    /// Interplay: each connection has a cache of its own, so a pool of ten takes ten times as much.
    /// Default: 20,480,000 bytes (20,000 KiB), which is allocated as it fills. From 0 to
    /// 2,199,023,254,528 bytes, rounded up to full KiB.
    pub cache_size: u64,
    /// Where sorting and temporary results go.
    ///
    /// Interplay: `Memory` also keeps the journals of savepoints off the disk; large sorts then
    /// need as much memory. Default: `Memory`. Any value is accepted.
    pub temp_store: TempStore,
    /// How much of the file is read through a memory map, in bytes; 0 for none.
    ///
    /// Interplay: pages that are mapped do not fill `cache_size`. On Linux the map is kept while others commit, as long
    /// as the file has the same size; elsewhere SQLite maps the file anew after each commit of another connection,
    /// which many threads that read beside a writer pay dearly for. A failing disk, or a file that
    /// somebody truncates, then ends the process by a signal instead of an error. Default:
    /// 536,870,912 bytes (512 MiB). At most 2,147,418,112 bytes; memory databases ignore it.
    pub mmap_size: u64,
    /// The size of a page of the file, in bytes.
    ///
    /// Interplay: it acts only when the file is created; an existing file keeps its own. Default:
    /// 4096 bytes. A power of two from 512 to 65536.
    pub page_size: u32,
    /// From how many pages in the log on they are moved into the file, in pages; 0 for never.
    ///
    /// No commit does it: a thread of its own moves them beside readers and writers while the log is so
    /// long, and has writers wait for some milliseconds only where the log would otherwise never be empty;
    /// so it stays below twice this, unless one transaction is longer, or a reader lasts. What is left is
    /// moved when the last connection is closed.
    ///
    /// Interplay: with 0 somebody else must do it, or the log grows without bound. Without `Wal`, in
    /// memory and where nobody of this process writes it does nothing. `PRAGMA wal_autocheckpoint` tells 0
    /// on every connection, since SQLite itself does not do it. Default: 1000 pages. At most
    /// 2,147,483,647.
    pub wal_autocheckpoint: u32,
    /// How long a statement waits for a lock that somebody else holds.
    ///
    /// Interplay: a deadline of the call that comes earlier ends the wait too, except that of a
    /// commit, which always has this long. Default: 30 seconds. From 0 (do not wait) to 24 hours,
    /// in steps of about 1 ms.
    pub busy_timeout: Duration,
    /// How many prepared statements a connection keeps.
    ///
    /// Interplay: the least recently used goes first; each takes some KiB of memory, per
    /// connection. A reader keeps up to 32 more, those used last, where they are found faster, unless
    /// this is 0. Default: 256 statements. From 0 (keep none) to 65,536.
    pub statement_cache: usize,
}

/// How a transaction is made undoable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum JournalMode {
    /// New pages go to a log beside the file: readers and the writer do not wait for each other.
    #[default]
    Wal,
    /// Old pages go to a journal, which is deleted at the end.
    Delete,
    /// Old pages go to a journal, which is truncated at the end.
    Truncate,
    /// Old pages go to a journal, whose header is overwritten at the end.
    Persist,
    /// Old pages are kept in memory: a crash inside a transaction damages the file.
    Memory,
}

/// How often what is written is forced onto the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Synchronous {
    /// Never: a loss of power may damage the file.
    Off,
    /// At the critical moments: consistent with `Wal`, where the last commits may be lost.
    #[default]
    Normal,
    /// At every commit.
    Full,
    /// At every commit, and the folder after the journal is deleted.
    Extra,
}

/// Where temporary tables, indices and sorts are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum TempStore {
    /// Where SQLite was compiled to keep them: usually in files.
    Default,
    /// In files.
    File,
    /// In memory.
    #[default]
    Memory,
}

impl SqliteConfig {
    const MAX_CACHE_SIZE: u64 = i32::MAX as u64 * 1024;
    // SQLITE_MAX_MMAP_SIZE of an ordinary build; a larger value would silently be lowered to it.
    const MAX_MMAP_SIZE: u64 = 0x7fff_0000;
    const MAX_BUSY_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
    const MAX_STATEMENT_CACHE: usize = 65_536;

    /// Whether every field is within its limits.
    ///
    /// # Errors
    /// The first field that is not, with its value and what would be accepted.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let at_most = |field, value: u64, most: u64, unit: &str| {
            if value <= most {
                Ok(())
            } else {
                Err(InvalidConfig::new(field, value, format_args!("at most {most}{unit}")))
            }
        };
        at_most("cache_size", self.cache_size, Self::MAX_CACHE_SIZE, " bytes")?;
        at_most("mmap_size", self.mmap_size, Self::MAX_MMAP_SIZE, " bytes")?;
        if !self.page_size.is_power_of_two() || !(512..=65_536).contains(&self.page_size) {
            return Err(InvalidConfig::new("page_size", self.page_size, "a power of two from 512 to 65536"));
        }
        at_most("wal_autocheckpoint", self.wal_autocheckpoint.into(), i32::MAX as u64, " pages")?;
        if self.busy_timeout > Self::MAX_BUSY_TIMEOUT {
            let value = format!("{:?}", self.busy_timeout);
            return Err(InvalidConfig::new("busy_timeout", value, "at most 24 hours"));
        }
        at_most("statement_cache", self.statement_cache as u64, Self::MAX_STATEMENT_CACHE as u64, " statements")
    }

    /// The cache size as `PRAGMA cache_size` takes it: negative, in KiB.
    pub(crate) fn cache_pragma(&self) -> i64 {
        let kib = self.cache_size.div_ceil(1024);
        i64::try_from(kib).map_or(i64::MIN, |kib| -kib)
    }
}

impl Default for SqliteConfig {
    fn default() -> Self {
        Self {
            journal_mode: JournalMode::Wal,
            synchronous: Synchronous::Normal,
            cache_size: 20_000 * 1024,
            temp_store: TempStore::Memory,
            mmap_size: 512 * 1024 * 1024,
            page_size: 4096,
            wal_autocheckpoint: 1000,
            busy_timeout: Duration::from_secs(30),
            statement_cache: 256,
        }
    }
}

impl Synchronous {
    /// The number by which `PRAGMA synchronous` knows it.
    pub(crate) const fn code(self) -> i64 {
        match self {
            Self::Off => 0,
            Self::Normal => 1,
            Self::Full => 2,
            Self::Extra => 3,
        }
    }
}

impl TempStore {
    /// The number by which `PRAGMA temp_store` knows it.
    pub(crate) const fn code(self) -> i64 {
        match self {
            Self::Default => 0,
            Self::File => 1,
            Self::Memory => 2,
        }
    }
}

impl fmt::Display for JournalMode {
    /// As `PRAGMA journal_mode` spells it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wal => "wal",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
            Self::Persist => "persist",
            Self::Memory => "memory",
        })
    }
}
