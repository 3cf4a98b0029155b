//! How often a call asks for memory, besides what its closure asks for.
#![cfg(feature = "standard")]

use allocation_counter::measure;
use ecm::{
    ConnectionManager, Database,
    core::{Event, Interest, Observer},
    sqlite::{Sqlite, rusqlite},
};
use std::path::Path;

const CALLS: u64 = 100;
const SQL: &str = "SELECT v FROM t WHERE id = ?1";

/// Allocations of so many calls, after everything has been opened, prepared and grown.
fn counted(call: impl Fn()) -> u64 {
    (0..CALLS).for_each(|_| call());
    measure(|| (0..CALLS).for_each(|_| call())).count_total
}

/// Wants every report, and keeps nothing of it.
#[derive(Debug)]
struct Listener;

impl Observer for Listener {
    fn interest(&self) -> Interest {
        Interest::CALLS
    }

    fn event(&self, event: &Event<'_>) {
        assert!(matches!(event, Event::Call(report) if report.error.is_none()));
    }
}

/// A primary and a replica behind a balancer, watched.
fn manager(folder: &Path) -> ConnectionManager {
    let (primary, replica) = (folder.join("primary.db"), folder.join("replica.db"));
    let make = "CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER); INSERT INTO t VALUES (1, 2)";
    for path in [&primary, &replica] {
        rusqlite::Connection::open(path).unwrap().execute_batch(make).unwrap();
    }
    let manager = ConnectionManager::standard()
        .database(Database::new("primary", Sqlite::open(primary)))
        .database(Database::new("replica", Sqlite::open(replica)).read_only(true))
        .observer(Listener)
        .build()
        .unwrap();
    // An answer from the cache that is compared is copied for that.
    manager.apply("cache_self_check", "0").unwrap();
    manager
}

#[test]
fn a_read_and_a_write_by_closure_ask_for_no_memory_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager(folder.path());
    assert_eq!(counted(|| manager.read(|_| Ok(())).wait().unwrap()), 0);
    assert_eq!(counted(|| manager.write(|_| Ok(())).wait().unwrap()), 0);
    let replica = manager.database("replica").unwrap();
    assert_eq!(counted(|| replica.read(|_| Ok(())).wait().unwrap()), 0);
}

#[test]
fn a_read_asks_for_no_memory_where_plain_rusqlite_asks_for_its_key_of_the_cache_and_a_write_for_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager(folder.path());
    let plain = rusqlite::Connection::open(folder.path().join("primary.db")).unwrap();
    let get = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    let bare = counted(|| assert_eq!(plain.prepare_cached(SQL).unwrap().query_row([1], get), Ok(2)));
    let read = || manager.read(|db| Ok(db.prepare_cached(SQL)?.query_row([1], get)?)).wait().unwrap();
    assert_eq!((counted(|| assert_eq!(read(), 2)), bare), (0, CALLS));
    let query = || manager.query(SQL).bind(1).one::<i64>().wait().unwrap();
    assert_eq!(counted(|| assert_eq!(query(), 2)), 0);
    let update = "UPDATE t SET v = ?1 WHERE id = 1";
    let bare = counted(|| assert_eq!(plain.prepare_cached(update).unwrap().execute([2]), Ok(1)));
    assert_eq!(counted(|| assert_eq!(manager.execute(update).bind(2).wait().unwrap().rows, 1)), bare);
}
