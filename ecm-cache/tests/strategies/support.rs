//! What the tests of all strategies need.

use ecm_core::{Cache, CacheStats, Entry, KeyRef, Position, Time, ValueRef};
use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

pub(crate) const NOW: Time = Time::START;

pub(crate) fn entry(bytes: usize, stored: Time, tag: u64) -> Arc<Entry> {
    let position = Position::default();
    Arc::new(Entry {
        rows: Arc::default(),
        versions: Box::default(),
        epoch: tag,
        position,
        stored,
        took: Duration::ZERO,
        bytes,
    })
}

pub(crate) fn put(cache: &dyn Cache, number: i64, bytes: usize) -> Arc<Entry> {
    put_at(cache, number, bytes, NOW)
}

pub(crate) fn put_at(cache: &dyn Cache, number: i64, bytes: usize, stored: Time) -> Arc<Entry> {
    let entry = entry(bytes, stored, 0);
    insert(cache, number, Arc::clone(&entry));
    entry
}

pub(crate) fn insert(cache: &dyn Cache, number: i64, entry: Arc<Entry>) {
    cache.insert(KeyRef::new(0, 0, &[ValueRef::Integer(number)]).to_key(), entry);
}

pub(crate) fn get(cache: &dyn Cache, number: i64, now: Time) -> Option<Arc<Entry>> {
    cache.get(KeyRef::new(0, 0, &[ValueRef::Integer(number)]), now)
}

pub(crate) fn remove(cache: &dyn Cache, number: i64) {
    cache.remove(KeyRef::new(0, 0, &[ValueRef::Integer(number)]));
}

/// How many entries have gone because somebody said so: replaced, removed, cleared. Panics if the figures do not fit
/// together.
pub(crate) fn withdrawn(stats: &CacheStats) -> u64 {
    let gone =
        stats.inserted.checked_sub(stats.entries).and_then(|gone| gone.checked_sub(stats.evicted + stats.expired));
    gone.unwrap_or_else(|| panic!("more has gone than had come: {stats:?}"))
}

/// The seed of a random test: `ECM_SEED`, or a new one. It is printed, and shown if the test fails.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("ECM_SEED").ok().map(|seed| seed.parse().expect("ECM_SEED is a number"));
    let seed = given.unwrap_or_else(|| RandomState::new().hash_one("seed"));
    eprintln!("to run this again: ECM_SEED={seed}");
    seed
}

/// Numbers that follow from a seed (splitmix64, <https://prng.di.unimi.it/splitmix64.c>).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
