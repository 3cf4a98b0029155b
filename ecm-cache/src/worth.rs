use crate::uses::Uses;
use ecm_core::{Cache, CacheStats, Entry, Key, KeyRef, Time};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// After so many insertions it is looked whether they have displaced others: that asks the cache for all of its figures.
const BETWEEN_LOOKS: u64 = 16;
/// By how much the price rises for each entry that had to go; prices are natural logarithms.
const RISE: f64 = 0.05;
/// By how much it falls for each that was refused: where nothing else changes, one of 17 is stored.
const FALL: f64 = RISE / 16.0;
/// By how much it falls when nothing had to go: there is room.
const FALL_WITH_ROOM: f64 = 1.0;

/// A cache around another one that stores only what is worth its place.
///
/// The worth of a result is the time that it took ([`Entry::took`]) for each byte, times how often it was to be stored
/// lately. What is worth less than a price is not stored, and counts as rejected. The price finds itself: it
/// rises while entries have to go for others, and falls while others are refused, or while there is
/// room.
///
/// What is stored stays for longer then, since less comes. It pays where results differ in what they take, and does
/// little where they are all alike: `docs/caches.md` has measurements. It costs a lock for each insertion, from 4 to 8 bytes
/// for each entry of the capacity, and nothing for a hit.
///
/// ```
/// # #[cfg(feature = "quick")] {
/// use ecm_cache::{ByWorth, Quick};
/// use ecm_core::Cache;
///
/// let cache = ByWorth::new(Quick::default());
/// assert_eq!(cache.stats().capacity, 10_000);
/// # }
/// ```
#[derive(Debug)]
pub struct ByWorth<C> {
    cache: C,
    admission: Mutex<Admission>,
}

#[derive(Debug)]
struct Admission {
    uses: Uses,
    /// The logarithm of what a result has to be worth; `None` while nothing had to go yet.
    price: Option<f64>,
    refused: u64,
    /// Since it was looked last.
    inserted: u64,
    /// Until then.
    evicted: u64,
}

impl<C: Cache> ByWorth<C> {
    /// Around a cache that has just been made.
    #[must_use]
    pub fn new(cache: C) -> Self {
        let CacheStats { capacity, evicted, .. } = cache.stats();
        let admission = Admission { uses: Uses::new(capacity), price: None, refused: 0, inserted: 0, evicted };
        Self { cache, admission: Mutex::new(admission) }
    }

    /// Also after a panic under the lock, which has left nothing half changed.
    fn lock(&self) -> MutexGuard<'_, Admission> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission {
    /// Whether it is worth its place; and whether it is time to look what had to go.
    fn admits(&mut self, hash: u64, entry: &Entry) -> (bool, bool) {
        let times = self.uses.count(hash);
        if let Some(price) = &mut self.price
            && worth(entry, times) < *price
        {
            *price -= FALL;
            self.refused += 1;
            return (false, false);
        }
        self.inserted += 1;
        (true, self.inserted.is_multiple_of(BETWEEN_LOOKS))
    }

    /// What has had to go until now decides what is to be paid from now on.
    fn look(&mut self, evicted: u64, entry: &Entry) {
        let went = evicted.saturating_sub(self.evicted);
        self.evicted = self.evicted.max(evicted);
        match &mut self.price {
            Some(price) if went == 0 => *price -= FALL_WITH_ROOM,
            Some(price) => *price += RISE * went as f64,
            none if went > 0 => *none = Some(worth(entry, 1)),
            _ => {}
        }
    }
}

/// The logarithm of nanoseconds for each byte, times how often.
fn worth(entry: &Entry, times: u8) -> f64 {
    let nanos = entry.took.as_nanos().max(1) as f64;
    (nanos / entry.bytes.max(1) as f64 * f64::from(times.max(1))).ln()
}

impl<C: Cache> Cache for ByWorth<C> {
    fn get(&self, key: KeyRef<'_>, now: Time) -> Option<Arc<Entry>> {
        self.cache.get(key, now)
    }

    fn wants(&self, key: KeyRef<'_>) -> bool {
        self.cache.wants(key)
    }

    fn insert(&self, key: Key, entry: Arc<Entry>) {
        let (admitted, look) = self.lock().admits(key.hash(), &entry);
        if !admitted {
            // What it would have taken the place of is out of date all the same.
            return key.with_ref(|key| self.cache.remove(key));
        }
        self.cache.insert(key, Arc::clone(&entry));
        if look {
            let evicted = self.cache.stats().evicted;
            self.lock().look(evicted, &entry);
        }
    }

    fn remove(&self, key: KeyRef<'_>) {
        self.cache.remove(key);
    }

    fn clear(&self) {
        self.cache.clear();
        self.lock().price = None;
    }

    fn stats(&self) -> CacheStats {
        let mut stats = self.cache.stats();
        stats.rejected += self.lock().refused;
        stats
    }
}
