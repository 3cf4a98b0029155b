use crate::{Record, allocations};
use std::{
    future::Future,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

/// Somebody who asks one system for the same thing again and again.
///
/// A system that blocks does so in a future that is ready at once: in a thread of its own that costs
/// nothing, and one loop serves all.
pub trait Caller: Send + 'static {
    /// One operation, from its start to its end.
    fn call(&mut self) -> impl Future<Output = Result<(), String>> + Send;
}

/// Where callers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Each on a thread of its own.
    Threads,
    /// All as tasks of the runtime, which has a worker for each core.
    Tasks,
}

/// Runs all callers for so long; answers their records in their order, and the time on the wall.
pub(crate) fn run<C: Caller>(
    runtime: &Handle,
    shape: Shape,
    callers: &mut Vec<C>,
    length: Duration,
    batch: u32,
) -> (Vec<Record>, Duration) {
    match shape {
        Shape::Threads => on_threads(runtime, callers, length, batch),
        Shape::Tasks => as_tasks(runtime, callers, length, batch),
    }
}

fn on_threads<C: Caller>(runtime: &Handle, callers: &mut [C], length: Duration, batch: u32) -> (Vec<Record>, Duration) {
    let together = Barrier::new(callers.len());
    let turns: Vec<_> = thread::scope(|threads| {
        let running: Vec<_> = callers
            .iter_mut()
            .map(|caller| {
                let together = &together;
                threads.spawn(move || {
                    let mut record = Record::default();
                    runtime.block_on(async {
                        together.wait();
                        let began = Instant::now();
                        let ended = repeat(caller, began + length, batch, &mut record).await;
                        (record, began, ended)
                    })
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().expect("callers do not panic")).collect()
    });
    let began = turns.iter().map(|(_, began, _)| *began).min();
    let ended = turns.iter().map(|(_, _, ended)| *ended).max();
    let elapsed = ended.zip(began).map_or(Duration::ZERO, |(ended, began)| ended - began);
    (turns.into_iter().map(|(record, ..)| record).collect(), elapsed)
}

fn as_tasks<C: Caller>(
    runtime: &Handle,
    callers: &mut Vec<C>,
    length: Duration,
    batch: u32,
) -> (Vec<Record>, Duration) {
    // Made before the time runs: hundreds of them take a while.
    let records: Vec<Record> = callers.iter().map(|_| Record::default()).collect();
    let began = Instant::now();
    let until = began + length;
    let running: Vec<_> = callers
        .drain(..)
        .zip(records)
        .map(|(mut caller, mut record)| {
            runtime.spawn(async move {
                repeat(&mut caller, until, batch, &mut record).await;
                // A task moves between threads: what it allocates cannot be told apart.
                record.allocations = None;
                (caller, record)
            })
        })
        .collect();
    let mut records = Vec::new();
    for task in running {
        let (caller, record) = runtime.block_on(task).expect("callers do not panic");
        callers.push(caller);
        records.push(record);
    }
    (records, began.elapsed())
}

/// Calls until the time is over, a batch at least; answers when the last call ended. The clock is read once a
/// batch.
async fn repeat<C: Caller>(caller: &mut C, until: Instant, batch: u32, record: &mut Record) -> Instant {
    let allocated = allocations::of_this_thread();
    let mut before = Instant::now();
    loop {
        for _ in 0..batch {
            if let Err(error) = caller.call().await {
                record.fail(|| error);
            }
        }
        let after = Instant::now();
        record.add(after - before, batch);
        if after >= until {
            record.allocations = allocations::of_this_thread().checked_sub(allocated);
            return after;
        }
        before = after;
    }
}
