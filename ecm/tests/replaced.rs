//! A file that is exchanged below a manager: nobody writes where nobody reads.
#![cfg(all(unix, feature = "sqlite"))]

use ecm::{
    ConnectionManager, Database, Error, PoolConfig,
    core::testing::TestClock,
    sqlite::{Sqlite, rusqlite},
};
use std::{fs, path::Path};

fn make(path: &Path, id: i64) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY)").unwrap();
    connection.execute("INSERT INTO t VALUES (?1)", [id]).unwrap();
}

fn ids(manager: &ConnectionManager) -> Result<Vec<i64>, Error> {
    manager.read(|db| Ok(db.query("SELECT id FROM t ORDER BY id", [], |row| row.get(0))?)).wait()
}

#[test]
fn a_connection_in_the_old_file_is_closed_and_no_call_is_served_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let [path, new] = ["app.db", "new.db"].map(|name| folder.path().join(name));
    make(&path, 1);
    let database = Database::new("app", Sqlite::open(&path)).pool(PoolConfig::untended());
    let manager = ConnectionManager::builder().database(database).clock(TestClock::new()).build().unwrap();
    manager.execute("INSERT INTO t VALUES (2)").wait().unwrap();
    assert_eq!(ids(&manager).unwrap(), [1, 2]);

    make(&new, 7);
    fs::rename(&new, &path).unwrap();
    for extension in ["db-wal", "db-shm"] {
        let _gone = fs::remove_file(path.with_extension(extension));
    }
    // While the only reader is lent another one is opened, and finds the new file.
    let nested = manager.read(|_| Ok(ids(&manager)?)).wait().unwrap();
    assert_eq!(nested, [7]);
    // The writer, and the reader that was lent, are closed instead of being lent once more.
    manager.execute("INSERT INTO t VALUES (8)").wait().unwrap();
    for _ in 0..3 {
        assert_eq!(ids(&manager).unwrap(), [7, 8]);
    }
    let stranger = rusqlite::Connection::open(&path).unwrap();
    assert_eq!(stranger.query_row("SELECT sum(id) FROM t", [], |row| row.get(0)), Ok(15));
}
