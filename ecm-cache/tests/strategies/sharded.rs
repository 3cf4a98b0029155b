//! What is particular to `Sharded`: age alone decides.

use crate::support::{NOW, entry, get, put, put_at, remove};
use ecm_cache::{Sharded, ShardedConfig};
use ecm_core::{Cache, CacheStats, Entry, Key, KeyRef, Time, ValueRef};
use proptest::prelude::*;
use std::{sync::Arc, time::Duration};

const TTL: Duration = Duration::from_secs(100);

/// So few entries that the cache is one part.
fn config(max_entries: u64, max_bytes: u64) -> ShardedConfig {
    assert!(max_entries < 64);
    ShardedConfig { max_entries, max_bytes, max_entry_bytes: max_bytes / 2, ttl: TTL }
}

#[test]
fn the_oldest_goes_first_however_often_it_was_asked_for() {
    let cache = Sharded::new(&config(3, 1 << 20)).unwrap();
    (1..=3).for_each(|number| drop(put(&cache, number, 10)));
    assert!(get(&cache, 1, NOW).is_some());
    put(&cache, 2, 20);
    put(&cache, 4, 10);
    put(&cache, 5, 10);
    assert_eq!([1, 2, 3, 4, 5].map(|number| get(&cache, number, NOW).is_some()), [false, true, false, true, true]);
}

#[test]
fn what_nobody_asks_for_any_more_goes_when_others_come() {
    let cache = Sharded::new(&config(60, 1 << 20)).unwrap();
    (0..20).for_each(|number| drop(put(&cache, number, 10)));
    (100..110).for_each(|number| drop(put_at(&cache, number, 10, NOW + TTL)));
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.expired, stats.evicted), (10, 20, 0));
}

#[test]
fn two_keys_of_one_hash_displace_each_other_and_are_not_mistaken() {
    fn key<'a>(values: &'a [ValueRef<'a>]) -> KeyRef<'a> {
        KeyRef { hash: 7, ..KeyRef::new(0, 0, values) }
    }
    let (one, other) = ([ValueRef::Integer(1)], [ValueRef::Integer(2)]);
    let (one, other) = (key(&one), key(&other));
    let cache = Sharded::new(&config(3, 1 << 20)).unwrap();
    let owned: [Key; 2] = [one.to_key(), other.to_key()];
    owned.into_iter().for_each(|key| cache.insert(key, entry(10, NOW, 0)));
    assert!(cache.get(one, NOW).is_none() && cache.get(other, NOW).is_some());
    cache.remove(one);
    assert!(cache.get(other, NOW).is_some());
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.evicted, stats.bytes), (1, 1, 10));
}

/// The plainest queue of entries: it looks through everything.
#[derive(Default)]
struct Naive {
    /// What was stored last is at the end.
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

    fn put(&mut self, number: i64, entry: Arc<Entry>, config: &ShardedConfig) {
        self.take(number);
        let (size, now) = (entry.bytes as u64, entry.stored);
        if size > config.max_entry_bytes {
            self.stats.rejected += 1;
            return;
        }
        let mut old_ones = 0;
        while let Some((_, oldest)) = self.entries.first() {
            let full = self.entries.len() as u64 >= config.max_entries || self.bytes() + size > config.max_bytes;
            let old = now.since(oldest.stored) >= TTL;
            if !full && (!old || old_ones == 2) {
                break;
            }
            self.entries.remove(0);
            if old {
                (self.stats.expired, old_ones) = (self.stats.expired + 1, 2.min(old_ones + 1));
            } else {
                self.stats.evicted += 1;
            }
        }
        self.stats.inserted += 1;
        self.entries.push((number, entry));
    }

    fn get(&mut self, number: i64, now: Time) -> Option<Arc<Entry>> {
        let found = self.entries.iter().find(|(stored, _)| *stored == number).map(|(_, entry)| Arc::clone(entry));
        let young = found.as_ref().filter(|entry| now.since(entry.stored) < TTL).cloned();
        match (&found, &young) {
            (_, Some(_)) => self.stats.hits += 1,
            (Some(_), None) => {
                self.take(number);
                (self.stats.expired, self.stats.misses) = (self.stats.expired + 1, self.stats.misses + 1);
            }
            (None, None) => self.stats.misses += 1,
        }
        young
    }

    fn stats(&self, config: &ShardedConfig) -> CacheStats {
        let mut stats = self.stats;
        (stats.entries, stats.bytes, stats.capacity) = (self.entries.len() as u64, self.bytes(), config.max_entries);
        stats
    }
}

proptest! {
    #[test]
    fn one_part_does_exactly_what_the_plainest_queue_does(
        steps in proptest::collection::vec((0_u32..20, 0_i64..30, 0_usize..700, 0_u64..30), 0..400),
        max_entries in 1_u64..20, max_bytes in 1_000_u64..8_000,
    ) {
        let config = config(max_entries, max_bytes);
        let (cache, mut naive, mut now) = (Sharded::new(&config).unwrap(), Naive::default(), NOW);
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
