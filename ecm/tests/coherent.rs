//! Answers kept of real databases, which others write past the manager.
#![cfg(feature = "standard")]

use ecm::{
    ConnectionManager, Database,
    sqlite::{JournalMode, Sqlite, SqliteConfig, rusqlite},
};
use std::{fs, path::Path, time::Duration};

const ONE: &str = "SELECT v FROM t WHERE k = 1";

fn managed(database: Sqlite) -> ConnectionManager {
    ConnectionManager::standard().database(Database::new("main", database)).build().unwrap()
}

fn filled(database: Sqlite) -> ConnectionManager {
    let manager = managed(database);
    let schema = "CREATE TABLE t (k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'one'), (2, 'two');
        CREATE TABLE u (k INTEGER PRIMARY KEY, v); INSERT INTO u VALUES (1, 'other');
        CREATE VIEW w AS SELECT v FROM t WHERE k = 1";
    manager.write(|tx| Ok(tx.execute_batch(schema)?)).wait().unwrap();
    manager
}

fn ask(manager: &ConnectionManager, sql: &str) -> String {
    manager.query(sql).one().wait().unwrap()
}

/// Whether an answer comes from the cache.
fn is_kept(manager: &ConnectionManager, sql: &str) -> bool {
    let before = manager.status().cache.hits;
    ask(manager, sql);
    manager.status().cache.hits > before
}

/// Asks until the answer is kept.
fn keep(manager: &ConnectionManager, sql: &str) {
    assert!((0..8).any(|_| is_kept(manager, sql)), "nothing is served from the cache");
}

/// A connection that knows nothing of any manager.
fn stranger(path: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    connection
}

#[test]
fn what_a_stranger_commits_is_seen_by_the_next_query() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let manager = filled(Sqlite::open(&path));
    let stranger = stranger(&path);
    for number in 0..100 {
        keep(&manager, ONE);
        stranger.execute("UPDATE t SET v = ?1 WHERE k = 1", [number]).unwrap();
        let seen: i64 = manager.query(ONE).one().wait().unwrap();
        assert_eq!(seen, number);
        stranger.execute("UPDATE t SET v = 'text' WHERE k = 1", []).unwrap();
    }
}

#[test]
fn whatever_a_stranger_does_to_the_file_serves_nothing_old() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let manager = filled(Sqlite::open(&path));
    let stranger = stranger(&path);
    let views = [ONE, "SELECT v FROM w"];
    let does = [
        ("UPDATE t SET v = 'first' WHERE k = 1", "first"),
        // The view reads another table afterwards, of which our commits have to be noticed.
        ("DROP VIEW w; CREATE VIEW w AS SELECT v FROM u WHERE k = 1; UPDATE t SET v = 'other' WHERE k = 1", "other"),
        ("UPDATE u SET v = 'third'; UPDATE t SET v = 'third' WHERE k = 1; PRAGMA wal_checkpoint(TRUNCATE)", "third"),
        ("VACUUM; UPDATE u SET v = 'fourth'; UPDATE t SET v = 'fourth' WHERE k = 1", "fourth"),
        (
            "ALTER TABLE t RENAME TO s; CREATE VIEW t AS SELECT k, v FROM s; UPDATE s SET v = 'fourth' WHERE k = 1",
            "fourth",
        ),
        ("UPDATE s SET v = 'fifth' WHERE k = 1; UPDATE u SET v = 'fifth'", "fifth"),
    ];
    for (sql, expected) in does {
        views.iter().for_each(|view| keep(&manager, view));
        stranger.execute_batch(sql).unwrap();
        for _ in 0..3 {
            assert_eq!(views.map(|view| ask(&manager, view)), [expected; 2], "after {sql}");
        }
    }
    views.iter().for_each(|view| keep(&manager, view));
    manager.execute("UPDATE u SET v = 'ours'").wait().unwrap();
    assert_eq!(views.map(|view| ask(&manager, view)), ["fifth", "ours"], "by the view that somebody else has made");
    manager.execute("UPDATE s SET v = 'ours' WHERE k = 1").wait().unwrap();
    assert_eq!(views.map(|view| ask(&manager, view)), ["ours"; 2]);
}

#[test]
fn the_first_commit_of_a_manager_and_one_after_a_strangers_leave_what_they_have_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    drop(filled(Sqlite::open(&path)));
    let (manager, stranger) = (managed(Sqlite::open(&path)), stranger(&path));
    let write = || manager.execute("UPDATE u SET v = v || '.'").wait().unwrap();
    keep(&manager, ONE);
    write();
    assert!(is_kept(&manager, ONE));
    stranger.execute("UPDATE t SET v = 'new' WHERE k = 1", []).unwrap();
    assert_eq!(ask(&manager, ONE), "new");
    keep(&manager, ONE);
    write();
    assert!(is_kept(&manager, ONE));
    stranger.execute("UPDATE t SET v = 'newer' WHERE k = 1", []).unwrap();
    // Nobody has looked since.
    write();
    assert_eq!(ask(&manager, ONE), "newer");
}

#[test]
fn two_managers_of_one_database_see_what_the_other_one_commits() {
    let folder = tempfile::tempdir().unwrap();
    for database in [Sqlite::open(folder.path().join("a.db")), Sqlite::memory()] {
        let (one, other) = (filled(database.clone()), managed(database));
        for number in 0..20 {
            [&one, &other].into_iter().for_each(|manager| keep(manager, ONE));
            let (writes, reads) = if number % 2 == 0 { (&one, &other) } else { (&other, &one) };
            match number % 3 {
                0 => drop(writes.execute("UPDATE t SET v = ?1 WHERE k = 1").bind(format!("{number}")).wait().unwrap()),
                1 => {
                    let update = |tx: &ecm::sqlite::Tx| {
                        Ok(tx.execute("UPDATE t SET v = ?1 WHERE k = 1", [format!("{number}")])?)
                    };
                    writes.write(update).wait().map(drop).unwrap();
                }
                _ => {
                    let mut connection = writes.connection().wait().unwrap();
                    connection.raw().execute("UPDATE t SET v = ?1 WHERE k = 1", [format!("{number}")]).unwrap();
                    assert_eq!(ask(reads, ONE), number.to_string(), "while the connection is still lent");
                }
            }
            assert_eq!([&one, &other].map(|manager| ask(manager, ONE)), [number.to_string(), number.to_string()]);
        }
    }
}

#[test]
fn a_database_that_is_only_read_here_is_kept_too_and_watched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let writer = filled(Sqlite::open(&path));
    let database = Database::new("main", Sqlite::open(&path)).read_only(true);
    let reader = ConnectionManager::standard().database(database).build().unwrap();
    keep(&reader, ONE);
    writer.execute("UPDATE t SET v = 'new' WHERE k = 1").wait().unwrap();
    assert_eq!(ask(&reader, ONE), "new");
}

#[test]
fn nothing_is_kept_of_a_file_without_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let config = SqliteConfig { journal_mode: JournalMode::Delete, ..SqliteConfig::default() };
    let manager = filled(Sqlite::open(folder.path().join("a.db")).config(config));
    assert!((0..8).all(|_| !is_kept(&manager, ONE)));
    assert_eq!(manager.status().cache.entries, 0);
}

#[test]
fn a_manager_that_is_closed_leaves_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let manager = filled(Sqlite::open(folder.path().join("a.db")));
    keep(&manager, ONE);
    manager.close(Duration::from_secs(5)).unwrap();
    let left = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(left(), ["a.db"]);
    manager.query(ONE).wait().map(drop).unwrap_err();
    let dropped = managed(Sqlite::open(folder.path().join("a.db")));
    keep(&dropped, ONE);
    drop(dropped);
    assert_eq!(left(), ["a.db"]);
}

#[cfg(unix)]
#[test]
fn a_file_that_was_exchanged_serves_nothing_of_the_former_one() {
    let folder = tempfile::tempdir().unwrap();
    let [path, next] = ["a.db", "b.db"].map(|name| folder.path().join(name));
    let other = filled(Sqlite::open(&next));
    other.execute("UPDATE t SET v = 'of the next one' WHERE k = 1").wait().unwrap();
    other.close(Duration::from_secs(5)).unwrap();
    let manager = filled(Sqlite::open(&path));
    keep(&manager, ONE);
    fs::rename(&next, &path).unwrap();
    for extension in ["db-wal", "db-shm"] {
        let _gone = fs::remove_file(path.with_extension(extension));
    }
    // While all readers are lent another one is opened, and finds the new file.
    let read = |db: &ecm::sqlite::Db| Ok(db.query_row(ONE, [], |row| row.get::<_, String>(0))?);
    fn nested(
        manager: &ConnectionManager,
        depth: u32,
        read: &dyn Fn(&ecm::sqlite::Db) -> Result<String, ecm::Failure>,
    ) -> String {
        if depth == 0 {
            return manager.read(read).wait().unwrap();
        }
        manager.read(|_| Ok(nested(manager, depth - 1, read))).wait().unwrap()
    }
    assert_eq!(nested(&manager, 8, &read), "of the next one");
    for _ in 0..3 {
        assert_eq!(ask(&manager, ONE), "of the next one");
    }
}

#[test]
fn the_words_of_the_configuration_act_while_running() {
    let manager = filled(Sqlite::memory());
    keep(&manager, ONE);
    let kept = manager.status().cache;
    assert_eq!(kept.capacity, 10_000);
    manager.apply("cache_max_size", "5").unwrap();
    let resized = manager.status().cache;
    assert_eq!((resized.capacity, resized.entries), (5, 0));
    assert_eq!((resized.hits, resized.misses), (kept.hits, kept.misses), "counters go on");
    keep(&manager, ONE);
    manager.apply("enable_query_cache", "false").unwrap();
    assert!((0..3).all(|_| !is_kept(&manager, ONE)));
    manager.apply("enable_query_cache", "true").unwrap();
    keep(&manager, ONE);
    manager.apply("cache_ttl", "1e-9").unwrap();
    assert!((0..3).all(|_| !is_kept(&manager, ONE)), "each is too old when it is asked for");
    for (field, value) in
        [("cache_max_size", "0"), ("cache_ttl", "0"), ("cache_ttl", "1e12"), ("enable_query_cache", "yes")]
    {
        let error = manager.apply(field, value).unwrap_err().to_string();
        assert!(error.contains(field) && error.contains(value.trim_end_matches("e12")), "{error}");
    }
}

#[test]
fn bounds_of_a_cache_that_was_given_are_its_own() {
    let cache = ecm::cache::Quick::default();
    let manager =
        ConnectionManager::builder().database(Database::new("main", Sqlite::memory())).cache(cache).build().unwrap();
    let error = manager.apply("cache_max_size", "5").unwrap_err().to_string();
    assert!(error.contains("cache_max_size = 5") && error.contains("given to the builder"), "{error}");
}
