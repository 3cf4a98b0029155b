use super::SUITE;
use ecm::ConnectionManager;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::runtime::Handle;
use workload::{Caller, Contest, Contestant, Line, Problem};

/// How many lookups of a cache were hits, and how many were not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lookups {
    pub(super) hits: u64,
    pub(super) misses: u64,
}

/// Where they are counted.
pub(super) trait Counts: 'static {
    fn lookups(&self) -> Lookups;
}

impl Counts for ConnectionManager {
    fn lookups(&self) -> Lookups {
        let cache = self.status().cache;
        Lookups { hits: cache.hits, misses: cache.misses }
    }
}

/// Counted by the caller itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Counter(Arc<(AtomicU64, AtomicU64)>);

impl Counter {
    pub(super) fn count(&self, hit: bool) {
        let (hits, misses) = &*self.0;
        if hit { hits } else { misses }.fetch_add(1, Ordering::Relaxed);
    }
}

impl Counts for Counter {
    fn lookups(&self) -> Lookups {
        let (hits, misses) = &*self.0;
        Lookups { hits: hits.load(Ordering::Relaxed), misses: misses.load(Ordering::Relaxed) }
    }
}

/// A contestant that tells its share of hits besides, since the warm-up.
struct Watched {
    contest: Box<dyn Contestant>,
    counts: Box<dyn Counts>,
    before: Lookups,
}

/// These callers of a system, so many of whose calls are timed together.
pub(super) fn enter<C: Caller>(
    case: &'static str,
    system: &str,
    runtime: &Handle,
    batch: u32,
    callers: Vec<C>,
) -> Box<dyn Contestant> {
    Box::new(Contest::new(SUITE, case, system, runtime, callers).batch(batch))
}

/// The same, with its share of hits.
pub(super) fn watch(contest: Box<dyn Contestant>, counts: impl Counts) -> Box<dyn Contestant> {
    Box::new(Watched { contest, before: counts.lookups(), counts: Box::new(counts) })
}

impl Contestant for Watched {
    fn system(&self) -> &str {
        self.contest.system()
    }

    fn round(&mut self, length: Duration) -> Result<(), Problem> {
        self.contest.round(length)
    }

    fn forget(&mut self) -> Result<(), Problem> {
        self.before = self.counts.lookups();
        self.contest.forget()
    }

    fn finish(self: Box<Self>) -> Result<Vec<Line>, Problem> {
        let Lookups { hits, misses } = self.counts.lookups();
        let (hits, misses) = (hits - self.before.hits, misses - self.before.misses);
        let ratio = hits as f64 / (hits + misses).max(1) as f64;
        let lines = self.contest.finish()?;
        Ok(lines.into_iter().map(|line| line.with("hit_ratio", (ratio * 10_000.0).round() / 10_000.0)).collect())
    }
}
