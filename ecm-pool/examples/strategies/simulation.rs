//! Callers that come, wait, hold a connection and go, in steps of a millisecond.

use crate::load::Arrivals;
use ecm_core::{
    Clock, Loan, Time,
    testing::{Fake, TestClock},
};
use ecm_pool::{Lending, Lent, Pool, PoolConfig, PoolParts, PoolStrategy, Workers};
use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// How long each caller holds its connection.
pub(crate) const HELD: u64 = 20;
/// How long it takes to open a connection. Whoever opens one waits for it.
pub(crate) const OPENING: u64 = 5;
const STEP: Duration = Duration::from_millis(1);
const SEED: u64 = 7;

/// What became of a pool under a load.
pub(crate) struct Course {
    pub(crate) strategy: PoolStrategy,
    pub(crate) seconds: Vec<Second>,
    pub(crate) opened: u64,
    /// In milliseconds.
    pub(crate) longest_wait: u64,
}

/// One second of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Second {
    /// Open at its end.
    pub(crate) connections: u32,
    /// Lent on average.
    pub(crate) lent: f64,
    pub(crate) callers: u32,
    /// Of all callers that were served in it together, in milliseconds.
    pub(crate) waited: u64,
}

impl Second {
    /// How long a caller waited, in milliseconds.
    pub(crate) fn mean_wait(&self) -> f64 {
        self.waited as f64 / f64::from(self.callers.max(1))
    }
}

impl Course {
    pub(crate) fn mean_connections(&self) -> f64 {
        self.seconds.iter().map(|second| f64::from(second.connections)).sum::<f64>() / self.seconds.len() as f64
    }

    /// In milliseconds.
    pub(crate) fn mean_wait(&self) -> f64 {
        let waited: u64 = self.seconds.iter().map(|second| second.waited).sum();
        waited as f64 / self.seconds.iter().map(|second| f64::from(second.callers)).sum::<f64>().max(1.0)
    }
}

/// What the pool does in the background is done at once.
#[derive(Debug)]
struct AtOnce;

impl Workers for AtOnce {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> bool {
        work();
        true
    }
}

struct Waiting<'p> {
    lending: Lending<'p, Fake>,
    since: u64,
}

pub(crate) fn simulate(strategy: PoolStrategy, seconds: usize, rate: fn(f64) -> f64) -> Course {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let config = PoolConfig { strategy, idle_timeout: Duration::from_secs(20), ..PoolConfig::default() };
    let parts = PoolParts {
        workers: Arc::new(AtOnce),
        seed: SEED,
        ..PoolParts::new("simulated", Arc::new(clock.clone()) as Arc<dyn Clock>)
    };
    let pool = Pool::new(Arc::new(fake.clone()), config, parts);
    let mut arrivals = Arrivals::new(SEED);
    let mut course = Course { strategy, seconds: Vec::new(), opened: 0, longest_wait: 0 };
    let mut waiting: VecDeque<Waiting<'_>> = VecDeque::new();
    let mut lent: Vec<(u64, Lent<'_, Fake>)> = Vec::new();
    for second in 0..seconds {
        let mut seen = Second::default();
        for now in second as u64 * 1_000..(second as u64 + 1) * 1_000 {
            clock.advance(STEP);
            lent.retain(|(until, _)| *until > now);
            for _ in 0..arrivals.next(rate(now as f64 / 1_000.0) / 1_000.0) {
                waiting.push_back(Waiting { lending: pool.lend(Loan::Read, clock.now(), Time::NEVER), since: now });
            }
            let mut still = VecDeque::with_capacity(waiting.len());
            for mut caller in waiting.drain(..) {
                let opened = fake.counts().connects;
                match Pin::new(&mut caller.lending).poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(answer) => {
                        let opening = if fake.counts().connects > opened { OPENING } else { 0 };
                        let waited = now - caller.since + opening;
                        (seen.callers, seen.waited) = (seen.callers + 1, seen.waited + waited);
                        course.longest_wait = course.longest_wait.max(waited);
                        lent.push((now + opening + HELD, answer.expect("nothing fails here")));
                    }
                    Poll::Pending => still.push_back(caller),
                }
            }
            waiting = still;
            seen.lent += lent.len() as f64 / 1_000.0;
        }
        seen.connections = pool.status().open;
        course.seconds.push(seen);
    }
    course.opened = fake.counts().connects;
    course
}
