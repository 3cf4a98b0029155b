//! The load: how many callers come each second.

pub(crate) const SECONDS: usize = 240;

/// Arrivals per second: little, rising, a burst of five seconds, falling, little.
pub(crate) fn rate(second: f64) -> f64 {
    match second {
        0.0..30.0 => 20.0,
        30.0..90.0 => 20.0 + 380.0 * (second - 30.0) / 60.0,
        90.0..95.0 => 2_000.0,
        95.0..120.0 => 400.0,
        120.0..150.0 => 400.0 - 380.0 * (second - 120.0) / 30.0,
        _ => 20.0,
    }
}

/// Draws independent arrivals, the same ones from the same seed.
pub(crate) struct Arrivals(u64);

impl Arrivals {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// How many come in a span in which `expected` do on average: a Poisson number, by multiplying
    /// uniform ones (Knuth, The Art of Computer Programming, volume 2, 3.4.1).
    pub(crate) fn next(&mut self, expected: f64) -> u32 {
        let (limit, mut product, mut count) = ((-expected).exp(), self.uniform(), 0);
        while product > limit {
            product *= self.uniform();
            count += 1;
        }
        count
    }

    /// Between 0 and 1, by SplitMix64 (Steele, Lea, Flood 2014).
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
