use crate::{least::least, shares::Shares, turns::Turns};
use ecm_core::{Balancer, Explanation, Intent, Mask, Node};
use std::cmp::Reverse;

/// The fit databases of the highest priority, the others only when none of these is fit.
///
/// Several of the same priority are picked in turn, in proportion to their weights, as
/// [`RoundRobin`](crate::RoundRobin) does: databases nearby with one priority, databases far away
/// with a lower one. That is what tells it from the null balancer
/// [`FirstFit`](ecm_core::FirstFit), which sends every call to the first of them.
///
/// A pick is one atomic addition and a look at the priorities and weights of the nodes.
///
/// ```
/// use ecm_balancer::Priority;
/// use ecm_core::{Balancer, CallKind, Context, Intent, Mask, Node};
///
/// let nodes = [("far", 0), ("near", 5), ("nearby", 5)].map(|(name, priority)| Node { priority, ..Node::new(name) });
/// let (balancer, intent) = (Priority::new(), Intent::new(CallKind::Read, &Context::NONE));
/// let picks = |fit| (0..4).filter_map(|_| balancer.pick(&nodes, fit, &intent)).collect::<Vec<_>>();
/// assert_eq!(picks(Mask::first(3)), [1, 2, 1, 2]);
/// assert_eq!(picks(Mask::first(1)), [0, 0, 0, 0]);
/// ```
#[derive(Debug)]
pub struct Priority {
    turns: Turns,
}

impl Priority {
    /// Begins with the first database of the highest priority.
    #[must_use]
    pub const fn new() -> Self {
        Self { turns: Turns::new() }
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::new()
    }
}

impl Balancer for Priority {
    fn pick(&self, nodes: &[Node], fit: Mask, _intent: &Intent<'_>) -> Option<usize> {
        let highest = least(nodes, fit, |node| Reverse(node.priority));
        self.turns.next(nodes, Shares::of(nodes, highest)?)
    }

    fn explain(&self) -> Explanation {
        Explanation::new("priority")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecm_core::{CallKind, Context};

    const INTENT: Intent<'_> = Intent::new(CallKind::Read, &Context::NONE);

    #[test]
    fn a_lower_priority_serves_only_while_no_higher_one_is_fit() {
        let nodes = [(i32::MIN, 1), (3, 1), (i32::MAX, 2), (i32::MAX, 1), (3, 1)].map(|(priority, weight)| Node {
            priority,
            weight,
            ..Node::new("node")
        });
        let balancer = Priority::new();
        let counts = |fit: Mask| {
            let mut counts = [0; 5];
            (0..6).for_each(|_| counts[balancer.pick(&nodes, fit, &INTENT).expect("one is fit")] += 1);
            counts
        };
        let all = Mask::first(5);
        assert_eq!(counts(all), [0, 0, 4, 2, 0], "by weight among those of the highest priority");
        assert_eq!(counts(all.without(2)), [0, 0, 0, 6, 0]);
        assert_eq!(counts(all.without(2).without(3)), [0, 3, 0, 0, 3]);
        assert_eq!(counts(Mask::first(1)), [6, 0, 0, 0, 0]);
        assert_eq!(balancer.pick(&nodes, Mask::NONE, &INTENT), None);
    }
}
