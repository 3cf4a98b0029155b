//! Slots that are taken, given and recalled without a lock, in many schedules.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test -p ecm-pool --test shuttle_slots
//! ```
#![cfg(shuttle)]

use ecm_core::{
    Clock, Connection, Loan, Time,
    testing::{Fake, TestClock},
};
use ecm_pool::{Fairness, Pool, PoolConfig, PoolParts, PoolStrategy, Workers};
use shuttle::{
    future::block_on,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use std::{fmt, sync::Arc, time::Duration};

const ROUNDS: usize = 3_000;

#[derive(Clone)]
struct Bench {
    fake: Fake,
    clock: TestClock,
    pool: Arc<Pool<Fake>>,
    workers: Threads,
    /// Which connections are in somebody's hands.
    held: Arc<[AtomicBool; 16]>,
}

type Action = fn(&Bench);

/// Threads of the model, so that the pool's own work is part of every schedule.
#[derive(Clone, Default)]
struct Threads(Arc<Mutex<Vec<thread::JoinHandle<()>>>>);

impl Threads {
    /// Waits until all work is done that was asked for.
    fn are_through(&self) {
        loop {
            let next = self.0.lock().unwrap().pop();
            let Some(next) = next else { return };
            next.join().unwrap();
        }
    }
}

impl Workers for Threads {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> bool {
        let thread = thread::spawn(work);
        self.0.lock().unwrap().push(thread);
        true
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Threads")
    }
}

impl Bench {
    fn of(max_connections: u32, fairness: Fairness) -> Self {
        Self::configured(PoolConfig { max_connections, fairness, ..PoolConfig::untended() })
    }

    fn configured(config: PoolConfig) -> Self {
        Self::over(Fake::new(), TestClock::new(), config)
    }

    fn over(fake: Fake, clock: TestClock, config: PoolConfig) -> Self {
        let workers = Threads::default();
        let parts = PoolParts {
            workers: Arc::new(workers.clone()),
            seed: 7,
            ..PoolParts::new("main", Arc::new(clock.clone()))
        };
        let pool = Arc::new(Pool::new(Arc::new(fake.clone()), config, parts));
        Self { fake, clock, pool, workers, held: Arc::new(std::array::from_fn(|_| AtomicBool::new(false))) }
    }

    fn threads(&self, actions: &[Action]) {
        let threads: Vec<_> = actions
            .iter()
            .map(|&action| {
                let bench = self.clone();
                thread::spawn(move || action(&bench))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.workers.are_through();
        assert!(block_on(self.pool.drained(Time::NEVER)));
        let status = self.pool.status();
        assert_eq!((status.open, status.waiting, status.lent), (status.idle, 0, 0), "{status:?}");
        assert_eq!(self.fake.counts().open(), u64::from(status.open));
    }
}

fn alone<T>(bench: &Bench, id: u64, work: impl FnOnce() -> T) -> T {
    let held = &bench.held[usize::try_from(id).unwrap()];
    assert!(!held.swap(true, Ordering::SeqCst), "connection {id} is in two hands");
    thread::yield_now();
    held.store(false, Ordering::SeqCst);
    work()
}

fn lend(bench: &Bench) {
    let mut lent = block_on(bench.pool.lend(Loan::Read, bench.clock.now(), Time::NEVER)).unwrap();
    let id = lent.db().id();
    alone(bench, id, || drop(lent));
}

fn lend_twice(bench: &Bench) {
    lend(bench);
    lend(bench);
}

fn lend_now(bench: &Bench) {
    for _ in 0..2 {
        if let Some(mut lent) = bench.pool.lend_now(Loan::Read, bench.clock.now()) {
            let id = lent.db().id();
            alone(bench, id, || drop(lent));
        }
    }
}

#[test]
fn nothing_is_ever_in_two_hands_and_nobody_sleeps_beside_an_idle_connection() {
    for fairness in [Fairness::Strict, Fairness::Bounded(Duration::from_millis(1)), Fairness::Free] {
        shuttle::check_random(
            move || Bench::of(2, fairness).threads(&[lend_twice, lend_now, lend, lend_twice]),
            ROUNDS,
        );
    }
}

#[test]
fn one_who_was_overtaken_is_served_afterwards() {
    let time_passes: Action = |bench| (0..3).for_each(|_| bench.clock.advance(Duration::from_millis(1)));
    for fairness in [Fairness::Bounded(Duration::from_millis(2)), Fairness::Free] {
        shuttle::check_random(
            move || Bench::of(1, fairness).threads(&[lend_twice, lend_now, lend, time_passes, lend]),
            ROUNDS,
        );
    }
}

#[test]
fn what_is_taken_after_an_eviction_was_opened_after_it() {
    let evict: Action = |bench| {
        let opened = bench.pool.status().opened;
        bench.pool.evict();
        let lent = bench.pool.lend_now(Loan::Read, bench.clock.now());
        let id = lent.map(|mut lent| lent.db().id());
        assert!(id.is_none_or(|id| id > opened), "{id:?} is lent after {opened} were evicted");
    };
    shuttle::check_random(
        move || {
            let bench = Bench::of(2, Fairness::Strict);
            lend(&bench);
            bench.threads(&[lend_now, evict, lend]);
        },
        ROUNDS,
    );
}

#[test]
fn what_is_given_back_across_a_new_epoch_is_not_lent_again() {
    let advance: Action = |bench| {
        let epoch = bench.pool.advance_epoch();
        let lent = bench.pool.lend_now(Loan::Read, bench.clock.now());
        assert!(lent.is_none_or(|lent| lent.epoch() == epoch));
    };
    shuttle::check_random(
        move || {
            let bench = Bench::of(2, Fairness::Strict);
            lend(&bench);
            bench.threads(&[lend_now, advance, lend_twice]);
        },
        ROUNDS,
    );
}

#[test]
fn a_smaller_pool_ends_with_what_it_may_hold() {
    let shrink: Action = |bench| {
        let config = PoolConfig { max_connections: 1, ..PoolConfig::untended() };
        bench.pool.reconfigure(config).unwrap();
    };
    shuttle::check_random(
        move || {
            let bench = Bench::of(3, Fairness::Strict);
            bench.threads(&[lend, lend_twice, shrink, lend]);
            assert!(bench.pool.status().open <= 1, "{:?}", bench.pool);
        },
        ROUNDS,
    );
}

#[test]
fn a_suspended_pool_forgets_nobody() {
    let suspend: Action = |bench| {
        bench.pool.suspend();
        assert!(bench.pool.lend_now(Loan::Read, Time::START).is_none());
        bench.pool.resume();
    };
    shuttle::check_random(move || Bench::of(1, Fairness::Strict).threads(&[lend, suspend, lend_twice]), ROUNDS);
}

#[test]
fn one_who_drains_an_open_pool_is_told() {
    let drain: Action = |bench| assert!(block_on(bench.pool.drained(Time::NEVER)));
    shuttle::check_random(
        move || {
            let bench = Bench::of(1, Fairness::Strict);
            lend(&bench);
            bench.threads(&[lend_now, drain]);
        },
        ROUNDS,
    );
}

#[test]
fn what_is_checked_retired_and_closed_for_being_idle_is_lent_to_nobody_meanwhile() {
    const SECOND: Duration = Duration::from_secs(1);
    let time_passes: Action = |bench| (0..4).for_each(|_| bench.clock.advance(SECOND));
    shuttle::check_random(
        move || {
            let bench = Bench::configured(PoolConfig {
                min_connections: 1,
                max_connections: 2,
                initial_connections: 2,
                strategy: PoolStrategy::Fixed,
                connection_warming: true,
                idle_timeout: 2 * SECOND,
                max_lifetime: 3 * SECOND,
                validation_interval: SECOND,
                leak_threshold: SECOND,
                ..PoolConfig::untended()
            });
            bench.fake.fail_pings(ecm_core::FaultKind::Lost, 1);
            bench.threads(&[lend_twice, time_passes, lend_now, lend_twice]);
            bench.pool.close();
            assert_eq!(bench.fake.counts().open(), 0);
        },
        ROUNDS,
    );
}

#[test]
fn what_is_kept_is_let_go_of_whenever_the_pool_falls_asleep() {
    const TICK: Duration = Duration::from_millis(5);
    let time_passes: Action = |bench| (0..3).for_each(|_| bench.clock.advance(TICK));
    shuttle::check_random(
        move || {
            let (fake, clock) = (Fake::new(), TestClock::new());
            fake.keep(TICK);
            let bench = Bench::over(fake, clock, PoolConfig { max_connections: 2, ..PoolConfig::untended() });
            bench.threads(&[lend_twice, time_passes, lend_now, lend]);
            // All visits that were asked for have been paid, so what is left takes four ticks at most: one that
            // leaves in peace what was lent since the tick before and visited not long ago; a visit; after what
            // it answers, the visit that lets go; and a tick that finds nothing and sets no alarm.
            for _ in 0..4 {
                bench.clock.advance(TICK);
                bench.workers.are_through();
            }
            assert_eq!((bench.fake.counts().kept, bench.clock.alarms()), (0, 0));
        },
        ROUNDS,
    );
}

#[test]
fn one_connection_that_is_lent_at_the_moment_does_not_end_the_checks_of_the_others() {
    const SECOND: Duration = Duration::from_secs(1);
    let time_passes: Action = |bench| bench.clock.advance(10 * SECOND);
    let lend_when_the_worker_comes: Action = |bench| {
        while bench.workers.0.lock().unwrap().is_empty() {
            thread::yield_now();
        }
        lend_now(bench);
    };
    shuttle::check_random(
        move || {
            let config = PoolConfig { validation_interval: 10 * SECOND, ..PoolConfig::untended() };
            let bench = Bench::configured(config);
            let lend = || block_on(bench.pool.lend(Loan::Read, bench.clock.now(), Time::NEVER)).unwrap();
            // The one that comes back last is lent first, and looked at first.
            let all = [lend(), lend(), lend()];
            all.into_iter().rev().for_each(drop);
            bench.threads(&[lend_when_the_worker_comes, time_passes]);
            let pings = bench.fake.counts().pings;
            assert!(pings >= 2, "only {pings} of the two that nobody lent were checked");
        },
        ROUNDS,
    );
}
