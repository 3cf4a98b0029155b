use super::escalation::{Outcome, Seen};
use crate::{JournalMode, Sqlite, engine::Engine, fault, location::Location};
use ecm_core::FaultKind;
use rusqlite::{Connection, InterruptHandle, MAIN_DB, OpenFlags, wal::CheckpointMode};
use std::{
    fs,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

/// How the governor opens a connection of its own.
#[derive(Debug)]
pub(super) struct Opener {
    name: PathBuf,
    log: PathBuf,
    uri: bool,
    vfs: Option<Arc<str>>,
    synchronous: i64,
}

/// A connection that checkpoints and does nothing else.
pub(super) struct Checkpointer {
    engine: Engine,
}

impl Opener {
    /// `None` for a database that has no log which others share.
    pub(super) fn of(database: &Sqlite) -> Option<Self> {
        let Location::File { name, file, uri } = &database.location else { return None };
        if database.config.journal_mode != JournalMode::Wal {
            return None;
        }
        let mut log = file.clone().into_os_string();
        log.push("-wal");
        Some(Self {
            name: name.clone(),
            log: log.into(),
            uri: *uri,
            vfs: database.vfs.clone(),
            synchronous: database.config.synchronous.code(),
        })
    }

    /// Opens one, which never creates a file, and waits for nobody.
    pub(super) fn open(&self) -> rusqlite::Result<Checkpointer> {
        let mut flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE;
        flags.set(OpenFlags::SQLITE_OPEN_URI, self.uri);
        let connection = match self.vfs.as_deref() {
            Some(vfs) => Connection::open_with_flags_and_vfs(&self.name, flags, vfs)?,
            None => Connection::open_with_flags(&self.name, flags)?,
        };
        connection.pragma_update(None, "synchronous", self.synchronous)?;
        // None of this connection's own.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        Ok(Checkpointer { engine: Engine::new(connection, Arc::new(AtomicBool::new(false)), 0)? })
    }

    /// Whether there is a log with something in it. Asks for the metadata only, as everybody must.
    pub(super) fn log_is_there(&self) -> bool {
        fs::metadata(&self.log).is_ok_and(|log| log.len() > 0)
    }
}

impl Checkpointer {
    /// Looks at the log; `None` if there is none, since the journal mode was changed.
    pub(super) fn look(&self) -> rusqlite::Result<Option<Seen>> {
        if let Some(look) = self.engine.look() {
            let frames = look.header.last_frame();
            let backfilled = look.backfilled.min(frames);
            return Ok(Some(Seen { frames, backfilled, log: look.header.salts() }));
        }
        // Where the wal-index cannot be looked at, SQLite tells. It does not tell which log it is.
        let (frames, backfilled) = self.engine.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::NOOP)?;
        let (Ok(frames), Ok(backfilled)) = (u32::try_from(frames), u32::try_from(backfilled)) else { return Ok(None) };
        Ok(Some(Seen { frames, backfilled, log: 0 }))
    }

    /// Moves as many frames as readers allow, and waits for nobody.
    pub(super) fn backfill(&self) -> rusqlite::Result<Outcome> {
        self.checkpoint(CheckpointMode::PASSIVE)
    }

    /// Moves all frames, so that the next commit begins the log anew, unless somebody stands in the way.
    pub(super) fn empty(&self, cut: bool) -> rusqlite::Result<Outcome> {
        self.checkpoint(if cut { CheckpointMode::TRUNCATE } else { CheckpointMode::RESTART })
    }

    fn checkpoint(&self, mode: CheckpointMode) -> rusqlite::Result<Outcome> {
        match self.engine.wal_checkpoint_v2(Some(MAIN_DB), mode) {
            Ok(_) => Ok(Outcome::Done),
            Err(error) if is_busy(&error) => Ok(Outcome::Busy),
            Err(error) => Err(error),
        }
    }

    /// Stops it from another thread.
    pub(super) fn interrupt_handle(&self) -> InterruptHandle {
        self.engine.get_interrupt_handle()
    }
}

/// Whether somebody else stands in the way, which is no failure; or has stopped it on purpose.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    let kind = fault::classify(error).map(|fault| fault.kind);
    matches!(kind, Some(FaultKind::Busy | FaultKind::Conflict | FaultKind::Interrupted))
}
