//! Calls that are awaited: on any executor, in the poll where that is short, and dropped at any moment.
#![cfg(feature = "standard")]

mod dropped;
mod place;

use ecm::{
    ConnectionManager, Error, Executed, Failure, Kind, ManagerConfig, PoolConfig, Stage,
    core::{block_on, testing::TestClock},
};
use place::{BY_KEY, ENDLESS, config, new, on_thread, place, place_at, poll_once};
use std::{
    future::{Future, IntoFuture},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

/// A waker that counts.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Every verb, and what it answers.
async fn every_verb(manager: ConnectionManager) -> Result<(), Error> {
    for round in 0..20_i64 {
        let title: String = manager.query(BY_KEY).bind(7).one().await?;
        assert_eq!(title, "note 7");
        let title: String = manager.query(BY_KEY).bind(8).bypass_cache().one().await?;
        assert_eq!(title, "note 8");
        assert_eq!(manager.query(BY_KEY).bind(1_000).optional::<String>().await?, None);
        assert_eq!(manager.query("SELECT id FROM note").all::<i64>().await?.len(), 100);
        assert_eq!(manager.query("SELECT id FROM note").await?.len(), 100);
        let changes = manager.execute("INSERT INTO sum VALUES (?1)").bind(round).await?;
        assert_eq!(changes.rows, 1);
        let insert = "INSERT INTO sum VALUES (?1)";
        assert_eq!(manager.execute(insert).bind(1).then(insert).bind(2).await?.len(), 2);
        let returned: i64 = manager.query("INSERT INTO sum VALUES (?1) RETURNING n").bind(5).one().await?;
        assert_eq!(returned, 5);
        assert_eq!(manager.read(|db| Ok(db.query_row("SELECT 1", [], |row| row.get::<_, i64>(0))?)).await?, 1);
        assert_eq!(manager.read_once(|_| Ok(on_thread())).await?, "ecm-reader");
        manager.write(|tx| Ok(tx.execute("INSERT INTO sum VALUES (1)", [])?)).await?;
        manager.write_once(|tx| Ok(tx.execute("INSERT INTO sum VALUES (1)", [])?)).await?;
        manager.unit_of_work(|uow| Ok(uow.execute("INSERT INTO sum VALUES (1)", [])?)).await?;
        manager.unit_of_work_once(|uow| Ok(uow.execute("INSERT INTO sum VALUES (1)", [])?)).await?;
    }
    assert_eq!(manager.query("SELECT count(*) FROM sum").one::<i64>().await?, 20 * 8);
    let error = manager.query("SELECT missing FROM note").await.unwrap_err();
    assert!(error.to_string().contains("no such column"), "{error}");
    assert!(error.location().unwrap().file().ends_with("main.rs"), "{error:?}");
    Ok(())
}

#[test]
fn every_verb_works_without_a_runtime() {
    let place = new();
    block_on(every_verb(place.manager.clone())).unwrap();
    place.is_at_rest();
}

#[test]
fn every_verb_works_on_tokio_with_several_threads() {
    let place = new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(runtime.spawn(every_verb(place.manager.clone()))).unwrap().unwrap();
    place.is_at_rest();
}

#[test]
fn every_verb_works_on_tokio_with_one_thread() {
    let place = new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(every_verb(place.manager.clone())).unwrap();
    place.is_at_rest();
}

#[test]
fn every_verb_works_on_smol() {
    let place = new();
    smol::block_on(smol::spawn(every_verb(place.manager.clone()))).unwrap();
    place.is_at_rest();
}

#[test]
fn an_answer_from_the_cache_is_ready_at_the_first_poll() {
    let place = new();
    let read = || place.manager.query(BY_KEY).bind(7).one::<String>();
    read().wait().unwrap();
    read().wait().unwrap();
    let mut awaited = read().into_future();
    // The streak of this thread is a new one.
    assert!(matches!(poll_once(&mut awaited), Poll::Ready(Ok(title)) if title == "note 7"));
}

#[test]
fn a_call_yields_after_sixteen_answers_in_polls() {
    let place = new();
    let read = || place.manager.query(BY_KEY).bind(7).one::<String>();
    read().wait().unwrap();
    read().wait().unwrap();
    let woken = Arc::<Woken>::default();
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    for _ in 0..3 {
        for answer in 0..16 {
            assert!(Pin::new(&mut read().into_future()).poll(&mut context).is_ready(), "{answer}");
        }
        let before = woken.0.load(Ordering::SeqCst);
        let mut next = read().into_future();
        assert!(Pin::new(&mut next).poll(&mut context).is_pending());
        assert_eq!(woken.0.load(Ordering::SeqCst), before + 1, "it comes back by itself");
        assert!(Pin::new(&mut next).poll(&mut context).is_ready());
        // That was the first of the next sixteen.
        (1..16).for_each(|_| assert!(Pin::new(&mut read().into_future()).poll(&mut context).is_ready()));
        assert!(Pin::new(&mut read().into_future()).poll(&mut context).is_pending());
    }
}

#[test]
fn a_query_runs_in_the_poll_once_it_has_shown_that_it_is_short() {
    let place = new();
    place.manager.query(BY_KEY).bind(1).wait().unwrap();
    place.in_place();
    let read = |id: i64| block_on(place.manager.query(BY_KEY).bind(id).bypass_cache().one::<String>().into_future());
    // A machine that is busy may make some of them seem long.
    for id in (1..=100).cycle().take(2_000) {
        read(id).unwrap();
        if place.in_place() == [true] {
            return;
        }
    }
    panic!("none of 2,000 point reads has run in place");
}

#[test]
fn it_is_told_why_a_query_would_not_run_in_the_poll() {
    let place = place_at(config(), PoolConfig::untended(), TestClock::new());
    let why =
        |sql: &str| place.manager.query(sql).bind_all(sql.contains('?').then_some(1)).explain().unwrap().not_in_place;
    assert_eq!(why(BY_KEY).unwrap(), "it has not shown of late that it is short");
    for _ in 0..3 {
        block_on(place.manager.query(BY_KEY).bind(1).bypass_cache().into_future()).unwrap();
    }
    assert_eq!(why(BY_KEY), None);
    assert!(why("SELECT random()").unwrap().contains("twice"));
    assert_eq!(why("INSERT INTO sum VALUES (1) RETURNING n").unwrap(), "it does not only read");
    place.manager.apply("inline_budget", "0").unwrap();
    assert_eq!(why(BY_KEY).unwrap(), "inline_budget is 0");
}

#[test]
fn one_that_takes_more_than_its_budget_is_stopped_and_runs_on_a_thread() {
    let place = place(ManagerConfig { inline_budget: 1_000, ..config() }, PoolConfig::default());
    // Short or long, as its parameter says.
    let sql = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT ?1) SELECT count(*) FROM n";
    let count = |most: i64| block_on(place.manager.query(sql).bind(most).bypass_cache().one::<i64>().into_future());
    let run_until = |in_place: bool, most: i64| {
        for _ in 0..2_000 {
            assert_eq!(count(most).unwrap(), most);
            if place.in_place().pop() == Some(in_place) {
                return;
            }
        }
        panic!("it never ran where it should: {in_place}");
    };
    run_until(true, 3);
    assert_eq!(count(50_000).unwrap(), 50_000);
    assert_eq!(place.in_place(), [false], "it was stopped, and nobody sees that");
    assert_eq!(count(3).unwrap(), 3);
    assert_eq!(place.in_place(), [false], "it is remembered");
    run_until(true, 3);
    place.is_at_rest();
}

#[test]
fn with_a_budget_of_nothing_no_statement_runs_in_a_poll() {
    let place = place(ManagerConfig { inline_budget: 0, ..config() }, PoolConfig::default());
    for _ in 0..100 {
        block_on(place.manager.query(BY_KEY).bind(1).bypass_cache().into_future()).unwrap();
    }
    assert!(place.in_place().iter().all(|in_place| !in_place));
    place.manager.apply("inline_budget", "10000").unwrap();
    for _ in 0..2_000 {
        block_on(place.manager.query(BY_KEY).bind(1).bypass_cache().into_future()).unwrap();
    }
    assert!(place.in_place().contains(&true));
}

#[test]
fn what_an_application_could_see_twice_never_runs_in_a_poll() {
    let place = new();
    for _ in 0..200 {
        block_on(place.manager.query("SELECT random()").one::<i64>().into_future()).unwrap();
    }
    assert!(place.in_place().iter().all(|in_place| !in_place));
}

#[test]
fn a_closure_and_its_hooks_run_on_a_thread_of_the_database() {
    let place = new();
    let (told, heard) = mpsc::channel();
    let unit = place.manager.unit_of_work(move |uow| {
        uow.execute("INSERT INTO sum VALUES (1)", [])?;
        let told = told.clone();
        told.send(on_thread()).unwrap();
        uow.after_commit(move |_| told.send(on_thread()).unwrap());
        Ok(())
    });
    block_on(unit.into_future()).unwrap();
    assert_eq!(heard.iter().collect::<Vec<_>>(), ["ecm-reader", "ecm-reader"]);
    let write = place.manager.write(|_| Ok(on_thread()));
    assert_eq!(block_on(write.into_future()).unwrap(), "ecm-reader");
}

#[test]
fn a_panic_goes_on_from_the_poll_and_leaves_everything_whole() {
    let place = new();
    let panics = |what: &str| {
        let what = what.to_owned();
        let call = place.manager.read(move |_| -> Result<(), Failure> { panic!("{what}") });
        catch_unwind(AssertUnwindSafe(|| block_on(call.into_future()))).unwrap_err()
    };
    assert_eq!(panics("mine").downcast_ref::<String>().unwrap(), "mine");
    let write = place.manager.write(|tx| -> Result<(), Failure> {
        tx.execute("INSERT INTO sum VALUES (1)", [])?;
        panic!("in a write")
    });
    assert!(catch_unwind(AssertUnwindSafe(|| block_on(write.into_future()))).is_err());
    place.is_at_rest();
    assert_eq!(place.manager.query("SELECT count(*) FROM sum").one::<i64>().wait().unwrap(), 0);
}

#[test]
fn an_error_of_a_closure_comes_back_by_type() {
    let place = new();
    let read = place.manager.read(|_| -> Result<(), Failure> { Err(std::io::Error::other("mine").into()) });
    let error = block_on(read.into_future()).unwrap_err();
    assert_eq!(error.kind(), Kind::Closure);
    assert_eq!(error.downcast::<std::io::Error>().unwrap().to_string(), "mine");
}

#[test]
fn a_deadline_stops_what_runs_and_what_waits_for_a_thread() {
    let clock = TestClock::new();
    let one = ManagerConfig { reader_threads: 1, ..config() };
    let place = place_at(one, PoolConfig::untended(), clock.clone());
    let span = Duration::from_secs(1);
    let (begun, has_begun) = mpsc::channel();
    let mut endless = place
        .manager
        .read_once(move |db| {
            begun.send(()).unwrap();
            Ok(db.query_row(ENDLESS, [], |row| row.get::<_, i64>(0))?)
        })
        .within(span)
        .into_future();
    assert!(poll_once(&mut endless).is_pending());
    has_begun.recv().unwrap();
    clock.advance(span);
    let error = block_on(endless).unwrap_err();
    assert_eq!((error.kind(), error.executed()), (Kind::Timeout(Stage::Run), Executed::No));
    // Something occupies the only thread.
    let (begun, has_begun) = mpsc::channel();
    let (end, ends) = mpsc::channel::<()>();
    let mut occupies = pin!(
        place
            .manager
            .read_once(move |_| {
                begun.send(()).unwrap();
                Ok(ends.recv().is_ok())
            })
            .into_future()
    );
    assert!(occupies.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    has_begun.recv().unwrap();
    let mut waits = place.manager.read(|_| Ok(())).within(span).into_future();
    assert!(poll_once(&mut waits).is_pending());
    clock.advance(span);
    let error = block_on(waits).unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout(Stage::Wait));
    assert!(error.to_string().contains("reader_threads"), "{error}");
    end.send(()).unwrap();
    assert!(block_on(occupies).unwrap());
    place.is_at_rest();
}

#[test]
fn as_many_wait_for_a_thread_as_may() {
    let pool = PoolConfig { max_waiting: 1, ..PoolConfig::default() };
    let place = place(ManagerConfig { reader_threads: 1, ..config() }, pool);
    let (begun, has_begun) = mpsc::channel();
    let (end, ends) = mpsc::channel::<()>();
    let mut occupies = place
        .manager
        .read_once(move |_| {
            begun.send(()).unwrap();
            Ok(ends.recv().is_ok())
        })
        .into_future();
    assert!(poll_once(&mut occupies).is_pending());
    has_begun.recv().unwrap();
    let mut waits = place.manager.read(|_| Ok(1)).into_future();
    assert!(poll_once(&mut waits).is_pending());
    let error = block_on(place.manager.read(|_| Ok(2)).into_future()).unwrap_err();
    assert_eq!(error.kind(), Kind::QueueFull);
    drop(waits);
    let mut waits = place.manager.read(|_| Ok(3)).into_future();
    assert!(poll_once(&mut waits).is_pending(), "whoever has gone away has left the queue");
    end.send(()).unwrap();
    assert!(block_on(occupies).unwrap());
    assert_eq!(block_on(waits).unwrap(), 3);
}

#[test]
fn many_tasks_share_commits_and_none_is_lost() {
    let place = new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..64)
            .map(|task| {
                let manager = place.manager.clone();
                tokio::spawn(async move {
                    for _ in 0..20 {
                        manager.execute("INSERT INTO sum VALUES (?1)").bind(task).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(place.manager.query("SELECT count(*) FROM sum").one::<i64>().wait().unwrap(), 64 * 20);
    place.is_at_rest();
    let commits = place.manager.status().groups[0].databases[0].position.commit;
    assert!(commits < 64 * 20, "{commits} commits");
}

#[test]
fn thousands_of_tasks_wait_without_a_thread_of_their_own() {
    let place = place(ManagerConfig { reader_threads: 2, ..config() }, PoolConfig::default());
    let (begun, has_begun) = mpsc::channel();
    let gate = Arc::new(AtomicBool::new(false));
    let mut all: Vec<_> = (0..5_000)
        .map(|number| {
            let (begun, gate) = (begun.clone(), Arc::clone(&gate));
            place
                .manager
                .read(move |_| {
                    let _test_may_be_over = begun.send(on_thread());
                    while !gate.load(Ordering::SeqCst) {
                        thread::yield_now();
                    }
                    Ok(number)
                })
                .into_future()
        })
        .collect();
    assert!(all.iter_mut().all(|call| poll_once(call).is_pending()));
    for _ in 0..2 {
        assert_eq!(has_begun.recv().unwrap(), "ecm-reader");
    }
    assert!(has_begun.try_recv().is_err(), "two threads, and two are in it");
    gate.store(true, Ordering::SeqCst);
    for (number, call) in all.into_iter().enumerate() {
        assert_eq!(block_on(call).unwrap(), number);
    }
    place.is_at_rest();
}

#[test]
fn a_manager_that_is_closed_ends_what_is_awaited() {
    let place = new();
    let mut endless = place.manager.query(ENDLESS).into_future();
    place.lends_to(&mut endless);
    place.manager.close(Duration::ZERO).unwrap();
    assert_eq!(block_on(endless).unwrap_err().kind(), Kind::Closed);
    assert_eq!(block_on(place.manager.read(|_| Ok(())).into_future()).unwrap_err().kind(), Kind::Closed);
}
