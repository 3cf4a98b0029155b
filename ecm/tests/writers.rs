//! Many threads that write through one manager over SQLite, and share transactions.
#![cfg(all(feature = "sqlite", feature = "cache-quick"))]

#[path = "support/waiting.rs"]
mod waiting;

use ecm::{
    ConnectionManager, Database, Error, Executed, Failure, Kind, Stage,
    core::{Changes, Clock, FaultKind, SystemClock, testing::TestClock},
    sqlite::{Sqlite, rusqlite},
};
use serde::{Deserialize, Deserializer};
use std::{
    collections::{BTreeSet, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::{self, ThreadId},
    time::Duration,
};
use waiting::together;

const SCHEMA: &str = "
    CREATE TABLE parent (id INTEGER PRIMARY KEY);
    CREATE TABLE child (id INTEGER PRIMARY KEY,
        parent INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE row (id INTEGER PRIMARY KEY, thread, number, UNIQUE (thread, number));
    CREATE TABLE strict (id INTEGER PRIMARY KEY CHECK (id > 0));
    CREATE TRIGGER refuse BEFORE INSERT ON strict WHEN new.id = 13 BEGIN SELECT RAISE(ROLLBACK, 'unlucky'); END;";

const INSERT: &str = "INSERT INTO row (thread, number) VALUES (?1, ?2)";

/// A manager whose clock stands still, so that no transaction becomes too old to take in another write.
fn manager(path: &Path) -> ConnectionManager {
    manager_by(path, TestClock::new())
}

fn manager_by(path: &Path, clock: impl Clock + 'static) -> ConnectionManager {
    let database = Database::new("main", Sqlite::open(path));
    let manager = ConnectionManager::builder().database(database).clock(clock).build().unwrap();
    manager.write(|tx| Ok(tx.execute_batch(SCHEMA)?)).wait().unwrap();
    manager
}

fn rows(manager: &ConnectionManager) -> Vec<(i64, i64)> {
    manager.query("SELECT thread, number FROM row ORDER BY thread, number").all().wait().unwrap()
}

fn commits(manager: &ConnectionManager) -> u64 {
    manager.status().database("main").unwrap().position.commit
}

fn inserts(manager: &ConnectionManager, thread: i64, number: i64) -> Result<i64, Error> {
    let changes = manager.execute(INSERT).bind(thread).bind(number).wait()?;
    assert_eq!(changes.rows, 1);
    Ok(changes.last_insert_rowid.unwrap())
}

fn writes(manager: &ConnectionManager, thread: i64, number: i64) -> Result<i64, Error> {
    manager
        .write(move |tx| {
            assert_eq!(tx.last_insert_rowid(), 0, "nothing of another write is seen");
            assert_eq!(tx.execute(INSERT, [thread, number])?, 1);
            Ok(tx.last_insert_rowid())
        })
        .wait()
}

#[test]
fn those_who_wait_share_one_commit_and_each_has_its_own_answer() {
    let folder = tempfile::tempdir().unwrap();
    let manager = &manager(&folder.path().join("a.db"));
    let before = commits(manager);
    let rowids = together(
        manager,
        (0..8_i64)
            .map(|thread| -> Box<dyn FnOnce() -> i64 + Send> {
                Box::new(move || {
                    if thread % 2 == 0 { inserts(manager, thread, 0) } else { writes(manager, thread, 0) }.unwrap()
                })
            })
            .collect(),
    );
    assert_eq!(rowids, (1..=8).collect::<Vec<i64>>(), "in the order of their arrival");
    assert_eq!(commits(manager), before + 1);
    assert_eq!(rows(manager), (0..8).map(|thread| (thread, 0)).collect::<Vec<_>>());
}

/// Among writes that work, one that does not: its own answer, and how often those that work have run.
fn among_others<T: Send>(call: impl FnOnce(&ConnectionManager) -> T + Send) -> (T, u32) {
    among_others_by(TestClock::new(), call)
}

fn among_others_by<T: Send>(
    clock: impl Clock + 'static,
    call: impl FnOnce(&ConnectionManager) -> T + Send,
) -> (T, u32) {
    let folder = tempfile::tempdir().unwrap();
    let manager = &manager_by(&folder.path().join("a.db"), clock);
    let runs = &AtomicU32::new(0);
    let works = |number: i64| -> Box<dyn FnOnce() -> Option<T> + Send + '_> {
        Box::new(move || {
            let write = manager.write(|tx| {
                runs.fetch_add(1, Ordering::Relaxed);
                tx.execute(INSERT, [1, number])?;
                Ok(())
            });
            write.wait().unwrap();
            None
        })
    };
    let sends = |number: i64| -> Box<dyn FnOnce() -> Option<T> + Send + '_> {
        Box::new(move || {
            inserts(manager, 2, number).unwrap();
            None
        })
    };
    let answers =
        together(manager, vec![works(0), sends(0), Box::new(move || Some(call(manager))), works(1), sends(1)]);
    assert_eq!(rows(manager), [(1, 0), (1, 1), (2, 0), (2, 1)], "each that works is there, once");
    let rest: i64 = manager
        .query("SELECT (SELECT count(*) FROM strict) + (SELECT count(*) FROM child) + (SELECT count(*) FROM parent)")
        .one()
        .wait()
        .unwrap();
    assert_eq!(rest, 0, "nothing of the other one is");
    (answers.into_iter().flatten().next().unwrap(), runs.load(Ordering::Relaxed))
}

fn constraint(error: &Error) -> bool {
    error.executed() == Executed::No && error.fault().is_some_and(|fault| fault.kind == FaultKind::Constraint)
}

/// A number that tells on which threads it was decoded.
struct Traced(i64);

static DECODED_ON: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());

impl<'de> Deserialize<'de> for Traced {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODED_ON.lock().unwrap().push(thread::current().id());
        i64::deserialize(deserializer).map(Self)
    }
}

#[test]
fn a_query_that_writes_is_run_by_whoever_has_the_writer_and_undone_where_its_rows_do_not_fit() {
    let sql = "INSERT INTO strict VALUES (7) RETURNING id";
    let (error, runs) = among_others(|manager| manager.query(sql).one::<String>().wait().unwrap_err());
    assert!(error.kind() == Kind::Decode && error.executed() == Executed::No && runs == 2, "{error:?}, {runs}");
    let (answer, _) = among_others(|manager| {
        let id = manager.query(sql).one::<Traced>().wait().map(|traced| traced.0);
        let threads: HashSet<ThreadId> = DECODED_ON.lock().unwrap().drain(..).collect();
        manager.execute("DELETE FROM strict").wait().unwrap();
        (id, threads.len())
    });
    assert!(matches!(answer, (Ok(7), 2)), "{answer:?}");
}

#[test]
fn a_violation_undoes_the_write_that_made_it_alone() {
    let (error, runs) = among_others(|manager| manager.execute("INSERT INTO strict VALUES (-1)").wait().unwrap_err());
    assert!(constraint(&error) && runs == 2, "{error:?}, {runs}");
    let (error, runs) = among_others(|manager| {
        let write = manager.write(|tx| {
            tx.execute("INSERT INTO strict VALUES (1)", [])?;
            tx.execute("INSERT INTO strict VALUES (-1)", [])?;
            Ok(())
        });
        write.wait().unwrap_err()
    });
    assert!(constraint(&error) && runs == 2, "{error:?}, {runs}");
}

#[test]
fn a_deferred_key_that_is_violated_is_told_to_the_write_that_made_it() {
    let sql = "INSERT INTO child (parent) VALUES (99)";
    let (error, runs) = among_others(|manager| manager.execute(sql).wait().unwrap_err());
    assert!(constraint(&error) && runs == 2, "{error:?}, {runs}");
    let (error, runs) = among_others(|manager| manager.write(|tx| Ok(tx.execute(sql, [])?)).wait().unwrap_err());
    assert!(constraint(&error) && runs == 2, "{error:?}, {runs}");
    let (answer, _) = among_others(|manager| {
        let write = manager.write(|tx| {
            tx.execute(sql, [])?;
            tx.execute("INSERT INTO parent VALUES (99)", [])?;
            tx.execute_batch("DELETE FROM child; DELETE FROM parent")?;
            Ok(())
        });
        write.wait()
    });
    answer.expect("it is in order at its end");
}

#[test]
fn an_error_that_rolls_back_the_whole_transaction_is_not_noticed_by_the_others() {
    for sql in ["INSERT OR ROLLBACK INTO strict VALUES (-1)", "INSERT INTO strict VALUES (13)"] {
        let (error, runs) = among_others(|manager| manager.execute(sql).wait().unwrap_err());
        assert!(constraint(&error) && runs == 3, "{error:?}, {runs}");
        let (error, runs) = among_others(|manager| {
            let write = manager.write(|tx| {
                tx.execute("INSERT INTO strict VALUES (1)", [])?;
                Ok(tx.execute(sql, [])?)
            });
            write.wait().unwrap_err()
        });
        assert!(constraint(&error) && runs == 3, "{error:?}, {runs}");
        let (error, runs) = among_others(|manager| {
            let write = manager.write(|tx| {
                let _hidden = tx.execute(sql, []);
                let _nothing_more_runs = tx.execute("INSERT INTO strict VALUES (2)", []);
                Ok(())
            });
            write.wait().unwrap_err()
        });
        assert!(error.executed() == Executed::No && error.to_string().contains("transaction is gone"), "{error:?}");
        assert_eq!(runs, 3);
    }
}

#[test]
fn a_statement_that_is_left_running_does_not_keep_the_others_from_their_commit() {
    let (answer, runs) = among_others(|manager| {
        let write = manager.write(|tx| {
            let mut statement = tx.prepare("INSERT INTO strict VALUES (1), (2) RETURNING id")?;
            let mut rows = statement.query([])?;
            rows.next()?;
            std::mem::forget(rows);
            std::mem::forget(statement);
            Ok(())
        });
        write.wait()
    });
    let error = answer.unwrap_err();
    assert!(error.executed() == Executed::No && runs == 2, "{error:?}, {runs}");
}

#[test]
fn a_panic_undoes_the_write_that_panicked_alone() {
    let (panicked, runs) = among_others(|manager| {
        let write = manager.write(|tx| -> Result<(), Failure> {
            tx.execute("INSERT INTO strict VALUES (1)", [])?;
            panic!("it panics")
        });
        catch_unwind(AssertUnwindSafe(|| write.wait())).is_err()
    });
    assert!(panicked && runs == 2);
}

#[test]
fn a_write_that_is_stopped_does_not_stop_the_others() {
    let (error, runs) = among_others_by(SystemClock::new(), |manager| {
        let endless =
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) INSERT INTO strict SELECT i FROM n";
        manager.execute(endless).within(Duration::from_millis(300)).wait().unwrap_err()
    });
    // On a machine that is very busy its time is over before its turn.
    let stopped = matches!(error.kind(), Kind::Timeout(Stage::Run | Stage::Wait));
    assert!(stopped && error.executed() == Executed::No, "{error:?}");
    assert!(runs >= 2);
}

#[test]
fn nobody_waits_beyond_its_deadline_for_others_of_its_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let manager = &manager_by(&folder.path().join("a.db"), SystemClock::new());
    let long = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)
        INSERT INTO row (thread, number) SELECT 1, i FROM n";
    let outcomes = together(
        manager,
        vec![
            Box::new(|| manager.execute(INSERT).bind(0).bind(0).within(Duration::from_millis(50)).wait().map(drop)),
            Box::new(|| manager.execute(long).wait().map(drop)),
            Box::new(|| manager.execute(INSERT).bind(2).bind(0).wait().map(drop)),
        ],
    );
    // Whether the first was in time is the machine's business; the others have worked in any case.
    let first = outcomes[0].is_ok();
    assert!(first || matches!(outcomes[0], Err(ref error) if matches!(error.kind(), Kind::Timeout(_))), "{outcomes:?}");
    assert!(outcomes[1].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
    let count: i64 = manager.query("SELECT count(*) FROM row").one().wait().unwrap();
    assert_eq!(count, 300_001 + i64::from(first));
}

#[test]
fn one_that_has_had_the_drivers_connection_shares_with_nobody() {
    let (answer, runs) = among_others(|manager| {
        let mut runs = 0;
        let write = manager.write(|tx| {
            runs += 1;
            let flag = rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER;
            tx.raw().set_db_config(flag, false)?;
            Ok(())
        });
        write.wait().unwrap();
        runs
    });
    assert_eq!((answer, runs), (2, 3), "run again alone, and so is the one before it");
}

#[test]
fn what_is_to_run_once_runs_once_among_others() {
    let (runs, others) = among_others(|manager| {
        let mut runs = 0;
        manager
            .write_once(|_| -> Result<(), Failure> {
                runs += 1;
                Ok(())
            })
            .wait()
            .unwrap();
        manager
            .write_once(|_| -> Result<(), Failure> {
                runs += 1;
                Ok(())
            })
            .synced()
            .wait()
            .unwrap();
        runs
    });
    assert_eq!((runs, others), (2, 2));
}

#[test]
fn several_statements_take_effect_together_or_not_at_all_alone_and_among_others() {
    let parent = "INSERT INTO parent VALUES (?1)";
    let batch = |manager: &ConnectionManager, last: &str| {
        let first = "INSERT INTO child (parent) VALUES (1)";
        manager.execute(first).then(parent).bind(1).then(last).wait()
    };
    let alone = |last| {
        let folder = tempfile::tempdir().unwrap();
        batch(&manager(&folder.path().join("a.db")), last)
    };
    for among in [false, true] {
        let sql = "INSERT OR ROLLBACK INTO strict VALUES (-1)";
        let error =
            if among { among_others(|manager| batch(manager, sql).unwrap_err()).0 } else { alone(sql).unwrap_err() };
        assert!(constraint(&error) && error.sql() == Some(sql), "{error:?}");
    }
    let error = alone("DELETE FROM nothing").unwrap_err();
    assert!(error.sql() == Some("DELETE FROM nothing") && error.executed() == Executed::No, "{error:?}");
    assert_eq!(
        alone("INSERT INTO strict VALUES (5), (6)").unwrap().iter().map(|one| one.rows).collect::<Vec<_>>(),
        [1, 1, 2]
    );
    let (changes, runs) = among_others(|manager| {
        let changes = batch(manager, "INSERT INTO strict VALUES (5), (6)").unwrap();
        let delete = manager.execute("DELETE FROM child").then("DELETE FROM parent").then("DELETE FROM strict");
        (changes, delete.wait().unwrap())
    });
    let figures = |changes: &[Changes]| changes.iter().map(|one| (one.rows, one.last_insert_rowid)).collect::<Vec<_>>();
    assert_eq!(figures(&changes.0), [(1, Some(1)), (1, Some(1)), (2, Some(6))]);
    assert_eq!((figures(&changes.1), runs), (vec![(1, None), (1, None), (2, None)], 2));
}

#[test]
fn a_change_of_the_schema_shares_with_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let manager = &manager(&folder.path().join("a.db"));
    let start = commits(manager);
    let calls: Vec<Box<dyn FnOnce() -> i64 + Send + '_>> = vec![
        Box::new(|| inserts(manager, 1, 1).unwrap()),
        Box::new(|| i64::try_from(manager.execute("CREATE TABLE fresh (a)").wait().unwrap().rows).unwrap()),
        Box::new(|| inserts(manager, 2, 2).unwrap()),
        Box::new(|| writes(manager, 3, 3).unwrap()),
    ];
    assert_eq!(together(manager, calls), [1, 0, 2, 3]);
    assert_eq!(commits(manager), start + 3, "one before it, itself, and one of those after it");
    manager.execute("INSERT INTO fresh VALUES (1)").wait().unwrap();
}

#[test]
fn each_sees_what_those_before_it_in_the_same_transaction_have_written() {
    let folder = tempfile::tempdir().unwrap();
    let manager = &manager(&folder.path().join("a.db"));
    let start = commits(manager);
    let counts = || manager.write(|tx| Ok(tx.query_row("SELECT count(*) FROM row", [], |row| row.get(0))?)).wait();
    let calls: Vec<Box<dyn FnOnce() -> i64 + Send + '_>> = vec![
        Box::new(|| inserts(manager, 1, 1).unwrap()),
        Box::new(move || counts().unwrap()),
        Box::new(|| writes(manager, 2, 2).unwrap()),
        Box::new(move || counts().unwrap()),
    ];
    assert_eq!(together(manager, calls), [1, 1, 2, 2]);
    assert_eq!(commits(manager), start + 1);
}

#[test]
fn beside_another_process_each_waits_until_its_deadline_and_hears_who_holds_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let manager = &manager_by(&path, SystemClock::new());
    let stranger = rusqlite::Connection::open(&path).unwrap();
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = manager.execute(INSERT).bind(0).bind(0).within(Duration::from_millis(20)).wait().unwrap_err();
    assert_eq!((error.fault().map(|fault| fault.kind), error.executed()), (Some(FaultKind::Busy), Executed::No));
    assert!(error.to_string().contains("another process"), "{error}");
    // One waits for the lock, those behind it for the writer; each until its own deadline.
    let waiting = |number: u32| {
        let writer = manager.status().database("main").unwrap().writer.unwrap();
        writer.waiting == number && writer.lent == 1
    };
    let wait_for = |number| {
        while !waiting(number) {
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        let first = scope.spawn(|| inserts(manager, 1, 1));
        wait_for(0);
        let second = scope.spawn(|| writes(manager, 2, 2));
        wait_for(1);
        let third = manager.execute(INSERT).bind(3).bind(3).within(Duration::from_millis(20)).wait().unwrap_err();
        assert_eq!((third.kind(), third.executed()), (Kind::Timeout(Stage::Wait), Executed::No));
        stranger.execute_batch("COMMIT").unwrap();
        assert_eq!((first.join().unwrap().unwrap(), second.join().unwrap().unwrap()), (1, 2), "in their order");
    });
    assert_eq!(rows(manager), [(1, 1), (2, 2)]);
}

#[test]
fn sixteen_threads_lose_nothing_and_write_nothing_twice() {
    const THREADS: i64 = 16;
    const EACH: i64 = 60;
    let folder = tempfile::tempdir().unwrap();
    let manager = &manager_by(&folder.path().join("a.db"), SystemClock::new());
    let (send, told) = mpsc::channel();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let send = send.clone();
            scope.spawn(move || {
                for number in 0..EACH {
                    let kept = match (thread + number) % 8 {
                        0 | 1 => inserts(manager, thread, number).is_ok(),
                        2 | 3 => writes(manager, thread, number).is_ok(),
                        4 => {
                            let write = manager.write(|tx| {
                                tx.execute(INSERT, [thread, number])?;
                                Err::<(), _>(Failure::msg("no"))
                            });
                            assert_eq!(write.wait().unwrap_err().kind(), Kind::Closure);
                            false
                        }
                        5 => {
                            let write = manager.write(|tx| {
                                tx.execute(INSERT, [thread, number])?;
                                Ok(tx.execute("INSERT OR ROLLBACK INTO strict VALUES (-1)", [])?)
                            });
                            assert!(constraint(&write.wait().unwrap_err()));
                            false
                        }
                        6 => {
                            let write = manager.write(|tx| {
                                tx.execute(INSERT, [thread, number])?;
                                Ok(tx.execute("INSERT INTO child (parent) VALUES (99)", [])?)
                            });
                            assert!(constraint(&write.wait().unwrap_err()));
                            false
                        }
                        _ => {
                            let write = manager.write(|tx| -> Result<(), Failure> {
                                tx.execute(INSERT, [thread, number])?;
                                std::panic::resume_unwind(Box::new("it panics"));
                            });
                            assert!(catch_unwind(AssertUnwindSafe(|| write.wait())).is_err());
                            false
                        }
                    };
                    if kept {
                        let seen: Option<i64> = manager
                            .query("SELECT id FROM row WHERE thread = ?1 AND number = ?2")
                            .bind(thread)
                            .bind(number)
                            .optional()
                            .wait()
                            .unwrap();
                        assert!(seen.is_some(), "told before the commit");
                        send.send((thread, number)).unwrap();
                    }
                }
            });
        }
    });
    drop(send);
    let told: BTreeSet<(i64, i64)> = told.iter().collect();
    assert_eq!(told.len() as i64, THREADS * EACH / 2);
    assert_eq!(rows(manager), told.into_iter().collect::<Vec<_>>());
    let status = manager.status();
    let writer = status.database("main").unwrap().writer.unwrap();
    assert_eq!((writer.lent, writer.waiting), (0, 0));
}

#[test]
fn nobody_is_served_from_the_cache_what_a_shared_transaction_has_changed() {
    const THREADS: i64 = 8;
    let folder = tempfile::tempdir().unwrap();
    let database = Database::new("main", Sqlite::open(folder.path().join("a.db")));
    let cache = ecm::cache::Quick::new(&ecm::cache::QuickConfig::default()).unwrap();
    let manager = &ConnectionManager::builder().database(database).cache(cache).build().unwrap();
    manager.write(|tx| Ok(tx.execute_batch("CREATE TABLE n (thread INTEGER PRIMARY KEY, number)")?)).wait().unwrap();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for number in 0..100_i64 {
                    let sql = "INSERT OR REPLACE INTO n VALUES (?1, ?2)";
                    if number % 2 == 0 {
                        manager.execute(sql).bind(thread).bind(number).wait().unwrap();
                    } else {
                        manager.write(|tx| Ok(tx.execute(sql, [thread, number])?)).wait().unwrap();
                    }
                    let seen: i64 =
                        manager.query("SELECT number FROM n WHERE thread = ?1").bind(thread).one().wait().unwrap();
                    assert_eq!(seen, number);
                }
            });
        }
    });
}

#[test]
fn a_write_inside_a_write_of_the_same_group_is_refused_instead_of_waiting_for_itself() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager(&folder.path().join("a.db"));
    let inside = |what: &str, refused: Result<(), Error>| {
        let error = refused.expect_err(what);
        assert_eq!(error.kind(), Kind::Misuse, "{what}: {error}");
        let message = error.to_string();
        assert!(message.contains("a write of group \"default\" is under way on this thread"), "{what}: {message}");
    };
    let insert = "INSERT INTO parent VALUES (?1)";
    let ran = manager.write(|tx| {
        inside("execute", manager.execute(insert).bind(1).wait().map(drop));
        inside("write", manager.write(|_| Ok(())).wait());
        inside("write_once", manager.write_once(|_| Ok(())).wait());
        inside("unit of work", manager.unit_of_work(|_| Ok(())).wait());
        assert_eq!(manager.query("SELECT count(*) FROM parent").one::<i64>().wait()?, 0, "reading is another matter");
        tx.execute(insert, [2])?;
        Ok(())
    });
    ran.wait().unwrap();
    manager
        .write_once(|_| {
            inside("inside write_once", manager.execute(insert).bind(3).wait().map(drop));
            Ok(())
        })
        .wait()
        .unwrap();
    manager.execute(insert).bind(4).wait().expect("nothing is under way any more");
    assert_eq!(manager.query("SELECT id FROM parent").all::<i64>().wait().unwrap(), [2, 4]);
}
