use crate::{
    QuickConfig,
    bounds::{bytes, too_old},
    carried::Carried,
    counts::Counts,
    held::{Held, stripes},
    layout::Layout,
    lookup::Lookup,
    seen::Seen,
};
use crossbeam_utils::sync::{ShardedLock, ShardedLockWriteGuard};
use ecm_core::{Cache, CacheStats, Entry, InvalidConfig, Key, KeyRef, Time};
use quick_cache::{Lifecycle, OptionsBuilder, Weighter, unsync};
use std::{
    fmt,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// A cache bounded in entries, bytes and age, which prefers to keep what was asked for again.
///
/// It is `quick_cache`, a CLOCK-Pro cache, in shards with a lock each. A hit is a lookup under a read lock, which
/// hashes nothing; eviction is decided in each shard alone, so a cache that is nearly full may evict a little before
/// its bounds.
///
/// Threads that hit write nothing that another one writes: each takes a read lock of its own, of which
/// an insertion takes all eight, counts in a place of its own, and takes along a copy of the entry that is its own
/// where several threads hit the same one. Making that copy is all that a hit ever allocates.
///
/// Once it is full it wants ([`Cache::wants`]) only what was asked for before: what is asked for once then costs
/// little, and displaces nothing.
///
/// An entry that has become too old is not served; it is removed when it is asked for, and otherwise
/// when its place is needed. Nothing else goes unasked.
pub struct Quick {
    shards: Box<[ShardedLock<Shard>]>,
    /// How many copies of an entry there may be.
    stripes: usize,
    config: QuickConfig,
    counts: Counts,
    seen: Seen,
    /// Whether something had to go for something else since everything was forgotten.
    full: AtomicBool,
    bytes: AtomicU64,
    inserted: AtomicU64,
    rejected: AtomicU64,
    evicted: AtomicU64,
    expired: AtomicU64,
}

type Shard = unsync::Cache<Key, Held, Weight, Carried, Collected>;

/// Bytes, but never less than what the bound on entries asks for: see [`Layout`].
#[derive(Clone, Copy, Debug)]
struct Weight {
    least: u64,
}

impl Weighter<Key, Held> for Weight {
    fn weight(&self, _key: &Key, held: &Held) -> u64 {
        bytes(held.entry()).max(self.least)
    }
}

/// Gathers what an insertion pushes out, so that it is counted and dropped after the lock is released.
#[derive(Clone, Copy, Debug)]
struct Collected;

impl Lifecycle<Key, Held> for Collected {
    type RequestState = Displaced;

    fn on_evict(&self, displaced: &mut Displaced, key: Key, held: Held) {
        displaced.push((key, held));
    }
}

/// What one insertion has pushed out: mostly one entry, for which it asks for no memory.
#[derive(Debug, Default)]
struct Displaced {
    first: Option<(Key, Held)>,
    others: Vec<(Key, Held)>,
}

impl Displaced {
    fn push(&mut self, gone: (Key, Held)) {
        match self.first {
            None => self.first = Some(gone),
            Some(_) => self.others.push(gone),
        }
    }

    fn into_each(self) -> impl Iterator<Item = (Key, Held)> {
        self.first.into_iter().chain(self.others)
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
        Ok(Self::divided(config, Layout::new(config, threads.saturating_mul(4)), stripes(threads)))
    }

    fn divided(config: &QuickConfig, layout: Layout, stripes: usize) -> Self {
        let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let weight = Weight { least: layout.least_weight };
        let shard = || {
            let options = OptionsBuilder::new()
                .estimated_items_capacity(whole(layout.entries_in_a_shard))
                .weight_capacity(layout.entries_in_a_shard * layout.least_weight)
                .hot_allocation(layout.hot)
                .build()
                .expect("both capacities are given");
            ShardedLock::new(Shard::with_options(options, weight, Carried, Collected))
        };
        Self {
            shards: std::iter::repeat_with(shard).take(whole(layout.shards)).collect(),
            stripes,
            config: config.clone(),
            counts: Counts::default(),
            seen: Seen::new(layout.shards * layout.entries_in_a_shard),
            full: AtomicBool::new(false),
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

    /// By the bits in the middle: the table of a shard takes those at both ends.
    #[inline]
    fn shard(&self, hash: u64) -> &ShardedLock<Shard> {
        // Their number is a power of two.
        &self.shards[(hash >> 32) as usize & (self.shards.len() - 1)]
    }

    /// Also after a panic under the lock: nothing that runs under it is ours to panic.
    fn write(&self, hash: u64) -> ShardedLockWriteGuard<'_, Shard> {
        self.shard(hash).write().unwrap_or_else(PoisonError::into_inner)
    }

    fn gone(&self, removed: Option<(Key, Held)>) {
        if let Some((_, held)) = removed {
            self.bytes.fetch_sub(bytes(held.entry()), Ordering::Relaxed);
        }
    }

    /// Removes what was found to be too old.
    #[cold]
    fn expire(&self, key: &Lookup<'_>, now: Time) {
        // Asked again under the lock: by now somebody may have stored a younger one.
        let removed = self.write(key.0.hash).remove_if(key, |held| self.too_old(held.entry(), now));
        self.expired.fetch_add(u64::from(removed.is_some()), Ordering::Relaxed);
        self.gone(removed);
    }
}

impl Cache for Quick {
    fn get(&self, key: KeyRef<'_>, now: Time) -> Option<Arc<Entry>> {
        let key = Lookup(key);
        let shard = self.shard(key.0.hash).read().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = shard.get(&key) {
            let mine = held.mine(self.stripes, self.counts.hits_of_this_stripe());
            if !self.too_old(mine, now) {
                let mine = Arc::clone(mine);
                drop(shard);
                self.counts.hit();
                return Some(mine);
            }
            drop(shard);
            self.expire(&key, now);
        }
        self.counts.miss();
        None
    }

    fn wants(&self, key: KeyRef<'_>) -> bool {
        !self.full.load(Ordering::Relaxed) || self.seen.again(key.hash)
    }

    fn insert(&self, key: Key, entry: Arc<Entry>) {
        if bytes(&entry) > self.config.max_entry_bytes {
            self.rejected.fetch_add(1, Ordering::Relaxed);
            // What it would have taken the place of is out of date all the same.
            let removed = self.write(key.hash()).remove(&key);
            self.gone(removed);
            return;
        }
        let (hash, now) = (key.hash(), entry.stored);
        // Before it can be removed again, so that the sum never falls below zero.
        self.bytes.fetch_add(bytes(&entry), Ordering::Relaxed);
        self.inserted.fetch_add(1, Ordering::Relaxed);
        let mut displaced = Displaced::default();
        self.write(hash).insert_with_lifecycle(key, Held::new(entry, self.stripes), &mut displaced);
        // What had the same key was replaced, which is no loss.
        let mut replaced = false;
        for (key, held) in displaced.into_each() {
            if key.hash() == hash && !replaced {
                replaced = true;
                self.gone(Some((key, held)));
                continue;
            }
            if !self.full.load(Ordering::Relaxed) {
                self.full.store(true, Ordering::Relaxed);
            }
            if self.too_old(held.entry(), now) {
                self.expired.fetch_add(1, Ordering::Relaxed);
            } else {
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
            self.gone(Some((key, held)));
        }
    }

    fn remove(&self, key: KeyRef<'_>) {
        let removed = self.write(key.hash).remove(&Lookup(key));
        self.gone(removed);
    }

    fn clear(&self) {
        self.full.store(false, Ordering::Relaxed);
        for shard in &self.shards {
            // Dropped after the lock is released.
            let all: Vec<_> = shard.write().unwrap_or_else(PoisonError::into_inner).drain().collect();
            all.into_iter().for_each(|removed| self.gone(Some(removed)));
        }
    }

    /// As the trait says. Takes the read lock of each shard in turn.
    fn stats(&self) -> CacheStats {
        let mut stats = CacheStats::default();
        stats.hits = self.counts.hits();
        stats.misses = self.counts.misses();
        let entries = |shard: &ShardedLock<Shard>| shard.read().unwrap_or_else(PoisonError::into_inner).len() as u64;
        stats.entries = self.shards.iter().map(entries).sum();
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
            let cache = Quick::divided(&config, layout, 2);
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
        let cache = Quick::divided(&config, Layout::new(&config, 64), 2);
        assert_eq!(cache.shards.len(), 64);
        (0..6_400).for_each(|number| store(&cache, number, 1));
        let counts: Vec<_> = cache.shards.iter().map(|shard| shard.read().unwrap().len()).collect();
        // 100 are expected in each, with a standard deviation of 10.
        assert!(counts.iter().all(|count| (50..=150).contains(count)), "{counts:?}");
    }
}
