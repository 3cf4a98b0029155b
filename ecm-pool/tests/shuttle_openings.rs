//! Openings that are given up, successors, and what comes too late, in many schedules.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test -p ecm-pool --test shuttle_openings
//! ```
#![cfg(shuttle)]

use ecm_core::{
    Abilities, Access, Backend, Clock, Failure, Fault, Loan, Time,
    testing::{Fake, FakeConnection, TestClock},
};
use ecm_pool::{Pool, PoolConfig, PoolParts, PoolStrategy, Workers};
use shuttle::{future::block_on, sync::Mutex, thread};
use std::{error::Error as StdError, fmt, future::Future, pin::pin, sync::Arc, task::Context, time::Duration};

const ROUNDS: usize = 2_000;
const SECOND: Duration = Duration::from_secs(1);

/// A fake whose connects take their time: others run meanwhile.
#[derive(Clone, Debug)]
struct Slow(Fake);

impl Backend for Slow {
    type Connection = FakeConnection;

    fn connect(&self, access: Access, clock: &Arc<dyn Clock>) -> Result<FakeConnection, Failure> {
        (0..3).for_each(|_| thread::yield_now());
        self.0.connect(access, clock)
    }

    fn classify(&self, error: &(dyn StdError + 'static)) -> Option<Fault> {
        self.0.classify(error)
    }

    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }
}

#[derive(Clone, Default)]
struct Threads(Arc<Mutex<Vec<thread::JoinHandle<()>>>>);

impl Threads {
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

#[derive(Clone)]
struct Bench {
    fake: Fake,
    clock: TestClock,
    pool: Arc<Pool<Slow>>,
    workers: Threads,
}

type Action = fn(&Bench);

impl Bench {
    fn of(config: PoolConfig) -> Self {
        let (fake, clock, workers) = (Fake::new(), TestClock::new(), Threads::default());
        let parts = PoolParts {
            workers: Arc::new(workers.clone()),
            seed: 7,
            ..PoolParts::new("main", Arc::new(clock.clone()))
        };
        let pool = Arc::new(Pool::new(Arc::new(Slow(fake.clone())), config, parts));
        Self { fake, clock, pool, workers }
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
        assert_eq!((status.open, status.waiting, status.stuck), (status.idle, 0, 0), "{status:?}");
        assert!(status.open <= status.max_connections, "{status:?}");
        assert_eq!(status.opened - status.closed, u64::from(status.open), "{status:?}");
        assert_eq!(self.fake.counts().open(), u64::from(status.open));
    }
}

fn lend(bench: &Bench) {
    drop(block_on(bench.pool.lend(Loan::Read, bench.clock.now(), Time::NEVER)).unwrap());
}

/// Asks once, and goes away whatever the answer.
fn ask(bench: &Bench) {
    let mut lending = pin!(bench.pool.lend(Loan::Read, bench.clock.now(), Time::NEVER));
    let _ = lending.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()));
}

/// The timeout of a wait does not come while time passes.
fn config(max_connections: u32) -> PoolConfig {
    PoolConfig { max_connections, connection_timeout: 3600 * SECOND, ..PoolConfig::untended() }
}

#[test]
fn an_opening_that_is_given_up_loses_no_place_and_keeps_nobody_waiting() {
    let time_passes: Action = |bench| (0..3).for_each(|_| bench.clock.advance(2 * SECOND));
    for most in [1, 2] {
        shuttle::check_random(move || Bench::of(config(most)).threads(&[lend, lend, time_passes, ask]), ROUNDS);
    }
}

#[test]
fn an_opening_that_is_given_up_while_the_pool_closes_leaves_nothing_open() {
    let time_passes: Action = |bench| (0..2).for_each(|_| bench.clock.advance(2 * SECOND));
    let close: Action = |bench| bench.pool.close();
    shuttle::check_random(
        move || {
            let bench = Bench::of(config(1));
            bench.threads(&[ask, ask, time_passes, close]);
            assert_eq!((bench.fake.counts().open(), bench.clock.alarms()), (0, 0));
        },
        ROUNDS,
    );
}

#[test]
fn a_successor_that_is_opened_while_others_lend_evict_and_resize_fits_in() {
    let time_passes: Action = |bench| (0..3).for_each(|_| bench.clock.advance(SECOND));
    let fails: Action = |bench| {
        for _ in 0..3 {
            if let Some(mut lent) = bench.pool.lend_now(Loan::Read, bench.clock.now()) {
                lent.report_fault();
            }
        }
    };
    let changes: [Action; 3] = [
        |bench| bench.pool.evict(),
        |bench| assert_eq!(bench.pool.advance_epoch(), 1),
        |bench| bench.pool.reconfigure(kept(1)).unwrap(),
    ];
    for change in changes {
        shuttle::check_random(
            move || {
                let bench = Bench::of(kept(3));
                lend(&bench);
                bench.threads(&[lend, time_passes, fails, change]);
                assert!(bench.fake.counts().open() <= 3);
                bench.pool.close();
                assert_eq!((bench.fake.counts().open(), bench.clock.alarms()), (0, 0));
            },
            ROUNDS,
        );
    }
}

fn kept(max_connections: u32) -> PoolConfig {
    PoolConfig {
        min_connections: 1,
        initial_connections: 2,
        strategy: PoolStrategy::Fixed,
        connection_warming: true,
        max_lifetime: SECOND,
        ..config(max_connections)
    }
}
