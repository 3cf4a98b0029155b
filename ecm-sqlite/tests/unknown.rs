//! What a commit of unknown outcome means for what was read before, and for whoever writes next.
#![cfg(feature = "testing")]

use ecm::{
    ConnectionManager, Database,
    cache::{Quick, QuickConfig},
    core::Executed,
};
use ecm_sqlite::{
    Sqlite,
    testing::{FaultyDisk, Harm, Operation, Stored},
};

fn count(manager: &ConnectionManager, table: &str) -> i64 {
    manager.query(&format!("SELECT count(*) FROM {table}")).cached().one().wait().unwrap()
}

/// Whether the answers about the tables come from the cache.
fn hits(manager: &ConnectionManager) -> [bool; 2] {
    ["a", "b"].map(|table| {
        let before = manager.status().cache.hits;
        count(manager, table);
        manager.status().cache.hits > before
    })
}

#[test]
fn after_a_sync_that_fails_nothing_is_served_from_the_cache_until_another_commit_has_taken_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let sqlite = Sqlite::open(folder.path().join("a.db")).vfs(disk.name());
    let cache = Quick::new(&QuickConfig::default()).unwrap();
    let manager = ConnectionManager::builder().database(Database::new("main", sqlite)).cache(cache).build().unwrap();
    manager.write(|tx| Ok(tx.execute_batch("CREATE TABLE a (v); CREATE TABLE b (v)")?)).wait().unwrap();
    hits(&manager);
    assert_eq!(hits(&manager), [true; 2]);
    disk.harm(Operation::Sync, Harm::Error).on(Stored::Log).times(2);
    let error = manager.execute("INSERT INTO a VALUES (1)").synced().wait().unwrap_err();
    assert_eq!(error.executed(), Executed::Unknown);
    for _ in 0..2 {
        assert_eq!(hits(&manager), [false; 2], "a recovery may bring the commit to light");
    }
    manager.execute("INSERT INTO b VALUES (1)").wait().unwrap();
    assert_eq!(hits(&manager), [false; 2]);
    assert_eq!(hits(&manager), [true; 2]);
}
