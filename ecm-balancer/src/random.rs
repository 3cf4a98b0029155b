use crate::{draws::Draws, shares::Shares};
use ecm_core::{Balancer, Explanation, Intent, Mask, Node};

/// Any fit database, with a chance in proportion to its weight.
///
/// Processes that pick at random do not fall into step with each other, as those that go round may.
/// Priorities play no part.
///
/// The numbers come from SplitMix64 (Steele, Lea and Flood, *Fast splittable pseudorandom number
/// generators*, 2014): the `n`th pick depends on `n` and the seed alone, so that many threads draw
/// together what one would draw alone. They are not for secrets.
///
/// A pick is one atomic addition and a look at the weights of all nodes.
///
/// ```
/// use ecm_balancer::Random;
/// use ecm_core::{Balancer, CallKind, Context, Intent, Mask, Node};
///
/// let nodes = ["a", "b", "c"].map(Node::new);
/// let intent = Intent::new(CallKind::Read, &Context::NONE);
/// let picks = |balancer: Random| [(); 8].map(|()| balancer.pick(&nodes, Mask::first(3), &intent));
/// assert_eq!(picks(Random::with_seed(7)), picks(Random::with_seed(7)));
/// ```
#[derive(Debug)]
pub struct Random {
    draws: Draws,
}

impl Random {
    /// With a seed that differs each time; its `Debug` shows it.
    #[must_use]
    pub fn new() -> Self {
        Self { draws: Draws::new() }
    }

    /// With this seed: the same picks each time. Any number will do.
    #[must_use]
    pub const fn with_seed(seed: u64) -> Self {
        Self { draws: Draws::with_seed(seed) }
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

impl Balancer for Random {
    fn pick(&self, nodes: &[Node], fit: Mask, _intent: &Intent<'_>) -> Option<usize> {
        let shares = Shares::of(nodes, fit)?;
        shares.at(nodes, self.draws.below(shares.turns()))
    }

    fn explain(&self) -> Explanation {
        Explanation::new("random")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecm_core::{CallKind, Context};
    use std::thread;

    const INTENT: Intent<'_> = Intent::new(CallKind::Read, &Context::NONE);

    fn nodes(weights: [u32; 5]) -> [Node; 5] {
        weights.map(|weight| Node { weight, ..Node::new("node") })
    }

    fn counts(balancer: &Random, nodes: &[Node], fit: Mask, picks: u32) -> [u32; 5] {
        let mut counts = [0; 5];
        (0..picks).for_each(|_| counts[balancer.pick(nodes, fit, &INTENT).expect("some are fit")] += 1);
        counts
    }

    #[test]
    fn each_has_its_chance_whatever_the_seed() {
        for weights in [[1, 1, 1, 1, 1], [4, 1, 2, 3, 10]] {
            let (nodes, fit) = (nodes(weights), Mask::first(5).without(1));
            let total: u32 = fit.iter().map(|index| weights[index]).sum();
            for seed in 0..50 {
                let counts = counts(&Random::with_seed(seed), &nodes, fit, 20_000);
                assert_eq!(counts[1], 0, "seed {seed}");
                let squares = fit.iter().map(|index| {
                    let expected = 20_000.0 * f64::from(weights[index]) / f64::from(total);
                    (f64::from(counts[index]) - expected).powi(2) / expected
                });
                // Three degrees of freedom: one of 10,000 seeds goes beyond. These fifty are always the same.
                let chi_square: f64 = squares.sum();
                assert!(chi_square < 21.1, "seed {seed}: {counts:?}, chi-square {chi_square}");
            }
        }
    }

    #[test]
    fn threads_draw_together_what_one_would_draw_alone() {
        let nodes = nodes([1, 2, 3, 4, 5]);
        let fit = Mask::first(5);
        let shared = Random::with_seed(11);
        let together = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| counts(&shared, &nodes, fit, 500))).collect();
            let each = threads.into_iter().map(|thread| thread.join().expect("no thread panics"));
            each.fold([0; 5], |sum, counts| std::array::from_fn(|index| sum[index] + counts[index]))
        });
        assert_eq!(together, counts(&Random::with_seed(11), &nodes, fit, 8 * 500));
    }

    #[test]
    fn the_numbers_are_those_of_the_reference() {
        // The first outputs of splitmix64.c by Sebastiano Vigna, from the state 1234567, scaled to 2^64.
        let random = Random::with_seed(1_234_567);
        let drawn = [(); 3].map(|()| random.draws.below(u64::MAX));
        assert_eq!(drawn, [6_457_827_717_110_365_316, 3_203_168_211_198_807_972, 9_817_491_932_198_370_422]);
    }

    #[test]
    fn seeds_that_are_not_given_differ() {
        assert_ne!(format!("{:?}", Random::new()), format!("{:?}", Random::new()));
        assert_eq!(Random::new().pick(&nodes([1; 5]), Mask::NONE, &INTENT), None);
    }
}
