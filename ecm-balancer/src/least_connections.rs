use crate::{least::least, shares::Shares, turns::Turns};
use ecm_core::{Balancer, Explanation, Intent, Mask, Node};
use std::cmp::Ordering;

/// The fit database with the fewest calls in flight for its weight.
///
/// A database of weight 2 counts as loaded as one of weight 1 when it has twice the calls in flight.
/// Those that tie, such as all of an idle group, are picked in turn, in proportion to their weights,
/// as [`RoundRobin`](crate::RoundRobin) does. Priorities play no part.
///
/// Every fit database is looked at. Choosing the better of two at random is cheaper for many, but
/// looks at the best of `n` only in two of `n` picks.
///
/// A pick is one atomic addition and a look at the load of each fit node. The facade counts a call
/// as in flight after the pick, so that picks at the same instant may choose the same database.
///
/// ```
/// use ecm_balancer::LeastConnections;
/// use ecm_core::{Balancer, CallKind, Context, Intent, Mask, Node};
///
/// let nodes = ["a", "b", "c"].map(Node::new);
/// let (balancer, intent) = (LeastConnections::new(), Intent::new(CallKind::Read, &Context::NONE));
/// nodes[0].load.started();
/// nodes[2].load.started();
/// assert_eq!(balancer.pick(&nodes, Mask::first(3), &intent), Some(1));
/// ```
#[derive(Debug)]
pub struct LeastConnections {
    turns: Turns,
}

impl LeastConnections {
    /// Begins with the first database, if all are idle.
    #[must_use]
    pub const fn new() -> Self {
        Self { turns: Turns::new() }
    }
}

impl Default for LeastConnections {
    fn default() -> Self {
        Self::new()
    }
}

impl Balancer for LeastConnections {
    fn pick(&self, nodes: &[Node], fit: Mask, _intent: &Intent<'_>) -> Option<usize> {
        let idlest = least(nodes, fit, Burden::of);
        self.turns.next(nodes, Shares::of(nodes, idlest)?)
    }

    fn explain(&self) -> Explanation {
        Explanation::new("least_connections")
    }
}

/// Calls in flight divided by weight, compared without rounding.
#[derive(Clone, Copy)]
struct Burden {
    pending: u32,
    weight: u32,
}

impl Burden {
    fn of(node: &Node) -> Self {
        Self { pending: node.load.pending(), weight: node.weight }
    }
}

impl Ord for Burden {
    fn cmp(&self, other: &Self) -> Ordering {
        let product = |pending: u32, weight: u32| u64::from(pending) * u64::from(weight);
        product(self.pending, other.weight).cmp(&product(other.pending, self.weight))
    }
}

impl PartialOrd for Burden {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By hand, to agree with the order: 1/2 equals 2/4.
impl PartialEq for Burden {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Burden {}

#[cfg(test)]
mod tests {
    use super::*;
    use ecm_core::{CallKind, Context};
    use proptest::prelude::*;

    const INTENT: Intent<'_> = Intent::new(CallKind::Read, &Context::NONE);

    fn node((weight, pending): (u32, u32)) -> Node {
        let node = Node { weight, ..Node::new("node") };
        (0..pending).for_each(|_| node.load.started());
        node
    }

    proptest! {
        #[test]
        fn none_that_is_fit_is_loaded_less_than_the_picked_one(
            loads in proptest::collection::vec((1_u32..5, 0_u32..12), 1..=64), unfit in any::<u64>(),
        ) {
            let nodes: Vec<_> = loads.iter().copied().map(node).collect();
            let fit: Mask = (0..loads.len()).filter(|index| unfit >> index & 1 == 0).collect();
            let balancer = LeastConnections::new();
            for _ in 0..5 {
                let Some(picked) = balancer.pick(&nodes, fit, &INTENT) else {
                    prop_assert!(fit.is_empty());
                    return Ok(());
                };
                prop_assert!(fit.contains(picked));
                // 60 is a multiple of every weight, so that this division is exact.
                let burden = |index: usize| loads[index].1 * (60 / loads[index].0);
                prop_assert!(fit.iter().all(|other| burden(picked) <= burden(other)), "{picked} of {loads:?}");
            }
        }
    }

    #[test]
    fn ties_are_spread_without_a_bias_to_whoever_follows_a_busy_one() {
        let nodes = [(1, 0), (1, 3), (1, 3), (1, 3), (1, 0), (1, 0)].map(node);
        let balancer = LeastConnections::new();
        let mut counts = [0; 6];
        (0..300).for_each(|_| counts[balancer.pick(&nodes, Mask::first(6), &INTENT).unwrap()] += 1);
        assert_eq!(counts, [100, 0, 0, 0, 100, 100]);
    }

    #[test]
    fn an_idle_group_is_used_in_proportion_to_its_weights_and_so_is_a_busy_one() {
        let nodes = [(1, 0), (2, 0), (3, 0)].map(node);
        let balancer = LeastConnections::new();
        let pick = || balancer.pick(&nodes, Mask::first(3), &INTENT).unwrap();
        let mut counts = [0; 3];
        (0..60).for_each(|_| counts[pick()] += 1);
        assert_eq!(counts, [10, 20, 30], "no call lasts until the next");

        (0..60).for_each(|_| nodes[pick()].load.started());
        assert_eq!([0, 1, 2].map(|index| nodes[index].load.pending()), [10, 20, 30], "no call ends");
    }

    #[test]
    fn the_greatest_loads_and_weights_are_compared_without_overflow() {
        let heavy = Burden { pending: u32::MAX, weight: u32::MAX };
        let light = Burden { pending: u32::MAX - 1, weight: u32::MAX };
        assert!(light < heavy && heavy == Burden { pending: 1, weight: 1 });
    }
}
