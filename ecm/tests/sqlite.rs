//! The manager over real SQLite: files, memory, primaries and replicas.
#![cfg(feature = "sqlite")]

use ecm::{
    ConnectionManager, Database, Executed, Failure, Kind, PoolConfig, Stage,
    core::FaultKind,
    sqlite::{Sqlite, rusqlite},
};
use serde::Deserialize;
use std::{path::Path, thread, time::Duration};

fn manager(path: &Path) -> ConnectionManager {
    ConnectionManager::builder().database(Database::new("main", Sqlite::open(path))).build().expect("the file opens")
}

fn notes(path: &Path) -> ConnectionManager {
    let manager = manager(path);
    manager
        .write(|tx| {
            tx.execute_batch(
                "CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT NOT NULL, score REAL);
                 INSERT INTO note (title, score) VALUES ('bread', 1.5), ('milk', NULL);",
            )?;
            Ok(())
        })
        .wait()
        .unwrap();
    manager
}

#[derive(Debug, PartialEq, Deserialize)]
struct Note {
    id: i64,
    title: String,
    score: Option<f64>,
}

#[test]
fn rows_become_structs_tuples_and_values() {
    let folder = tempfile::tempdir().unwrap();
    let manager = notes(&folder.path().join("notes.db"));
    let all: Vec<Note> = manager.query("SELECT * FROM note ORDER BY id").all().wait().unwrap();
    assert_eq!(all[1], Note { id: 2, title: "milk".into(), score: None });
    let pair: (String, f64) =
        manager.query("SELECT title, score FROM note WHERE id = ?1").bind(1).one().wait().unwrap();
    assert_eq!(pair, ("bread".into(), 1.5));
    let none: Option<Note> = manager.query("SELECT * FROM note WHERE id = ?1").bind(99).optional().wait().unwrap();
    assert_eq!(none, None);
    let rows = manager.query("SELECT id AS number FROM note").wait().unwrap();
    assert_eq!((rows.len(), &*rows.columns()[0]), (2, "number"));
    let empty = manager.query("SELECT id FROM note WHERE id = 9").wait().unwrap();
    assert_eq!((empty.len(), &*empty.columns()[0]), (0, "id"));
    for (error, says) in [
        (manager.query("SELECT * FROM note").one::<Note>().wait().unwrap_err(), "more than one row"),
        (manager.query("SELECT * FROM note WHERE id = 9").one::<Note>().wait().unwrap_err(), "no row"),
        (manager.query("SELECT title FROM note WHERE id = 1").one::<i64>().wait().unwrap_err(), "'bread' (TEXT)"),
    ] {
        assert_eq!(error.kind(), Kind::Decode);
        assert!(error.to_string().contains(says) && error.to_string().contains("SELECT"), "{error}");
    }
}

#[test]
fn writes_change_report_and_roll_back() {
    let folder = tempfile::tempdir().unwrap();
    let manager = notes(&folder.path().join("notes.db"));
    let changes = manager.execute("INSERT INTO note (title) VALUES (?1)").bind("eggs").synced().wait().unwrap();
    assert_eq!((changes.rows, changes.last_insert_rowid), (1, Some(3)));
    let changes = manager.execute("UPDATE note SET score = ?1 WHERE id > ?2").bind(2.0).bind(1).wait().unwrap();
    assert_eq!(changes.rows, 2);
    let id: i64 = manager.query("INSERT INTO note (title) VALUES ('tea') RETURNING id").one().wait().unwrap();
    assert_eq!(id, 4);
    // The row is inserted before its answer fails to decode, so it has to go again.
    let error = manager.query("INSERT INTO note (title) VALUES ('x') RETURNING title").one::<i64>().wait().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (Kind::Decode, Executed::No));
    let error = manager
        .write(|tx| {
            tx.execute("DELETE FROM note", [])?;
            Err::<(), _>(Failure::msg("no"))
        })
        .wait()
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Closure);
    assert_eq!(manager.query("SELECT count(*) FROM note").one::<i64>().wait().unwrap(), 4);
    let error = manager.execute("INSERT INTO note (id, title) VALUES (1, 'again')").wait().unwrap_err();
    assert_eq!(error.fault().map(|fault| fault.kind), Some(FaultKind::Constraint));
    let driver = error.downcast::<rusqlite::Error>().expect("the driver's own error is the source");
    assert!(driver.to_string().contains("UNIQUE"), "{driver}");
}

#[test]
fn a_write_never_reaches_a_database_that_is_only_read_whatever_its_text_looks_like() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.db");
    notes(&path).close(Duration::from_secs(5)).unwrap();
    let reader = ConnectionManager::builder()
        .database(Database::new("copy", Sqlite::open(&path)).read_only(true))
        .build()
        .unwrap();
    for sql in [
        "INSERT INTO note (title) VALUES ('x')",
        "WITH fresh(title) AS (SELECT 'x') INSERT INTO note (title) SELECT title FROM fresh",
        "/* a comment */ -- another\n DELETE FROM note",
        "INSERT INTO note (title) VALUES ('x') RETURNING id",
        "CREATE TABLE other (a)",
        "DROP TABLE note",
        "PRAGMA user_version = 7",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA query_only = 0",
        "VACUUM",
        "ATTACH 'other.db' AS other",
        "BEGIN IMMEDIATE",
    ] {
        let query = reader.query(sql).wait().map(drop).unwrap_err();
        let execute = reader.execute(sql).wait().map(drop).unwrap_err();
        let closure = reader.read(|db| Ok(db.prepare(sql)?.query([])?.next()?.is_some())).wait().map(drop);
        for error in [query, execute] {
            let refused = matches!(error.kind(), Kind::ReadOnly)
                || error.fault().is_some_and(|fault| matches!(fault.kind, FaultKind::Denied));
            assert!(refused, "{sql}: {error:?}");
        }
        assert!(closure.is_err(), "{sql}");
    }
    assert_eq!(reader.query("SELECT count(*) FROM note").one::<i64>().wait().unwrap(), 2);
    assert_eq!(reader.query("PRAGMA user_version").one::<i64>().wait().unwrap(), 0);
    assert!(!folder.path().join("other.db").exists());
}

#[test]
fn a_read_closure_sees_one_state_from_start_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let manager = notes(&folder.path().join("notes.db"));
    let count = |db: &ecm::sqlite::Db| db.query_row("SELECT count(*) FROM note", [], |row| row.get::<_, i64>(0));
    let (before, after) = manager
        .read(|db| {
            let before = count(db)?;
            manager.execute("INSERT INTO note (title) VALUES ('meanwhile')").wait()?;
            Ok((before, count(db)?))
        })
        .wait()
        .unwrap();
    assert_eq!((before, after), (2, 2));
    assert_eq!(manager.read(|db| Ok(count(db)?)).wait().unwrap(), 3);
}

#[test]
fn a_statement_that_takes_too_long_is_stopped_and_the_connection_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let manager = notes(&folder.path().join("notes.db"));
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let error = manager.query(endless).one::<i64>().within(Duration::from_millis(20)).wait().unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout(Stage::Run));
    let swallowed = manager.read(|db| Ok(db.query_row(endless, [], |row| row.get::<_, i64>(0)).unwrap_or(0)));
    assert_eq!(swallowed.within(Duration::from_millis(20)).wait().unwrap_err().kind(), Kind::Timeout(Stage::Run));
    assert_eq!(manager.query("SELECT 1").one::<i64>().wait().unwrap(), 1);
}

#[test]
fn a_database_in_memory_is_one_for_all_connections() {
    let manager = ConnectionManager::builder().database(Database::new("memory", Sqlite::memory())).build().unwrap();
    manager.execute("CREATE TABLE t (a)").wait().unwrap();
    manager.execute("INSERT INTO t VALUES (1)").wait().unwrap();
    manager
        .read(|db| {
            let inner: i64 = manager.query("SELECT count(*) FROM t").one().wait()?;
            assert_eq!(inner, db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0))?);
            Ok(())
        })
        .wait()
        .unwrap();
    assert!(manager.status().database("memory").unwrap().readers.opened >= 2);
    let other = ConnectionManager::builder().database(Database::new("memory", Sqlite::memory())).build().unwrap();
    assert!(other.query("SELECT * FROM t").wait().is_err(), "another database in memory is another one");
}

#[test]
fn many_threads_read_and_write_and_nobody_is_ever_busy() {
    const THREADS: i64 = 8;
    const EACH: i64 = 50;
    let folder = tempfile::tempdir().unwrap();
    let manager = notes(&folder.path().join("notes.db"));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let manager = manager.clone();
            scope.spawn(move || {
                for round in 0..EACH {
                    manager
                        .execute("INSERT INTO note (title) VALUES (?1)")
                        .bind(format!("{thread}-{round}"))
                        .wait()
                        .unwrap();
                    let last: i64 = manager.query("SELECT max(id) FROM note").one().wait().unwrap();
                    assert!(last >= round + 3);
                }
            });
        }
    });
    let count: i64 = manager.query("SELECT count(*) FROM note").one().wait().unwrap();
    assert_eq!(count, 2 + THREADS * EACH);
    let status = manager.status();
    let main = status.database("main").unwrap();
    assert_eq!(main.failures, 0);
    assert!((2..=(THREADS * EACH + 1) as u64).contains(&main.position.commit), "those who wait share a commit");
    manager.close(Duration::from_secs(5)).unwrap();
}

#[test]
fn what_cannot_be_opened_is_named_and_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("garbage.db");
    std::fs::write(&garbage, "this is not a database, and it is long enough to have a header ".repeat(20)).unwrap();
    let before = std::fs::read(&garbage).unwrap();
    for (path, read_only) in [
        (garbage.as_path(), false),
        (garbage.as_path(), true),
        (folder.path(), false),
        (Path::new("/nowhere/at/all.db"), false),
        (Path::new("/nowhere.db"), true),
    ] {
        let database = Database::new("main", Sqlite::open(path)).read_only(read_only);
        let error = ConnectionManager::builder().database(database).build().unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    assert_eq!(std::fs::read(&garbage).unwrap(), before);
}

#[test]
fn a_replica_serves_reads_and_the_primary_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (primary, replica) = (folder.path().join("primary.db"), folder.path().join("replica.db"));
    let manager = notes(&primary);
    {
        let mut lent = manager.connection().wait().unwrap();
        lent.raw().backup(rusqlite::MAIN_DB, &replica, None::<fn(rusqlite::backup::Progress)>).unwrap();
    }
    manager.register(Database::new("replica", Sqlite::open(&replica)).read_only(true).priority(1)).unwrap();
    manager.execute("INSERT INTO note (title) VALUES ('new')").wait().unwrap();
    let count = "SELECT count(*) FROM note";
    assert_eq!(manager.query(count).one::<i64>().wait().unwrap(), 2, "the replica is preferred, and is a copy");
    assert_eq!(manager.database("main").unwrap().query(count).one::<i64>().wait().unwrap(), 3);
    manager.unregister("replica").unwrap();
    assert_eq!(manager.query(count).one::<i64>().wait().unwrap(), 3);
}

#[test]
fn a_pool_that_is_used_up_says_so_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let pool =
        PoolConfig { max_connections: 1, connection_timeout: Duration::from_millis(30), ..PoolConfig::default() };
    let database = Database::new("main", Sqlite::open(folder.path().join("a.db"))).pool(pool);
    let manager = ConnectionManager::builder().database(database).build().unwrap();
    let error = manager.read(|_| Ok(manager.query("SELECT 1").one::<i64>().wait()?)).wait().unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout(Stage::Wait));
    assert!(error.to_string().contains("\"main\""), "{error}");
    let beside = manager.write(|_| {
        let write = || manager.execute("CREATE TABLE t (a)").wait().map(drop);
        Ok(thread::scope(|scope| scope.spawn(write).join().unwrap()))
    });
    let error = beside.wait().unwrap().expect_err("another thread's write is under way");
    assert_eq!(error.kind(), Kind::Timeout(Stage::Wait));
}

#[test]
fn the_status_is_serialisable() {
    let folder = tempfile::tempdir().unwrap();
    let manager = notes(&folder.path().join("notes.db"));
    let status = serde_json::to_value(manager.status()).unwrap();
    assert_eq!(status["name"], "ecm");
    let main = &status["groups"][0]["databases"][0];
    assert_eq!(
        (&main["name"], &main["writer"]["open"], &main["breaker"]),
        (&"main".into(), &1.into(), &"closed".into())
    );
    assert!(main["location"].as_str().unwrap().ends_with("notes.db"));
    assert_eq!(status["cache"]["hits"], 0);
    let configured = status["configuration"].as_array().unwrap();
    assert!(configured.iter().any(|pair| pair[0] == "slow_query_threshold" && pair[1] == "1"));
}

#[test]
fn a_statement_about_a_new_table_is_judged_by_the_primary_where_copies_lag_behind() {
    let folder = tempfile::tempdir().unwrap();
    let manager = notes(&folder.path().join("primary.db"));
    notes(&folder.path().join("replica.db")).close(Duration::from_secs(5)).unwrap();
    let replica = Sqlite::open(folder.path().join("replica.db"));
    manager.register(Database::new("replica", replica).read_only(true).priority(1)).unwrap();
    manager.execute("CREATE TABLE fresh (a)").wait().unwrap();
    assert_eq!(manager.execute("INSERT INTO fresh VALUES (1)").wait().unwrap().rows, 1);
    assert_eq!(manager.query("INSERT INTO fresh VALUES (2) RETURNING a").one::<i64>().wait().unwrap(), 2);
    let error = manager.query("SELECT * FROM fresh").wait().unwrap_err();
    assert_eq!(error.database(), Some("replica"), "a read goes where it went before: {error}");
    assert_eq!(manager.query("SELECT count(*) FROM note").one::<i64>().wait().unwrap(), 2);
}

#[test]
fn a_change_of_the_schema_inside_a_closure_is_known_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let manager = notes(&folder.path().join("notes.db"));
    let columns = || manager.query("SELECT * FROM note WHERE 0").wait().unwrap().columns().len();
    let before = columns();
    manager.write(|tx| Ok(tx.execute_batch("ALTER TABLE note ADD COLUMN colour TEXT")?)).wait().unwrap();
    assert_eq!(columns(), before + 1);
}
