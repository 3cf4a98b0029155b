//! What is admitted where results differ in what they save.

use crate::support::{NOW, Random, get, insert, put, seed, withdrawn};
use ecm_cache::{ByWorth, Lru, LruConfig, Quick, QuickConfig, Sharded, ShardedConfig};
use ecm_core::{Cache, Entry, Position, testing::conformance};
use std::{sync::Arc, time::Duration};

fn took(micros: u64, bytes: usize) -> Arc<Entry> {
    let (position, took) = (Position::default(), Duration::from_micros(micros));
    Arc::new(Entry { rows: Arc::default(), versions: Box::default(), epoch: 0, position, stored: NOW, took, bytes })
}

fn of(max_entries: u64) -> ByWorth<Lru> {
    ByWorth::new(Lru::new(&LruConfig { max_entries, ..LruConfig::default() }).unwrap())
}

#[test]
fn it_keeps_the_contract_of_a_cache_around_each() {
    let ttl = Duration::from_secs(7);
    for max_entries in [5, 100, 3_000] {
        let config = QuickConfig { max_entries, ttl, ..QuickConfig::default() };
        conformance::cache_with_ttl(|| ByWorth::new(Quick::new(&config).unwrap()), ttl);
        let config = LruConfig { max_entries, ttl, ..LruConfig::default() };
        conformance::cache_with_ttl(|| ByWorth::new(Lru::new(&config).unwrap()), ttl);
        let config = ShardedConfig { max_entries, ttl, ..ShardedConfig::default() };
        conformance::cache_with_ttl(|| ByWorth::new(Sharded::new(&config).unwrap()), ttl);
    }
}

#[test]
fn what_saves_little_does_not_displace_what_saves_much() {
    let cache = of(100);
    (0..100).for_each(|number| insert(&cache, number, took(10_000, 300)));
    // 10,000 that nobody asks for again, as from a scan of short lookups.
    (1_000..11_000).for_each(|number| insert(&cache, number, took(5, 300)));
    let stats = cache.stats();
    assert!(stats.rejected > 9_000, "{stats:?}");
    assert_eq!(stats.inserted + stats.rejected, 10_100);
    withdrawn(&stats);
    (0..100).for_each(|number| insert(&cache, 20_000 + number, took(10_000, 300)));
    let kept = (20_000..20_100).filter(|number| get(&cache, *number, NOW).is_some()).count();
    assert_eq!(kept, 100, "what saves as much is stored as ever");
}

#[test]
fn everything_is_stored_while_there_is_room_and_again_after_there_is() {
    let cache = of(100);
    (0..100).for_each(|number| insert(&cache, number, took(1, 300)));
    assert_eq!((cache.stats().entries, cache.stats().rejected), (100, 0));
    (0..5_000).for_each(|number| insert(&cache, 1_000 + number, took(1_000, 300)));
    cache.clear();
    let rejected = cache.stats().rejected;
    (0..100).for_each(|number| insert(&cache, number, took(1, 300)));
    assert_eq!((cache.stats().entries, cache.stats().rejected), (100, rejected));
}

#[test]
fn what_is_refused_leaves_nothing_older_in_its_place() {
    let cache = of(50);
    (0..3_000).for_each(|number| insert(&cache, number, took(10_000, 300)));
    let before = cache.stats();
    let newest = (0..3_000).rev().find(|number| get(&cache, *number, NOW).is_some()).unwrap();
    insert(&cache, newest, took(1, 100_000));
    assert_eq!(cache.stats().rejected, before.rejected + 1);
    assert!(get(&cache, newest, NOW).is_none());
}

/// Asks for this many keys from `first` on, the low ones much more often, and stores what is not there; answers how many of the
/// last half of the questions were served.
fn served(cache: &dyn Cache, random: &mut Random, first: i64, questions: u32) -> u32 {
    let mut hits = 0;
    for question in 0..questions {
        let most = 1 + random.below(2_000);
        let number = first + random.below(most) as i64;
        if get(cache, number, NOW).is_some() {
            hits += u32::from(question >= questions / 2);
        } else {
            put(cache, number, 300);
        }
    }
    hits
}

#[test]
fn when_others_become_popular_it_is_they_who_are_kept() {
    let mut random = Random::new(seed());
    let cache = of(200);
    let before = served(&cache, &mut random, 0, 40_000);
    let after = served(&cache, &mut random, 100_000, 40_000);
    assert!(after * 10 > before * 9, "{after} against {before} of 20,000");
}
