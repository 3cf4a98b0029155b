use crate::{
    JournalMode, SqliteConfig, SqliteConnection, anchor, fault, follower::Follower, generation::Generation,
    governor::Governor, lineage::Term, location::Location, open, storage,
};
use ecm_core::{
    Abilities, Access, Backend, Clock, Concern, Failure, Fault, Follow, ForeignWrites, LogObserver, LogStatus,
    Position, Time,
};
use std::{
    error::Error as StdError,
    fmt,
    path::Path,
    process,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// One SQLite database: where it is, and how connections to it are opened.
///
/// Clones are the same database. Nothing is touched until the first connection is opened.
///
/// # Concurrency
/// Connections may be opened by several threads at once, also the first ones of a new file.
#[derive(Clone)]
pub struct Sqlite {
    pub(crate) location: Location,
    pub(crate) config: Arc<SqliteConfig>,
    pub(crate) create: bool,
    pub(crate) vfs: Option<Arc<str>>,
    pub(crate) shared: Arc<Shared>,
}

/// What all clones of one database, and its connections, have in common.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Keeps a database in memory alive while no connection is open.
    anchor: Mutex<Option<rusqlite::Connection>>,
    commits: AtomicU64,
    /// From which number on they are told.
    pub(crate) term: Term,
    /// Commits, and loans of whole connections, that have begun; and those that have ended.
    begun: AtomicU64,
    ended: AtomicU64,
    /// How often somebody asked that held snapshots be let go of.
    let_go: AtomicU64,
    /// Which file is at the path.
    pub(crate) generation: Generation,
    /// Whether a connection that writes was opened.
    written: AtomicBool,
    /// Whether somebody lets go of the snapshots of idle connections.
    kept: AtomicBool,
    /// Until when nobody begins to hold a snapshot, in nanoseconds of the clock; 0 at first.
    free_until: AtomicU64,
    /// Whether somebody depends on single rows.
    follow_rows: AtomicBool,
    /// Keeps the log short; none for a database without one.
    governor: OnceLock<Option<Arc<Governor>>>,
}

impl Sqlite {
    /// The database in this file, with the default settings.
    ///
    /// The path names the very file: `?`, `#`, `%` and spaces have no meaning. A relative one counts
    /// from the working directory at this moment, wherever the program goes later. Only a path that
    /// begins with `file:` is a URI, as <https://sqlite.org/uri.html> describes it; a file whose
    /// name begins so is written `./file:..`. `:memory:` is [`Sqlite::memory`]. A path that cannot
    /// be opened (empty, not UTF-8, a URI with `cache=shared` or `mode=memory`) is an error of
    /// connecting.
    #[must_use]
    pub fn open(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        if path == Path::new(":memory:") { Self::memory() } else { Self::at(Location::of(path)) }
    }

    /// A new database in memory, which all connections made through this value and its clones share.
    ///
    /// It lives as long as any of them. It has no log: a commit waits until no reader is inside a
    /// transaction, and the other way round, so that it shows less concurrency than a file. It
    /// holds at most 1 GiB.
    #[must_use]
    pub fn memory() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // The slash at the front is what makes `memdb` share the database between connections.
        Self::at(Location::Memory(format!("/ecm-{}-{number}", process::id())))
    }

    fn at(location: Location) -> Self {
        Self { location, config: Arc::default(), create: true, vfs: None, shared: Arc::default() }
    }

    /// The same database, opened with these settings. They are checked when a connection is opened.
    #[must_use]
    pub fn config(mut self, config: SqliteConfig) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// The same database, of which a writer may (true, the default) or may not create a missing file.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// The same database, reached by the file system of this name that was registered with SQLite (a
    /// VFS), instead of the one that SQLite uses by itself. A name that SQLite does not know is an
    /// error of opening. A database in memory has one of its own and ignores it.
    #[must_use]
    pub fn vfs(mut self, name: impl Into<Arc<str>>) -> Self {
        self.vfs = Some(name.into());
        self
    }

    /// Asks every connection to let go of the snapshot that it holds between loans. Each does so
    /// at the end of the loan that it is in, before its next one, or when it is told that it is idle.
    ///
    /// For who waits until no reader stands in the way: a checkpoint that empties the log. A
    /// connection that waits for the write lock asks by itself.
    pub fn let_go(&self) {
        self.shared.ask_to_let_go();
    }

    pub(crate) fn governor(&self) -> Option<&Arc<Governor>> {
        self.shared.governor.get_or_init(|| Governor::of(self)).as_ref()
    }

    /// The file, by its absolute path; `None` for a database in memory, and for a path that cannot be opened.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.location {
            Location::File { file, .. } => Some(file),
            Location::Memory(_) | Location::Nowhere(_) => None,
        }
    }
}

impl Shared {
    /// Opens the connection that keeps a database in memory alive, unless it is open.
    pub(crate) fn hold(&self, open: impl FnOnce() -> Result<rusqlite::Connection, Failure>) -> Result<(), Failure> {
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        if anchor.is_none() {
            *anchor = Some(open()?);
        }
        Ok(())
    }

    pub(crate) fn ask_to_let_go(&self) {
        self.let_go.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of the last request to let go.
    pub(crate) fn requests_to_let_go(&self) -> u64 {
        self.let_go.load(Ordering::Relaxed)
    }

    /// Remembers that somebody looks after idle connections.
    pub(crate) fn keep(&self) {
        if !self.kept.load(Ordering::Relaxed) {
            self.kept.store(true, Ordering::Relaxed);
        }
    }

    /// Remembers that a connection that writes was opened.
    pub(crate) fn will_be_written(&self) {
        self.written.store(true, Ordering::Relaxed);
    }

    /// Whether writers are to tell which rows they write.
    pub(crate) fn follows_rows(&self) -> bool {
        self.follow_rows.load(Ordering::Relaxed)
    }

    pub(crate) fn was_written(&self) -> bool {
        self.written.load(Ordering::Relaxed)
    }

    /// Whether snapshots may be held: somebody looks after idle connections, and nobody waits for readers.
    pub(crate) fn is_kept(&self, now: impl FnOnce() -> Time) -> bool {
        let waits =
            || self.governor.get().and_then(Option::as_ref).is_some_and(|governor| governor.wants_readers_gone());
        let free_until = self.free_until.load(Ordering::Relaxed);
        let is_free = || free_until > 0 && now().as_nanos() < free_until;
        self.kept.load(Ordering::Relaxed) && !waits() && !is_free()
    }

    /// Nobody begins to hold a snapshot before this.
    ///
    /// All readers of a file share four marks in its log. Where more of them hold snapshots than that, and
    /// each takes a new one at another moment, a mark is never free to move on to the end of the log.
    pub(crate) fn hold_nothing_until(&self, at: Time) {
        self.free_until.fetch_max(at.as_nanos(), Ordering::Relaxed);
    }

    /// Others may see from now on what somebody writes.
    pub(crate) fn may_write(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    /// What [`may_write`](Self::may_write) has begun is over.
    pub(crate) fn has_written(&self) {
        self.ended.fetch_add(1, Ordering::SeqCst);
    }

    /// How often somebody has written; `None` while somebody may be writing.
    pub(crate) fn commits_seen(&self) -> Option<u64> {
        // In this order: none that has begun by the second look was under way at the first.
        let ended = self.ended.load(Ordering::SeqCst);
        (self.begun.load(Ordering::SeqCst) == ended).then_some(ended)
    }

    /// Counts a commit, which everybody can see by now, and answers where it stands.
    pub(crate) fn count_commit(&self) -> Position {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.position()
    }

    /// Where the last commit stands that was counted.
    pub(crate) fn position(&self) -> Position {
        self.term.position(self.commits.load(Ordering::SeqCst))
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Sqlite");
        shown
            .field("at", &self.describe())
            .field("create", &self.create)
            .field("vfs", &self.vfs)
            .field("config", &self.config);
        shown.finish_non_exhaustive()
    }
}

impl Backend for Sqlite {
    type Connection = SqliteConnection;

    fn connect(&self, access: Access, clock: &Arc<dyn Clock>) -> Result<SqliteConnection, Failure> {
        open::connect(self, access, clock)
    }

    fn classify(&self, error: &(dyn StdError + 'static)) -> Option<Fault> {
        fault::classify(error)
    }

    fn abilities(&self) -> Abilities {
        Abilities { one_writer: true, answers_in_process: true, group_commit: true }
    }

    /// As the trait says: readers of a file with a log keep their snapshot.
    fn keeps(&self, access: Access) -> bool {
        let has_log = self.config.journal_mode == JournalMode::Wal && matches!(self.location, Location::File { .. });
        access == Access::Read && has_log
    }

    fn log(&self) -> Option<LogStatus> {
        self.governor()?.status()
    }

    fn observe_log(&self, observer: Weak<dyn LogObserver>) {
        if let Some(governor) = self.governor() {
            governor.observe(observer);
        }
    }

    fn foreign_writes(&self, clock: &Arc<dyn Clock>) -> Result<ForeignWrites, Failure> {
        anchor::foreign_writes(self, clock)
    }

    /// As the trait says. Rows are told apart of tables with an integer primary key, in a file with a log: those
    /// that SQLite's hook of updates names, at most 1,024 of a table, where it is certain that no others were
    /// written. Any row counts as written after a change of a key, a `REPLACE` where something else than the key is
    /// unique, a blob that is written in place, a statement that failed or wrote rows that the hook is not told of
    /// (a table without row numbers, a virtual one, one that is emptied at once), and after more than 64 different
    /// statements. Asking for it costs some 20 ns for each row that is written, and 0.3 µs for a transaction.
    fn follow_rows(&self, wanted: bool) {
        self.shared.follow_rows.store(wanted, Ordering::Relaxed);
    }

    /// As the trait says, for files with a write-ahead log, by SQLite's online backup: see
    /// <https://sqlite.org/backup.html>. What becomes of both is kept in a table `ecm_lineage` of theirs.
    fn follow(&self, source: &Self, _clock: &Arc<dyn Clock>) -> Result<Box<dyn Follow>, Failure> {
        Ok(Box::new(Follower::new(source, self)?))
    }

    fn position(&self) -> Option<Position> {
        Some(self.shared.position())
    }

    /// As the trait says. A thorough look is `PRAGMA quick_check`, which keeps a snapshot for as long as it takes. A
    /// storage counts as nearly full with less than 64 MiB, a log as long with more than that, and more than the file.
    fn examine(
        &self,
        connection: &mut SqliteConnection,
        written: bool,
        thorough: bool,
    ) -> Result<Vec<Concern>, Failure> {
        let mut concerns = self.path().map(|file| storage::concerns(file, written)).unwrap_or_default();
        if thorough {
            concerns.extend(connection.damage()?.map(|what| Concern::Damaged { what }));
        }
        Ok(concerns)
    }

    fn describe(&self) -> String {
        match &self.location {
            Location::Memory(_) => "memory".into(),
            Location::File { file, .. } => file.display().to_string(),
            Location::Nowhere(why) => format!("nowhere, since {why}"),
        }
    }
}
