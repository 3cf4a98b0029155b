use super::operation::Operation;
use crate::{errors::Errors, interrupt, latency::Latency};
use ecm::{ConnectionManager, Executed};
use fastrand::Rng;
use std::{
    mem,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

const TICK: Duration = Duration::from_millis(250);

/// What was measured of one operation.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    pub(super) latency: Latency,
    pub(super) errors: u64,
}

/// What was measured of a load.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) elapsed: Duration,
    /// In the order of [`Operation::ALL`].
    pub(super) operations: Vec<Measured>,
    pub(super) errors: Errors,
    /// New notes that were acknowledged.
    pub(super) inserted: u64,
    /// New notes of which it cannot be known whether they were written.
    pub(super) unknown: u64,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            elapsed: Duration::ZERO,
            operations: vec![Measured::default(); Operation::ALL.len()],
            errors: Errors::default(),
            inserted: 0,
            unknown: 0,
        }
    }
}

impl Load {
    fn record(&mut self, operation: Operation, took: Duration, result: Result<(), ecm::Error>) {
        let place = Operation::ALL.iter().position(|each| *each == operation).expect("ALL has every operation");
        let measured = &mut self.operations[place];
        let is_new = operation == Operation::NewNote;
        match result {
            Ok(()) => {
                measured.latency.record(took);
                self.inserted += u64::from(is_new);
            }
            Err(error) => {
                measured.errors += 1;
                self.unknown += u64::from(is_new && error.executed() != Executed::No);
                self.errors.add_error(&error);
            }
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (mine, other) in self.operations.iter_mut().zip(other.operations) {
            mine.latency.merge(&other.latency);
            mine.errors += other.errors;
        }
        self.errors.merge(other.errors);
        self.inserted += other.inserted;
        self.unknown += other.unknown;
    }

    /// The latency of all operations together.
    pub(super) fn total(&self) -> Latency {
        let mut total = Latency::default();
        self.operations.iter().for_each(|measured| total.merge(&measured.latency));
        total
    }
}

/// What a load is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe {
    pub(super) threads: u64,
    pub(super) seconds: Duration,
    pub(super) seed: u64,
    /// The notes that were there at the copy.
    pub(super) rows: u64,
}

/// Runs the load from its threads until the time is over or Ctrl-C; about four times a second `tick`
/// is told the time since the start, and what was measured since the last tick.
pub(super) fn run(manager: &ConnectionManager, recipe: Recipe, mut tick: impl FnMut(Duration, &Load)) -> Load {
    let began = Instant::now();
    let recorders: Vec<Mutex<Load>> = (0..recipe.threads).map(|_| Mutex::default()).collect();
    let mut load = Load::default();
    let mut last = began;
    let (ended, all_ended) = mpsc::channel::<()>();
    thread::scope(|threads| {
        for (number, recorder) in recorders.iter().enumerate() {
            // Each thread holds an end of the channel: it closes when the last thread has ended.
            let ended = ended.clone();
            threads.spawn(move || {
                let random = Rng::with_seed(recipe.seed.wrapping_add(1 + number as u64));
                repeat(manager, recorder, random, recipe.rows as i64, began + recipe.seconds);
                drop(ended);
            });
        }
        drop(ended);
        loop {
            let finished = all_ended.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout);
            let mut since = Load::default();
            for recorder in &recorders {
                since.merge(mem::take(&mut *recorder.lock().unwrap_or_else(PoisonError::into_inner)));
            }
            let now = Instant::now();
            since.elapsed = now - last;
            last = now;
            tick(now - began, &since);
            load.merge(since);
            if finished {
                break;
            }
        }
    });
    load.elapsed = began.elapsed();
    load
}

fn repeat(manager: &ConnectionManager, recorder: &Mutex<Load>, mut random: Rng, rows: i64, until: Instant) {
    let mut before = Instant::now();
    while before < until && !interrupt::requested() {
        let operation = Operation::random(&mut random);
        let result = operation.run(manager, &mut random, rows);
        let after = Instant::now();
        recorder.lock().unwrap_or_else(PoisonError::into_inner).record(operation, after - before, result);
        before = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_note_that_may_have_been_written_is_neither_acknowledged_nor_forgotten() {
        let failed = |executed| Err(ecm::Error::new(ecm::Kind::Closed, "closed").with_executed(executed));
        let mut load = Load::default();
        load.record(Operation::NewNote, TICK, Ok(()));
        load.record(Operation::NewNote, TICK, failed(Executed::No));
        load.record(Operation::NewNote, TICK, failed(Executed::Unknown));
        load.record(Operation::ReadNote, TICK, failed(Executed::Unknown));
        let mut all = Load::default();
        all.merge(load);
        assert_eq!((all.inserted, all.unknown, all.errors.count(), all.total().count()), (1, 1, 3, 1));
    }
}
