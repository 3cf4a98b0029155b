//! What is asked for, in order: three loads that caches are known by.

/// So many different results can be asked for.
pub(crate) const KEYS: u32 = 20_000;
pub(crate) const REQUESTS: usize = 400_000;
const SKEW: f64 = 0.99;
/// How many are asked for between two scans.
const BETWEEN_SCANS: usize = 30_000;
const SCANNED: u32 = 10_000;
const LOOPED: u32 = 5_000;
const SEED: u64 = 7;

pub(crate) struct Trace {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) requests: Vec<u32>,
}

pub(crate) fn traces() -> [Trace; 3] {
    [
        Trace { name: "Zipf", about: "20,000 results, by rank to the power of -0.99", requests: zipf(REQUESTS, SEED) },
        Trace { name: "scan", about: "the same, and 10,000 others after every 30,000", requests: scan() },
        Trace {
            name: "loop",
            about: "5,000 results, one after the other, again and again",
            requests: round_and_round(),
        },
    ]
}

/// Independent requests by the law of Zipf, the same ones from the same seed.
pub(crate) fn zipf(count: usize, seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed);
    let mut below = 0.0;
    let sums: Vec<f64> = (1..=KEYS)
        .map(|rank| {
            below += f64::from(rank).powf(-SKEW);
            below
        })
        .collect();
    let draw = |_| {
        let at = random.uniform() * below;
        // Which numbers are popular must not depend on their order.
        spread(sums.partition_point(|sum| *sum <= at) as u32)
    };
    (0..count).map(draw).collect()
}

/// Another number for each below [`KEYS`], by a factor that has no divisor in common with it.
fn spread(rank: u32) -> u32 {
    (rank.min(KEYS - 1) * 7_919) % KEYS
}

fn scan() -> Vec<u32> {
    let mut requests = Vec::new();
    for (number, some) in zipf(REQUESTS, SEED).chunks(BETWEEN_SCANS).enumerate() {
        requests.extend(some);
        let first = KEYS + number as u32 * SCANNED;
        requests.extend(first..first + SCANNED);
    }
    requests.truncate(REQUESTS);
    requests
}

fn round_and_round() -> Vec<u32> {
    (0..LOOPED).cycle().take(REQUESTS).collect()
}

/// Numbers that follow from a seed (SplitMix64: Steele, Lea, Flood 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Between 0 and 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
