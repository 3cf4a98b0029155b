//! One execution for many in many schedules: everybody who waits is told, by a load that was late enough for them.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test -p ecm --no-default-features --test shuttle_single_flight
//! ```
#![cfg(shuttle)]

use ecm::{
    core::{Time, testing::TestClock},
    single_flight::{Joined, Load, SingleFlight, Waited},
};
use shuttle::{
    future::block_on,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};
use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

const ROUNDS: usize = 5_000;
const SECOND: Duration = Duration::from_secs(1);

type Outcome = Result<u64, &'static str>;
type Flights = SingleFlight<&'static str, Outcome, u64>;

struct Bench {
    flights: Flights,
    clock: TestClock,
    /// What a write moves.
    state: AtomicU64,
    loads: AtomicU64,
    fails: bool,
    loading: AtomicBool,
    /// From then on several may load: each from another state.
    written: AtomicBool,
}

type Action = Box<dyn FnOnce(&Bench) + Send>;

impl Bench {
    fn new(fails: bool) -> Self {
        let clock = TestClock::new();
        let flights = SingleFlight::new(Arc::new(clock.clone()));
        let (state, loads, loading) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        Self { flights, clock, state, loads, fails, loading, written: AtomicBool::new(false) }
    }

    fn runs(self, actions: Vec<Action>) -> u64 {
        let bench = Arc::new(self);
        let threads: Vec<_> = actions
            .into_iter()
            .map(|action| {
                let bench = Arc::clone(&bench);
                thread::spawn(move || action(&bench))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((bench.flights.under_way(), bench.clock.alarms()), (0, 0), "nothing is left behind");
        bench.loads.load(Ordering::SeqCst)
    }

    fn load(&self, load: Load<'_, &'static str, Outcome, u64>) -> Arc<Outcome> {
        load.reads_from(self.state.load(Ordering::SeqCst));
        let another = self.loading.swap(true, Ordering::SeqCst);
        assert!(!another || self.written.load(Ordering::SeqCst), "two load the same at the same time");
        self.loads.fetch_add(1, Ordering::SeqCst);
        let snapshot = self.state.load(Ordering::SeqCst);
        thread::yield_now();
        self.loading.store(false, Ordering::SeqCst);
        load.finish(if self.fails { Err("broken") } else { Ok(snapshot) })
    }

    /// `None` at the deadline.
    fn asks(&self, deadline: Time) -> Option<Arc<Outcome>> {
        let now = self.state.load(Ordering::SeqCst);
        let outcome = match self.flights.join("a", &now, deadline) {
            Joined::Loads(load) => self.load(load),
            Joined::Waits(wait) => match block_on(wait) {
                Waited::Done(outcome) => outcome,
                Waited::Loads(load) => self.load(load),
                Waited::TimedOut => return None,
            },
        };
        assert_eq!(outcome.is_err(), self.fails);
        assert!(outcome.is_err() || *outcome >= Ok(now), "{outcome:?} is older than the question at {now}");
        Some(outcome)
    }
}

fn asks() -> Action {
    Box::new(|bench| assert!(bench.asks(Time::NEVER).is_some(), "there is no deadline"))
}

fn writes() -> Action {
    Box::new(|bench| {
        bench.written.store(true, Ordering::SeqCst);
        bench.state.fetch_add(1, Ordering::SeqCst);
    })
}

/// Becomes the loader, or waits for at most so many polls, and goes away.
fn goes_away(polls: usize) -> Action {
    Box::new(move |bench| {
        let now = bench.state.load(Ordering::SeqCst);
        let Joined::Waits(wait) = bench.flights.join("a", &now, Time::NEVER) else { return };
        let (mut wait, mut left) = (pin!(wait), polls);
        block_on(poll_fn(|context| {
            if wait.as_mut().poll(context).is_ready() || left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }));
    })
}

#[test]
fn everybody_is_told_and_at_most_one_loads_at_a_time_where_nothing_changes() {
    shuttle::check_random(
        || {
            let asks_alone = || -> Action {
                Box::new(|bench| {
                    let duty = |load| {
                        assert!(!bench.loading.swap(true, Ordering::SeqCst), "two load at the same time");
                        thread::yield_now();
                        // Whoever comes after the end of this load may begin the next at once.
                        bench.loading.store(false, Ordering::SeqCst);
                        bench.load(load)
                    };
                    match bench.flights.join("a", &0, Time::NEVER) {
                        Joined::Loads(load) => drop(duty(load)),
                        Joined::Waits(wait) => match block_on(wait) {
                            Waited::Done(outcome) => assert_eq!(*outcome, Ok(0)),
                            Waited::Loads(_) | Waited::TimedOut => panic!("the loader stays, and there is no deadline"),
                        },
                    }
                })
            };
            let loads = Bench::new(false).runs(vec![asks_alone(), asks_alone(), asks_alone(), asks_alone()]);
            assert!((1..=4).contains(&loads));
        },
        ROUNDS,
    );
}

#[test]
fn a_failure_reaches_all_who_wait_and_none_of_them_loads_again() {
    shuttle::check_random(
        || {
            let waits = || -> Action {
                Box::new(|bench| {
                    // Who comes after the end of the load finds nothing, and goes away.
                    let Joined::Waits(wait) = bench.flights.join("a", &0, Time::NEVER) else { return };
                    match block_on(wait) {
                        Waited::Done(outcome) => assert_eq!(*outcome, Err("broken")),
                        // It waited for one of those who go away, and does the same.
                        Waited::Loads(load) => drop(load),
                        Waited::TimedOut => panic!("there is no deadline"),
                    }
                })
            };
            let loads: Action = Box::new(|bench| drop(bench.asks(Time::NEVER)));
            let loads = Bench::new(true).runs(vec![loads, waits(), waits(), waits()]);
            assert!(loads <= 1, "only one of them ever loads");
        },
        ROUNDS,
    );
}

#[test]
fn a_loader_that_goes_away_passes_the_load_on() {
    shuttle::check_random(
        || {
            let loads = Bench::new(false).runs(vec![goes_away(0), asks(), goes_away(1), asks()]);
            assert!((1..=2).contains(&loads), "{loads}");
        },
        ROUNDS,
    );
}

#[test]
fn nobody_is_given_what_was_read_before_it_asked() {
    shuttle::check_random(
        || {
            let loads = Bench::new(false).runs(vec![asks(), writes(), asks(), writes(), asks(), goes_away(1)]);
            assert!((1..=3).contains(&loads), "{loads}");
        },
        ROUNDS,
    );
}

#[test]
fn a_deadline_leaves_and_takes_nothing_along() {
    shuttle::check_random(
        || {
            let until = || -> Action { Box::new(|bench| drop(bench.asks(Time::START + SECOND))) };
            let passes: Action = Box::new(|bench| bench.clock.advance(SECOND));
            Bench::new(false).runs(vec![until(), passes, goes_away(0), until(), asks()]);
        },
        ROUNDS,
    );
}
