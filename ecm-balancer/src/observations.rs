use ecm_core::{Mask, Node, Sample, Striped, Time};
use std::{
    array,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// How long one look lasts at least.
pub(crate) const WINDOW: Duration = Duration::from_secs(1);

/// How many calls one look is about at least.
pub(crate) const CALLS: u64 = 64;

/// How many calls tell how long a database takes.
const ENOUGH: u64 = 16;

/// What the calls of a group have come to since the start, counted by the threads that made them.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    stripes: Striped<Stripe>,
}

#[derive(Debug)]
struct Stripe {
    databases: [Figures; Mask::CAPACITY],
    failures: AtomicU64,
}

#[derive(Debug, Default)]
struct Figures {
    calls: AtomicU64,
    nanos: AtomicU64,
}

impl Default for Stripe {
    fn default() -> Self {
        Self { databases: array::from_fn(|_| Figures::default()), failures: AtomicU64::new(0) }
    }
}

/// The figures at one moment, or the difference of two moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Totals {
    databases: [(u64, u64); Mask::CAPACITY],
    failures: u64,
}

impl Totals {
    pub(crate) const NONE: Self = Self { databases: [(0, 0); Mask::CAPACITY], failures: 0 };

    fn since(&self, earlier: &Self) -> Self {
        let less = |index: usize| {
            let ((calls, nanos), (calls_before, nanos_before)) = (self.databases[index], earlier.databases[index]);
            (calls.wrapping_sub(calls_before), nanos.wrapping_sub(nanos_before))
        };
        Self { databases: array::from_fn(less), failures: self.failures.wrapping_sub(earlier.failures) }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.databases.iter().map(|(calls, _)| calls).sum()
    }
}

/// What one look has seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    /// Part of the calls that have failed.
    pub(crate) failed: f64,
    /// Calls in flight at the same time, for each database: Little's law.
    pub(crate) in_flight: f64,
    /// The slowest and the fastest database of those that were asked often enough, and how many times as long
    /// the former takes; nothing if fewer than two were.
    pub(crate) spread: Option<Spread>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) times: f64,
    pub(crate) slowest: usize,
    pub(crate) fastest: usize,
    /// Whether every database of the group was asked often enough.
    pub(crate) of_all: bool,
}

impl Observations {
    #[inline]
    pub(crate) fn add(&self, node: usize, sample: &Sample) {
        let mine = self.stripes.mine();
        let Some(figures) = mine.databases.get(node) else { return };
        figures.calls.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(sample.took.as_nanos()).unwrap_or(u64::MAX);
        figures.nanos.fetch_add(nanos, Ordering::Relaxed);
        if sample.failed {
            mine.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::NONE;
        for stripe in self.stripes.iter() {
            for (total, figures) in totals.databases.iter_mut().zip(&stripe.databases) {
                total.0 = total.0.wrapping_add(figures.calls.load(Ordering::Relaxed));
                total.1 = total.1.wrapping_add(figures.nanos.load(Ordering::Relaxed));
            }
            totals.failures = totals.failures.wrapping_add(stripe.failures.load(Ordering::Relaxed));
        }
        totals
    }
}

/// What has happened between two moments, or nothing if that is too little to tell.
pub(crate) fn look(nodes: &[Node], then: (&Totals, Time), now: (&Totals, Time)) -> Option<Seen> {
    let (window, span) = (now.0.since(then.0), now.1.since(then.1));
    let calls = window.calls();
    if span < WINDOW || calls < CALLS {
        return None;
    }
    let nanos: f64 = window.databases.iter().map(|&(_, nanos)| nanos as f64).sum();
    let in_flight = nanos / span.as_nanos() as f64 / nodes.len().max(1) as f64;
    Some(Seen { failed: window.failures as f64 / calls as f64, in_flight, spread: spread(nodes, &window) })
}

fn spread(nodes: &[Node], window: &Totals) -> Option<Spread> {
    let databases = window.databases.iter().take(nodes.len()).enumerate();
    let means = databases.filter(|(_, (calls, _))| *calls >= ENOUGH);
    let means: Vec<_> = means.map(|(index, &(calls, nanos))| (index, (nanos as f64 / calls as f64).max(1.0))).collect();
    let (slowest, most) = means.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let (fastest, least) = means.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1))?;
    let of_all = means.len() == nodes.len();
    (means.len() > 1).then(|| Spread { times: most / least, slowest, fastest, of_all })
}
