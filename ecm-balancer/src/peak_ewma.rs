use crate::{
    PeakEwmaConfig,
    draws::Draws,
    estimate::{Decay, Estimate, Tick},
    logarithm::{ONE, exp2, log2},
    phase::Phase,
    recorder::{COMPARED, Recorder},
    shares::Shares,
    turns::Turns,
};
use ecm_core::{Balancer, Clock, Explanation, Intent, InvalidConfig, Mask, Node, Sample, SystemClock};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// A tenth: what slow start begins with.
const TENTH: i64 = 13_933_176;

/// The fit database that is expected to answer first: how long it takes lately, times the calls in flight.
///
/// How long it takes is a *peak EWMA* (Finagle's `PeakEwma`, also of tower and linkerd): a moving average by time
/// that goes up at once and comes down slowly, so that one slow answer is heeded before many callers wait. Times
/// the calls in flight and one more, divided by the weight, that is the cost; the least one is picked.
///
/// * Up to eight fit databases are all looked at, and those that tie are picked in turn. Beyond that the better
///   one of two that are drawn at random is picked (Mitzenmacher, *The Power of Two Choices in Randomized Load
///   Balancing*, 2001).
/// * One of which nothing is known gets one call, and no other until that has ended.
/// * One that fails counts as slow as [`penalty`](PeakEwmaConfig::penalty), however fast it failed.
/// * One that is new or answers again begins with a tenth of its weight: [`slow_start`](PeakEwmaConfig::slow_start).
/// * One that is not asked is forgiven by and by, and tried with one call at a time, never with all at once.
///
/// Which priority a database has plays no part.
///
/// # Cost
/// A pick looks at two words and the calls in flight of each database it compares; it reads no clock and writes
/// nothing but the turn, where some tie. The end of a call writes where it was a peak, and otherwise at most once
/// in a thousandth of [`decay`](PeakEwmaConfig::decay). It looks at the clock if it was not told when it
/// ended; in a group of one database nothing is done at all. No lock, no allocation.
///
/// ```
/// use ecm_balancer::PeakEwma;
/// use ecm_core::{Balancer, CallKind, Context, Intent, Mask, Node, Sample};
/// use std::time::Duration;
///
/// let nodes = ["slow", "fast"].map(Node::new);
/// let (balancer, intent) = (PeakEwma::new(), Intent::new(CallKind::Read, &Context::NONE));
/// balancer.settled(&nodes, 0, &Sample::new(Duration::from_millis(30), false));
/// balancer.settled(&nodes, 1, &Sample::new(Duration::from_millis(10), false));
/// assert_eq!(balancer.pick(&nodes, Mask::first(2), &intent), Some(1));
/// (0..3).for_each(|_| nodes[1].load.started());
/// assert_eq!(balancer.pick(&nodes, Mask::first(2), &intent), Some(0), "30 ms now, or four times 10 ms");
/// ```
#[derive(Debug)]
pub struct PeakEwma {
    decay: Decay,
    penalty: i64,
    slow_start: i64,
    clock: Arc<dyn Clock>,
    /// The tick of the last end: a pick takes it for the present moment.
    latest: AtomicU64,
    turns: Turns,
    draws: Draws,
    recorder: Recorder,
}

impl PeakEwma {
    /// With [`PeakEwmaConfig::default`], and the clock of the system where it needs one.
    #[must_use]
    pub fn new() -> Self {
        Self::made(&PeakEwmaConfig::default(), Arc::new(SystemClock::new()))
    }

    /// As `config` says; `clock` is asked when a call ends and nobody says when.
    ///
    /// # Errors
    /// The first field that is not within its limits.
    pub fn with_config(config: &PeakEwmaConfig, clock: Arc<dyn Clock>) -> Result<Self, InvalidConfig> {
        config.check()?;
        Ok(Self::made(config, clock))
    }

    /// The same with this clock instead of the system's.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self::made(&PeakEwmaConfig::default(), clock)
    }

    fn made(config: &PeakEwmaConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            decay: Decay::over(config.decay),
            penalty: log2(nanos(config.penalty)),
            slow_start: Tick::ticks(config.slow_start),
            clock,
            latest: AtomicU64::new(0),
            turns: Turns::new(),
            draws: config.seed.map_or_else(Draws::new, Draws::with_seed),
            recorder: Recorder::default(),
        }
    }

    /// What a further call costs there: a logarithm, by which costs of one moment are compared.
    #[inline]
    fn cost(&self, node: &Node, latest: Tick) -> i64 {
        let pending = node.load.pending();
        let estimate = Estimate(node.load.ewma().load(Ordering::Relaxed));
        let expected = match (estimate.is_none(), pending) {
            // Nobody knows: one call finds out.
            (true, 0) => return i64::MIN,
            (true, _) => self.penalty,
            // Only one call at a time tries whether it has got better.
            (false, 0) => estimate.log2() - self.decay.after(latest.since(estimate.at()).max(0)),
            (false, _) => estimate.log2(),
        };
        // The common cases first: nothing in flight, and one weight for all.
        let queued = if pending == 0 { expected } else { expected + log2(u64::from(pending) + 1) };
        let weighed = if node.weight == 1 { queued } else { queued - log2(u64::from(node.weight)) };
        match node.load.phase().load(Ordering::Relaxed) {
            0 => weighed,
            phase => weighed + self.ramp(phase, latest),
        }
    }

    /// What a database costs more that serves since lately.
    #[cold]
    fn ramp(&self, phase: u64, latest: Tick) -> i64 {
        let Phase::Since(begun) = Phase::from_word(phase) else { return 0 };
        let served = latest.since(begun);
        if served >= self.slow_start {
            return 0;
        }
        let part = log2(self.slow_start as u64) - log2(served.max(1) as u64);
        part.min(TENTH)
    }

    #[inline]
    fn cheapest(&self, nodes: &[Node], fit: Mask, latest: Tick) -> Option<usize> {
        let (mut least, mut found) = (i64::MAX, Mask::NONE);
        for index in fit.iter() {
            let cost = self.cost(&nodes[index], latest);
            if cost < least {
                (least, found) = (cost, Mask::NONE.with(index));
            } else if cost == least {
                found = found.with(index);
            }
        }
        if found.len() == 1 { found.lowest() } else { self.turns.next(nodes, Shares::of(nodes, found)?) }
    }

    #[inline]
    fn better_of_two(&self, nodes: &[Node], fit: Mask, latest: Tick) -> Option<(usize, usize)> {
        let (mut first, mut second) = self.draws.two_below(nodes.len() as u32);
        // Mostly all are fit. Of the pairs of which both are, each is as likely as any other.
        if !(fit.contains(first) && fit.contains(second)) {
            (first, second) = self.draws.two_below(fit.len() as u32);
            (first, second) = (fit.nth(first)?, fit.nth(second)?);
        }
        // Which one is drawn first is random, and so is whom a tie favours.
        let worse = self.cost(&nodes[second], latest) < self.cost(&nodes[first], latest);
        Some(if worse { (second, first) } else { (first, second) })
    }

    #[cold]
    fn record(&self, nodes: &[Node], picked: usize, compared: Mask, latest: Tick) {
        let score = |index: usize| match self.cost(&nodes[index], latest) {
            i64::MIN => (index, 0.0),
            cost => (index, exp2(cost) / 1e9),
        };
        self.recorder.record(nodes, picked, compared.iter().map(score));
    }

    /// A call has failed, which counts as slow, however long it took.
    #[cold]
    fn failed(&self, node: &Node, took: Duration, now: Tick) {
        let cost = self.penalty.max(log2(nanos(took)));
        node.load.phase().store(Phase::Failing.word(), Ordering::Relaxed);
        node.load.ewma().store(Estimate::new(cost, now).0, Ordering::Relaxed);
    }

    /// The first success ever, or after a failure: what was before tells nothing about now.
    #[cold]
    fn begun(&self, node: &Node, took: Duration, now: Tick) {
        node.load.phase().store(Phase::Since(now).word(), Ordering::Relaxed);
        node.load.ewma().store(Estimate::new(log2(nanos(took)), now).0, Ordering::Relaxed);
    }
}

impl Default for PeakEwma {
    fn default() -> Self {
        Self::new()
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl Balancer for PeakEwma {
    #[inline]
    fn pick(&self, nodes: &[Node], fit: Mask, _intent: &Intent<'_>) -> Option<usize> {
        let latest = Tick(self.latest.load(Ordering::Relaxed));
        let (picked, compared) = if fit.len() <= COMPARED {
            (self.cheapest(nodes, fit, latest)?, fit)
        } else {
            let (picked, other) = self.better_of_two(nodes, fit, latest)?;
            (picked, Mask::NONE.with(picked).with(other))
        };
        if self.recorder.is_armed() {
            self.record(nodes, picked, compared, latest);
        }
        Some(picked)
    }

    fn settled(&self, nodes: &[Node], node: usize, sample: &Sample) {
        let Some(node) = nodes.get(node).filter(|_| nodes.len() > 1) else { return };
        let now = Tick::of(sample.ended.unwrap_or_else(|| self.clock.now()));
        let latest = Tick(self.latest.load(Ordering::Relaxed));
        if now.since(latest) > 0 {
            self.latest.store(now.0, Ordering::Relaxed);
        }
        if sample.failed {
            return self.failed(node, sample.took, now);
        }
        let word = node.load.ewma();
        let mut seen = word.load(Ordering::Relaxed);
        let phase = node.load.phase().load(Ordering::Relaxed);
        match Phase::from_word(phase) {
            _ if Estimate(seen).is_none() => return self.begun(node, sample.took, now),
            Phase::Failing => return self.begun(node, sample.took, now),
            Phase::Since(begun) if now.since(begun) >= self.slow_start => {
                // Unless it has failed in the meantime.
                let (settled, order) = (Phase::Settled.word(), Ordering::Relaxed);
                let _ = node.load.phase().compare_exchange(phase, settled, order, order);
            }
            _ => {}
        }
        // A sample that is lost because others come at the same time does no harm.
        for _ in 0..3 {
            let Some(next) = self.decay.observed(Estimate(seen), sample.took, now) else { return };
            match word.compare_exchange_weak(seen, next.0, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(changed) => seen = changed,
            }
        }
    }

    fn explain(&self) -> Explanation {
        let mut explanation = Explanation::new("performance");
        explanation.decisions = self.recorder.decisions();
        explanation
    }
}

const _: () = assert!(TENTH > 3 * ONE && TENTH < 4 * ONE);
