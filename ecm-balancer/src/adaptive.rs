use crate::{
    LeastConnections, PeakEwma, RoundRobin,
    observations::{Observations, Seen, Totals, WINDOW, look},
};
use ecm_core::{Balancer, Clock, Explanation, Intent, Mask, Node, Sample, SystemClock, Time};
use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

/// How many looks in a row have to want the same before it changes its mind.
const LOOKS: u32 = 3;

/// How many changes are remembered.
const REMEMBERED: usize = 16;

/// From which part of failed calls on it routes around failures, and below which it stops.
const FAILED: (f64, f64) = (0.05, 0.01);

/// How many times as long as the fastest database the slowest has to take, and below what they count as alike.
const SPREAD: (f64, f64) = (2.0, 1.5);

/// How many calls have to be in flight in each database for their number to tell them apart, and below what not.
const IN_FLIGHT: (f64, f64) = (2.0, 1.0);

/// One of three strategies, by what it observes.
///
/// | strategy | while |
/// |---|---|
/// | [`PeakEwma`] | the slowest database takes at least 2 times as long as the fastest, or 5 % of the calls fail; until they take less than 1.5 times as long, each being asked often enough to tell, and less than 1 % fail |
/// | [`LeastConnections`] | else, at least 2 calls are in flight in each database on average; until it is less than 1 |
/// | [`RoundRobin`] | else, and at first |
///
/// It looks at the calls of one second, of 64 calls at least, and changes its mind when three looks in a row want
/// the same: an outlier changes nothing, and what lies between the two limits leaves things as they are. The limits
/// are chosen, not derived: below 2 the strategies pick so alike that a change pays for nothing. The
/// [explanation](Balancer::explain) has the last 16 changes, each with what was seen.
///
/// # Cost
/// A pick is that of the strategy and one load. The end of a call adds to two counters of its thread, on
/// top of what [`PeakEwma`] does, which is told of every end so that it knows the databases when its turn comes.
///
/// ```
/// use ecm_balancer::Adaptive;
/// use ecm_core::{Balancer, Node, Sample, Time};
/// use std::time::Duration;
///
/// let (nodes, balancer) = (["near", "far"].map(Node::new), Adaptive::new());
/// for call in 0..5_000 {
///     let (node, millis) = if call % 2 == 0 { (0, 1) } else { (1, 9) };
///     let at = Time::from_nanos(call * 1_000_000);
///     balancer.settled(&nodes, node, &Sample::new(Duration::from_millis(millis), false).ended(at));
/// }
/// let explanation = balancer.explain();
/// assert_eq!(explanation.strategy, "adaptive: performance");
/// let why = "round_robin, now performance: \"far\" takes 9.0 times as long as \"near\"";
/// assert!(explanation.changes[0].ends_with(why), "{explanation:?}");
/// ```
#[derive(Debug)]
pub struct Adaptive {
    current: AtomicU8,
    round_robin: RoundRobin,
    least_connections: LeastConnections,
    performance: PeakEwma,
    clock: Arc<dyn Clock>,
    observations: Observations,
    /// When the next look is due, in nanoseconds.
    due: AtomicU64,
    judge: Mutex<Judge>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    RoundRobin,
    LeastConnections,
    Performance,
}

#[derive(Debug)]
struct Judge {
    totals: Totals,
    at: Option<Time>,
    wanted: Choice,
    looks: u32,
    changes: VecDeque<String>,
}

impl Adaptive {
    /// With the clock of the system where it needs one.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock::new()))
    }

    /// With this clock, which is asked when a call ends and nobody says when.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self {
            current: AtomicU8::new(Choice::RoundRobin as u8),
            round_robin: RoundRobin::new(),
            least_connections: LeastConnections::new(),
            performance: PeakEwma::with_clock(Arc::clone(&clock)),
            clock,
            observations: Observations::default(),
            due: AtomicU64::new(0),
            judge: Mutex::new(Judge {
                totals: Totals::NONE,
                at: None,
                wanted: Choice::RoundRobin,
                looks: 0,
                changes: VecDeque::with_capacity(REMEMBERED),
            }),
        }
    }

    #[inline]
    fn current(&self) -> Choice {
        match self.current.load(Ordering::Relaxed) {
            1 => Choice::LeastConnections,
            2 => Choice::Performance,
            _ => Choice::RoundRobin,
        }
    }

    /// Looks at what has happened since the last time, unless somebody else does.
    #[cold]
    fn look(&self, nodes: &[Node], now: Time) {
        let Ok(mut judge) = self.judge.try_lock() else { return };
        let totals = self.observations.totals();
        let Some(at) = judge.at else {
            (judge.totals, judge.at) = (totals, Some(now));
            self.due.store((now + WINDOW).as_nanos(), Ordering::Relaxed);
            return;
        };
        // Fewer calls than it takes: the look goes on, and is due again at the next call.
        let Some(seen) = look(nodes, (&judge.totals, at), (&totals, now)) else { return };
        (judge.totals, judge.at) = (totals, Some(now));
        self.due.store((now + WINDOW).as_nanos(), Ordering::Relaxed);
        let current = self.current();
        let (wanted, why) = current.next(&seen, nodes);
        judge.looks = if wanted == judge.wanted { judge.looks.saturating_add(1) } else { 1 };
        judge.wanted = wanted;
        if wanted == current || judge.looks < LOOKS {
            return;
        }
        if judge.changes.len() == REMEMBERED {
            judge.changes.pop_front();
        }
        judge.changes.push_back(format!("{now:?}: {current}, now {wanted}: {why}"));
        self.current.store(wanted as u8, Ordering::Relaxed);
    }
}

impl Choice {
    /// What is right after what was seen, and why.
    fn next(self, seen: &Seen, nodes: &[Node]) -> (Self, String) {
        // Who is in has the lower limit to leave by.
        let limit = |(enter, leave): (f64, f64), choice: Self| if self == choice { leave } else { enter };
        let percent = seen.failed * 100.0;
        if seen.failed >= limit(FAILED, Self::Performance) {
            return (Self::Performance, format!("{percent:.1} % of the calls fail"));
        }
        let apart = match seen.spread {
            Some(spread) if spread.times >= limit(SPREAD, Self::Performance) => {
                let name = |index: usize| nodes.get(index).map_or("", |node| &*node.name);
                let (slowest, fastest) = (name(spread.slowest), name(spread.fastest));
                Some(format!("{slowest:?} takes {:.1} times as long as {fastest:?}", spread.times))
            }
            Some(spread) if spread.of_all => None,
            // Who avoids a slow database sees little of it, which is no reason to stop avoiding it.
            _ if self == Self::Performance => Some("too little is seen of some to tell them apart".to_owned()),
            _ => None,
        };
        if let Some(why) = apart {
            return (Self::Performance, why);
        }
        let alike = match seen.spread {
            Some(spread) => format!("the slowest takes {:.1} times as long as the fastest", spread.times),
            None => "too little is seen to tell them apart".to_owned(),
        };
        let in_flight = format!("{:.1} calls are in flight in each, {percent:.1} % fail", seen.in_flight);
        let busy = seen.in_flight >= limit(IN_FLIGHT, Self::LeastConnections);
        (if busy { Self::LeastConnections } else { Self::RoundRobin }, format!("{alike}, {in_flight}"))
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundRobin => "round_robin",
            Self::LeastConnections => "least_connections",
            Self::Performance => "performance",
        })
    }
}

impl Default for Adaptive {
    fn default() -> Self {
        Self::new()
    }
}

impl Balancer for Adaptive {
    #[inline]
    fn pick(&self, nodes: &[Node], fit: Mask, intent: &Intent<'_>) -> Option<usize> {
        match self.current() {
            Choice::RoundRobin => self.round_robin.pick(nodes, fit, intent),
            Choice::LeastConnections => self.least_connections.pick(nodes, fit, intent),
            Choice::Performance => self.performance.pick(nodes, fit, intent),
        }
    }

    fn settled(&self, nodes: &[Node], node: usize, sample: &Sample) {
        if nodes.len() < 2 {
            return;
        }
        let now = sample.ended.unwrap_or_else(|| self.clock.now());
        self.performance.settled(nodes, node, &sample.ended(now));
        self.observations.add(node, sample);
        if now.as_nanos() >= self.due.load(Ordering::Relaxed) {
            self.look(nodes, now);
        }
    }

    fn explain(&self) -> Explanation {
        let mut explanation = Explanation::new(format!("adaptive: {}", self.current()));
        let judge = self.judge.lock().unwrap_or_else(PoisonError::into_inner);
        explanation.changes = judge.changes.iter().cloned().collect();
        drop(judge);
        explanation.decisions = self.performance.explain().decisions;
        explanation
    }
}
