use super::{
    driver::{shown, told},
    readers::{Readers, keys},
};
use ecm::{ConnectionManager, Database, ManagerConfig, PoolConfig, sqlite};
use rusqlite::types::Value;
use sqlite::{Sqlite, SqliteConfig, Synchronous};
use tokio::runtime::Handle;
use workload::{Contestant, READ, Session, Settings, Shape, WRITE, contest};

/// By which verbs ECM is called.
#[derive(Clone, Copy)]
enum Verbs {
    /// `read` and `execute`.
    Usual,
    /// `query`, with the row decoded.
    Query,
    /// `read` and `write`.
    Closure,
}

struct Ecm {
    manager: ConnectionManager,
    verbs: Verbs,
}

pub(super) fn open(settings: &Settings, runtime: &Handle) -> Result<Box<dyn Contestant>, String> {
    open_with("ecm", Verbs::Usual, settings, runtime)
}

pub(super) fn open_query(settings: &Settings, runtime: &Handle) -> Result<Box<dyn Contestant>, String> {
    open_with("ecm-query", Verbs::Query, settings, runtime)
}

pub(super) fn open_closure(settings: &Settings, runtime: &Handle) -> Result<Box<dyn Contestant>, String> {
    open_with("ecm-closure", Verbs::Closure, settings, runtime)
}

fn open_with(system: &str, verbs: Verbs, settings: &Settings, runtime: &Handle) -> Result<Box<dyn Contestant>, String> {
    let case = settings.case;
    let manager = told(manager(settings, case.connections()))?;
    let sessions = (0..case.callers).map(|_| Ecm { manager: manager.clone(), verbs }).collect();
    contest(system, case, runtime, Shape::Threads, sessions)
}

/// The manager that `ConnectionManager::open(path)` makes, without its cache, on the VFS and with the pool of the case.
fn manager(settings: &Settings, connections: usize) -> Result<ConnectionManager, ecm::BuildError> {
    let sqlite = match settings.vfs() {
        // A temporary folder: a path without any character that a URI would have to encode.
        Some(vfs) => Sqlite::open(format!("file:{}?vfs={vfs}", settings.path.display())),
        None => Sqlite::open(&settings.path),
    };
    let synchronous = if settings.case.synced() { Synchronous::Full } else { Synchronous::Normal };
    let sqlite = sqlite.config(SqliteConfig { synchronous, ..SqliteConfig::default() });
    let connections = connections.try_into().unwrap_or(u32::MAX);
    let pool = PoolConfig { max_connections: connections, ..PoolConfig::default() };
    // The others keep no answers either.
    let config = ManagerConfig { enable_query_cache: false, ..ManagerConfig::default() };
    ConnectionManager::standard().configure(&config).database(Database::new("main", sqlite).pool(pool)).build()
}

/// So many connections that have been read from, and are idle.
pub(super) fn readers(settings: &Settings, count: usize, reads: usize) -> Result<Readers, String> {
    /// Each reads while those before it are lent.
    fn read(manager: &ConnectionManager, number: usize, count: usize, reads: usize) -> Result<(), ecm::Error> {
        let nested = manager.read(|db| {
            for key in keys(number, reads) {
                db.prepare_cached(READ)?.query_row([key], |row| row.get::<_, String>(0))?;
            }
            if number + 1 < count {
                read(manager, number + 1, count, reads)?;
            }
            Ok(())
        });
        nested.wait()
    }
    let manager = told(manager(settings, count))?;
    told(read(&manager, 0, count, reads))?;
    let status = manager.status();
    let databases = status.groups.iter().flat_map(|group| &group.databases);
    let open = databases.map(|database| database.readers.open as usize).sum();
    Ok(Readers::new(open, manager))
}

impl Session for Ecm {
    async fn read(&mut self, key: i64) -> Result<String, String> {
        told(match self.verbs {
            Verbs::Query => self.manager.query(READ).bind(key).one::<String>().wait(),
            Verbs::Usual | Verbs::Closure => {
                self.manager.read(|db| Ok(db.prepare_cached(READ)?.query_row([key], |row| row.get(0))?)).wait()
            }
        })
    }

    async fn write(&mut self, key: i64, value: &'static str) -> Result<usize, String> {
        told(match self.verbs {
            Verbs::Closure => self.manager.write(|tx| Ok(tx.execute(WRITE, (key, value))?)).wait(),
            Verbs::Usual | Verbs::Query => {
                let changes = self.manager.execute(WRITE).bind(key).bind(value).wait();
                changes.map(|changes| usize::try_from(changes.rows).unwrap_or(usize::MAX))
            }
        })
    }

    async fn pragma(&mut self, name: &'static str) -> Result<String, String> {
        let sql = format!("PRAGMA {name}");
        told(self.manager.read(|db| Ok(db.query_row(&sql, [], |row| row.get::<_, Value>(0))?)).wait()).map(shown)
    }
}
