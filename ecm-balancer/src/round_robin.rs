use crate::{shares::Shares, turns::Turns};
use ecm_core::{Balancer, Explanation, Intent, Mask, Node};

/// Every fit database in turn, exactly in proportion to its weight.
///
/// While the fit databases and their weights stay the same, the shares are exact, whatever number
/// of threads picks: of as many picks as their weights add up to, each database gets its weight. If
/// all weights of the group are the same, of as many picks as databases are fit each gets one. The
/// turns of a heavy database are spread over the round. Priorities play no part.
///
/// A pick is one atomic addition and a look at the weights of all nodes.
///
/// ```
/// use ecm_balancer::RoundRobin;
/// use ecm_core::{Balancer, CallKind, Context, Intent, Mask, Node};
///
/// let mut nodes = ["a", "b", "c"].map(Node::new);
/// let (balancer, intent) = (RoundRobin::new(), Intent::new(CallKind::Read, &Context::NONE));
/// let picks = |nodes: &[Node], fit| (0..4).filter_map(|_| balancer.pick(nodes, fit, &intent)).collect::<Vec<_>>();
/// assert_eq!(picks(&nodes, Mask::first(3).without(1)), [0, 2, 0, 2]);
///
/// nodes[1].weight = 2;
/// assert_eq!(picks(&nodes, Mask::first(3)), [0, 2, 1, 1]);
/// ```
#[derive(Debug)]
pub struct RoundRobin {
    turns: Turns,
}

impl RoundRobin {
    /// Begins with the first database.
    #[must_use]
    pub const fn new() -> Self {
        Self { turns: Turns::new() }
    }
}

impl Default for RoundRobin {
    fn default() -> Self {
        Self::new()
    }
}

impl Balancer for RoundRobin {
    fn pick(&self, nodes: &[Node], fit: Mask, _intent: &Intent<'_>) -> Option<usize> {
        self.turns.next(nodes, Shares::of(nodes, fit)?)
    }

    fn explain(&self) -> Explanation {
        Explanation::new("round_robin")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecm_core::{CallKind, Context};
    use proptest::prelude::*;
    use std::thread;

    const INTENT: Intent<'_> = Intent::new(CallKind::Read, &Context::NONE);

    fn nodes(weights: &[u32]) -> Vec<Node> {
        weights.iter().map(|&weight| Node { weight, ..Node::new("node") }).collect()
    }

    proptest! {
        #[test]
        fn only_fit_databases_are_picked_each_as_often_as_any_other(
            fit in proptest::collection::btree_set(0_usize..64, 1..64), picks in 1_usize..500,
        ) {
            let (balancer, nodes) = (RoundRobin::new(), nodes(&[7; 64]));
            let mask: Mask = fit.iter().copied().collect();
            let mut counts = [0_usize; 64];
            for _ in 0..picks {
                counts[balancer.pick(&nodes, mask, &INTENT).expect("the mask is not empty")] += 1;
            }
            for (index, &count) in counts.iter().enumerate() {
                let least = if fit.contains(&index) { picks / fit.len() } else { 0 };
                let most = if fit.contains(&index) { picks.div_ceil(fit.len()) } else { 0 };
                prop_assert!((least..=most).contains(&count), "{index} was picked {count} times");
            }
        }

        #[test]
        fn of_as_many_picks_as_the_weights_add_up_to_each_database_gets_its_weight(
            weights in proptest::collection::vec(1_u32..30, 2..=64), unfit in 0_usize..64, offset in 0_u32..100,
        ) {
            let (balancer, nodes) = (RoundRobin::new(), nodes(&weights));
            let mask = Mask::first(weights.len()).without(unfit);
            let pick = || balancer.pick(&nodes, mask, &INTENT).expect("the mask is not empty");
            let mut counts = vec![0; weights.len()];
            (0..offset).for_each(|_| counts[pick()] = 0);
            (0..mask.iter().map(|index| weights[index]).sum()).for_each(|_: u32| counts[pick()] += 1);
            for index in mask.iter() {
                prop_assert_eq!(counts[index], weights[index]);
            }
        }
    }

    #[test]
    fn shares_are_exact_under_concurrency() {
        const THREADS: u32 = 16;
        for weights in [[1, 1, 1], [5, 2, 1]] {
            let (balancer, nodes) = (RoundRobin::new(), nodes(&weights));
            let turns: u32 = weights.iter().sum();
            let count = || {
                let mut counts = [0; 3];
                for _ in 0..turns * 100 {
                    counts[balancer.pick(&nodes, Mask::first(3), &INTENT).expect("three are fit")] += 1;
                }
                counts
            };
            let picked: Vec<[u32; 3]> = thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(count)).collect();
                threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
            });
            for (index, weight) in weights.into_iter().enumerate() {
                assert_eq!(picked.iter().map(|counts| counts[index]).sum::<u32>(), weight * 100 * THREADS);
            }
        }
    }

    #[test]
    fn one_that_refuses_leaves_its_share_to_the_others_evenly() {
        let (balancer, nodes) = (RoundRobin::new(), nodes(&[1; 4]));
        let mut counts = [0; 4];
        for _ in 0..400 {
            let all = Mask::first(4);
            let first = balancer.pick(&nodes, all, &INTENT).unwrap();
            let admitted = if first == 0 { balancer.pick(&nodes, all.without(0), &INTENT).unwrap() } else { first };
            counts[admitted] += 1;
        }
        assert_eq!(counts[0], 0);
        assert!(counts[1..].iter().all(|count| (133..=134).contains(count)), "{counts:?}");
    }

    #[test]
    fn nothing_fit_is_nothing_picked() {
        assert_eq!(RoundRobin::new().pick(&nodes(&[1, 1]), Mask::NONE, &INTENT), None);
        assert_eq!(RoundRobin::new().pick(&[], Mask::NONE, &INTENT), None);
    }
}
