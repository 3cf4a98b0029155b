use crate::{
    LruConfig,
    bounds::{bytes, too_old},
    carried::Carried,
};
use ecm_core::{Cache, CacheStats, Entry, InvalidConfig, Key, KeyRef, Time};
use hashlink::{LinkedHashMap, linked_hash_map::RawEntryMut};
use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A cache bounded in entries, bytes and age, in which what was not asked for longest goes first.
///
/// The order is exact, over all of the cache: what is kept can be told from the calls alone. That takes one
/// lock for everything, which a hit takes too, for about as long as a lookup lasts; threads that hit at the same time
/// wait for each other. It allocates nothing for a hit. A scan over more than it holds
/// displaces everything: where that happens, [`Quick`](crate::Quick) keeps more.
///
/// An entry that has become too old is not served; it is removed when it is asked for, and otherwise when
/// its turn to go comes.
pub struct Lru {
    config: LruConfig,
    state: Mutex<State>,
}

/// All that changes. No step under the lock runs anybody else's code or gives back an entry's memory.
#[derive(Default)]
struct State {
    /// What was used last is at the back.
    entries: LinkedHashMap<Key, Arc<Entry>, Carried>,
    bytes: u64,
    /// All but `entries`, `bytes` and `capacity`.
    stats: CacheStats,
}

type Stored = (Key, Arc<Entry>);

impl Lru {
    /// An empty cache.
    ///
    /// # Errors
    /// The first field that is not within its limits.
    pub fn new(config: &LruConfig) -> Result<Self, InvalidConfig> {
        config.check()?;
        Ok(Self { config: config.clone(), state: Mutex::default() })
    }

    /// Also after a panic under the lock, which has left nothing half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, hash: u64, is_it: impl FnMut(&Key) -> bool) -> Option<Stored> {
        let RawEntryMut::Occupied(found) = self.entries.raw_entry_mut().from_hash(hash, is_it) else { return None };
        let removed = found.remove_entry();
        self.bytes -= bytes(&removed.1);
        Some(removed)
    }

    /// Takes out what was not used longest, until one more of `size` bytes fits.
    fn make_room(&mut self, size: u64, config: &LruConfig, now: Time, gone: &mut Vec<Stored>) {
        while self.entries.len() as u64 >= config.max_entries || self.bytes + size > config.max_bytes {
            let oldest = self.entries.pop_front().expect("nothing that is larger than the whole is stored");
            self.bytes -= bytes(&oldest.1);
            if too_old(&oldest.1, config.ttl, now) {
                self.stats.expired += 1;
            } else {
                self.stats.evicted += 1;
            }
            gone.push(oldest);
        }
    }
}

impl Cache for Lru {
    fn get(&self, key: KeyRef<'_>, now: Time) -> Option<Arc<Entry>> {
        let mut state = self.lock();
        let found = state.entries.raw_entry_mut().from_hash(key.hash, |stored| key.matches(stored));
        let RawEntryMut::Occupied(mut found) = found else {
            state.stats.misses += 1;
            return None;
        };
        if too_old(found.get(), self.config.ttl, now) {
            let removed = found.remove_entry();
            state.bytes -= bytes(&removed.1);
            state.stats.expired += 1;
            state.stats.misses += 1;
            drop(state);
            drop(removed);
            return None;
        }
        found.to_back();
        let entry = Arc::clone(found.get());
        state.stats.hits += 1;
        Some(entry)
    }

    fn insert(&self, key: Key, entry: Arc<Entry>) {
        let (size, hash) = (bytes(&entry), key.hash());
        let mut gone = Vec::new();
        let mut state = self.lock();
        // Also where it is too large: what it would have taken the place of is out of date all the same.
        let replaced = state.remove(hash, |stored| *stored == key);
        if size > self.config.max_entry_bytes {
            state.stats.rejected += 1;
        } else {
            state.make_room(size, &self.config, entry.stored, &mut gone);
            state.entries.insert(key, entry);
            state.bytes += size;
            state.stats.inserted += 1;
        }
        drop(state);
        drop((replaced, gone));
    }

    fn remove(&self, key: KeyRef<'_>) {
        let removed = self.lock().remove(key.hash, |stored| key.matches(stored));
        drop(removed);
    }

    fn clear(&self) {
        let mut state = self.lock();
        let entries = mem::take(&mut state.entries);
        state.bytes = 0;
        drop(state);
        drop(entries);
    }

    /// As the trait says, all of one moment.
    fn stats(&self) -> CacheStats {
        let state = self.lock();
        let mut stats = state.stats;
        stats.entries = state.entries.len() as u64;
        stats.bytes = state.bytes;
        stats.capacity = self.config.max_entries;
        stats
    }
}

impl Default for Lru {
    /// A cache of the default configuration.
    fn default() -> Self {
        Self::new(&LruConfig::default()).expect("the defaults are within their limits")
    }
}

impl fmt::Debug for Lru {
    /// By hand: entries are not for printing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lru").field("config", &self.config).field("stats", &self.stats()).finish_non_exhaustive()
    }
}
