use super::shim;
use rusqlite::ffi;
use std::{
    collections::HashMap,
    ffi::{CStr, CString},
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// A disk that works like the real one until it is told otherwise.
///
/// Clones are the same disk. A database is opened on it by its [`name`](FaultyDisk::name); files
/// lie where they always do. It stays registered with SQLite for the life of the process, which
/// costs about a kilobyte. Files on it are not read through a memory map, whatever is configured,
/// since such reads could not fail.
///
/// # Concurrency
/// It may be told at any moment by any thread; what is under way goes on as it began.
#[derive(Clone)]
pub struct FaultyDisk {
    plan: Arc<Plan>,
    name: &'static CStr,
}

/// What SQLite asks a disk to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Reads a part of a file.
    Read,
    /// Writes a part of a file.
    Write,
    /// Makes sure that what was written survives a loss of power.
    Sync,
    /// Changes the length of a file.
    Truncate,
    /// Makes a part of the memory available that the connections of a file share.
    ShareMemory,
    /// Takes a lock in that memory.
    LockMemory,
    /// Opens a file, or creates it.
    Open,
    /// Deletes a file, as a journal is at the end of its transaction.
    Delete,
    /// Takes a lock on a file.
    Lock,
}

impl Operation {
    /// Every kind of operation.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::Write,
        Self::Sync,
        Self::Truncate,
        Self::ShareMemory,
        Self::LockMemory,
        Self::Open,
        Self::Delete,
        Self::Lock,
    ];
}

/// Which of the files that belong to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stored {
    /// The database itself.
    Database,
    /// Its log, `-wal`.
    Log,
    /// Anything else: a journal, temporary files.
    Other,
}

/// What happens to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Harm {
    /// Nothing is done, and SQLite is told the error that belongs to the operation: `SQLITE_IOERR`
    /// with its kind, and `SQLITE_CANTOPEN` where a file is opened.
    Error,
    /// Half of it is done: a read that finds the end of the file, a write that breaks off with an
    /// error. Other operations fail as with [`Error`](Harm::Error).
    Short,
    /// Nothing is done, because there is no space: `SQLITE_FULL`, or what SQLite says instead of it
    /// about shared memory and about a file that cannot be created. What needs no space fails as with
    /// [`Error`](Harm::Error).
    Full,
    /// It is done after a while.
    Delay(Duration),
}

/// Says when and how often a [`Harm`] strikes. Without more, each time.
#[derive(Debug)]
pub struct Harming<'d> {
    plan: &'d Plan,
    rule: u64,
}

/// What a disk has been told, and what it has seen.
#[derive(Debug, Default)]
pub(super) struct Plan {
    rules: Mutex<Vec<Rule>>,
    /// Whether there are rules: a disk that works takes no lock.
    armed: AtomicBool,
    next_rule: AtomicU64,
    counts: [AtomicU64; Operation::ALL.len()],
    struck: AtomicU64,
    synced: Mutex<Synced>,
    keeps: AtomicBool,
}

#[derive(Debug)]
struct Rule {
    number: u64,
    operation: Operation,
    stored: Option<Stored>,
    harm: Harm,
    skip: u64,
    left: u64,
}

/// What a loss of power would leave.
#[derive(Debug, Default)]
struct Synced {
    files: HashMap<PathBuf, Vec<u8>>,
    /// How many more syncs the power lasts for.
    power: Option<u64>,
    /// Whether something was synced after it was lost.
    lost: bool,
}

impl FaultyDisk {
    /// A disk that works, under a name of its own.
    ///
    /// # Panics
    /// If SQLite cannot be initialised, or does not accept another file system.
    #[must_use]
    pub fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = CString::new(format!("ecm-faulty-{number}")).expect("the name has no NUL");
        let name: &'static CStr = Box::leak(name.into_boxed_c_str());
        let plan = Arc::new(Plan::default());
        shim::register(name, Arc::clone(&plan));
        Self { plan, name }
    }

    /// The name by which SQLite knows it, for [`Sqlite::vfs`](crate::Sqlite::vfs).
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name.to_str().unwrap_or_default()
    }

    /// From now on, `harm` strikes each such operation; what is returned makes it strike more rarely.
    ///
    /// Of several that would strike the same operation, the one that was given first does.
    pub fn harm(&self, operation: Operation, harm: Harm) -> Harming<'_> {
        let number = self.plan.next_rule.fetch_add(1, Ordering::Relaxed);
        let rule = Rule { number, operation, stored: None, harm, skip: 0, left: u64::MAX };
        lock(&self.plan.rules).push(rule);
        self.plan.armed.store(true, Ordering::SeqCst);
        Harming { plan: &self.plan, rule: number }
    }

    /// No operation is harmed any more.
    pub fn heal(&self) {
        lock(&self.plan.rules).clear();
        self.plan.armed.store(false, Ordering::SeqCst);
    }

    /// Full from now on: nothing is written, no file becomes longer, until [`heal`](FaultyDisk::heal).
    pub fn fill(&self) {
        for operation in [Operation::Write, Operation::ShareMemory] {
            self.harm(operation, Harm::Full);
        }
    }

    /// How many operations of this kind there were, harmed or not.
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        self.plan.counts[operation as usize].load(Ordering::Relaxed)
    }

    /// How many operations were harmed, of any kind: whether a test has reached what it wanted to harm.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.plan.struck.load(Ordering::Relaxed)
    }

    /// From now on, remembers what a loss of power would leave. Before the first file is opened.
    pub fn keep_synced(&self) {
        self.plan.keeps.store(true, Ordering::SeqCst);
    }

    /// The power is lost after so many more syncs: what is synced later does not survive. SQLite is
    /// not told, as if it went on for a moment before it noticed.
    pub fn cut_power_after(&self, syncs: u64) {
        lock(&self.plan.synced).power = Some(syncs);
    }

    /// Whether something was synced since the power was lost, so that it does not survive. Whoever is told that
    /// something is on the disk, and then finds that nothing was lost yet, may expect it to survive.
    #[must_use]
    pub fn has_lost_power(&self) -> bool {
        lock(&self.plan.synced).lost
    }

    /// Writes into `folder` the files as a loss of power would have left them: each as it was when
    /// it was last synced, or opened. Files that were created and never synced are empty.
    ///
    /// # Errors
    /// What writing them failed with.
    pub fn survivors(&self, folder: &Path) -> io::Result<()> {
        for (path, content) in &lock(&self.plan.synced).files {
            if let Some(name) = path.file_name() {
                fs::write(folder.join(name), content)?;
            }
        }
        Ok(())
    }
}

impl Default for FaultyDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FaultyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyDisk").field("name", &self.name).field("rules", &lock(&self.plan.rules)).finish()
    }
}

impl Operation {
    /// What SQLite is told when it fails.
    const fn error(self) -> i32 {
        match self {
            Self::Read => ffi::SQLITE_IOERR_READ,
            Self::Write => ffi::SQLITE_IOERR_WRITE,
            Self::Sync => ffi::SQLITE_IOERR_FSYNC,
            Self::Truncate => ffi::SQLITE_IOERR_TRUNCATE,
            Self::ShareMemory => ffi::SQLITE_IOERR_SHMMAP,
            Self::LockMemory => ffi::SQLITE_IOERR_SHMLOCK,
            Self::Open => ffi::SQLITE_CANTOPEN,
            Self::Delete => ffi::SQLITE_IOERR_DELETE,
            Self::Lock => ffi::SQLITE_IOERR_LOCK,
        }
    }

    /// What SQLite is told when there is no space for it.
    const fn full(self) -> i32 {
        match self {
            Self::ShareMemory => ffi::SQLITE_IOERR_SHMSIZE,
            Self::Write | Self::Truncate | Self::Sync => ffi::SQLITE_FULL,
            _ => self.error(),
        }
    }
}

impl Harming<'_> {
    /// So many of the operations are spared first.
    pub fn after(&self, spared: u64) -> &Self {
        self.change(|rule| rule.skip = spared);
        self
    }

    /// Strikes so many times, then no more.
    pub fn times(&self, times: u64) -> &Self {
        self.change(|rule| rule.left = times);
        self
    }

    /// Strikes only operations on this file.
    pub fn on(&self, stored: Stored) -> &Self {
        self.change(|rule| rule.stored = Some(stored));
        self
    }

    fn change(&self, change: impl FnOnce(&mut Rule)) {
        if let Some(rule) = lock(&self.plan.rules).iter_mut().find(|rule| rule.number == self.rule) {
            change(rule);
        }
    }
}

/// What the shim does to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    /// Not done, and answered by this code.
    Refused(i32),
    /// Half done, and answered by this code.
    Half(i32),
}

impl Plan {
    /// What becomes of an operation that is about to happen. Sleeps, if it is delayed.
    pub(super) fn fate(&self, operation: Operation, stored: Stored) -> Fate {
        self.counts[operation as usize].fetch_add(1, Ordering::Relaxed);
        if !self.armed.load(Ordering::SeqCst) {
            return Fate::Done;
        }
        let Some(harm) = self.strikes(operation, stored) else { return Fate::Done };
        match harm {
            Harm::Error => Fate::Refused(operation.error()),
            Harm::Full => Fate::Refused(operation.full()),
            Harm::Short if operation == Operation::Read => Fate::Half(ffi::SQLITE_IOERR_SHORT_READ),
            Harm::Short if operation == Operation::Write => Fate::Half(operation.error()),
            Harm::Short => Fate::Refused(operation.error()),
            Harm::Delay(long) => {
                thread::sleep(long);
                Fate::Done
            }
        }
    }

    fn strikes(&self, operation: Operation, stored: Stored) -> Option<Harm> {
        let mut rules = lock(&self.rules);
        let rule = rules.iter_mut().find(|rule| {
            rule.operation == operation && rule.left > 0 && rule.stored.is_none_or(|only| only == stored)
        })?;
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        if rule.left != u64::MAX {
            rule.left -= 1;
        }
        self.struck.fetch_add(1, Ordering::Relaxed);
        Some(rule.harm)
    }

    /// Whether it is remembered what survives.
    pub(super) fn keeps_synced(&self) -> bool {
        self.keeps.load(Ordering::SeqCst)
    }

    /// A file was opened, of which this is the content.
    pub(super) fn opened(&self, path: &Path, content: Vec<u8>) {
        lock(&self.synced).files.entry(path.to_owned()).or_insert(content);
    }

    /// A file was synced. Its content is looked at under the lock: of two threads that sync one file the later
    /// one may have seen more.
    pub(super) fn synced(&self, path: &Path, content: impl FnOnce() -> Option<Vec<u8>>) {
        let mut synced = lock(&self.synced);
        match &mut synced.power {
            Some(0) => {
                synced.lost = true;
                return;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        if let Some(content) = content() {
            synced.files.insert(path.to_owned(), content);
        }
    }

    /// A file was deleted.
    pub(super) fn deleted(&self, path: &Path) {
        let mut synced = lock(&self.synced);
        if synced.power != Some(0) {
            synced.files.remove(path);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
