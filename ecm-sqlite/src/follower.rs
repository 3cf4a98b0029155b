use crate::{
    Sqlite,
    fault::{classify, failed, refused},
    handle,
    lineage::{self, Lineage, path},
    location::Location,
};
use ecm_core::{Backend, Copied, Failure, FaultKind, Follow, FollowError, Kind, Position, Relation};
use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};
use std::{fmt, fs, time::Duration};

/// Keeps a file a copy of another one, by SQLite's online backup.
///
/// The source is read by a connection that is never lent, in one snapshot for the whole copy, so that a commit beside
/// it does not begin the copy anew; the log of the source cannot be emptied meanwhile. The copy is written in one
/// transaction: its readers see the former state until the new one is there as a whole, and a copy that breaks off,
/// be it with its process, leaves nothing.
pub(crate) struct Follower {
    source: Sqlite,
    copy: Sqlite,
    reader: Option<Connection>,
    /// What the connection to the source said of the state that was copied, and which file that was copied into.
    copied: Option<(i64, Option<FileIdentity>)>,
}

type FileIdentity = (u64, u64);

/// How long a lock of somebody else's is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many pages are copied before the copy is looked at once more: from then on nobody else can write it.
const FIRST_STEP: i32 = 1;

impl Follower {
    pub(crate) fn new(source: &Sqlite, copy: &Sqlite) -> Result<Self, Failure> {
        let file = |database: &Sqlite, what: &str| match &database.location {
            Location::File { file, .. } => Ok(file.clone()),
            _ => Err(refused(
                Kind::Invalid,
                format_args!("{what} is {}, and only a file can be copied into another file", database.describe()),
            )),
        };
        let (from, to) = (file(source, "the source")?, file(copy, "the copy")?);
        if from == to {
            return Err(refused(Kind::Invalid, format_args!("{from:?} cannot be a copy of itself: name another file")));
        }
        Ok(Self { source: source.clone(), copy: copy.clone(), reader: None, copied: None })
    }

    /// The connection that reads the source, in the file that is at its path now.
    fn reader(&mut self) -> Result<&Connection, FollowError> {
        if self.reader.as_ref().is_some_and(handle::has_moved) {
            self.forget();
        }
        match &mut self.reader {
            Some(reader) => Ok(reader),
            reader => Ok(reader.insert(open_source(&self.source).map_err(FollowError::Source)?)),
        }
    }

    /// What is known of the source may not hold.
    fn forget(&mut self) {
        self.reader = None;
        self.copied = None;
    }

    /// The error of a connection that reads the source: what it keeps in memory is not trusted any more.
    fn source_failed(&mut self, what: &str, error: rusqlite::Error) -> FollowError {
        self.forget();
        FollowError::Source(failed(format_args!("{what} {}", self.source.describe()), error))
    }

    fn copy_failed(&self, what: &str, error: rusqlite::Error) -> FollowError {
        FollowError::Copy(failed(format_args!("{what} {}", self.copy.describe()), error))
    }

    /// How the copy, as anybody would read it now, stands to the source, as the reader sees it.
    fn compare(&mut self) -> Result<Relation, FollowError> {
        let of_source = match Lineage::of(self.reader()?) {
            Ok(lineage) => lineage.unwrap_or_default(),
            Err(error) => return Err(self.source_failed("reading", error)),
        };
        let place = self.copy.describe();
        if !has_content(&self.copy) {
            return Ok(Relation::Empty);
        }
        let copy = open(&self.copy, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(FollowError::Copy)?;
        let foreign = |why: &str| Ok(Relation::Foreign(format!("the file {place} {why}")));
        let Some(of_copy) = Lineage::of(&copy).map_err(|error| self.copy_failed("reading", error))? else {
            let tables = copy.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
            return match tables.map_err(|error| self.copy_failed("reading", error))? {
                0 => Ok(Relation::Empty),
                _ => foreign("holds tables and is no copy: name another file, or delete this one"),
            };
        };
        if of_source.may_overwrite(&of_copy, &path(&self.copy)) {
            return Ok(Relation::Behind);
        }
        let later = of_copy.epoch() > of_source.epoch() && of_copy.is_related(&of_source);
        match of_copy.took_over() {
            Some((since, reached, at)) if later && at == path(&self.copy) => Ok(Relation::TookOver { since, reached }),
            Some((_, _, at)) if later => Ok(Relation::Ahead(format!(
                "the file {place} is a copy of {at}, which has taken over from {}: register that one as well",
                self.source.describe()
            ))),
            _ => foreign(
                "is a copy of another database, or was written on its own after it was copied: it would be lost; name \
                 another file, or delete this one",
            ),
        }
    }

    /// Copies what the reader sees in its open transaction.
    fn copy_snapshot(
        &mut self,
        pages: u32,
        between: &mut dyn FnMut(Copied) -> bool,
    ) -> Result<(Copied, i64), FollowError> {
        let seen = |reader: &Connection| {
            // The first read takes the snapshot.
            reader.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
            let version = reader.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0))?;
            let size = reader.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))?;
            Ok((version, size))
        };
        let (version, page_size) = match seen(self.reader()?) {
            Ok(seen) => seen,
            Err(error) => return Err(self.source_failed("reading", error)),
        };
        if !between(Copied::default()) {
            return Err(FollowError::Stopped);
        }
        self.expect_a_copy()?;
        if self.reader.as_ref().is_none_or(Connection::is_autocommit) {
            let message = format_args!("the file of {} was exchanged meanwhile", self.source.describe());
            return Err(FollowError::Source(refused(Kind::Invalid, message)));
        }
        let mut copy = self.open_copy(page_size)?;
        let Some(reader) = &self.reader else { return Err(FollowError::Stopped) };
        let copied = {
            let backup = Backup::new(reader, &mut copy).map_err(|error| self.copy_failed("copying into", error))?;
            let of = |backup: &Backup<'_, '_>| {
                let progress = backup.progress();
                let (all, left) = (progress.pagecount.unsigned_abs(), progress.remaining.unsigned_abs());
                Copied { pages: u64::from(all.saturating_sub(left)), of: all.into() }
            };
            let mut step = FIRST_STEP;
            let mut waited = 0;
            loop {
                match backup.step(step) {
                    Ok(StepResult::Done) => break of(&backup),
                    Ok(StepResult::More) if step == FIRST_STEP => {
                        // The lock is held from here on: whoever has made a primary of it did so before.
                        self.expect_still_a_copy(reader)?;
                        step = i32::try_from(pages).unwrap_or(i32::MAX).max(FIRST_STEP + 1);
                        if !between(of(&backup)) {
                            return Err(FollowError::Stopped);
                        }
                    }
                    Ok(StepResult::More) => {
                        if !between(of(&backup)) {
                            return Err(FollowError::Stopped);
                        }
                    }
                    // The lock of the copy was waited for.
                    Ok(_) if waited < 3 => {
                        waited += 1;
                        if !between(of(&backup)) {
                            return Err(FollowError::Stopped);
                        }
                    }
                    Ok(_) => return Err(FollowError::Copy(busy(&self.copy))),
                    Err(error) => return Err(self.step_failed(error)),
                }
            }
        };
        self.shorten_log(&copy);
        Ok((copied, version))
    }

    /// Which of the two has failed is not told by the error alone.
    fn step_failed(&self, error: rusqlite::Error) -> FollowError {
        let what = format!("copying {} into {}", self.source.describe(), self.copy.describe());
        let is_full = classify(&error).is_some_and(|fault| fault.kind == FaultKind::Full);
        let source_is_sound = || {
            let connection = open(&self.source, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)).ok()
        };
        if is_full || source_is_sound().is_some_and(|check| check == "ok") {
            FollowError::Copy(failed(what, error))
        } else {
            FollowError::Source(failed(what, error))
        }
    }

    fn expect_a_copy(&mut self) -> Result<(), FollowError> {
        match self.compare()? {
            Relation::Empty | Relation::Behind => Ok(()),
            Relation::Foreign(why) | Relation::Ahead(why) => Err(FollowError::Copy(refused(Kind::Invalid, why))),
            _ => Err(FollowError::Copy(refused(
                Kind::ReadOnly,
                format_args!("{} was promoted, and follows nobody any more", self.copy.describe()),
            ))),
        }
    }

    /// As [`expect_a_copy`](Self::expect_a_copy), while the copy is being written.
    fn expect_still_a_copy(&self, reader: &Connection) -> Result<(), FollowError> {
        let look = open(&self.copy, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(FollowError::Copy)?;
        let of_copy = Lineage::of(&look).map_err(|error| self.copy_failed("reading", error))?;
        let Some(of_copy) = of_copy else { return Ok(()) };
        let of_source = Lineage::of(reader)
            .map_err(|error| FollowError::Source(failed(format_args!("reading {}", self.source.describe()), error)))?;
        if of_source.is_some_and(|of_source| of_source.may_overwrite(&of_copy, &path(&self.copy))) {
            return Ok(());
        }
        let message = format_args!("{} has just been written on its own: it is left as it is", self.copy.describe());
        Err(FollowError::Copy(refused(Kind::Invalid, message)))
    }

    /// Opens the copy to be written, and makes it if it is not there.
    fn open_copy(&self, page_size: i64) -> Result<Connection, FollowError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let copy = open(&self.copy, flags).map_err(FollowError::Copy)?;
        let prepare = || {
            copy.pragma_update(None, "page_size", page_size)?;
            let mode = copy.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))?;
            copy.pragma_update(None, "wal_autocheckpoint", 0)?;
            copy.pragma_update(None, "synchronous", "normal")?;
            let found = copy.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))?;
            Ok((mode, found))
        };
        let (mode, found) = prepare().map_err(|error| self.copy_failed("opening", error))?;
        if mode != "wal" || found != page_size {
            let message = format_args!(
                "the copy {} has pages of {found} bytes and the journal mode {mode}, and {page_size} and wal are \
                 needed: delete it, so that it is made anew",
                self.copy.describe()
            );
            return Err(FollowError::Copy(refused(Kind::Invalid, message)));
        }
        self.shorten_log(&copy);
        Ok(copy)
    }

    /// Moves what is in the log of the copy into its file. Where readers stand in the way a later one does it.
    fn shorten_log(&self, copy: &Connection) {
        self.copy.let_go();
        let _waits_for_nobody = copy.busy_timeout(Duration::ZERO);
        let checkpointed = copy.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        if checkpointed != Ok(0) {
            let _a_later_one_does_more = copy.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        }
        let _as_before = copy.busy_timeout(PATIENCE);
    }

    fn write_source<T>(
        &self,
        what: &str,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, FollowError> {
        let writer = open(&self.source, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(FollowError::Source)?;
        // What is remembered must not be lost with the power.
        let written = writer.pragma_update(None, "synchronous", "full").and_then(|()| write(&writer));
        written
            .map_err(|error| FollowError::Source(failed(format_args!("{what} in {}", self.source.describe()), error)))
    }
}

impl Follow for Follower {
    fn relation(&mut self) -> Result<Relation, FollowError> {
        self.compare()
    }

    fn begin(&mut self) -> Result<(), FollowError> {
        self.reader()?;
        let term = &self.source.shared.term;
        self.write_source("remembering that it is copied", |writer| {
            // Whoever was told that it takes no writes must not make it look like one that does.
            if lineage::superseded(writer).is_some() {
                Ok(())
            } else {
                lineage::begin_run(writer, term, &path(&self.source))
            }
        })
    }

    fn is_behind(&mut self) -> Result<bool, FollowError> {
        let reader = self.reader()?;
        let now = reader.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0));
        let now = match now {
            Ok(now) => now,
            Err(error) => return Err(self.source_failed("looking at", error)),
        };
        let Some((version, file)) = self.copied else { return Ok(true) };
        Ok(version != now || file != identity(&self.copy))
    }

    fn copy(&mut self, pages: u32, between: &mut dyn FnMut(Copied) -> bool) -> Result<Copied, FollowError> {
        self.copied = None;
        if let Err(error) = self.reader()?.execute_batch("BEGIN") {
            return Err(self.source_failed("reading", error));
        }
        let copied = self.copy_snapshot(pages, between);
        if let Some(reader) = &self.reader
            && (reader.execute_batch("COMMIT").is_err() || !reader.is_autocommit())
        {
            self.reader = None;
        }
        let (copied, version) = copied?;
        self.copied = self.reader.is_some().then(|| (version, identity(&self.copy)));
        Ok(copied)
    }

    fn fence(&mut self) -> Result<(), FollowError> {
        self.write_source("marking that another one takes over", |writer| lineage::fence(writer, true))
    }

    fn lift_fence(&mut self) -> Result<(), FollowError> {
        self.write_source("marking that it goes on", |writer| lineage::fence(writer, false))
    }

    fn take_over(&mut self, reached: Position) -> Result<Position, FollowError> {
        let copy = open(&self.copy, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(FollowError::Copy)?;
        match Lineage::of(&copy).map_err(|error| self.copy_failed("reading", error))? {
            Some(_) => {}
            None => {
                let message = format_args!("{} holds no complete copy: nothing to promote", self.copy.describe());
                return Err(FollowError::Copy(refused(Kind::Invalid, message)));
            }
        }
        let term = &self.copy.shared.term;
        let taken = copy
            .pragma_update(None, "synchronous", "full")
            .and_then(|()| lineage::take_over(&copy, term, reached, &path(&self.copy)));
        taken.map_err(|error| self.copy_failed("taking over with", error))?;
        self.forget();
        Ok(self.copy.shared.position())
    }
}

/// A connection for ECM's own work, with none of the promises that lent ones keep.
fn open(database: &Sqlite, flags: OpenFlags) -> Result<Connection, Failure> {
    let Location::File { name, file, uri } = &database.location else {
        return Err(refused(Kind::Invalid, format_args!("{} is no file", database.describe())));
    };
    let mut flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE;
    flags.set(OpenFlags::SQLITE_OPEN_URI, *uri);
    let opened = match database.vfs.as_deref() {
        Some(vfs) => Connection::open_with_flags_and_vfs(name, flags, vfs),
        None => Connection::open_with_flags(name, flags),
    };
    let waits = opened.and_then(|connection| connection.busy_timeout(PATIENCE).map(|()| connection));
    waits.map_err(|error| failed(format_args!("the database {file:?} cannot be opened"), error))
}

/// A connection that reads a source, whose journal is a log: otherwise a copy would keep its writer waiting.
fn open_source(source: &Sqlite) -> Result<Connection, Failure> {
    if !has_content(source) {
        let message = format_args!("the source {} does not exist, or is empty: nothing to copy", source.describe());
        return Err(refused(Kind::Invalid, message));
    }
    let reader = open(source, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mode = reader.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
    let mode = mode.map_err(|error| failed(format_args!("reading {}", source.describe()), error))?;
    if mode == "wal" {
        return Ok(reader);
    }
    Err(refused(
        Kind::Invalid,
        format_args!(
            "the source {} has the journal mode {mode}, in which a copy would keep its writer waiting: wal is needed",
            source.describe()
        ),
    ))
}

fn busy(copy: &Sqlite) -> Failure {
    let error = crate::fault::worded(rusqlite::ffi::SQLITE_BUSY, "somebody else writes it");
    failed(format_args!("copying into {}", copy.describe()), error)
}

fn has_content(database: &Sqlite) -> bool {
    database.path().and_then(|file| fs::metadata(file).ok()).is_some_and(|found| found.len() > 0)
}

#[cfg(unix)]
fn identity(database: &Sqlite) -> Option<FileIdentity> {
    use std::os::unix::fs::MetadataExt as _;
    let found = fs::metadata(database.path()?).ok()?;
    Some((found.dev(), found.ino()))
}

/// Elsewhere an open file cannot be replaced.
#[cfg(not(unix))]
fn identity(database: &Sqlite) -> Option<FileIdentity> {
    has_content(database).then_some((0, 0))
}

impl fmt::Debug for Follower {
    /// By hand: a connection tells nobody anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower")
            .field("source", &self.source.describe())
            .field("copy", &self.copy.describe())
            .finish_non_exhaustive()
    }
}
