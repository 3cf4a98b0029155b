//! What is particular to `Lru`: its order is exact.

use crate::support::{NOW, get, put, put_at, remove};
use ecm_cache::{Lru, LruConfig};
use ecm_core::{Cache, CacheStats, Entry, Time};
use proptest::prelude::*;
use std::{sync::Arc, time::Duration};

const TTL: Duration = Duration::from_secs(100);

fn config(max_entries: u64, max_bytes: u64) -> LruConfig {
    LruConfig { max_entries, max_bytes, max_entry_bytes: max_bytes / 2, ttl: TTL }
}

#[test]
fn what_was_not_asked_for_longest_goes_first() {
    let cache = Lru::new(&config(3, 1 << 20)).unwrap();
    (1..=3).for_each(|number| drop(put(&cache, number, 10)));
    assert!(get(&cache, 1, NOW).is_some());
    put(&cache, 2, 20);
    put(&cache, 4, 10);
    assert_eq!([1, 2, 3, 4].map(|number| get(&cache, number, NOW).is_some()), [true, true, false, true]);
}

#[test]
fn a_large_one_displaces_as_many_as_take_its_room_and_no_more() {
    let cache = Lru::new(&config(100, 100)).unwrap();
    (1..=10).for_each(|number| drop(put(&cache, number, 10)));
    put(&cache, 11, 35);
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.bytes, stats.evicted), (7, 95, 4));
    assert!(get(&cache, 4, NOW).is_none() && get(&cache, 5, NOW).is_some());
}

/// The plainest least recently used cache: it looks through everything.
#[derive(Default)]
struct Naive {
    /// What was used last is at the end.
    entries: Vec<(i64, Arc<Entry>)>,
    stats: CacheStats,
}

impl Naive {
    fn take(&mut self, number: i64) -> Option<Arc<Entry>> {
        let index = self.entries.iter().position(|(stored, _)| *stored == number)?;
        Some(self.entries.remove(index).1)
    }

    fn bytes(&self) -> u64 {
        self.entries.iter().map(|(_, entry)| entry.bytes as u64).sum()
    }

    fn put(&mut self, number: i64, entry: Arc<Entry>, config: &LruConfig) {
        self.take(number);
        let (size, now) = (entry.bytes as u64, entry.stored);
        if size > config.max_entry_bytes {
            self.stats.rejected += 1;
            return;
        }
        while self.entries.len() as u64 >= config.max_entries || self.bytes() + size > config.max_bytes {
            let (_, oldest) = self.entries.remove(0);
            if now.since(oldest.stored) >= TTL { self.stats.expired += 1 } else { self.stats.evicted += 1 }
        }
        self.stats.inserted += 1;
        self.entries.push((number, entry));
    }

    fn get(&mut self, number: i64, now: Time) -> Option<Arc<Entry>> {
        let found = self.take(number);
        let young = found.as_ref().filter(|entry| now.since(entry.stored) < TTL).cloned();
        self.stats.expired += u64::from(found.is_some() && young.is_none());
        match &young {
            Some(entry) => {
                self.stats.hits += 1;
                self.entries.push((number, Arc::clone(entry)));
            }
            None => self.stats.misses += 1,
        }
        young
    }

    fn stats(&self, config: &LruConfig) -> CacheStats {
        let mut stats = self.stats;
        (stats.entries, stats.bytes, stats.capacity) = (self.entries.len() as u64, self.bytes(), config.max_entries);
        stats
    }
}

proptest! {
    #[test]
    fn it_does_exactly_what_the_plainest_one_does(
        steps in proptest::collection::vec((0_u32..20, 0_i64..30, 0_usize..700, 0_u64..30), 0..400),
        max_entries in 1_u64..20, max_bytes in 1_000_u64..8_000,
    ) {
        let config = config(max_entries, max_bytes);
        let (cache, mut naive, mut now) = (Lru::new(&config).unwrap(), Naive::default(), NOW);
        for (kind, number, bytes, after) in steps {
            match kind {
                0..8 => {
                    let entry = put_at(&cache, number, bytes, now);
                    naive.put(number, entry, &config);
                }
                8..17 => {
                    now = now + Duration::from_secs(after / 3);
                    let (served, expected) = (get(&cache, number, now), naive.get(number, now));
                    prop_assert_eq!(served.as_ref().map(Arc::as_ptr), expected.as_ref().map(Arc::as_ptr));
                }
                17..19 => {
                    remove(&cache, number);
                    naive.take(number);
                }
                _ if after == 0 => {
                    cache.clear();
                    naive.entries.clear();
                }
                _ => now = now + Duration::from_secs(after),
            }
            prop_assert_eq!(cache.stats(), naive.stats(&config));
        }
    }
}
