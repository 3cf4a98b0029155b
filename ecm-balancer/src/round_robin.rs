use ecm_core::{Balancer, Intent, Mask, Node};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Every fit database in turn.
///
/// While the set of fit databases stays the same, the shares are exact, whatever number of threads
/// picks: after `n` picks of `k` databases each was picked `n / k` times, rounded up or down.
/// Priorities and weights play no part.
///
/// A pick is one atomic addition and a walk over the set bits of the mask.
///
/// ```
/// use ecm_balancer::RoundRobin;
/// use ecm_core::{Balancer, CallKind, Context, Intent, Mask, Node};
///
/// let nodes = ["a", "b", "c"].map(Node::new);
/// let (balancer, intent) = (RoundRobin::new(), Intent::new(CallKind::Read, &Context::NONE));
/// let picks: Vec<_> = (0..4).filter_map(|_| balancer.pick(&nodes, Mask::first(3).without(1), &intent)).collect();
/// assert_eq!(picks, [0, 2, 0, 2]);
/// ```
#[derive(Debug, Default)]
pub struct RoundRobin {
    next: AtomicUsize,
}

impl RoundRobin {
    /// Begins with the first database.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: AtomicUsize::new(0) }
    }
}

impl Balancer for RoundRobin {
    fn pick(&self, _nodes: &[Node], fit: Mask, _intent: &Intent<'_>) -> Option<usize> {
        if fit.is_empty() {
            return None;
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % fit.len();
        fit.iter().nth(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecm_core::{CallKind, Context};
    use proptest::prelude::*;
    use std::thread;

    fn nodes(count: usize) -> Vec<Node> {
        (0..count).map(|index| Node::new(format!("node-{index}"))).collect()
    }

    proptest! {
        #[test]
        fn only_fit_databases_are_picked_each_as_often_as_any_other(
            fit in proptest::collection::btree_set(0_usize..64, 1..64), picks in 1_usize..500,
        ) {
            let (balancer, nodes) = (RoundRobin::new(), nodes(64));
            let mask: Mask = fit.iter().copied().collect();
            let mut counts = [0_usize; 64];
            for _ in 0..picks {
                let picked = balancer.pick(&nodes, mask, &Intent::new(CallKind::Read, &Context::NONE));
                counts[picked.expect("the mask is not empty")] += 1;
            }
            for (index, &count) in counts.iter().enumerate() {
                let least = if fit.contains(&index) { picks / fit.len() } else { 0 };
                let most = if fit.contains(&index) { picks.div_ceil(fit.len()) } else { 0 };
                prop_assert!((least..=most).contains(&count), "{index} was picked {count} times");
            }
        }
    }

    #[test]
    fn shares_are_exact_under_concurrency() {
        const EACH: usize = 3_000;
        let (balancer, nodes) = (RoundRobin::new(), nodes(3));
        let picked: Vec<_> = thread::scope(|scope| {
            let count = || {
                let mut counts = [0; 3];
                for _ in 0..EACH {
                    let intent = Intent::new(CallKind::Read, &Context::NONE);
                    counts[balancer.pick(&nodes, Mask::first(3), &intent).expect("three are fit")] += 1;
                }
                counts
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
        });
        for index in 0..3 {
            assert_eq!(picked.iter().map(|counts| counts[index]).sum::<usize>(), 4 * EACH / 3);
        }
    }

    #[test]
    fn nothing_fit_is_nothing_picked() {
        let picked = RoundRobin::new().pick(&nodes(2), Mask::NONE, &Intent::new(CallKind::Read, &Context::NONE));
        assert_eq!(picked, None);
    }
}
