//! Results that differ in what they take to compute and in size: is the time that a cache saves worth looking
//! at when it is decided what to store?

use crate::{
    replay::{Takes, replay, strategy},
    trace::{KEYS, REQUESTS, Random, zipf},
};
use ecm_cache::ByWorth;
use ecm_core::Cache;
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

const SEED: u64 = 11;

/// What each result takes.
pub(crate) struct Costs {
    /// In microseconds.
    time: Vec<f64>,
    bytes: Vec<usize>,
}

/// How time and size go together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kinds {
    /// Each is a lookup of 3 to 30 µs, of 200 bytes to 2 KB.
    Alike,
    /// Of ten, seven are such lookups, two are lists of 20 to 200 µs and up to 50 KB, one is a sum over much: 1 to 20 ms
    /// and 300 bytes.
    Mixed,
}

impl Costs {
    pub(crate) fn new(kinds: Kinds) -> Self {
        let mut random = Random::new(SEED);
        let mut between = |low: f64, high: f64| low * (high / low).powf(random.uniform());
        let (mut time, mut bytes) = (Vec::new(), Vec::new());
        for _ in 0..KEYS {
            let kind = if kinds == Kinds::Alike { 0.0 } else { between(1.0, std::f64::consts::E).ln() };
            let (takes, size) = match kind {
                0.0..0.7 => (between(3.0, 30.0), between(200.0, 2_000.0)),
                0.7..0.9 => (between(20.0, 200.0), between(2_000.0, 50_000.0)),
                _ => (between(1_000.0, 20_000.0), 300.0),
            };
            time.push(takes);
            bytes.push(size as usize);
        }
        Self { time, bytes }
    }

    /// Microseconds saved for each byte kept.
    fn density(&self, key: u32) -> f64 {
        self.time[key as usize] / self.bytes[key as usize] as f64
    }

    fn total_bytes(&self) -> u64 {
        self.bytes.iter().map(|bytes| *bytes as u64).sum()
    }
}

/// The part of all the time of computing that is saved, and the part of the requests that are served, where a part of
/// all results fits, and either all are admitted or those that are worth it; of so many requests.
pub(crate) fn saved(number: usize, kinds: Kinds, by_worth: bool, part: f64, count: usize) -> (f64, f64) {
    let (costs, requests) = (Costs::new(kinds), zipf(count, SEED));
    let max_bytes = (costs.total_bytes() as f64 * part) as u64;
    let cache = strategy(number, u64::from(KEYS), max_bytes, 50_000);
    let cache: Box<dyn Cache> = if by_worth { Box::new(ByWorth::new(cache)) } else { cache };
    let (mut time, mut hits) = (0.0, 0_usize);
    let takes = |key: u32| Takes {
        bytes: costs.bytes[key as usize],
        time: Duration::from_secs_f64(costs.time[key as usize] / 1_000_000.0),
    };
    replay(&*cache, &requests, takes, |key| (time, hits) = (time + costs.time[key as usize], hits + 1));
    let all: f64 = requests.iter().map(|key| costs.time[*key as usize]).sum();
    (time / all, hits as f64 / requests.len() as f64)
}

/// The same for a cache that evicts what saves least for its bytes, by how often it is asked for (GreedyDual-Size-Frequency:
/// Cherkasova 1998). Not a cache of ours: it keeps an order of all entries, which each hit changes.
pub(crate) fn saved_by_greedy_dual(kinds: Kinds, part: f64) -> (f64, f64) {
    let (costs, requests) = (Costs::new(kinds), zipf(REQUESTS, SEED));
    let max_bytes = (costs.total_bytes() as f64 * part) as u64;
    // The bits of numbers that are not negative have the order of the numbers.
    let mut order: BTreeSet<(u64, u32)> = BTreeSet::new();
    let mut kept: HashMap<u32, (u64, f64)> = HashMap::new();
    let (mut inflation, mut bytes, mut time, mut hits) = (0.0, 0, 0.0, 0_usize);
    for key in &requests {
        let mut asked = 1.0;
        if let Some((rank, before)) = kept.remove(key) {
            order.remove(&(rank, *key));
            asked = before + 1.0;
            (time, hits) = (time + costs.time[*key as usize], hits + 1);
        } else {
            bytes += costs.bytes[*key as usize] as u64;
        }
        let rank = (inflation + asked * costs.density(*key)).to_bits();
        order.insert((rank, *key));
        kept.insert(*key, (rank, asked));
        while bytes > max_bytes {
            let (rank, gone) = order.pop_first().expect("what takes bytes is in order");
            kept.remove(&gone);
            inflation = f64::from_bits(rank);
            bytes -= costs.bytes[gone as usize] as u64;
        }
    }
    let all: f64 = requests.iter().map(|key| costs.time[*key as usize]).sum();
    (time / all, hits as f64 / requests.len() as f64)
}
