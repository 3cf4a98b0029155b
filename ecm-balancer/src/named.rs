use crate::{Adaptive, LeastConnections, PeakEwma, Priority, Random, RoundRobin};
use ecm_core::{Balancer, Clock, Explanation, Intent, Mask, Node, Sample};
use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
};

/// The strategies that have a name in configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Strategy {
    /// [`PeakEwma`].
    #[default]
    Performance,
    /// [`Adaptive`].
    Adaptive,
    /// [`RoundRobin`].
    RoundRobin,
    /// [`LeastConnections`].
    LeastConnections,
    /// [`Random`].
    Random,
    /// [`Priority`].
    Priority,
}

const STRATEGIES: [Strategy; 6] = [
    Strategy::Performance,
    Strategy::Adaptive,
    Strategy::RoundRobin,
    Strategy::LeastConnections,
    Strategy::Random,
    Strategy::Priority,
];

/// Which strategy some balancers pick by: all that were made for it change together.
#[derive(Clone, Debug)]
pub struct Selection(Arc<AtomicU8>);

impl Selection {
    /// This one, until another is selected.
    #[must_use]
    pub fn new(strategy: Strategy) -> Self {
        Self(Arc::new(AtomicU8::new(strategy as u8)))
    }

    /// The one that is selected.
    #[must_use]
    #[inline]
    pub fn strategy(&self) -> Strategy {
        STRATEGIES[usize::from(self.0.load(Ordering::Relaxed)) % STRATEGIES.len()]
    }

    /// Selects another, from the next pick on.
    pub fn select(&self, strategy: Strategy) {
        self.0.store(strategy as u8, Ordering::Relaxed);
    }
}

/// Picks by the strategy that is selected, which may change while calls go on. One that was not selected has
/// observed nothing, and begins as if it were new.
///
/// A pick is that of the strategy, and a load more.
///
/// ```
/// use ecm_balancer::{Named, Selection, Strategy};
/// use ecm_core::{Balancer, CallKind, Context, Intent, Mask, Node, SystemClock};
/// use std::sync::Arc;
///
/// let nodes = [1, 5].map(|priority| Node { priority, ..Node::new("node") });
/// let selection = Selection::new(Strategy::Priority);
/// let balancer = Named::new(selection.clone(), Arc::new(SystemClock::new()));
/// let intent = Intent::new(CallKind::Read, &Context::NONE);
/// let picks = || [(); 3].map(|()| balancer.pick(&nodes, Mask::first(2), &intent).unwrap());
/// assert_eq!(picks(), [1, 1, 1]);
/// selection.select(Strategy::RoundRobin);
/// assert_eq!(picks(), [0, 1, 0]);
/// ```
pub struct Named {
    selection: Selection,
    performance: PeakEwma,
    /// It takes some kilobytes, which are not asked for before it is selected.
    adaptive: OnceLock<Box<Adaptive>>,
    round_robin: RoundRobin,
    least_connections: LeastConnections,
    random: Random,
    priority: Priority,
    clock: Arc<dyn Clock>,
}

impl Named {
    /// By what is selected there; `clock` is asked when a call ends and nobody says when.
    #[must_use]
    pub fn new(selection: Selection, clock: Arc<dyn Clock>) -> Self {
        Self {
            selection,
            performance: PeakEwma::with_clock(Arc::clone(&clock)),
            adaptive: OnceLock::new(),
            round_robin: RoundRobin::new(),
            least_connections: LeastConnections::new(),
            random: Random::new(),
            priority: Priority::new(),
            clock,
        }
    }

    #[inline]
    fn selected(&self) -> &dyn Balancer {
        match self.selection.strategy() {
            Strategy::Performance => &self.performance,
            Strategy::Adaptive => {
                &**self.adaptive.get_or_init(|| Box::new(Adaptive::with_clock(Arc::clone(&self.clock))))
            }
            Strategy::RoundRobin => &self.round_robin,
            Strategy::LeastConnections => &self.least_connections,
            Strategy::Random => &self.random,
            Strategy::Priority => &self.priority,
        }
    }
}

impl Balancer for Named {
    #[inline]
    fn pick(&self, nodes: &[Node], fit: Mask, intent: &Intent<'_>) -> Option<usize> {
        self.selected().pick(nodes, fit, intent)
    }

    #[inline]
    fn settled(&self, nodes: &[Node], node: usize, sample: &Sample) {
        self.selected().settled(nodes, node, sample);
    }

    fn explain(&self) -> Explanation {
        self.selected().explain()
    }
}

impl fmt::Debug for Named {
    /// By hand: as what is selected.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.selected().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecm_core::{CallKind, Context, testing::TestClock};
    use std::time::Duration;

    #[test]
    fn each_name_is_its_strategy() {
        let selection = Selection::new(Strategy::default());
        let balancer = Named::new(selection.clone(), Arc::new(TestClock::new()));
        let names = STRATEGIES.map(|strategy| {
            selection.select(strategy);
            format!("{balancer:?}").split(' ').next().unwrap_or_default().to_owned()
        });
        assert_eq!(names, ["PeakEwma", "Adaptive", "RoundRobin", "LeastConnections", "Random", "Priority"]);
    }

    #[test]
    fn what_is_selected_learns_how_calls_end() {
        let nodes = ["a", "b"].map(Node::new);
        let intent = Intent::new(CallKind::Read, &Context::NONE);
        let balancer = Named::new(Selection::new(Strategy::Performance), Arc::new(TestClock::new()));
        for (index, millis) in [(0, 9), (1, 3)] {
            balancer.settled(&nodes, index, &Sample::new(Duration::from_millis(millis), false));
        }
        assert_eq!([(); 2].map(|()| balancer.pick(&nodes, Mask::first(2), &intent)), [Some(1); 2]);
        assert_eq!(balancer.explain().strategy, "performance");
    }
}
