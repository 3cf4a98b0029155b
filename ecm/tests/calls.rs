//! What a call does, over a database that does as it is told: no SQLite involved.

#[path = "support/fakes.rs"]
mod fakes;
#[path = "support/lines.rs"]
mod lines;

use ecm::{
    Executed, Failure, Kind, Stage,
    core::{
        Context, FaultKind, Interest,
        testing::{Fake, TestClock},
    },
};
use fakes::builder;
use lines::Lines;
use std::{cell::Cell, time::Duration};

#[test]
fn a_call_that_nobody_waits_for_does_nothing() {
    let fake = Fake::new();
    let manager = builder(&fake).build().unwrap();
    let before = fake.counts();
    drop(manager.write(|tx| Ok(tx.set("a", 1)?)));
    drop(manager.query("get a"));
    assert_eq!(fake.counts(), before);
}

#[test]
fn closures_read_and_write_and_borrow_from_the_stack() {
    let fake = Fake::new();
    let manager = builder(&fake).build().unwrap();
    let name = String::from("answer");
    let mut runs = 0;
    manager
        .write(|tx| {
            runs += 1;
            tx.set(&name, 42)?;
            Ok(())
        })
        .wait()
        .unwrap();
    assert_eq!((runs, fake.committed("answer")), (1, Some(42)));
    assert_eq!(manager.read(|db| Ok(db.get(&name)?)).wait().unwrap(), Some(42));
    // What an FnMut could not do: move something out.
    let moved = manager.read_once(|db| Ok((db.get(&name)?, name))).wait().unwrap();
    assert_eq!(moved, (Some(42), "answer".to_owned()));
    let once = String::from("once");
    let kept = manager
        .write_once(|tx| {
            tx.set(&once, 1)?;
            Ok(once)
        })
        .wait()
        .unwrap();
    assert_eq!((fake.committed("once"), kept.as_str()), (Some(1), "once"));
}

#[test]
fn a_write_that_fails_or_panics_leaves_nothing() {
    let fake = Fake::new();
    let manager = builder(&fake).build().unwrap();
    let error = manager
        .write(|tx| {
            tx.set("a", 1)?;
            Err::<(), _>(Failure::msg("changed my mind"))
        })
        .wait()
        .unwrap_err();
    assert_eq!((error.kind(), error.executed()), (Kind::Closure, Executed::No));
    let panicked = std::panic::catch_unwind(|| {
        let _never = manager
            .write(|tx| -> Result<(), Failure> {
                tx.set("a", 2)?;
                panic!("in the closure")
            })
            .wait();
    });
    assert!(panicked.is_err());
    assert_eq!(fake.committed("a"), None);
    manager.write(|tx| Ok(tx.set("a", 3)?)).wait().unwrap();
    assert_eq!(fake.committed("a"), Some(3));
    let status = manager.status();
    assert_eq!(status.database("main").unwrap().writer.unwrap().lent, 0);
}

#[test]
fn an_error_comes_back_by_type_and_says_where_the_call_was() {
    let manager = builder(&Fake::new()).build().unwrap();
    let line = line!() + 1;
    let error = manager.read(|_| Err::<(), _>(std::io::Error::other("mine").into())).wait().unwrap_err();
    assert_eq!(error.database(), Some("main"));
    let location = error.location().expect("every call has a place");
    assert!(location.file().ends_with("calls.rs") && location.line() == line, "{location}");
    assert_eq!(error.downcast::<std::io::Error>().unwrap().to_string(), "mine");
}

#[test]
fn a_commit_that_cannot_be_known_is_called_unknown_and_never_repeated() {
    let fake = Fake::new();
    let manager = builder(&fake).build().unwrap();
    fake.lose_commits(1);
    let runs = Cell::new(0);
    let error = manager
        .write(|tx| {
            runs.set(runs.get() + 1);
            Ok(tx.set("a", 1)?)
        })
        .wait()
        .unwrap_err();
    assert_eq!((error.executed(), runs.get()), (Executed::Unknown, 1));
    fake.fail_commits(FaultKind::Full, 1);
    let error = manager.write(|tx| Ok(tx.set("b", 1)?)).wait().unwrap_err();
    assert_eq!((error.executed(), fake.committed("b")), (Executed::No, None));
    assert_eq!(error.fault().map(|fault| fault.kind), Some(FaultKind::Full));
}

#[test]
fn a_limit_that_was_hit_wins_over_what_the_closure_returned() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = builder(&fake).clock(clock.clone()).build().unwrap();
    fake.slow_statements(Duration::from_secs(10));
    let outcome = |wait: &(dyn Fn() -> Result<i64, ecm::Error> + Sync)| {
        std::thread::scope(|scope| {
            let calling = scope.spawn(wait);
            fake.wait_for_hanging(1);
            clock.advance(Duration::from_secs(1));
            calling.join().unwrap()
        })
    };
    let second = Duration::from_secs(1);
    let read = outcome(&|| manager.read(|db| Ok(db.get("a").unwrap_or(None).unwrap_or(7))).within(second).wait());
    assert_eq!(read.unwrap_err().kind(), Kind::Timeout(Stage::Run), "7 is what the closure made of it");
    let write = outcome(&|| {
        let swallow = manager.write(|tx| {
            let _ignored = tx.set("a", 1);
            Ok(7)
        });
        swallow.within(second).wait()
    });
    let error = write.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (Kind::Timeout(Stage::Run), Executed::No));
    assert_eq!(fake.committed("a"), None);
    assert_eq!(clock.alarms(), 0, "no deadline is left behind");
}

#[test]
fn the_statement_decides_by_itself_where_it_goes() {
    let fake = Fake::new();
    let manager = builder(&fake).build().unwrap();
    assert_eq!(manager.execute("set a").bind(5).wait().unwrap().rows, 1);
    assert_eq!(manager.query("get a").one::<i64>().wait().unwrap(), 5);
    assert_eq!(manager.query("get b").one::<Option<i64>>().wait().unwrap(), None);
    assert_eq!(manager.query("all").all::<(String, i64)>().wait().unwrap(), [("a".to_owned(), 5)]);
    assert_eq!(manager.query("all").wait().unwrap().len(), 1);
    let counts = fake.counts();
    manager.query("get a").one::<i64>().wait().unwrap();
    assert_eq!(fake.counts().analyses, counts.analyses, "a known text is not analysed again");
}

#[test]
fn parameters_that_do_not_fit_are_refused_before_anything_runs() {
    let fake = Fake::new();
    let manager = builder(&fake).build().unwrap();
    let error = manager.execute("set a").wait().unwrap_err();
    assert_eq!(error.kind(), Kind::Decode);
    assert!(error.to_string().contains("takes 1 parameters, but 0 were bound in SQL: set a"), "{error}");
    let error = manager.execute("set a").bind(u64::MAX).wait().unwrap_err();
    assert!(error.to_string().contains("18446744073709551615"), "{error}");
    assert_eq!(fake.counts().commits, 0);
    let error = manager.query("nonsense").wait().unwrap_err();
    assert_eq!((error.fault().map(|fault| fault.kind), error.sql()), (Some(FaultKind::Statement), Some("nonsense")));
}

#[test]
fn one_report_a_call_and_only_for_those_who_want_it() {
    let fake = Fake::new();
    let (calls, nothing) = (Lines::about(Interest::CALLS), Lines::about(Interest::NONE));
    let manager = builder(&fake).observer(calls.clone()).observer(nothing.clone()).build().unwrap();
    assert_eq!(calls.take(), Vec::<String>::new(), "opening is no call");
    manager.write(|tx| Ok(tx.set("a", 1)?)).context(Context::new("request 7")).wait().unwrap();
    manager.query("get a").wait().unwrap();
    fake.fail_statements(FaultKind::Storage, 1);
    manager.read(|db| Ok(db.get("a")?)).wait().unwrap_err();
    drop(manager.connection().wait().unwrap());
    assert_eq!(
        calls.take(),
        [
            "Write default/main sql=- attempts=1 cached=false slow=false ok=true commit=Some(1) context=Some(\"request 7\")",
            "Query default/main sql=get a attempts=1 cached=false slow=false ok=true commit=None context=None",
            "Read default/main sql=- attempts=1 cached=false slow=false ok=false commit=None context=None",
            "Connection default/main sql=- attempts=1 cached=false slow=false ok=true commit=None context=None",
        ]
    );
    assert_eq!(nothing.take(), Vec::<String>::new());
}

#[test]
fn a_statement_that_is_refused_is_reported_with_the_database_that_refused_it() {
    let (fake, calls) = (Fake::new(), Lines::about(Interest::CALLS));
    let manager = builder(&fake).observer(calls.clone()).build().unwrap();
    manager.query("no such statement").wait().unwrap_err();
    let told = calls.take();
    assert!(
        told.len() == 1
            && told[0].starts_with("Query default/main sql=no such statement attempts=1 ")
            && told[0].contains("ok=false"),
        "{told:?}"
    );
}

#[test]
fn a_call_beyond_the_threshold_is_reported_as_slow() {
    let (fake, clock, calls) = (Fake::new(), TestClock::new(), Lines::about(Interest::CALLS));
    let manager = builder(&fake).clock(clock.clone()).observer(calls.clone()).build().unwrap();
    manager.apply("slow_query_threshold", "0.5").unwrap();
    for (advance, slow) in [(499, false), (500, true)] {
        let wait = Duration::from_millis(advance);
        manager
            .read(|_| {
                clock.advance(wait);
                Ok(())
            })
            .wait()
            .unwrap();
        assert!(calls.take()[0].contains(&format!("slow={slow}")));
    }
}

#[test]
fn a_borrowed_connection_is_closed_afterwards_and_replaced() {
    let fake = Fake::new();
    let manager = builder(&fake).build().unwrap();
    let first = {
        let mut lent = manager.connection().wait().unwrap();
        assert_eq!(lent.database(), "main");
        lent.raw().id()
    };
    let second = manager.connection().wait().unwrap().raw().id();
    assert_ne!(first, second);
    manager.write(|tx| Ok(tx.set("a", 1)?)).wait().unwrap();
}
