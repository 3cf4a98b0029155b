use crate::Keys;

/// Keys by Zipf's law: the second is drawn half as often as the first, to the power of the exponent, the third a
/// third as often, and so on.
///
/// Which key is drawn most has nothing to do with its number, so that those that are drawn often do not lie side by side.
#[derive(Clone, Debug)]
pub struct Zipf {
    /// Up to each rank, the weights together.
    sums: Box<[f64]>,
}

/// A prime: it shares no factor with any number of keys that is no multiple of it.
const SCATTER: usize = 48_271;

impl Zipf {
    /// Of the keys from 1 to `count`, which is no multiple of 48,271.
    #[must_use]
    pub fn new(count: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=count).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        Self { sums: sums.collect() }
    }

    /// So many keys: the same ones for the same caller in every run.
    #[must_use]
    pub fn keys(&self, caller: usize, length: usize) -> Vec<i64> {
        let mut random = Keys::of(caller);
        let whole = self.sums.last().copied().unwrap_or(0.0);
        let drawn = (0..length).map(|_| {
            let at = (random.next_random() >> 11) as f64 / (1_u64 << 53) as f64 * whole;
            self.key(self.sums.partition_point(|sum| *sum <= at))
        });
        drawn.collect()
    }

    fn key(&self, rank: usize) -> i64 {
        (rank * SCATTER % self.sums.len().max(1)) as i64 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    #[test]
    fn keys_are_drawn_by_the_law_and_every_rank_is_another_key() {
        const COUNT: usize = 1_000;
        let zipf = Zipf::new(COUNT, 0.99);
        assert_eq!((0..COUNT).map(|rank| zipf.key(rank)).collect::<HashSet<_>>().len(), COUNT);
        let keys = zipf.keys(0, 200_000);
        assert!(keys.iter().all(|key| (1..=COUNT as i64).contains(key)));
        let mut counts: HashMap<i64, f64> = HashMap::new();
        keys.iter().for_each(|key| *counts.entry(*key).or_default() += 1.0);
        let count = |rank| counts[&zipf.key(rank)];
        for rank in [1, 3, 9, 99] {
            let expected = ((rank + 1) as f64).powf(0.99);
            let ratio = count(0) / count(rank);
            assert!((0.8..1.25).contains(&(ratio / expected)), "rank {rank}: {ratio}, expected {expected}");
        }
        assert_ne!(zipf.keys(0, 50), zipf.keys(1, 50));
    }
}
