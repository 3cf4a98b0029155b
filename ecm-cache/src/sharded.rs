use crate::{
    ShardedConfig,
    bounds::{bytes, too_old},
    carried::Carried,
    counts::Counts,
    tickets::{Ticket, Tickets},
};
use dashmap::DashMap;
use ecm_core::{Cache, CacheStats, Entry, InvalidConfig, Key, KeyRef, Time};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

/// How many that are too old an insertion removes beyond those whose room it needs: more than one, so that
/// what nobody asks for any more goes sooner than new entries come.
const OLD_ONES_AT_ONCE: u32 = 2;

/// A cache bounded in entries, bytes and age, in which the oldest goes first.
///
/// It does not mind what is asked for: only age decides. A hit therefore changes nothing but a counter, and
/// threads that hit wait for each other less than anywhere else. It suits results that are equally likely to be
/// asked for until they are too old; where some are asked for far more often than others,
/// [`Quick`](crate::Quick) keeps more of those.
///
/// It is `dashmap` for what is stored, and for each part a queue of what was stored in it, in order, behind a lock
/// that only those who change the part take. Bounds are exact in each part, so a cache that is nearly full may
/// evict a little before its bounds; two keys of the same 64-bit hash displace each other.
///
/// An entry that has become too old is not served. It is removed when it is asked for, and each insertion
/// removes up to two others of its part.
pub struct Sharded {
    /// By the hash of the key. Changed only under the lock of the part that the hash belongs to.
    stored: DashMap<u64, Placed, Carried>,
    parts: Box<[Part]>,
    config: ShardedConfig,
    counts: Counts,
    /// In each part.
    max_entries: u64,
    /// In each part.
    max_bytes: u64,
}

#[derive(Debug)]
struct Placed {
    key: Key,
    entry: Arc<Entry>,
    /// Of the ticket that it was stored with.
    number: u64,
}

/// Two lines of 64 bytes, because processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    tickets: Tickets,
    /// What is stored in this part: entries and their bytes, and what became of others.
    stats: CacheStats,
}

impl Sharded {
    /// An empty cache.
    ///
    /// # Errors
    /// The first field that is not within its limits.
    pub fn new(config: &ShardedConfig) -> Result<Self, InvalidConfig> {
        config.check()?;
        // More parts than threads that run, so that two of them seldom meet in one.
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self::divided(config, config.parts(threads.saturating_mul(4))))
    }

    fn divided(config: &ShardedConfig, parts: u64) -> Self {
        let count = usize::try_from(parts).expect("at most 65,536");
        Self {
            // It wants at least two, whatever the number of parts.
            stored: DashMap::with_capacity_and_hasher_and_shard_amount(0, Carried, count.max(2)),
            parts: (0..count).map(|_| Part::default()).collect(),
            config: config.clone(),
            counts: Counts::default(),
            max_entries: config.max_entries / parts,
            max_bytes: config.max_bytes / parts,
        }
    }

    /// The part of a hash, locked; also after a panic under the lock, which has left nothing half changed.
    fn lock(&self, hash: u64) -> MutexGuard<'_, State> {
        // The bits in the middle: `dashmap` takes others.
        let index = (hash >> 32) & (self.parts.len() as u64 - 1);
        self.parts[usize::try_from(index).expect("less than their number")].lock()
    }

    fn too_old(&self, entry: &Entry, now: Time) -> bool {
        too_old(entry, self.config.ttl, now)
    }

    fn is_live(&self, ticket: Ticket) -> bool {
        self.stored.get(&ticket.hash).is_some_and(|placed| placed.number == ticket.number)
    }

    /// Takes out what has a hash, if it is what is meant.
    fn take(&self, state: &mut State, hash: u64, is_it: impl FnOnce(&Placed) -> bool) -> Option<Placed> {
        let (_, removed) = self.stored.remove_if(&hash, |_, placed| is_it(placed))?;
        state.stats.entries -= 1;
        state.stats.bytes -= bytes(&removed.entry);
        Some(removed)
    }

    /// Takes out the oldest until one more of `size` bytes fits, and a few that are too old.
    fn make_room(&self, state: &mut State, size: u64, now: Time, gone: &mut Vec<Placed>) {
        let mut spare = OLD_ONES_AT_ONCE;
        while let Some(ticket) = state.tickets.oldest() {
            let full = state.stats.entries >= self.max_entries || state.stats.bytes + size > self.max_bytes;
            let placed = self.stored.get(&ticket.hash).filter(|placed| placed.number == ticket.number);
            let Some(old) = placed.map(|placed| self.too_old(&placed.entry, now)) else {
                state.tickets.pop();
                continue;
            };
            if !(full || old && spare > 0) {
                return;
            }
            state.tickets.pop();
            gone.extend(self.take(state, ticket.hash, |_| true));
            if old {
                state.stats.expired += 1;
                spare = spare.saturating_sub(1);
            } else {
                state.stats.evicted += 1;
            }
        }
    }
}

impl Part {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache for Sharded {
    fn get(&self, key: KeyRef<'_>, now: Time) -> Option<Arc<Entry>> {
        let find = |placed: &Placed| key.matches(&placed.key).then(|| Arc::clone(&placed.entry));
        let found = self.stored.get(&key.hash).and_then(|placed| find(&placed));
        if let Some(entry) = found {
            if !self.too_old(&entry, now) {
                self.counts.hit();
                return Some(entry);
            }
            // Asked again under the lock: by now somebody may have stored a younger one.
            let mut state = self.lock(key.hash);
            let is_it = |placed: &Placed| key.matches(&placed.key) && self.too_old(&placed.entry, now);
            let removed = self.take(&mut state, key.hash, is_it);
            state.stats.expired += u64::from(removed.is_some());
            drop(state);
            drop(removed);
        }
        self.counts.miss();
        None
    }

    fn insert(&self, key: Key, entry: Arc<Entry>) {
        let (size, hash, now) = (bytes(&entry), key.hash(), entry.stored);
        let mut gone = Vec::new();
        let mut state = self.lock(hash);
        if size > self.config.max_entry_bytes {
            state.stats.rejected += 1;
            // What it would have taken the place of is out of date all the same.
            let replaced = self.take(&mut state, hash, |placed| placed.key == key);
            drop(state);
            drop(replaced);
            return;
        }
        let displaced = self.take(&mut state, hash, |_| true);
        let another = displaced.as_ref().is_some_and(|displaced| displaced.key != key);
        state.stats.evicted += u64::from(another);
        self.make_room(&mut state, size, now, &mut gone);
        let number = state.tickets.push(hash);
        self.stored.insert(hash, Placed { key, entry, number });
        state.stats.entries += 1;
        state.stats.bytes += size;
        state.stats.inserted += 1;
        let live = state.stats.entries;
        state.tickets.thin_out(live, |ticket| self.is_live(ticket));
        drop(state);
        drop((displaced, gone));
    }

    fn remove(&self, key: KeyRef<'_>) {
        let mut state = self.lock(key.hash);
        let removed = self.take(&mut state, key.hash, |placed| key.matches(&placed.key));
        drop(state);
        drop(removed);
    }

    fn clear(&self) {
        for part in &self.parts {
            let mut state = part.lock();
            let mut gone = Vec::new();
            while let Some(ticket) = state.tickets.pop() {
                gone.extend(self.take(&mut state, ticket.hash, |placed| placed.number == ticket.number));
            }
            drop(state);
            drop(gone);
        }
    }

    /// As the trait says. Takes the lock of each part in turn.
    fn stats(&self) -> CacheStats {
        let mut stats = CacheStats::default();
        for part in &self.parts {
            let CacheStats { entries, bytes, inserted, rejected, evicted, expired, .. } = part.lock().stats;
            stats.entries += entries;
            stats.bytes += bytes;
            stats.inserted += inserted;
            stats.rejected += rejected;
            stats.evicted += evicted;
            stats.expired += expired;
        }
        stats.hits = self.counts.hits();
        stats.misses = self.counts.misses();
        stats.capacity = self.config.max_entries;
        stats
    }
}

impl Default for Sharded {
    /// A cache of the default configuration.
    fn default() -> Self {
        Self::new(&ShardedConfig::default()).expect("the defaults are within their limits")
    }
}

impl fmt::Debug for Sharded {
    /// By hand: entries are not for printing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharded").field("config", &self.config).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecm_core::{Position, ValueRef};
    use std::time::Duration;

    fn store(cache: &Sharded, number: i64, bytes: usize) {
        let key = KeyRef::new(0, 0, &[ValueRef::Integer(number)]).to_key();
        let (position, stored) = (Position::default(), Time::START);
        let entry = Entry {
            rows: Arc::default(),
            versions: Box::default(),
            epoch: 0,
            position,
            stored,
            took: Duration::ZERO,
            bytes,
        };
        cache.insert(key, Arc::new(entry));
    }

    #[test]
    fn the_largest_entry_fits_however_the_cache_is_divided() {
        let config = ShardedConfig::default();
        for parts in [1, 2, 8, 64] {
            let cache = Sharded::divided(&config, parts);
            for number in 0..200 {
                store(&cache, number, 1 << 20);
                assert!(cache.get(KeyRef::new(0, 0, &[ValueRef::Integer(number)]), Time::START).is_some());
            }
            let stats = cache.stats();
            assert_eq!(stats.entries + stats.evicted, 200);
            assert!(stats.entries > 30 && stats.bytes <= config.max_bytes, "{stats:?}");
        }
    }

    #[test]
    fn the_queue_of_a_part_does_not_grow_with_what_is_replaced_and_removed() {
        let cache = Sharded::divided(&ShardedConfig::default(), 1);
        for round in 0..10_000 {
            store(&cache, round % 3, 10);
            cache.remove(KeyRef::new(0, 0, &[ValueRef::Integer(round % 2)]));
            assert!(cache.parts[0].lock().tickets.len() <= 64, "in round {round}");
        }
    }
}
