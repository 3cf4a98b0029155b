use super::{client::RusqliteClient, target::Target};
use crate::{args::BenchOptions, interrupt, problem::Problem};
use ecm::{
    ConnectionManager, Database, ManagerConfig, PoolConfig,
    sqlite::{
        JournalMode, Sqlite, SqliteConfig, Synchronous, TempStore,
        rusqlite::{self, Connection, OpenFlags},
    },
};

/// A manager of the file: it keeps the journal mode that the file has, and only reads it unless
/// writing is allowed.
pub(super) fn manager(target: &Target, options: &BenchOptions) -> Result<ConnectionManager, Problem> {
    let sqlite = Sqlite::open(&target.path).create(false).config(config(target));
    let pool = PoolConfig { max_connections: 50.max(options.clients as u32), ..PoolConfig::default() };
    let database = Database::new("file", sqlite).read_only(!options.allow_writes).pool(pool);
    let config = ManagerConfig { enable_query_cache: options.cache, ..ManagerConfig::default() };
    let built = ConnectionManager::standard().configure(&config).name("bench").database(database).build();
    built.map_err(|error| Problem::input(format_args!("{}: cannot be opened: {error}", target.name)))
}

/// A client of plain rusqlite, with a connection of its own that has the settings of ECM's.
pub(super) fn plain(target: &Target, allow_writes: bool) -> Result<RusqliteClient, Problem> {
    let access = if allow_writes { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(&target.path, flags).and_then(|connection| {
        set(&connection, &config(target))?;
        let running = connection.get_interrupt_handle();
        interrupt::at_request(move || running.interrupt());
        Ok(RusqliteClient(connection))
    });
    opened.map_err(|error| Problem::input(format_args!("{}: cannot be opened: {error}", target.name)))
}

/// ECM's defaults, with the journal that the file has. A file says only whether it has a log;
/// `delete` is how SQLite treats any other.
fn config(target: &Target) -> SqliteConfig {
    let journal_mode = if target.journal_mode == "wal" { JournalMode::Wal } else { JournalMode::Delete };
    SqliteConfig { journal_mode, ..SqliteConfig::default() }
}

fn set(connection: &Connection, config: &SqliteConfig) -> rusqlite::Result<()> {
    let synchronous = match config.synchronous {
        Synchronous::Off => "OFF",
        Synchronous::Normal => "NORMAL",
        Synchronous::Full => "FULL",
        Synchronous::Extra => "EXTRA",
    };
    let temp_store = match config.temp_store {
        TempStore::Default => "DEFAULT",
        TempStore::File => "FILE",
        TempStore::Memory => "MEMORY",
    };
    connection.busy_timeout(config.busy_timeout)?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "temp_store", temp_store)?;
    connection.pragma_update(None, "mmap_size", config.mmap_size as i64)?;
    connection.pragma_update(None, "cache_size", -(config.cache_size.div_ceil(1024) as i64))?;
    connection.pragma_update(None, "wal_autocheckpoint", config.wal_autocheckpoint)?;
    connection.set_prepared_statement_cache_capacity(config.statement_cache);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_ecm_are_accepted_by_a_plain_connection() {
        let connection = Connection::open_in_memory().unwrap();
        set(&connection, &SqliteConfig::default()).unwrap();
        let cache_size: i64 = connection.query_row("PRAGMA cache_size", [], |row| row.get(0)).unwrap();
        assert_eq!(cache_size, -20_000);
    }
}
