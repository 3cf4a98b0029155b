use super::{
    known::Known,
    marks::{Marks, Reads},
};
use crate::{
    registry::Registry,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
        lock,
    },
};
use arc_swap::ArcSwapOption;
use ecm_core::{Backend, Clock, DataVersion, Failure, ForeignWrites, Stamp, TableVersion, Written};
use ecm_pool::{CommitEnd, CommitWatch};
use std::{
    fmt,
    sync::{Arc, TryLockError},
    thread,
};

/// Whether what was read of a database is still what stands there, whoever writes it.
///
/// A result is current if the database stands where it stood when all that had been written was last accounted for
/// ([`Known`]), and nothing that the result was read from has been written since its read began ([`Marks`]). In this
/// order, and each commit of the manager's own the other way round: it is visible, the versions of what it wrote
/// move, then the database is known to stand there, then it is acknowledged. So nobody who has seen a new row, by
/// whatever way, is served an old one; in between everybody asks the database.
pub(crate) struct Currency {
    marks: Marks,
    known: Known,
    /// Commits of the manager's own that are under way.
    committing: AtomicU32,
    /// Opened when the database is registered, or for the first result that is kept; none after it was closed.
    seen: ArcSwapOption<ForeignWrites>,
    /// Held by whoever opens that, or accounts for what others have written.
    catching_up: Mutex<CaughtUp>,
    source: Box<dyn Source>,
    /// How many commits may have come with another schema, be it that of somebody else, and for how many of them it
    /// was looked at.
    doubts: AtomicU64,
    settled: AtomicU64,
    /// Whether the backend was asked to tell which rows are written.
    follows_rows: AtomicBool,
    telling: Mutex<()>,
    /// Whether a result that depends on rows was asked for since that was last considered.
    rows_used: AtomicBool,
    commits: AtomicU64,
}

#[derive(Debug, Default)]
struct CaughtUp {
    closed: bool,
    /// The schema that was there.
    schema: Option<u64>,
}

/// Everything may be written until this is dropped, by somebody whom nobody watches.
#[derive(Debug)]
#[must_use = "the write has ended when this is dropped"]
pub(crate) struct Unwatched(Arc<Currency>);

/// What a backend tells of those who write.
trait Source: Send + Sync {
    fn foreign_writes(&self) -> Result<ForeignWrites, Failure>;
    fn follow_rows(&self, wanted: bool);
}

struct Of<B> {
    backend: Arc<B>,
    clock: Arc<dyn Clock>,
}

impl<B: Backend> Source for Of<B> {
    fn foreign_writes(&self) -> Result<ForeignWrites, Failure> {
        self.backend.foreign_writes(&self.clock)
    }

    fn follow_rows(&self, wanted: bool) {
        self.backend.follow_rows(wanted);
    }
}

/// After how many commits it is considered whether anybody depends on rows still: telling them costs each commit a
/// little.
const COMMITS_WITHOUT_ROWS: u64 = 1024;

impl Currency {
    pub(crate) fn of<B: Backend>(backend: Arc<B>, clock: Arc<dyn Clock>) -> Self {
        Self::of_source(Box::new(Of { backend, clock }))
    }

    fn of_source(source: Box<dyn Source>) -> Self {
        Self {
            marks: Marks::default(),
            known: Known::default(),
            committing: AtomicU32::new(0),
            seen: ArcSwapOption::empty(),
            catching_up: Mutex::default(),
            source,
            doubts: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            follows_rows: AtomicBool::new(false),
            telling: Mutex::default(),
            rows_used: AtomicBool::new(false),
            commits: AtomicU64::new(0),
        }
    }

    /// Whether what was read at these versions is what stands there now.
    #[inline]
    pub(crate) fn is_current(&self, versions: &[TableVersion]) -> bool {
        let seen = self.seen.load();
        let current = match seen.as_deref() {
            Some(ForeignWrites::Seen(version)) => {
                version.now().is_some_and(|now| self.known.is(&now)) && self.marks.are(versions, false)
            }
            Some(ForeignWrites::None) => self.marks.are(versions, true),
            Some(ForeignWrites::Unseen) | None => false,
        };
        if current && Marks::by_rows(versions) {
            self.use_rows();
        }
        current
    }

    /// Whether those who write are seen.
    pub(crate) fn sees_writes(&self) -> bool {
        matches!(self.seen.load().as_deref(), Some(ForeignWrites::Seen(_) | ForeignWrites::None))
    }

    /// Where the database stands; `None` while that cannot be told, since somebody may be writing.
    pub(crate) fn stand(&self) -> Option<Stamp> {
        match self.seen.load().as_deref()? {
            ForeignWrites::Seen(version) => version.now(),
            ForeignWrites::None => {
                // In this order: a commit that has become visible meanwhile has moved the number, or is under way.
                let ended = self.commits.load(Ordering::SeqCst);
                let quiet = self.committing.load(Ordering::SeqCst) == 0 && self.marks.nobody_unwatched();
                quiet.then_some(Stamp([ended, 0, 0, 0, 0, 0]))
            }
            ForeignWrites::Unseen => None,
        }
    }

    /// What a result has to be kept with that is read after this; `None` if none may be kept now.
    ///
    /// Accounts for what others have written since the last time: everything counts as written then. `statements` is
    /// cleared where the schema may be another one.
    pub(crate) fn capture(&self, reads: &Reads<'_>, statements: &Registry) -> Option<Box<[TableVersion]>> {
        if !self.accounts_for_all(&self.seen.load()) {
            self.catch_up(statements)?;
        }
        let (versions, by_rows) = self.marks.capture(reads);
        if by_rows {
            self.use_rows();
        }
        Some(versions)
    }

    /// Remembers that somebody depends on rows.
    #[inline]
    pub(crate) fn use_rows(&self) {
        if !self.rows_used.load(Ordering::Relaxed) {
            self.rows_used.store(true, Ordering::Relaxed);
        }
        if !self.follows_rows.load(Ordering::Relaxed) {
            self.follow_rows(|| true);
        }
    }

    /// Tells the backend whether somebody depends on rows, if that has changed. Under a lock, so that it is told last
    /// what is remembered here.
    #[cold]
    fn follow_rows(&self, wanted: impl FnOnce() -> bool) {
        let _one_at_a_time = lock(&self.telling);
        let wanted = wanted();
        if self.follows_rows.swap(wanted, Ordering::SeqCst) != wanted {
            self.source.follow_rows(wanted);
        }
    }

    fn accounts_for_all(&self, seen: &Option<Arc<ForeignWrites>>) -> bool {
        match seen.as_deref() {
            Some(ForeignWrites::Seen(version)) => version.now().is_some_and(|now| self.known.is(&now)),
            Some(ForeignWrites::None) => true,
            Some(ForeignWrites::Unseen) | None => false,
        }
    }

    /// One does it; the others keep nothing meanwhile.
    #[cold]
    fn catch_up(&self, statements: &Registry) -> Option<()> {
        let mut caught_up = match self.catching_up.try_lock() {
            Ok(caught_up) => caught_up,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        if caught_up.closed {
            return None;
        }
        let seen = match self.seen.load_full() {
            Some(seen) if !is_over(&seen) => seen,
            _ => {
                let opened = Arc::new(self.source.foreign_writes().ok()?);
                // Another file has another history.
                self.marks.move_everything();
                caught_up.schema = None;
                self.seen.store(Some(Arc::clone(&opened)));
                opened
            }
        };
        match &*seen {
            ForeignWrites::None => Some(()),
            ForeignWrites::Unseen => None,
            ForeignWrites::Seen(version) => self.account_for(&**version, &mut caught_up, statements),
        }
    }

    fn account_for(&self, version: &dyn DataVersion, caught_up: &mut CaughtUp, statements: &Registry) -> Option<()> {
        let doubts = self.doubts.load(Ordering::SeqCst);
        let now = version.now()?;
        // Looked at after the database: a commit of our own that shows in `now` is still under way, or known.
        if self.committing.load(Ordering::SeqCst) > 0 {
            return None;
        }
        if self.known.is(&now) && self.settled.load(Ordering::SeqCst) == doubts {
            return Some(());
        }
        let schema = version.schema()?;
        self.marks.move_everything();
        if caught_up.schema.replace(schema) != Some(schema) {
            statements.clear();
        }
        self.settled.store(doubts, Ordering::SeqCst);
        self.known.set(&now);
        Some(())
    }

    /// Somebody whom nobody watches may write anything, until what this answers is dropped.
    pub(crate) fn begin_unwatched(self: &Arc<Self>) -> Unwatched {
        self.marks.begin_everything();
        Unwatched(Arc::clone(self))
    }

    /// Closes what was opened to see the writes of others. Nothing is current any more.
    pub(crate) fn close(&self) {
        let mut caught_up = lock(&self.catching_up);
        caught_up.closed = true;
        let Some(mut seen) = self.seen.swap(None) else { return };
        drop(caught_up);
        // Closed here, so that the last connection is one that can empty the log. Whoever still looks at it does so
        // for some nanoseconds; one that the system has stopped meanwhile closes it itself.
        for _ in 0..1_000 {
            match Arc::try_unwrap(seen) {
                Ok(_closed) => return,
                Err(shared) => seen = shared,
            }
            thread::yield_now();
        }
    }

    /// Whether the schema was looked at since it may have changed last.
    fn is_settled(&self) -> bool {
        self.settled.load(Ordering::SeqCst) == self.doubts.load(Ordering::SeqCst)
    }

    /// Asks for rows no longer if nobody has depended on them for a while.
    fn consider_rows(&self) {
        let commits = self.commits.fetch_add(1, Ordering::SeqCst);
        if commits.is_multiple_of(COMMITS_WITHOUT_ROWS) && self.follows_rows.load(Ordering::Relaxed) {
            self.follow_rows(|| self.rows_used.swap(false, Ordering::Relaxed));
        }
    }
}

fn is_over(seen: &ForeignWrites) -> bool {
    match seen {
        ForeignWrites::Seen(version) => version.is_over(),
        ForeignWrites::None | ForeignWrites::Unseen => false,
    }
}

impl CommitWatch for Currency {
    fn committing(&self, writes: &Written) {
        self.committing.fetch_add(1, Ordering::SeqCst);
        self.marks.begin(writes);
    }

    fn ended(&self, writes: &Written, end: CommitEnd<'_>) {
        match end {
            CommitEnd::Committed(written, stamp, own) => {
                // Where all that was committed before it is accounted for, what it has written itself is all there is:
                // also in the first transaction of a connection, which cannot know of others by itself.
                let own = own.filter(|(began, _)| self.is_settled() && self.known.is(began));
                let written = own.map_or(written, |(_, written)| written);
                self.marks.committed(written);
                // Whoever keeps the next result finds out whether the schema is another one.
                if *written == Written::Everything {
                    self.doubts.fetch_add(1, Ordering::SeqCst);
                }
                if let Some(stamp) = stamp.filter(|_| self.is_settled()) {
                    self.known.set(&stamp);
                }
                self.consider_rows();
            }
            CommitEnd::RolledBack => {}
            CommitEnd::Unknown => self.marks.unknown(writes),
        }
        self.marks.end(writes);
        self.committing.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Unwatched {
    fn drop(&mut self) {
        self.0.marks.end_everything();
    }
}

impl fmt::Debug for Currency {
    /// By hand: the marks of many tables tell nobody anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Currency").field("seen", &self.seen.load()).field("known", &self.known).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
