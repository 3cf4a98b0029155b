use crate::{
    QuickConfig,
    bounds::{bytes, too_old},
    carried::Carried,
    counts::Counts,
    layout::Layout,
    lookup::Lookup,
};
use ecm_core::{Cache, CacheStats, Entry, InvalidConfig, Key, KeyRef, Time};
use quick_cache::{Lifecycle, OptionsBuilder, Weighter, sync};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// A cache bounded in entries, bytes and age, which prefers to keep what was asked for again.
///
/// It is `quick_cache`, a CLOCK-Pro cache in shards with a lock each. A hit is a lookup under a read
/// lock; it allocates nothing and hashes nothing. Eviction is decided in each shard alone, so a cache
/// that is nearly full may evict a little before its bounds.
///
/// An entry that has become too old is not served; it is removed when it is asked for, and otherwise
/// when its place is needed. Nothing else goes unasked.
pub struct Quick {
    stored: sync::Cache<Key, Arc<Entry>, Weight, Carried, Collected>,
    config: QuickConfig,
    counts: Counts,
    bytes: AtomicU64,
    inserted: AtomicU64,
    rejected: AtomicU64,
    evicted: AtomicU64,
    expired: AtomicU64,
}

/// Bytes, but never less than what the bound on entries asks for: see [`Layout`].
#[derive(Clone, Copy, Debug)]
struct Weight {
    least: u64,
}

impl Weighter<Key, Arc<Entry>> for Weight {
    fn weight(&self, _key: &Key, entry: &Arc<Entry>) -> u64 {
        bytes(entry).max(self.least)
    }
}

/// Gathers what an insertion pushes out, so that it is counted and dropped after the lock is released.
#[derive(Clone, Copy, Debug)]
struct Collected;

impl Lifecycle<Key, Arc<Entry>> for Collected {
    type RequestState = Vec<(Key, Arc<Entry>)>;

    fn on_evict(&self, gone: &mut Self::RequestState, key: Key, entry: Arc<Entry>) {
        gone.push((key, entry));
    }
}

impl Quick {
    /// An empty cache.
    ///
    /// # Errors
    /// The first field that is not within its limits.
    pub fn new(config: &QuickConfig) -> Result<Self, InvalidConfig> {
        config.check()?;
        // More shards than threads that run, so that two of them seldom meet in one.
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self::divided(config, Layout::new(config, threads.saturating_mul(4))))
    }

    fn divided(config: &QuickConfig, layout: Layout) -> Self {
        let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let options = OptionsBuilder::new()
            .shards(whole(layout.shards))
            .estimated_items_capacity(whole(layout.entries()))
            .weight_capacity(layout.weight())
            .hot_allocation(layout.hot)
            .build()
            .expect("both capacities are given");
        let weight = Weight { least: layout.least_weight };
        Self {
            stored: sync::Cache::with_options(options, weight, Carried, Collected),
            config: config.clone(),
            counts: Counts::default(),
            bytes: AtomicU64::new(0),
            inserted: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            expired: AtomicU64::new(0),
        }
    }

    fn too_old(&self, entry: &Entry, now: Time) -> bool {
        too_old(entry, self.config.ttl, now)
    }

    fn gone(&self, removed: Option<(Key, Arc<Entry>)>) {
        if let Some((_, entry)) = removed {
            self.bytes.fetch_sub(bytes(&entry), Ordering::Relaxed);
        }
    }
}

impl Cache for Quick {
    fn get(&self, key: KeyRef<'_>, now: Time) -> Option<Arc<Entry>> {
        let key = Lookup(key);
        let found = self.stored.get(&key);
        if let Some(entry) = found {
            if !self.too_old(&entry, now) {
                self.counts.hit();
                return Some(entry);
            }
            // Asked again under the lock: by now somebody may have stored a younger one.
            let removed = self.stored.remove_if(&key, |entry| self.too_old(entry, now));
            self.expired.fetch_add(u64::from(removed.is_some()), Ordering::Relaxed);
            self.gone(removed);
        }
        self.counts.miss();
        None
    }

    fn insert(&self, key: Key, entry: Arc<Entry>) {
        if bytes(&entry) > self.config.max_entry_bytes {
            self.rejected.fetch_add(1, Ordering::Relaxed);
            // What it would have taken the place of is out of date all the same.
            self.gone(self.stored.remove(&key));
            return;
        }
        let (hash, now) = (key.hash(), entry.stored);
        // Before it can be removed again, so that the sum never falls below zero.
        self.bytes.fetch_add(bytes(&entry), Ordering::Relaxed);
        self.inserted.fetch_add(1, Ordering::Relaxed);
        let mut displaced = Vec::new();
        self.stored.insert_with_lifecycle(key, entry, &mut displaced);
        // What had the same key was replaced, which is no loss.
        let mut replaced = false;
        for (key, entry) in displaced {
            if key.hash() == hash && !replaced {
                replaced = true;
            } else if self.too_old(&entry, now) {
                self.expired.fetch_add(1, Ordering::Relaxed);
            } else {
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
            self.gone(Some((key, entry)));
        }
    }

    fn remove(&self, key: KeyRef<'_>) {
        self.gone(self.stored.remove(&Lookup(key)));
    }

    fn clear(&self) {
        self.stored.drain().for_each(|removed| self.gone(Some(removed)));
    }

    /// As the trait says. Takes the read lock of each shard in turn.
    fn stats(&self) -> CacheStats {
        let mut stats = CacheStats::default();
        stats.hits = self.counts.hits();
        stats.misses = self.counts.misses();
        stats.entries = u64::try_from(self.stored.len()).unwrap_or(u64::MAX);
        stats.bytes = self.bytes.load(Ordering::Relaxed);
        stats.capacity = self.config.max_entries;
        stats.inserted = self.inserted.load(Ordering::Relaxed);
        stats.rejected = self.rejected.load(Ordering::Relaxed);
        stats.evicted = self.evicted.load(Ordering::Relaxed);
        stats.expired = self.expired.load(Ordering::Relaxed);
        stats
    }
}

impl Default for Quick {
    /// A cache of the default configuration.
    fn default() -> Self {
        Self::new(&QuickConfig::default()).expect("the defaults are within their limits")
    }
}

impl fmt::Debug for Quick {
    /// By hand: entries are not for printing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quick").field("config", &self.config).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecm_core::{Position, ValueRef};
    use std::time::Duration;

    fn store(cache: &Quick, number: i64, bytes: u64) {
        let key = KeyRef::new(0, 0, &[ValueRef::Integer(number)]).to_key();
        let (position, bytes) = (Position::default(), usize::try_from(bytes).unwrap());
        let entry = Entry {
            rows: Arc::default(),
            versions: Box::default(),
            epoch: 0,
            position,
            stored: Time::START,
            took: Duration::ZERO,
            bytes,
        };
        cache.insert(key, Arc::new(entry));
    }

    fn stored(cache: &Quick, number: i64) -> bool {
        cache.get(KeyRef::new(0, 0, &[ValueRef::Integer(number)]), Time::START).is_some()
    }

    #[test]
    fn the_largest_entry_fits_however_the_cache_is_divided() {
        let config = QuickConfig::default();
        for most in [1, 2, 8, 64, 1_024] {
            let layout = Layout::new(&config, most);
            let cache = Quick::divided(&config, layout);
            assert_eq!(cache.stored.num_shards() as u64, layout.shards, "quick_cache has not chosen otherwise");
            for number in 0..200 {
                store(&cache, number, config.max_entry_bytes);
                assert!(stored(&cache, number), "one of {} shards has not stored number {number}", layout.shards);
                store(&cache, 1_000 + number, config.max_entry_bytes + 1);
                assert!(!stored(&cache, 1_000 + number));
            }
            let stats = cache.stats();
            assert_eq!((stats.rejected, stats.entries + stats.evicted), (200, 200));
            assert!(stats.bytes <= config.max_bytes, "{stats:?}");
        }
    }

    #[test]
    fn entries_are_spread_over_all_shards() {
        let config = QuickConfig { max_entry_bytes: 1, ..QuickConfig::default() };
        let cache = Quick::divided(&config, Layout::new(&config, 64));
        assert_eq!(cache.stored.num_shards(), 64);
        let mut counts = [0; 64];
        for number in 0..6_400 {
            counts[cache.stored.shard_index(&Lookup(KeyRef::new(0, 0, &[ValueRef::Integer(number)])))] += 1;
        }
        // 100 are expected in each, with a standard deviation of 10.
        assert!(counts.iter().all(|count| (50..=150).contains(count)), "{counts:?}");
    }
}
