use std::time::Duration;

/// Numbers that look random, from a seed: Marsaglia's xorshift64, after one step of splitmix64 so that
/// similar seeds do not begin alike.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mixed = (seed.wrapping_add(0x9E37_79B9_7F4A_7C15) ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Self(mixed.max(1))
    }

    /// A part of the span, from nothing up to almost all of it.
    pub(crate) fn part_of(&mut self, span: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The upper 53 bits: as many as a f64 holds exactly.
        span.mul_f64((self.0 >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_spread_and_come_again_with_the_seed() {
        let drawn = |seed| {
            let mut random = Random::new(seed);
            (0..100).map(|_| random.part_of(Duration::from_secs(100)).as_secs()).collect::<Vec<_>>()
        };
        for seed in [0, 1, u64::MAX] {
            let mut parts = drawn(seed);
            assert_eq!(parts, drawn(seed));
            parts.sort_unstable();
            assert!(parts[0] < 10 && parts[99] >= 90 && parts[99] < 100, "{seed}: {parts:?}");
        }
        assert_ne!(drawn(1), drawn(2));
    }
}
