use crate::{
    JournalMode, Sqlite, SqliteConfig, SqliteConnection,
    authorizer::authorize,
    engine::Engine,
    fault::{code_of, failed, refused},
    generation,
    governor::Presence,
    guard::{Guard, Mode, STEPS_PER_TICK},
    handle, lineage,
    location::Location,
    mapping,
    version::check_version,
};
use ecm_core::{Access, Clock, Failure, FaultKind, Kind};
use rusqlite::{Connection, MAIN_DB, OpenFlags, ffi, hooks::Wal, types::Value};
use std::{fs, io, path::Path, sync::Arc};

/// Opens a connection as the database is configured, or not at all.
pub(crate) fn connect(database: &Sqlite, access: Access, clock: &Arc<dyn Clock>) -> Result<SqliteConnection, Failure> {
    check_version(rusqlite::version_number())?;
    let config = &*database.config;
    config.check().map_err(|invalid| refused(Kind::Invalid, invalid))?;
    let guard = Arc::new(Guard::new(Arc::clone(clock), Arc::clone(&database.shared), access, config.busy_timeout));
    // Before the connection, so that it is dropped after it.
    let presence = Presence::new(database, access, clock);
    let opening = Opening { database, config, access, guard: &guard, presence: &presence };
    // Before the file is looked at: what is exchanged meanwhile is of a later generation.
    let generation = database.shared.generation.number();
    let connection = opening.open()?;
    let generation = opening.generation(generation, &connection)?;
    if access == Access::Write {
        database.shared.will_be_written();
        let _entered = guard.enter(Mode::End);
        guard.allow_commit(true);
        lineage::arrive(&connection, database)?;
        guard.allow_commit(false);
    }
    SqliteConnection::new(connection, access, guard, database, presence, generation)
}

/// One connection while it is being opened.
struct Opening<'a> {
    database: &'a Sqlite,
    config: &'a SqliteConfig,
    access: Access,
    guard: &'a Arc<Guard>,
    presence: &'a Presence,
}

impl Opening<'_> {
    fn open(&self) -> Result<Engine, Failure> {
        match &self.database.location {
            Location::Nowhere(why) => Err(refused(Kind::Invalid, why)),
            Location::Memory(name) => {
                let create = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
                let open = |flags: OpenFlags| {
                    Connection::open_with_flags_and_vfs(name, flags | Self::always(), c"memdb")
                        .map_err(|error| failed("the database in memory cannot be opened", error))
                };
                self.database.shared.hold(|| open(create))?;
                let flags = if self.access == Access::Write { create } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
                self.prepare(open(flags)?, Place::Memory)
            }
            Location::File { name, file, uri } => {
                let exists = self.look_at(file)?;
                let mut flags = match self.access {
                    Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
                    Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
                };
                flags.set(OpenFlags::SQLITE_OPEN_CREATE, self.access == Access::Write && self.database.create);
                let open = |flags: OpenFlags| {
                    let flags = flags | Self::always();
                    let flags = if *uri { flags | OpenFlags::SQLITE_OPEN_URI } else { flags };
                    let opened = match self.database.vfs.as_deref() {
                        Some(vfs) => Connection::open_with_flags_and_vfs(name, flags, vfs),
                        None => Connection::open_with_flags(name, flags),
                    };
                    opened.map_err(|error| failed(format_args!("the database {file:?} cannot be opened"), error))
                };
                let connection = open(flags)?;
                if self.access == Access::Read && self.database.shared.was_written() {
                    self.undo_journal(&connection, || open(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
                }
                self.prepare(connection, if exists { Place::File } else { Place::NewFile })
            }
        }
    }

    /// No mutex, since a connection is used by one thread at a time, and no cache that is shared
    /// with another connection, since a snapshot would then belong to both.
    fn always() -> OpenFlags {
        OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE
    }

    /// Whether the file has content; an error for what SQLite would only call "unable to open".
    ///
    /// It asks for the metadata only: closing a descriptor of the file would drop every lock that
    /// this process has on it.
    fn look_at(&self, file: &Path) -> Result<bool, Failure> {
        match fs::metadata(file) {
            Ok(found) if found.is_dir() => {
                Err(refused(Kind::Invalid, format_args!("the database {file:?} is a folder: give the path of a file")))
            }
            Ok(found) => Ok(found.len() > 0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
                if let Some(folder) = folder
                    && !folder.is_dir()
                {
                    return Err(refused(
                        Kind::Invalid,
                        format_args!("the folder of the database {file:?} does not exist: create it first"),
                    ));
                }
                if self.access == Access::Write && self.database.create {
                    return Ok(false);
                }
                let hint = match self.access {
                    Access::Read => "open it for writing first, which creates it",
                    Access::Write => "give the path of an existing one, or allow its creation with create(true)",
                };
                Err(refused(Kind::Invalid, format_args!("the database {file:?} does not exist: {hint}")))
            }
            // SQLite may still be able to open it, and knows better why not.
            Err(_) => Ok(true),
        }
    }

    fn prepare(&self, mut connection: Connection, place: Place) -> Result<Engine, Failure> {
        let waiting = Arc::clone(self.guard);
        connection
            .busy_handler(Some(move |tries| waiting.wait_for_lock(tries)))
            .map_err(|error| self.failed("setting the busy handler", error))?;
        let writes = self.access == Access::Write;
        if writes && self.call("asking whether it is read-only", connection.is_readonly(MAIN_DB))? {
            return Err(refused(
                Kind::ReadOnly,
                format_args!(
                    "the database {} cannot be opened for writing: the file, or the way it is given, allows reading \
                     only; change its permissions, or register it as a database that is only read",
                    self.name()
                ),
            ));
        }
        if writes && place != Place::File {
            let set = connection.pragma_update(None, "page_size", self.config.page_size);
            self.call("PRAGMA page_size", set)?;
        }
        // In memory a reader waits while somebody writes: its first loan does, for as long as it may, but not its
        // opening, whose settings all need the schema, and change nothing there.
        if place == Place::Memory && !writes {
            return self.finish(connection, place);
        }
        // The first read: what is not a database is noticed here, not by the first caller.
        let read = connection.pragma_query_value(None, "schema_version", |row| row.get::<_, i64>(0));
        self.call("reading it for the first time", read)?;
        self.set_journal_mode(&connection, place)?;
        // A file that another process has just created keeps that one's page size; so does a
        // database in memory that has content. Either way the second opening finds a file that exists.
        if writes && place == Place::NewFile {
            self.check(&connection, "page_size", &Value::Integer(self.config.page_size.into()))?;
        }
        self.set(&connection, "synchronous", self.config.synchronous.code())?;
        self.set(&connection, "cache_size", self.config.cache_pragma())?;
        self.set(&connection, "temp_store", self.config.temp_store.code())?;
        // What is in memory has nothing to map, and SQLite does not even answer there.
        if place != Place::Memory {
            self.set(&connection, "mmap_size", self.config.mmap_size.cast_signed())?;
            if self.config.mmap_size > 0 {
                mapping::keep(&connection);
            }
        }
        // The governor does it, beside everybody.
        self.set(&connection, "wal_autocheckpoint", 0)?;
        self.finish(connection, place)
    }

    /// Sets what needs no schema, and hands the connection over.
    fn finish(&self, mut connection: Connection, place: Place) -> Result<Engine, Failure> {
        let writes = self.access == Access::Write;
        self.set(&connection, "foreign_keys", 1)?;
        connection.set_prepared_statement_cache_capacity(self.config.statement_cache);
        if !writes {
            self.set(&connection, "query_only", 1)?;
        }
        self.install_hooks(&mut connection)?;
        // After the authorizer, whose installation would make them expire.
        // A writer asks the driver's cache, whose texts it remembers what they write by.
        let kept = if writes { 0 } else { self.config.statement_cache };
        let modes_may_change = Arc::clone(self.guard.modes_may_change());
        let engine = match place {
            Place::Memory => Engine::without_index(connection, modes_may_change, kept),
            Place::File | Place::NewFile => Engine::new(connection, modes_may_change, kept),
        };
        self.call("preparing the control statements", engine)
    }

    /// The generation of a connection that was just opened, when `before` was the last one.
    fn generation(&self, before: u64, connection: &Connection) -> Result<u64, Failure> {
        let Location::File { file, .. } = &self.database.location else { return Ok(before) };
        let shared = &self.database.shared;
        let found = fs::metadata(file).ok();
        if handle::has_moved(connection) {
            return Err(generation::moved(&self.name()));
        }
        let Some(found) = found else { return Ok(before) };
        if !shared.generation.found(&found) {
            return Ok(shared.generation.number());
        }
        // Those who hold a snapshot of the other file look at nothing else than its log.
        shared.ask_to_let_go();
        Ok(shared.generation.number())
    }

    /// Undoes what a writer of ours has left in a journal when its disk failed, which a connection that only reads
    /// cannot do. Nobody else's files are written for the sake of a reader.
    fn undo_journal(
        &self,
        reader: &Connection,
        open: impl FnOnce() -> Result<Connection, Failure>,
    ) -> Result<(), Failure> {
        let read = |connection: &Connection| connection.pragma_query_value(None, "schema_version", |_| Ok(()));
        match read(reader) {
            Err(error) if code_of(&error) == ffi::SQLITE_READONLY_ROLLBACK => {
                self.call("undoing what a writer has left", read(&open()?))
            }
            // Whatever else there is, the first read tells.
            _ => Ok(()),
        }
    }

    /// Sets the journal mode, on a writer only. Other openers of a new file do the same at the same
    /// moment, and SQLite does not wait for them by itself, since each holds what the other needs.
    fn set_journal_mode(&self, connection: &Connection, place: Place) -> Result<(), Failure> {
        if self.access == Access::Read {
            return Ok(());
        }
        // A database in memory knows no other journal.
        let mode = if place == Place::Memory { JournalMode::Memory } else { self.config.journal_mode };
        let wanted = mode.to_string();
        for tries in 0.. {
            let get = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
            match connection.pragma_update_and_check(None, "journal_mode", &wanted, get) {
                Ok(got) if got == wanted => break,
                Ok(got) => return Err(self.did_not_take("journal_mode", &wanted, &got)),
                Err(error) => {
                    let busy = crate::fault::classify(&error).is_some_and(|fault| fault.kind == FaultKind::Busy);
                    if !busy || !self.guard.wait_for_lock(tries) {
                        return Err(self.failed("PRAGMA journal_mode", error));
                    }
                }
            }
        }
        Ok(())
    }

    fn set(&self, connection: &Connection, pragma: &'static str, value: i64) -> Result<(), Failure> {
        self.call(pragma, connection.pragma_update(None, pragma, value))?;
        self.check(connection, pragma, &Value::Integer(value))
    }

    fn check(&self, connection: &Connection, pragma: &'static str, wanted: &Value) -> Result<(), Failure> {
        let got = connection.pragma_query_value(None, pragma, |row| row.get::<_, Value>(0));
        let got = self.call(pragma, got)?;
        if got == *wanted { Ok(()) } else { Err(self.did_not_take(pragma, &show(wanted), &show(&got))) }
    }

    fn install_hooks(&self, connection: &mut Connection) -> Result<(), Failure> {
        let guard = Arc::clone(self.guard);
        let installed =
            connection.authorizer(Some(move |context: rusqlite::hooks::AuthContext<'_>| authorize(&guard, &context)));
        self.call("installing the authorizer", installed)?;
        let guard = Arc::clone(self.guard);
        let installed = connection.progress_handler(STEPS_PER_TICK.cast_signed(), Some(move || guard.must_stop()));
        self.call("installing the progress handler", installed)?;
        if self.access == Access::Write {
            let guard = Arc::clone(self.guard);
            let installed = connection.commit_hook(Some(move || guard.vetoes_commit()));
            self.call("installing the commit hook", installed)?;
            let (guard, governor) = (Arc::clone(self.guard), self.presence.governor().cloned());
            let checkpoint = self.config.wal_autocheckpoint;
            let installed = connection.wal_hook(Some(move |log: &mut Wal, frames: i32| {
                let frames = frames.unsigned_abs();
                if log.name() == MAIN_DB {
                    guard.committed_at(frames);
                    if let Some(governor) = &governor {
                        governor.committed(frames);
                    }
                } else if checkpoint > 0 && frames >= checkpoint {
                    // A database that a borrower has attached has no governor. The commit is done,
                    // whatever becomes of this.
                    let _a_later_one_does_more = log.checkpoint();
                }
                Ok(())
            }));
            self.call("installing the hook of the log", installed)?;
        }
        Ok(())
    }

    fn name(&self) -> String {
        match &self.database.location {
            Location::File { file, .. } => format!("{file:?}"),
            _ => "in memory".into(),
        }
    }

    fn call<T>(&self, what: &str, result: rusqlite::Result<T>) -> Result<T, Failure> {
        result.map_err(|error| self.failed(what, error))
    }

    fn failed(&self, what: &str, error: rusqlite::Error) -> Failure {
        failed(format_args!("the database {} cannot be opened: {what}", self.name()), error)
    }

    fn did_not_take(&self, pragma: &str, wanted: &str, got: &str) -> Failure {
        refused(
            Kind::Invalid,
            format_args!(
                "the database {} cannot be opened as configured: PRAGMA {pragma} = {wanted} did not take, it is {got}",
                self.name()
            ),
        )
    }
}

/// What is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Memory,
    File,
    /// A file that is missing or empty, in which the page size still acts.
    NewFile,
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(_) => "a blob".into(),
    }
}
