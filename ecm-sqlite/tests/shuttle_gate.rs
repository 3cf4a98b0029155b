//! The gate of the governor in many schedules: no commit is missed, nobody waits for ever.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test -p ecm-sqlite --test shuttle_gate
//! ```
//!
//! Waits with a limit have none here: whoever is not woken hangs, and the model says so.
#![cfg(shuttle)]

#[path = "../src/governor/gate.rs"]
#[expect(dead_code, reason = "what waits for a clock is no part of the model")]
mod gate;
#[path = "../src/sync.rs"]
mod sync;

use gate::Gate;
use shuttle::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    thread,
};
use std::time::Duration;

const ROUNDS: usize = 5_000;
const LONG: Duration = Duration::from_secs(3_600);

/// A log of which only the length is told.
#[derive(Default)]
struct Log {
    gate: Gate,
    frames: AtomicU32,
    backfilled: AtomicU32,
    /// Whether it is being emptied, while nobody may commit.
    still: AtomicBool,
    workers: AtomicU32,
    open: AtomicU32,
}

impl Log {
    fn work(&self) {
        self.gate.begin();
        assert_eq!(self.workers.fetch_add(1, SeqCst), 0, "two workers");
        self.open.store(1, SeqCst);
        self.gate.open(true);
        loop {
            let frames = self.frames.load(SeqCst);
            if frames != self.backfilled.load(SeqCst) {
                self.gate.close();
                // In a model nobody runs out of patience.
                assert!(self.gate.wait_until_empty(LONG));
                self.still.store(true, SeqCst);
                thread::yield_now();
                self.backfilled.store(self.frames.load(SeqCst), SeqCst);
                self.still.store(false, SeqCst);
                self.gate.open(true);
                continue;
            }
            self.gate.doze();
            if self.frames.load(SeqCst) != frames {
                self.gate.stay_awake();
                continue;
            }
            if self.gate.sleep(LONG) {
                continue;
            }
            self.open.store(0, SeqCst);
            self.workers.fetch_sub(1, SeqCst);
            if self.gate.is_over() {
                return;
            }
            self.workers.fetch_add(1, SeqCst);
            self.open.store(1, SeqCst);
        }
    }

    fn commit(self: &Arc<Self>, press: bool) {
        self.gate.enter(|| LONG);
        assert!(!self.still.load(SeqCst), "a commit while the log is emptied");
        self.frames.fetch_add(1, SeqCst);
        thread::yield_now();
        assert!(!self.still.load(SeqCst), "a commit while the log is emptied");
        // The hook of the log is called before the transaction is over.
        if self.gate.call() {
            let log = Arc::clone(self);
            thread::spawn(move || log.work());
        }
        if press {
            self.gate.press();
        }
        self.gate.leave();
    }

    fn disconnect(&self) {
        if self.gate.disconnect(|| ()) {
            assert_eq!(self.open.load(SeqCst), 0, "the worker's connection outlives the last one");
            assert_eq!(self.workers.load(SeqCst), 0);
        }
    }
}

#[test]
fn no_commit_is_missed_and_none_happens_while_the_log_is_emptied() {
    shuttle::check_random(
        || {
            let log = Arc::new(Log::default());
            log.gate.connect();
            let writers: Vec<_> = (0..2)
                .map(|number| {
                    let log = Arc::clone(&log);
                    log.gate.connect();
                    thread::spawn(move || {
                        (0..2).for_each(|_| log.commit(number == 0));
                        log.disconnect();
                    })
                })
                .collect();
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            // Nobody commits any more, and the worker has been called for each.
            while log.backfilled.load(SeqCst) != 4 {
                thread::yield_now();
            }
            log.disconnect();
            assert!(!log.gate.is_closed());
        },
        ROUNDS,
    );
}

#[test]
fn the_last_connection_waits_for_the_worker_and_one_that_comes_meanwhile_keeps_it() {
    shuttle::check_random(
        || {
            let log = Arc::new(Log::default());
            log.gate.connect();
            log.commit(false);
            let other = {
                let log = Arc::clone(&log);
                thread::spawn(move || {
                    log.gate.connect();
                    log.commit(true);
                    log.disconnect();
                })
            };
            log.disconnect();
            other.join().unwrap();
            assert_eq!(log.workers.load(SeqCst), 0);
            assert!(!log.gate.is_closed());
        },
        ROUNDS,
    );
}

#[test]
fn a_worker_who_lets_go_of_the_last_connection_does_not_wait_for_itself() {
    shuttle::check_random(
        || {
            let log = Arc::new(Log::default());
            log.gate.connect();
            log.gate.connect();
            assert!(log.gate.call());
            let worker = {
                let log = Arc::clone(&log);
                thread::spawn(move || {
                    log.gate.begin();
                    let last = log.gate.disconnect(|| ());
                    assert!(!last, "it does what is left at its end");
                    while !log.gate.is_deserted() {
                        thread::yield_now();
                    }
                    assert!(log.gate.is_over());
                })
            };
            log.gate.disconnect(|| ());
            worker.join().unwrap();
        },
        ROUNDS,
    );
}

#[test]
fn a_ring_ends_the_pause_and_so_does_the_end() {
    shuttle::check_random(
        || {
            let log = Arc::new(Log::default());
            log.gate.connect();
            assert!(log.gate.call());
            let heard = Arc::new(AtomicBool::new(false));
            let worker = {
                let heard = Arc::clone(&heard);
                let log = Arc::clone(&log);
                thread::spawn(move || {
                    let rung = log.gate.wait_for_ring();
                    assert!(rung);
                    heard.store(true, SeqCst);
                    assert!(!log.gate.wait_for_ring(), "the end is no ring");
                    assert!(log.gate.is_deserted());
                    assert!(log.gate.is_over());
                })
            };
            log.gate.ring();
            // The end may come only after the ring was heard, or it would be one ring for both.
            while !heard.load(SeqCst) {
                thread::yield_now();
            }
            assert!(log.gate.disconnect(|| ()));
            worker.join().unwrap();
        },
        ROUNDS,
    );
}
