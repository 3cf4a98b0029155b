//! A database to ask, and a look at whether everything is as if nobody had.

use ecm::{
    ConnectionManager, Database, ManagerConfig, PoolConfig,
    core::{Clock, Event, Interest, Observer, SystemClock},
    sqlite::Sqlite,
};
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    thread,
};

pub(crate) const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n, note WHERE i < 0";
pub(crate) const BY_KEY: &str = "SELECT title FROM note WHERE id = ?1";

pub(crate) fn config() -> ManagerConfig {
    ManagerConfig { inline_budget: 10_000, ..ManagerConfig::default() }
}

pub(crate) struct Place {
    pub(crate) manager: ConnectionManager,
    reports: Arc<Mutex<Vec<bool>>>,
    _folder: tempfile::TempDir,
}

/// Keeps of each query whether it has run in a poll.
#[derive(Debug)]
struct InPlace(Arc<Mutex<Vec<bool>>>);

impl Observer for InPlace {
    fn interest(&self) -> Interest {
        Interest::CALLS
    }

    fn event(&self, event: &Event<'_>) {
        if let Event::Call(report) = event
            && !report.cached
        {
            self.0.lock().unwrap().push(report.in_place);
        }
    }
}

/// A table `note` with a hundred rows.
pub(crate) fn place(config: ManagerConfig, pool: PoolConfig) -> Place {
    place_at(config, pool, SystemClock::new())
}

pub(crate) fn place_at(config: ManagerConfig, pool: PoolConfig, clock: impl Clock + 'static) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let reports = Arc::<Mutex<Vec<bool>>>::default();
    let manager = ConnectionManager::standard()
        .configure(&config)
        .clock(clock)
        .observer(InPlace(Arc::clone(&reports)))
        .database(Database::new("main", Sqlite::open(folder.path().join("a.db"))).pool(pool))
        .build()
        .unwrap();
    manager.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT NOT NULL)").wait().unwrap();
    manager.execute("CREATE TABLE sum (n INTEGER NOT NULL)").wait().unwrap();
    let fill = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 100) \
                INSERT INTO note SELECT i, 'note ' || i FROM n";
    manager.execute(fill).wait().unwrap();
    Place { manager, reports, _folder: folder }
}

pub(crate) fn new() -> Place {
    place(config(), PoolConfig::default())
}

impl Place {
    /// Whether each of the calls since the last look has run in a poll.
    pub(crate) fn in_place(&self) -> Vec<bool> {
        std::mem::take(&mut self.reports.lock().unwrap())
    }

    /// Polls until a reader is lent.
    pub(crate) fn lends_to<F: Future + Unpin>(&self, call: &mut F) {
        while self.manager.status().groups[0].databases[0].readers.lent == 0 {
            assert!(poll_once(call).is_pending());
            thread::yield_now();
        }
    }

    /// Blocks until every connection is back, and says that nothing waits anywhere.
    pub(crate) fn is_at_rest(&self) {
        loop {
            let status = self.manager.status();
            let database = &status.groups[0].databases[0];
            let writer = database.writer.as_ref().unwrap();
            if database.readers.lent + writer.lent + database.pending == 0 {
                assert_eq!((database.readers.waiting, writer.waiting, status.groups[0].waiting_for_loads), (0, 0, 0));
                return;
            }
            thread::yield_now();
        }
    }
}

pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// The present thread, by its name.
pub(crate) fn on_thread() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}
