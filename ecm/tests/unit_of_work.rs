//! Units of work over real SQLite: what of them is kept, alone and in a transaction that others share.
#![cfg(feature = "sqlite")]

#[path = "support/waiting.rs"]
mod waiting;

use ecm::{
    ConnectionManager, Database, Error, Executed, Failure, Kind, Stage, Store, UnitOfWork,
    core::{Clock, Event, FaultKind, Interest, Observer, SystemClock, testing::TestClock},
    sqlite::{Sqlite, rusqlite},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};
use waiting::together;

const SCHEMA: &str = "
    CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT NOT NULL);
    CREATE TABLE tag (note INTEGER NOT NULL REFERENCES note DEFERRABLE INITIALLY DEFERRED, name TEXT, UNIQUE (note, name));
    CREATE TABLE strict (id INTEGER PRIMARY KEY CHECK (id > 0), data BLOB);";

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

fn count(times: &AtomicU32) {
    times.fetch_add(1, Relaxed);
}

fn in_file() -> (tempfile::TempDir, ConnectionManager) {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager(&folder.path().join("a.db"));
    (folder, manager)
}

struct Notes<'u>(UnitOfWork<'u>);
struct Tags<'u>(UnitOfWork<'u>);

impl<'u> Store<'u> for Notes<'u> {
    fn open(uow: UnitOfWork<'u>) -> Result<Self, Failure> {
        Ok(Self(uow))
    }
}

impl<'u> Store<'u> for Tags<'u> {
    fn open(uow: UnitOfWork<'u>) -> Result<Self, Failure> {
        Ok(Self(uow))
    }
}

impl Notes<'_> {
    fn add(&self, title: &str) -> Result<i64, Failure> {
        self.0.execute("INSERT INTO note (title) VALUES (?1)", [title])?;
        Ok(self.0.last_insert_rowid())
    }
}

impl Tags<'_> {
    fn add(&self, note: i64, name: &str) -> Result<(), Failure> {
        self.0.execute("INSERT INTO tag VALUES (?1, ?2)", rusqlite::params![note, name])?;
        Ok(())
    }

    fn titles(&self) -> Result<Vec<String>, Failure> {
        Ok(self
            .0
            .query("SELECT title || ':' || name FROM note JOIN tag ON note = id ORDER BY 1", [], |row| row.get(0))?)
    }
}

fn save(uow: UnitOfWork<'_>, title: &str, names: &[&str]) -> Result<i64, Failure> {
    let (notes, tags) = (uow.store::<Notes>()?, uow.store::<Tags>()?);
    let id = notes.add(title)?;
    names.iter().try_for_each(|name| tags.add(id, name))?;
    Ok(id)
}

/// Every note with each of its tags.
fn saved(manager: &ConnectionManager) -> Vec<(String, String)> {
    let sql = "SELECT title, coalesce(name, '') FROM note LEFT JOIN tag ON note = id ORDER BY title, name";
    manager.query(sql).all().wait().unwrap()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(title, name)| ((*title).into(), (*name).into())).collect()
}

#[test]
fn two_stores_are_saved_together_or_not_at_all() {
    let (_folder, manager) = in_file();
    let id = manager
        .unit_of_work(|uow| {
            let id = save(uow, "bread", &["food", "brown"])?;
            assert_eq!(uow.store::<Tags>()?.titles()?, ["bread:brown", "bread:food"], "it sees its own writes");
            Ok(id)
        })
        .synced()
        .wait()
        .unwrap();
    assert_eq!(id, 1);
    let error = manager.unit_of_work(|uow| save(uow, "milk", &["food", "food"])).wait().unwrap_err();
    assert_eq!(error.fault().map(|fault| fault.kind), Some(FaultKind::Constraint));
    assert_eq!(error.executed(), Executed::No);
    assert!(error.downcast::<rusqlite::Error>().is_ok(), "the driver's own error comes back");
    assert_eq!(saved(&manager), pairs(&[("bread", "brown"), ("bread", "food")]));
}

#[test]
fn what_is_not_committed_is_seen_by_nobody_else_and_a_named_database_takes_units_too() {
    let (_folder, manager) = in_file();
    let main = manager.database("main").unwrap();
    let once = String::from("bread");
    let moved = main.unit_of_work_once(|uow| {
        save(uow, &once, &["food"])?;
        assert_eq!(saved(&manager), []);
        Ok(once)
    });
    assert_eq!(moved.synced().wait().unwrap(), "bread");
    assert_eq!(saved(&manager), pairs(&[("bread", "food")]));
    let copy = Database::new("copy", Sqlite::open(_folder.path().join("a.db"))).read_only(true);
    manager.register(copy).unwrap();
    let error = manager.database("copy").unwrap().unit_of_work(|uow| save(uow, "milk", &[])).wait().unwrap_err();
    assert_eq!(error.kind(), Kind::ReadOnly);
}

#[test]
fn a_part_that_fails_or_panics_is_undone_alone() {
    let (_folder, manager) = in_file();
    let unit = manager.unit_of_work(|uow| {
        save(uow, "bread", &["food"])?;
        uow.nested(|uow| save(uow, "milk", &["food"]))?;
        let before = uow.store::<Notes>()?;
        let failed = uow.nested(|uow| {
            before.add("by a store that was opened before")?;
            uow.nested(|uow| save(uow, "kept in what is undone", &["x"]))?;
            save(uow, "twice", &["x", "x"])
        });
        assert!(failed.unwrap_err().to_string().contains("UNIQUE"));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            uow.nested(|uow| {
                save(uow, "panicked", &["x"])?;
                resume_unwind(Box::new("no"));
                #[expect(unreachable_code, reason = "gives the closure its type")]
                Ok(())
            })
        }));
        assert!(panicked.is_err());
        uow.nested(|uow| save(uow, "eggs", &["food"]))
    });
    unit.wait().unwrap();
    assert_eq!(saved(&manager), pairs(&[("bread", "food"), ("eggs", "food"), ("milk", "food")]));
}

#[test]
fn a_deferred_key_may_be_put_in_order_after_the_part_that_violates_it() {
    let (_folder, manager) = in_file();
    let unit = manager.unit_of_work(|uow| {
        uow.nested(|uow| uow.store::<Tags>()?.add(1, "early"))?;
        uow.store::<Notes>()?.add("late")
    });
    assert_eq!(unit.wait().unwrap(), 1);
    let error = manager.unit_of_work(|uow| uow.nested(|uow| uow.store::<Tags>()?.add(99, "lost"))).wait().unwrap_err();
    assert_eq!(error.fault().map(|fault| fault.kind), Some(FaultKind::Constraint), "{error}");
    let undone = manager.unit_of_work(|uow| {
        let undone = uow.nested(|uow| {
            uow.store::<Tags>()?.add(99, "lost")?;
            Err::<(), _>(Failure::msg("no"))
        });
        assert!(undone.is_err());
        Ok(())
    });
    undone.wait().expect("what is undone violates nothing");
    assert_eq!(saved(&manager), pairs(&[("late", "early")]));
}

#[test]
fn a_part_that_takes_the_whole_transaction_with_it_lets_nothing_be_kept() {
    let (_folder, manager) = in_file();
    let unit = manager.unit_of_work(|uow| {
        save(uow, "bread", &["food"])?;
        let hidden = uow.nested(|uow| Ok(uow.execute("INSERT OR ROLLBACK INTO strict VALUES (-1, NULL)", [])?));
        assert!(hidden.unwrap_err().to_string().contains("CHECK"), "the part says what was wrong");
        let again = uow.nested(|uow| save(uow, "milk", &[]));
        assert!(again.unwrap_err().to_string().contains("nothing of the whole unit can be kept"));
        Ok(())
    });
    let error = unit.wait().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (Kind::Misuse, Executed::No), "{error}");
    assert!(error.to_string().contains("return the error of the nested unit"), "{error}");
    assert_eq!(saved(&manager), []);
}

#[test]
fn a_statement_that_still_writes_keeps_a_part_from_beginning_and_from_ending() {
    let (_folder, manager) = in_file();
    const RETURNING: &str = "INSERT INTO strict (data) VALUES (1), (2) RETURNING id";
    let begins = manager.unit_of_work(|uow| {
        save(uow, "bread", &["food"])?;
        {
            let mut statement = uow.prepare(RETURNING)?;
            let mut rows = statement.query([])?;
            rows.next()?;
            let refused = uow.nested(|uow| save(uow, "milk", &[])).unwrap_err();
            assert!(refused.to_string().contains("SQL statements in progress"), "{refused}");
        }
        uow.nested(|uow| save(uow, "milk", &["food"]))
    });
    begins.wait().expect("nothing had begun, so nothing is lost");
    assert_eq!(saved(&manager), pairs(&[("bread", "food"), ("milk", "food")]));

    let ends = manager.unit_of_work(|uow| {
        save(uow, "eggs", &["food"])?;
        let hidden = uow.nested(|uow| {
            let mut statement = uow.prepare(RETURNING)?;
            let mut rows = statement.query([])?;
            rows.next()?;
            std::mem::forget(rows);
            std::mem::forget(statement);
            Ok(())
        });
        assert!(hidden.is_err());
        Ok(())
    });
    let error = ends.wait().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (Kind::Misuse, Executed::No), "{error}");
    assert_eq!(saved(&manager).len(), 2);
    manager.unit_of_work(|uow| save(uow, "tea", &["drink"])).wait().expect("the next unit is not bothered");
}

#[test]
fn an_open_cursor_goes_on_across_a_part() {
    let (_folder, manager) = in_file();
    let unit = manager.unit_of_work(|uow| {
        ["a", "b", "c"].iter().try_for_each(|title| save(uow, title, &[]).map(drop))?;
        let mut statement = uow.tx().prepare("SELECT id FROM note WHERE id <= 3 ORDER BY id")?;
        let mut rows = statement.query([])?;
        let mut seen = Vec::new();
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            seen.push(id);
            let part = uow.nested(|uow| {
                uow.store::<Tags>()?.add(id, "seen")?;
                if id == 2 { Err(Failure::msg("no")) } else { Ok(()) }
            });
            assert_eq!(part.is_err(), id == 2);
        }
        Ok(seen)
    });
    assert_eq!(unit.wait().unwrap(), [1, 2, 3]);
    assert_eq!(saved(&manager), pairs(&[("a", "seen"), ("b", ""), ("c", "seen")]));
}

#[test]
fn the_words_that_end_a_transaction_and_other_files_are_refused_in_a_unit() {
    let (folder, manager) = in_file();
    let other = format!("ATTACH '{}' AS other", folder.path().join("other.db").display());
    for sql in ["COMMIT", "ROLLBACK", "SAVEPOINT ecm_nested", "RELEASE ecm_nested", "ROLLBACK TO ecm_nested", &other] {
        let unit = manager.unit_of_work(|uow| {
            save(uow, "bread", &[])?;
            uow.nested(|uow| {
                save(uow, "milk", &[])?;
                Ok(uow.execute_batch(sql)?)
            })
        });
        let error = unit.wait().unwrap_err();
        assert!(error.to_string().contains("connection()"), "{sql}: {error}");
        assert_eq!(saved(&manager), [], "{sql}");
    }
}

#[test]
fn a_statement_is_stopped_at_the_deadline_and_its_unit_is_rolled_back() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager_by(&folder.path().join("a.db"), SystemClock::new());
    let rolled_back = Arc::new(AtomicU32::new(0));
    let endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    let unit = manager.unit_of_work(|uow| {
        let rolled_back = Arc::clone(&rolled_back);
        uow.after_rollback(move || count(&rolled_back));
        save(uow, "bread", &[])?;
        let _hidden = uow.nested(|uow| Ok(uow.query_row(endless, [], |row| row.get::<_, i64>(0))?));
        Ok(())
    });
    let error = unit.within(Duration::from_millis(100)).wait().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (Kind::Timeout(Stage::Run), Executed::No));
    assert_eq!((saved(&manager), rolled_back.load(Relaxed)), (vec![], 1));
}

#[test]
fn a_change_of_the_schema_in_a_unit_is_undone_with_its_part() {
    let (_folder, manager) = in_file();
    let unit = manager.unit_of_work(|uow| {
        uow.nested(|uow| Ok(uow.execute_batch("CREATE TABLE kept (a)")?))?;
        let undone = uow.nested(|uow| {
            uow.execute_batch("CREATE TABLE undone (a); INSERT INTO undone VALUES (1)")?;
            Err::<(), _>(Failure::msg("no"))
        });
        assert!(undone.is_err() && uow.prepare("SELECT * FROM undone").is_err());
        uow.execute("INSERT INTO kept VALUES (1)", [])?;
        save(uow, "bread", &["food"])
    });
    unit.wait().unwrap();
    assert_eq!(manager.query("SELECT count(*) FROM kept").one::<i64>().wait().unwrap(), 1);
    assert!(manager.query("SELECT count(*) FROM undone").one::<i64>().wait().is_err());
}

#[test]
fn an_observer_hears_of_one_unit_of_work() {
    #[derive(Debug, Clone, Default)]
    struct Kinds(Arc<Mutex<Vec<String>>>);
    impl Observer for Kinds {
        fn interest(&self) -> Interest {
            Interest::CALLS
        }
        fn event(&self, event: &Event<'_>) {
            if let Event::Call(report) = event {
                self.0.lock().unwrap().push(format!("{:?} {}", report.kind, report.kind.writes()));
            }
        }
    }
    let kinds = Kinds::default();
    let manager =
        ConnectionManager::builder().database(Database::new("main", Sqlite::memory())).observer(kinds.clone()).build();
    manager.unwrap().unit_of_work(|uow| uow.nested(|_| Ok(()))).wait().unwrap();
    assert_eq!(*kinds.0.lock().unwrap(), ["UnitOfWork true"]);
}

/// Among units that work, a call that may not: its answer, and how often the units that work have run.
fn among_others<T: Send>(call: impl FnOnce(&ConnectionManager) -> T + Send) -> (T, u32) {
    let (_folder, manager) = &in_file();
    let (runs, committed, rolled_back) = (&AtomicU32::new(0), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let works = |title: &'static str| -> Box<dyn FnOnce() -> Option<T> + Send + '_> {
        let (committed, rolled_back) = (Arc::clone(&committed), Arc::clone(&rolled_back));
        Box::new(move || {
            let unit = manager.unit_of_work(|uow| {
                runs.fetch_add(1, Relaxed);
                assert_eq!(uow.shared::<AtomicU32>().fetch_add(1, Relaxed), 0, "each run begins anew");
                let (committed, rolled_back) = (Arc::clone(&committed), Arc::clone(&rolled_back));
                uow.after_commit(move |_| count(&committed));
                uow.after_rollback(move || count(&rolled_back));
                uow.nested(|uow| save(uow, title, &["x"]))?;
                let undone = uow.nested(|uow| save(uow, "undone", &["x", "x"]));
                assert!(undone.is_err());
                Ok(())
            });
            unit.wait().unwrap();
            None
        })
    };
    let answers = together(manager, vec![works("a"), Box::new(move || Some(call(manager))), works("b")]);
    let ours: Vec<_> = saved(manager).into_iter().filter(|(title, _)| ["a", "b"].contains(&&**title)).collect();
    assert_eq!(ours, pairs(&[("a", "x"), ("b", "x")]), "each that works is there, once");
    let hooks = (committed.load(Relaxed), rolled_back.load(Relaxed));
    assert_eq!(hooks, (2, 0), "those of a run that is repeated are not kept");
    let rest: i64 = manager.query("SELECT count(*) FROM strict").one().wait().unwrap();
    assert_eq!(rest, 0);
    (answers.into_iter().flatten().next().unwrap(), runs.load(Relaxed))
}

fn constraint(error: &Error) -> bool {
    error.executed() == Executed::No && error.fault().is_some_and(|fault| fault.kind == FaultKind::Constraint)
}

#[test]
fn units_that_wait_share_one_commit_with_other_writes() {
    let (_folder, manager) = &in_file();
    let commits = || manager.status().database("main").unwrap().position.commit;
    let before = commits();
    let positions = &Mutex::new(Vec::new());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let unit = |title: &'static str| -> Box<dyn FnOnce() + Send + '_> {
        let heard = Arc::clone(&heard);
        Box::new(move || {
            let unit = manager.unit_of_work(|uow| {
                let heard = Arc::clone(&heard);
                uow.after_commit(move |position| heard.lock().unwrap().push(position.commit));
                save(uow, title, &["x"])
            });
            let id = unit.wait().unwrap();
            positions.lock().unwrap().push(id);
        })
    };
    let write = || {
        let id = manager.write(|tx| {
            tx.execute("INSERT INTO note (title) VALUES ('c')", [])?;
            Ok(tx.last_insert_rowid())
        });
        let id = id.wait().unwrap();
        positions.lock().unwrap().push(id);
    };
    together(manager, vec![unit("a"), unit("b"), Box::new(write), unit("d")]);
    assert_eq!(commits(), before + 1);
    assert_eq!(*heard.lock().unwrap(), [before + 1; 3], "all of them at the position of their common commit");
    let mut ids = positions.lock().unwrap().clone();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3, 4]);
    assert_eq!(saved(manager), pairs(&[("a", "x"), ("b", "x"), ("c", ""), ("d", "x")]));
}

#[test]
fn a_unit_that_fails_in_any_way_is_undone_alone_among_others() {
    let (error, runs) =
        among_others(|manager| manager.unit_of_work(|uow| save(uow, "c", &["y", "y"])).wait().unwrap_err());
    assert!(constraint(&error) && runs == 2, "{error:?}, {runs}");
    let (error, runs) = among_others(|manager| {
        let unit = manager.unit_of_work(|uow| {
            save(uow, "c", &["y"])?;
            uow.nested(|uow| uow.store::<Tags>()?.add(99, "lost"))
        });
        unit.wait().unwrap_err()
    });
    assert!(constraint(&error) && runs == 2, "its deferred key is its own: {error:?}, {runs}");
    let (panicked, runs) = among_others(|manager| {
        let rolled_back = Arc::new(AtomicU32::new(0));
        let unit = manager.unit_of_work(|uow| {
            let rolled_back = Arc::clone(&rolled_back);
            uow.after_rollback(move || count(&rolled_back));
            uow.nested(|uow| -> Result<(), Failure> {
                save(uow, "c", &["y"])?;
                resume_unwind(Box::new("no"))
            })
        });
        (catch_unwind(AssertUnwindSafe(|| unit.wait())).is_err(), rolled_back.load(Relaxed))
    });
    assert_eq!((panicked, runs), ((true, 1), 2));
}

#[test]
fn units_whose_transaction_is_lost_run_again_and_keep_nothing_of_the_first_run() {
    let sql = "INSERT OR ROLLBACK INTO strict VALUES (-1, NULL)";
    let (error, runs) = among_others(|manager| manager.execute(sql).wait().unwrap_err());
    assert!(constraint(&error) && runs == 3, "{error:?}, {runs}");
    let (error, runs) = among_others(|manager| {
        let unit = manager.unit_of_work(|uow| {
            save(uow, "c", &["y"])?;
            uow.nested(|uow| Ok(uow.execute(sql, [])?))
        });
        unit.wait().unwrap_err()
    });
    assert!(constraint(&error) && runs == 3, "{error:?}, {runs}");
    let (error, runs) = among_others(|manager| {
        let unit = manager.unit_of_work(|uow| {
            let _hidden = uow.nested(|uow| Ok(uow.execute(sql, [])?));
            Ok(())
        });
        unit.wait().unwrap_err()
    });
    assert!(error.kind() == Kind::Misuse && runs == 3, "{error:?}, {runs}");
}

#[test]
fn a_part_that_cannot_be_ended_takes_its_own_unit_with_it_and_no_other() {
    let (error, runs) = among_others(|manager| {
        let unit = manager.unit_of_work(|uow| {
            save(uow, "c", &["y"])?;
            let hidden = uow.nested(|uow| {
                uow.execute("INSERT INTO strict VALUES (7, NULL)", [])?;
                let mut statement = uow.prepare("INSERT INTO strict VALUES (1, 0), (2, 0) RETURNING id")?;
                let mut rows = statement.query([])?;
                rows.next()?;
                std::mem::forget(rows);
                std::mem::forget(statement);
                Ok(())
            });
            assert!(hidden.is_err());
            uow.execute("INSERT INTO strict VALUES (8, NULL)", [])?;
            uow.before_commit(|_| unreachable!("there is nothing to commit"));
            Ok(())
        });
        let error = unit.wait().unwrap_err();
        assert_eq!(saved(manager).iter().filter(|(title, _)| title == "c").count(), 0);
        error
    });
    assert!(error.kind() == Kind::Misuse && runs == 2, "{error:?}, {runs}");
}

#[test]
fn what_is_to_run_once_runs_once_and_alone() {
    let ((runs, commits), others) = among_others(|manager| {
        let mut runs = 0;
        let unit = manager.unit_of_work_once(|uow| {
            runs += 1;
            save(uow, "c", &["y"])
        });
        unit.wait().unwrap();
        (runs, manager.status().database("main").unwrap().position.commit)
    });
    assert_eq!((runs, others), (1, 2));
    assert!(commits >= 3, "the schema, the first of the others, this one: {commits}");
}

#[test]
fn eight_threads_keep_whole_units_and_lose_none() {
    const THREADS: usize = 8;
    const EACH: usize = 36;
    let folder = tempfile::tempdir().unwrap();
    let manager = &manager_by(&folder.path().join("a.db"), SystemClock::new());
    let (committed, rolled_back) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let kept = &Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (committed, rolled_back) = (&committed, &rolled_back);
            scope.spawn(move || {
                for number in 0..EACH {
                    let title = format!("{thread}/{number:02}");
                    let unit = manager.unit_of_work(|uow| {
                        let (committed, rolled_back) = (Arc::clone(committed), Arc::clone(rolled_back));
                        uow.after_commit(move |_| count(&committed));
                        uow.after_rollback(move || count(&rolled_back));
                        let id = save(uow, &title, &["x", "y"])?;
                        match (thread + number) % 6 {
                            0 => Err(Failure::msg("no")),
                            1 => resume_unwind(Box::new("no")),
                            2 => Ok(uow.execute("INSERT OR ROLLBACK INTO strict VALUES (-1, NULL)", []).map(drop)?),
                            3 => {
                                let undone = uow.nested(|uow| uow.store::<Tags>()?.add(id, "x"));
                                assert!(undone.is_err());
                                Ok(())
                            }
                            _ => uow.nested(|uow| uow.store::<Tags>()?.add(id, "z")),
                        }
                    });
                    if let Ok(Ok(())) = catch_unwind(AssertUnwindSafe(|| unit.wait())) {
                        kept.lock().unwrap().push((title, (thread + number) % 6 != 3));
                    }
                }
            });
        }
    });
    let mut kept = std::mem::take(&mut *kept.lock().unwrap());
    kept.sort_unstable();
    let expected: Vec<_> = kept
        .iter()
        .flat_map(|(title, z)| {
            ["x", "y", "z"].into_iter().take(if *z { 3 } else { 2 }).map(|tag| (title.clone(), tag.to_owned()))
        })
        .collect();
    assert_eq!(saved(manager), expected);
    let all = u32::try_from(THREADS * EACH).unwrap();
    assert_eq!(kept.len() as u32, committed.load(Relaxed));
    assert_eq!(all - committed.load(Relaxed), rolled_back.load(Relaxed), "each has ended once, in one way");
    assert_eq!(kept.len(), THREADS * EACH / 2);
}
