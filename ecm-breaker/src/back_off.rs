use std::time::Duration;

/// How long to stay open: doubling from `first` up to `most`, with equal jitter.
#[derive(Debug)]
pub(crate) struct BackOff {
    pub(crate) first: Duration,
    pub(crate) most: Duration,
    pub(crate) seed: u64,
}

impl BackOff {
    /// For how long to stay open the `opening`th time in a row, counted from 1. `draw` tells this
    /// opening from all others of the same breaker.
    ///
    /// Half of the time plus a random part of the other half ("equal jitter": Marc Brooker,
    /// *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015).
    pub(crate) fn span(&self, opening: u32, draw: u64) -> Duration {
        let doublings = opening.saturating_sub(1).min(31);
        let span = self.first.saturating_mul(1 << doublings).min(self.most);
        let half = u64::try_from(span.as_nanos() / 2).unwrap_or(u64::MAX);
        let part = (u128::from(mixed(self.seed, draw)) * (u128::from(half) + 1)) >> 64;
        span - Duration::from_nanos(half) + Duration::from_nanos(part as u64)
    }
}

/// The `draw`th number of SplitMix64 from this seed (Steele, Lea and Flood, *Fast splittable
/// pseudorandom number generators*, 2014).
fn mixed(seed: u64, draw: u64) -> u64 {
    let mut mixed = seed.wrapping_add(draw.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_span_is_from_one_half_to_the_whole_of_the_doubled_one(
            first in 1_u64..86_400_000_000, most in 0_u64..86_400_000_000, seed: u64, opening: u32, draw: u64,
        ) {
            let (first, most) = (Duration::from_micros(first), Duration::from_micros(first + most));
            let span = BackOff { first, most, seed }.span(opening, draw);
            let whole = (0..opening.saturating_sub(1).min(40)).fold(first, |span, _| (span * 2).min(most));
            prop_assert!((whole / 2..=whole).contains(&span), "{span:?} of {whole:?}");
        }
    }

    #[test]
    fn the_random_part_covers_the_half_and_comes_from_the_seed() {
        let second = Duration::from_secs(1);
        let spans = |seed| {
            let back_off = BackOff { first: second, most: second, seed };
            (0..1_000).map(|draw| back_off.span(1, draw)).collect::<Vec<_>>()
        };
        assert_eq!(spans(3), spans(3));
        assert_ne!(spans(3), spans(4));
        for tenth in 0..10 {
            let from = second / 2 + second / 20 * tenth;
            let within = spans(5).into_iter().filter(|&span| from <= span && span < from + second / 20).count();
            // 100 are expected; four standard deviations are 38. The seed makes it the same each time.
            assert!((62..=138).contains(&within), "{within} of 1000 from {from:?} on");
        }
    }
}
