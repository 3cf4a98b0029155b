//! What runs around the end of a unit of work, over a database that does as it is told.

#[path = "support/fakes.rs"]
mod fakes;
#[path = "support/lines.rs"]
mod lines;

use ecm::{
    ConnectionManager, Database, Executed, Failure, Kind, PoolConfig, Stage, Store, UnitOfWork,
    core::{
        FaultKind, Interest,
        testing::{Fake, TestClock},
    },
};
use fakes::builder;
use lines::Lines;
use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Mutex},
    time::Duration,
};

/// What has happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// One hook of each kind, under a name.
    fn hook(&self, uow: UnitOfWork<'_, Fake>, name: &str) {
        let hooks = ["before", "committed", "rolled back"].map(|kind| (self.clone(), format!("{kind} {name}")));
        let [(before, first), (committed, second), (rolled_back, third)] = hooks;
        uow.before_commit(move |_| {
            before.add(first);
            Ok(())
        });
        uow.after_commit(move |position| committed.add(format!("{second} at {}", position.commit)));
        uow.after_rollback(move || rolled_back.add(third));
    }
}

#[test]
fn hooks_run_around_the_commit_in_the_order_of_their_registration() {
    let (fake, log) = (Fake::new(), Log::default());
    let manager = builder(&fake).build().unwrap();
    let unit = manager.unit_of_work(|uow| {
        let last = log.clone();
        uow.before_commit(move |uow| {
            last.add(format!("sees {:?}", uow.get("a")?));
            uow.set("b", 2)?;
            uow.before_commit(move |_| {
                last.add("registered late");
                Ok(())
            });
            Ok(())
        });
        log.hook(uow, "one");
        log.hook(uow, "two");
        uow.set("a", 1)?;
        assert_eq!(log.take(), [""; 0], "nothing runs before the closure has succeeded");
        Ok(7)
    });
    assert_eq!(unit.wait().unwrap(), 7);
    let lines =
        ["sees Some(1)", "before one", "before two", "registered late", "committed one at 1", "committed two at 1"];
    assert_eq!(log.take(), lines);
    assert_eq!((fake.committed("a"), fake.committed("b")), (Some(1), Some(2)));
}

#[test]
fn what_fails_or_panics_is_rolled_back_and_hears_of_it_when_the_writer_is_free() {
    let (fake, log) = (Fake::new(), Log::default());
    let manager = builder(&fake).build().unwrap();
    let uses_the_writer = |uow: UnitOfWork<'_, Fake>| {
        let (manager, log) = (manager.clone(), log.clone());
        uow.after_rollback(move || {
            manager.write(|tx| Ok(tx.set("rolled back", 1)?)).within(Duration::from_secs(60)).wait().unwrap();
            log.add("wrote");
        });
    };
    let failed = manager.unit_of_work(|uow| {
        log.hook(uow, "it");
        uses_the_writer(uow);
        uow.set("a", 1)?;
        Err::<(), _>(std::io::Error::other("mine").into())
    });
    let error = failed.wait().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (Kind::Closure, Executed::No));
    assert_eq!(error.downcast::<std::io::Error>().unwrap().to_string(), "mine");
    assert_eq!(log.take(), ["rolled back it", "wrote"]);
    assert_eq!((fake.committed("a"), fake.committed("rolled back")), (None, Some(1)));

    let panicked = manager.unit_of_work_once(|uow| -> Result<(), Failure> {
        log.hook(uow, "it");
        uow.after_rollback(|| resume_unwind(Box::new("of a hook")));
        uses_the_writer(uow);
        uow.set("a", 1)?;
        resume_unwind(Box::new("of the closure"))
    });
    let panic = catch_unwind(AssertUnwindSafe(|| panicked.wait())).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"of the closure"), "the first panic is the one that goes on");
    assert_eq!(log.take(), ["rolled back it", "wrote"]);
    assert_eq!(fake.committed("a"), None);
    assert!(manager.write(|tx| Ok(tx.set("a", 2)?)).wait().is_ok(), "the writer is there for the next one");
}

#[test]
fn a_hook_that_fails_or_panics_before_the_commit_rolls_back() {
    let (fake, log) = (Fake::new(), Log::default());
    let manager = builder(&fake).build().unwrap();
    for panics in [false, true] {
        let unit = manager.unit_of_work(|uow| {
            uow.set("a", 1)?;
            log.hook(uow, "first");
            uow.before_commit(move |uow| {
                uow.set("b", 2)?;
                if panics { resume_unwind(Box::new("no")) } else { Err(Failure::msg("no")) }
            });
            log.hook(uow, "second");
            Ok(())
        });
        let ended = catch_unwind(AssertUnwindSafe(|| unit.wait()));
        assert!(if panics { ended.is_err() } else { ended.unwrap().unwrap_err().kind() == Kind::Closure });
        assert_eq!(log.take(), ["before first", "rolled back first", "rolled back second"]);
        assert_eq!((fake.committed("a"), fake.committed("b")), (None, None));
    }
}

#[test]
fn a_panic_after_the_commit_goes_on_when_the_other_hooks_have_run_and_the_call_is_reported() {
    let (fake, log) = (Fake::new(), Log::default());
    let lines = Lines::about(Interest::CALLS);
    let manager = builder(&fake).observer(lines.clone()).build().unwrap();
    let unit = manager.unit_of_work(|uow| {
        uow.set("a", 1)?;
        uow.after_commit(|_| resume_unwind(Box::new("first")));
        uow.after_commit(|_| resume_unwind(Box::new("second")));
        log.hook(uow, "last");
        Ok(())
    });
    let panic = catch_unwind(AssertUnwindSafe(|| unit.wait())).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"first"));
    assert_eq!(log.take(), ["before last", "committed last at 1"]);
    assert_eq!(fake.committed("a"), Some(1), "what is committed stays so");
    let line = "UnitOfWork default/main sql=- attempts=1 cached=false slow=false ok=true commit=Some(1) context=None";
    assert_eq!(lines.take(), [line]);
}

#[test]
fn a_commit_that_fails_is_a_rollback_and_one_that_cannot_be_known_is_neither() {
    let (fake, log) = (Fake::new(), Log::default());
    let manager = builder(&fake).build().unwrap();
    let unit = || {
        manager.unit_of_work(|uow| {
            log.hook(uow, "it");
            let undone = uow.nested(|uow| {
                log.hook(uow, "undone");
                Err::<(), _>(Failure::msg("no"))
            });
            assert!(undone.is_err());
            Ok(uow.set("a", 1)?)
        })
    };
    fake.fail_commits(FaultKind::Full, 1);
    assert_eq!(unit().wait().unwrap_err().executed(), Executed::No);
    assert_eq!(log.take(), ["before it", "rolled back it", "rolled back undone"]);
    fake.lose_commits(1);
    assert_eq!(unit().wait().unwrap_err().executed(), Executed::Unknown);
    assert_eq!(log.take(), ["before it", "rolled back undone"], "only of what was undone is it known");
    unit().wait().unwrap();
    assert_eq!(log.take(), ["before it", "committed it at 2", "rolled back undone"]);
}

#[test]
fn an_unknown_outcome_of_another_call_is_not_taken_for_that_of_the_unit() {
    let (fake, other, log) = (Fake::new(), Fake::new(), Log::default());
    let manager = builder(&fake).build().unwrap();
    let elsewhere = builder(&other).build().unwrap();
    other.lose_commits(1);
    let unit = manager.unit_of_work(|uow| {
        log.hook(uow, "it");
        elsewhere.write(|tx| Ok(tx.set("a", 1)?)).wait()?;
        Ok(())
    });
    assert_eq!(unit.wait().unwrap_err().executed(), Executed::Unknown, "of the write elsewhere");
    assert_eq!(log.take(), ["rolled back it"]);
}

#[test]
fn a_part_that_is_undone_takes_its_hooks_with_it() {
    let (fake, log) = (Fake::new(), Log::default());
    let manager = builder(&fake).build().unwrap();
    let unit = manager.unit_of_work(|uow| {
        log.hook(uow, "outer");
        uow.set("outer", 1)?;
        uow.nested(|uow| {
            log.hook(uow, "kept");
            uow.set("kept", 1)?;
            Ok(())
        })?;
        let failed = uow.nested(|inner| {
            log.hook(uow, "by the outer copy");
            inner.nested(|uow| {
                log.hook(uow, "kept in what is undone");
                Ok(uow.set("lost", 1)?)
            })?;
            assert_eq!(uow.get("lost")?, Some(1), "seen by every copy");
            Err::<(), _>(Failure::msg("no"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no");
        assert_eq!(uow.get("lost")?, None);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            uow.nested(|uow| -> Result<(), Failure> {
                log.hook(uow, "panicked");
                uow.set("lost", 2)?;
                resume_unwind(Box::new("no"))
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(uow.get("lost")?, None);
        log.hook(uow, "last");
        Ok(())
    });
    unit.wait().unwrap();
    let lines = [
        "before outer",
        "before kept",
        "before last",
        "committed outer at 1",
        "committed kept at 1",
        "rolled back by the outer copy",
        "rolled back kept in what is undone",
        "rolled back panicked",
        "committed last at 1",
    ];
    assert_eq!(log.take(), lines);
    assert_eq!(["outer", "kept", "lost"].map(|name| fake.committed(name)), [Some(1), Some(1), None]);
}

#[test]
fn nothing_is_registered_where_the_closure_never_ran_or_nobody_waits() {
    let (fake, log) = (Fake::new(), Log::default());
    let clock = TestClock::new();
    let manager = builder(&fake).clock(clock).build().unwrap();
    drop(manager.unit_of_work(|uow| {
        log.hook(uow, "it");
        Ok(())
    }));
    let held = manager.connection().wait().unwrap();
    let late = manager.unit_of_work(|uow| {
        log.hook(uow, "it");
        Ok(())
    });
    let error = late.within(Duration::ZERO).wait().unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout(Stage::Wait));
    drop(held);
    assert_eq!(log.take(), [""; 0]);
}

#[test]
fn a_unit_that_is_stopped_is_rolled_back_whatever_its_closure_says() {
    let (fake, log) = (Fake::new(), Log::default());
    let clock = TestClock::new();
    let manager = builder(&fake).clock(clock.clone()).build().unwrap();
    let unit = manager.unit_of_work(|uow| {
        log.hook(uow, "it");
        uow.set("a", 1)?;
        clock.advance(Duration::from_secs(2));
        let _hidden = uow.nested(|uow| Ok(uow.set("b", 2)?));
        Ok(())
    });
    let error = unit.within(Duration::from_secs(1)).wait().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (Kind::Timeout(Stage::Run), Executed::No));
    assert_eq!(log.take(), ["before it", "rolled back it"]);
    assert_eq!((fake.committed("a"), fake.committed("b")), (None, None));
}

/// Two stores of a backend that is not SQLite.
struct Numbers<'u>(UnitOfWork<'u, Fake>);
struct Counts<'u>(UnitOfWork<'u, Fake>);

#[derive(Default)]
struct Total(Cell<i64>);

impl<'u> Store<'u, Fake> for Numbers<'u> {
    fn open(uow: UnitOfWork<'u, Fake>) -> Result<Self, Failure> {
        if uow.get("closed")?.is_some() { Err(Failure::msg("the store is closed")) } else { Ok(Self(uow)) }
    }
}

impl<'u> Store<'u, Fake> for Counts<'u> {
    fn open(uow: UnitOfWork<'u, Fake>) -> Result<Self, Failure> {
        Ok(Self(uow))
    }
}

impl Numbers<'_> {
    fn put(&self, name: &str, number: i64) -> Result<(), Failure> {
        let total = &self.0.shared::<Total>().0;
        total.set(total.get() + number);
        Ok(self.0.set(name, number)?)
    }
}

impl Counts<'_> {
    fn save(&self) -> Result<(), Failure> {
        Ok(self.0.set("total", self.0.shared::<Total>().0.get())?)
    }
}

#[test]
fn stores_of_any_backend_are_alive_side_by_side_and_share_state() {
    let fake = Fake::new();
    let manager = builder(&fake).build().unwrap();
    let save = || {
        manager.unit_of_work(|uow| {
            let (counts, numbers) = (uow.store::<Counts>()?, uow.store::<Numbers>()?);
            numbers.put("a", 1)?;
            counts.save()?;
            uow.store::<Numbers>()?.put("b", 2)?;
            counts.save()
        })
    };
    save().wait().unwrap();
    save().wait().unwrap();
    assert_eq!(["a", "b", "total"].map(|name| fake.committed(name)), [Some(1), Some(2), Some(3)]);
    manager.write(|tx| Ok(tx.set("closed", 1)?)).wait().unwrap();
    let error = save().wait().unwrap_err();
    assert_eq!((error.kind(), error.to_string().contains("the store is closed")), (Kind::Closure, true), "{error}");
}

fn two_groups() -> (ConnectionManager<Fake>, Fake, Fake) {
    let (first, second) = (Fake::new(), Fake::new());
    let database = |name, fake: &Fake| Database::new(name, fake.clone()).pool(PoolConfig::untended());
    let manager = ConnectionManager::<Fake>::builder_for()
        .database(database("main", &first))
        .database(database("logs", &second).group("logs"))
        .build()
        .unwrap();
    (manager, first, second)
}

#[test]
fn one_unit_cannot_span_two_databases() {
    let (manager, first, second) = two_groups();
    let logs = manager.database("logs").unwrap();
    let unit = manager.unit_of_work(|uow| {
        uow.set("a", 1)?;
        // Each of them stands for itself, and says so: they are allowed.
        logs.write(|tx| Ok(tx.set("b", 1)?)).wait()?;
        assert_eq!(manager.read(|db| Ok(db.get("a")?)).wait()?, None);
        Ok(logs.unit_of_work(|uow| Ok(uow.set("b", 2)?)).wait()?)
    });
    let error = unit.wait().unwrap_err();
    assert_eq!(error.kind(), Kind::Misuse);
    for said in ["cannot span two databases", "\"default\"", "\"logs\""] {
        assert!(error.to_string().contains(said), "{error}");
    }
    assert_eq!((first.committed("a"), second.committed("b")), (None, Some(1)));
    logs.unit_of_work(|uow| Ok(uow.set("b", 3)?)).wait().unwrap();
    assert_eq!(second.committed("b"), Some(3), "one after the other they are");
}

#[test]
fn a_write_that_would_wait_for_its_own_unit_is_refused_at_once() {
    let (manager, first, _) = two_groups();
    let clones = manager.clone();
    let refused = |error: ecm::Error| {
        assert_eq!((error.kind(), error.to_string().contains("uow.nested")), (Kind::Misuse, true), "{error}");
    };
    let unit = manager.unit_of_work(|uow| {
        refused(manager.execute("set a").bind(1).wait().unwrap_err());
        refused(manager.write(|_| Ok(())).wait().unwrap_err());
        refused(manager.connection().wait().unwrap_err());
        refused(clones.database("main").unwrap().unit_of_work(|_| Ok(())).wait().unwrap_err());
        manager.query("get a").wait()?;
        // Another manager is another world.
        let (elsewhere, _, _) = two_groups();
        elsewhere.unit_of_work(|uow| Ok(uow.set("a", 1)?)).wait()?;
        Ok(uow.set("a", 2)?)
    });
    unit.wait().unwrap();
    assert_eq!(first.committed("a"), Some(2));
    manager.write(|tx| Ok(tx.set("a", 3)?)).wait().unwrap();
    let panicked = manager.unit_of_work(|_| -> Result<(), Failure> { resume_unwind(Box::new("no")) });
    assert!(catch_unwind(AssertUnwindSafe(|| panicked.wait())).is_err());
    manager.write(|tx| Ok(tx.set("a", 4)?)).wait().unwrap();
    assert_eq!(first.committed("a"), Some(4), "nothing is under way any more");
}
