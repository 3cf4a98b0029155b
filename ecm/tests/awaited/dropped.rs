//! Calls that are dropped before they have answered.

use crate::place::{BY_KEY, ENDLESS, config, new, place, poll_once};
use ecm::{CacheMode, ConnectionManager, Error, ManagerConfig, PoolConfig, core::block_on};
use std::{
    future::{Future, IntoFuture, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::Poll,
    thread,
};

#[test]
fn a_read_that_is_dropped_is_stopped_and_its_connection_comes_back() {
    let place = new();
    for _ in 0..20 {
        let mut endless = place.manager.query(ENDLESS).into_future();
        place.lends_to(&mut endless);
        drop(endless);
        // It would not come to rest if the statement went on.
        place.is_at_rest();
    }
    let closures = place.manager.read(|db| Ok(db.query_row(ENDLESS, [], |row| row.get::<_, i64>(0))?));
    let mut closures = closures.into_future();
    place.lends_to(&mut closures);
    drop(closures);
    place.is_at_rest();
    assert_eq!(place.manager.query(BY_KEY).bind(3).one::<String>().wait().unwrap(), "note 3");
}

#[test]
fn a_closure_that_writes_and_is_dropped_is_rolled_back_with_its_hooks() {
    let place = new();
    let (told, heard) = mpsc::channel();
    let ready = Arc::new(AtomicBool::new(false));
    let writes = Arc::clone(&ready);
    let unit = place.manager.unit_of_work(move |uow| {
        uow.execute("INSERT INTO sum VALUES (1)", [])?;
        let told = told.clone();
        uow.after_rollback(move || told.send("rolled back").unwrap());
        writes.store(true, Ordering::SeqCst);
        uow.query_row(ENDLESS, [], |row| row.get::<_, i64>(0))?;
        Ok(())
    });
    let mut unit = unit.into_future();
    assert!(poll_once(&mut unit).is_pending());
    while !ready.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    drop(unit);
    assert_eq!(heard.recv(), Ok("rolled back"));
    place.is_at_rest();
    assert_eq!(place.manager.query("SELECT count(*) FROM sum").one::<i64>().wait().unwrap(), 0);
}

/// Drops the future after so many polls.
async fn dropped_after<F: Future + Unpin>(mut future: F, polls: u32) -> Option<F::Output> {
    let mut left = polls;
    let answer = poll_fn(|context| match Pin::new(&mut future).poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    });
    answer.await
}

/// A small generator (xorshift), so that a run can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Calls of every kind, dropped after a random number of polls. `ECM_DROPS` sets how many, `ECM_SEED` repeats a run.
#[test]
fn calls_that_are_dropped_at_random_leave_nothing_behind() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |value| value.parse().unwrap());
    let seed = number("ECM_SEED", u64::from(std::process::id()) | 1);
    let drops = number("ECM_DROPS", 4_000);
    eprintln!("ECM_SEED={seed} ECM_DROPS={drops}");
    let pool = PoolConfig { max_connections: 3, ..PoolConfig::default() };
    let place = place(ManagerConfig { reader_threads: 2, ..config() }, pool);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let begun = Arc::new(AtomicUsize::new(0));
    runtime.block_on(async {
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let (manager, acknowledged, begun) =
                    (place.manager.clone(), Arc::clone(&acknowledged), Arc::clone(&begun));
                tokio::spawn(async move {
                    let mut random = Random(seed.wrapping_mul(task + 1) | 1);
                    let insert = "INSERT INTO sum VALUES (1)";
                    for _ in 0..drops / 8 {
                        let polls = u32::try_from(random.below(4)).unwrap();
                        let id = i64::try_from(random.below(100)).unwrap() + 1;
                        let written = match random.below(8) {
                            0 => {
                                dropped_after(manager.query(BY_KEY).bind(id).into_future(), polls).await;
                                continue;
                            }
                            1 => {
                                let read = manager.query(BY_KEY).bind(id).cache_mode(CacheMode::Refresh);
                                dropped_after(read.into_future(), polls).await;
                                continue;
                            }
                            2 => {
                                dropped_after(manager.query(ENDLESS).bypass_cache().into_future(), polls).await;
                                continue;
                            }
                            3 => {
                                dropped_after(manager.read(|_| Ok(())).into_future(), polls).await;
                                continue;
                            }
                            4 => dropped_after(manager.execute(insert).into_future(), polls).await.map(drop),
                            5 => {
                                let batch = manager.execute(insert).then("UPDATE note SET title = title WHERE id = 1");
                                dropped_after(batch.into_future(), polls).await.map(drop)
                            }
                            6 => {
                                let write = manager.write(|tx| Ok(tx.execute("INSERT INTO sum VALUES (1)", [])?));
                                dropped_after(write.into_future(), polls).await.map(drop)
                            }
                            _ => {
                                let unit =
                                    manager.unit_of_work(|uow| Ok(uow.execute("INSERT INTO sum VALUES (1)", [])?));
                                dropped_after(unit.into_future(), polls).await.map(drop)
                            }
                        };
                        begun.fetch_add(1, Ordering::SeqCst);
                        acknowledged.fetch_add(usize::from(written.is_some()), Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    drop(runtime);
    place.is_at_rest();
    let there = place.manager.query("SELECT count(*) FROM sum").one::<usize>().wait().unwrap();
    let (acknowledged, begun) = (acknowledged.load(Ordering::SeqCst), begun.load(Ordering::SeqCst));
    assert!((acknowledged..=begun).contains(&there), "seed {seed}: {acknowledged} told, {there} there, {begun} begun");
    block_on(every_verb_but_sums(&place.manager)).unwrap();
    place.is_at_rest();
}

/// What was dropped has taken nothing along.
async fn every_verb_but_sums(manager: &ConnectionManager) -> Result<(), Error> {
    assert_eq!(manager.query(BY_KEY).bind(2).one::<String>().await?, "note 2");
    manager.execute("INSERT INTO sum VALUES (1)").await?;
    manager.write(|tx| Ok(tx.execute("INSERT INTO sum VALUES (1)", [])?)).await?;
    manager.unit_of_work(|uow| Ok(uow.execute("INSERT INTO sum VALUES (1)", [])?)).await?;
    manager.read(|_| Ok(())).await
}

#[test]
fn a_call_may_be_dropped_on_another_thread_and_after_the_end_of_its_runtime() {
    let place = new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut endless = Box::pin({
        let manager = place.manager.clone();
        async move { manager.query(ENDLESS).await.map(drop) }
    });
    runtime.block_on(poll_fn(|context| {
        assert!(endless.as_mut().poll(context).is_pending());
        Poll::Ready(())
    }));
    drop(runtime);
    thread::spawn(move || drop(endless)).join().unwrap();
    place.is_at_rest();
}
