use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

/// Numbers from SplitMix64 (Steele, Lea and Flood, *Fast splittable pseudorandom number generators*, 2014): the
/// `n`th depends on `n` and the seed alone, so that many threads draw together what one would draw alone.
#[derive(Debug)]
pub(crate) struct Draws {
    seed: u64,
    drawn: AtomicU64,
}

impl Draws {
    pub(crate) fn new() -> Self {
        Self::with_seed(RandomState::new().hash_one(0))
    }

    pub(crate) const fn with_seed(seed: u64) -> Self {
        Self { seed, drawn: AtomicU64::new(0) }
    }

    #[inline]
    fn next(&self) -> u64 {
        let n = self.drawn.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let mut mixed = self.seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, each as likely as any other but for one part in 2^26.
    #[inline]
    pub(crate) fn below(&self, bound: u64) -> u64 {
        // A multiplication instead of a remainder: Lemire, Fast random integer generation in an interval, 2019.
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Two different numbers below `bound`, which is from 2 to 64, each pair as likely as any other but for one
    /// part in 2^26.
    #[inline]
    pub(crate) fn two_below(&self, bound: u32) -> (usize, usize) {
        let drawn = self.next();
        let part = |half: u32, bound: u32| ((u64::from(half) * u64::from(bound)) >> 32) as usize;
        let (first, second) = (part(drawn as u32, bound), part((drawn >> 32) as u32, bound - 1));
        (first, second + usize::from(second >= first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_that_are_drawn_differ_and_every_pair_has_its_chance() {
        for bound in [2_u32, 3, 5, 9, 64] {
            let (draws, pairs) = (Draws::with_seed(3), bound * (bound - 1));
            let mut counts = vec![0_u32; (bound * bound) as usize];
            for _ in 0..pairs * 200 {
                let (first, second) = draws.two_below(bound);
                assert!(first != second && first.max(second) < bound as usize);
                counts[first * bound as usize + second] += 1;
            }
            let seen: Vec<_> = counts.into_iter().filter(|&count| count > 0).collect();
            assert_eq!(seen.len(), pairs as usize);
            let squares = seen.iter().map(|&count| (f64::from(count) - 200.0).powi(2) / 200.0);
            let (chi_square, freedom) = (squares.sum::<f64>(), f64::from(pairs - 1));
            // Five standard deviations; the seed makes it the same each time.
            assert!(chi_square < freedom + 5.0 * (2.0 * freedom).sqrt() + 5.0, "{bound}: {chi_square}");
        }
    }
}
