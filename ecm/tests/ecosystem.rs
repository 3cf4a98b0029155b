//! Crates made for rusqlite work on a borrowed connection.
#![cfg(feature = "sqlite")]

use ecm::{ConnectionManager, Database, sqlite::Sqlite};
use rusqlite_migration::{M, Migrations};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    id: i64,
    title: String,
}

fn manager() -> (tempfile::TempDir, ConnectionManager) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::new("main", Sqlite::open(folder.path().join("notes.db")));
    let manager = ConnectionManager::builder().database(database).build().unwrap();
    (folder, manager)
}

#[test]
fn rusqlite_migration_migrates() {
    let (_folder, manager) = manager();
    let migrations = Migrations::new(vec![
        M::up("CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT NOT NULL)").down("DROP TABLE note"),
        M::up("ALTER TABLE note ADD COLUMN score REAL"),
    ]);
    migrations.to_latest(manager.connection().wait().unwrap().raw()).unwrap();
    manager.execute("INSERT INTO note (title, score) VALUES ('bread', 2.5)").wait().unwrap();
    migrations.to_version(manager.connection().wait().unwrap().raw(), 0).map(drop).unwrap_err();
    assert_eq!(manager.query("PRAGMA user_version").one::<i64>().wait().unwrap(), 2);
    assert_eq!(manager.query("SELECT score FROM note").one::<f64>().wait().unwrap(), 2.5);
}

#[test]
fn serde_rusqlite_writes_and_reads() {
    let (_folder, manager) = manager();
    manager.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT NOT NULL)").wait().unwrap();
    let note = Note { id: 7, title: "bread".into() };
    let mut lent = manager.connection().wait().unwrap();
    let parameters = serde_rusqlite::to_params_named(&note).unwrap();
    lent.raw().execute("INSERT INTO note VALUES (:id, :title)", parameters.to_slice().as_slice()).unwrap();
    let mut statement = lent.raw().prepare("SELECT * FROM note").unwrap();
    let read: Vec<Note> = serde_rusqlite::from_rows(statement.query([]).unwrap()).collect::<Result<_, _>>().unwrap();
    assert_eq!(read, [note]);
}
