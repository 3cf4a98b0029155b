//! What holds for every strategy, where caches have gone wrong: bounds, age, figures, threads.

use crate::support::{NOW, Random, entry, get, insert, put, put_at, remove, seed, withdrawn};
use ecm_cache::{Lru, LruConfig, Quick, QuickConfig, Sharded, ShardedConfig};
use ecm_core::{Cache, CacheStats, Entry, InvalidConfig, Time, testing::conformance};
use proptest::prelude::*;
use std::{
    collections::HashMap,
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// The same of each strategy.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    max_entries: u64,
    max_bytes: u64,
    max_entry_bytes: u64,
    ttl: Duration,
}

type Boxed = Box<dyn Cache>;

fn quick(bounds: Bounds) -> Result<Boxed, InvalidConfig> {
    let Bounds { max_entries, max_bytes, max_entry_bytes, ttl } = bounds;
    Ok(Box::new(Quick::new(&QuickConfig { max_entries, max_bytes, max_entry_bytes, ttl })?))
}

fn lru(bounds: Bounds) -> Result<Boxed, InvalidConfig> {
    let Bounds { max_entries, max_bytes, max_entry_bytes, ttl } = bounds;
    Ok(Box::new(Lru::new(&LruConfig { max_entries, max_bytes, max_entry_bytes, ttl })?))
}

fn sharded(bounds: Bounds) -> Result<Boxed, InvalidConfig> {
    let Bounds { max_entries, max_bytes, max_entry_bytes, ttl } = bounds;
    Ok(Box::new(Sharded::new(&ShardedConfig { max_entries, max_bytes, max_entry_bytes, ttl })?))
}

const STRATEGIES: [fn(Bounds) -> Result<Boxed, InvalidConfig>; 3] = [quick, lru, sharded];

fn bounds(max_entries: u64, max_bytes: u64) -> Bounds {
    Bounds { max_entries, max_bytes, max_entry_bytes: max_bytes / 2, ttl: Duration::from_secs(300) }
}

fn each(bounds: Bounds) -> impl Iterator<Item = Boxed> {
    STRATEGIES.into_iter().map(move |make| make(bounds).unwrap())
}

#[test]
fn each_keeps_the_contract_of_a_cache_whatever_its_size() {
    for max_entries in [5, 100, 3_000] {
        let config = QuickConfig { max_entries, ttl: Duration::from_secs(7), ..QuickConfig::default() };
        conformance::cache_with_ttl(|| Quick::new(&config).unwrap(), config.ttl);
        let config = LruConfig { max_entries, ttl: Duration::from_secs(7), ..LruConfig::default() };
        conformance::cache_with_ttl(|| Lru::new(&config).unwrap(), config.ttl);
        let config = ShardedConfig { max_entries, ttl: Duration::from_secs(7), ..ShardedConfig::default() };
        conformance::cache_with_ttl(|| Sharded::new(&config).unwrap(), config.ttl);
    }
    conformance::cache_with_ttl(Quick::default, QuickConfig::default().ttl);
    conformance::cache_with_ttl(Lru::default, LruConfig::default().ttl);
    conformance::cache_with_ttl(Sharded::default, ShardedConfig::default().ttl);
    let (max_bytes, max_entry_bytes) = (200_000, 100_000);
    let config = QuickConfig { max_bytes, max_entry_bytes, ..QuickConfig::default() };
    conformance::cache_with_ttl(|| Quick::new(&config).unwrap(), config.ttl);
    let config = LruConfig { max_bytes, max_entry_bytes, ..LruConfig::default() };
    conformance::cache_with_ttl(|| Lru::new(&config).unwrap(), config.ttl);
    let config = ShardedConfig { max_bytes, max_entry_bytes, ..ShardedConfig::default() };
    conformance::cache_with_ttl(|| Sharded::new(&config).unwrap(), config.ttl);
}

#[test]
fn absurd_bounds_are_refused_by_name() {
    let usual = Bounds { max_entry_bytes: 1 << 20, ..bounds(10_000, 64 << 20) };
    for make in STRATEGIES {
        let refused = |bounds| make(bounds).err().map(|invalid| (invalid.field, invalid.value));
        assert_eq!(refused(usual), None);
        assert_eq!(refused(Bounds { max_bytes: 0, ..usual }), Some(("max_bytes", "0".into())));
        assert_eq!(refused(Bounds { max_bytes: u64::MAX, ..usual }), Some(("max_bytes", u64::MAX.to_string())));
        assert_eq!(refused(Bounds { max_entries: 0, ..usual }), Some(("max_entries", "0".into())));
        assert_eq!(refused(Bounds { max_entries: 1 << 27, ..usual }), Some(("max_entries", "134217728".into())));
        assert_eq!(refused(Bounds { max_entry_bytes: 0, ..usual }), Some(("max_entry_bytes", "0".into())));
        assert_eq!(
            refused(Bounds { max_entry_bytes: 1 << 27, ..usual }),
            Some(("max_entry_bytes", "134217728".into()))
        );
        assert_eq!(refused(Bounds { ttl: Duration::ZERO, ..usual }), Some(("ttl", "0s".into())));
    }
}

#[cfg(feature = "serde")]
#[test]
fn configurations_survive_a_text_format_and_refuse_what_they_do_not_know() {
    fn survives<C>(config: &C)
    where
        C: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug + Default,
    {
        let text = serde_json::to_string(config).unwrap();
        assert!(text.contains("\"ttl\":"), "{text}");
        assert_eq!(serde_json::from_str::<C>(&text).unwrap(), *config, "{text}");
        assert_eq!(serde_json::from_str::<C>("{}").unwrap(), C::default());
        for wrong in [r#"{"max_entrys": 1}"#, r#"{"ttl": -1}"#, r#"{"max_bytes": -1}"#] {
            assert!(serde_json::from_str::<C>(wrong).is_err(), "{wrong}");
        }
    }
    for ttl in [Duration::from_millis(1_500), Duration::MAX] {
        survives(&QuickConfig { ttl, ..QuickConfig::default() });
        survives(&LruConfig { ttl, ..LruConfig::default() });
        survives(&ShardedConfig { ttl, ..ShardedConfig::default() });
    }
}

#[test]
fn empty_results_weigh_something_and_are_evicted() {
    for cache in each(bounds(40, 1 << 20)) {
        (0..1_000).for_each(|number| drop(put(&*cache, number, 0)));
        let stats = cache.stats();
        assert!(stats.entries <= 40, "{cache:?}");
        assert_eq!((stats.entries + stats.evicted, stats.inserted), (1_000, 1_000), "{cache:?}");
        assert_eq!(stats.bytes, 0, "what they say that they take");
    }
}

#[test]
fn too_large_is_rejected_and_takes_the_old_entry_along() {
    for cache in each(Bounds { max_entry_bytes: 1_000, ..bounds(100, 1 << 20) }) {
        put(&*cache, 1, 1_000);
        assert!(get(&*cache, 1, NOW).is_some());
        put(&*cache, 1, 1_001);
        put(&*cache, 2, usize::MAX);
        assert!(get(&*cache, 1, NOW).is_none() && get(&*cache, 2, NOW).is_none());
        let stats = cache.stats();
        assert_eq!((stats.rejected, stats.evicted, stats.entries, stats.bytes), (2, 0, 0, 0), "{cache:?}");
        assert_eq!((stats.inserted, withdrawn(&stats)), (1, 1), "{cache:?}");
    }
}

#[test]
fn a_few_large_ones_fill_a_cache_for_many() {
    for cache in each(Bounds { max_entry_bytes: 10_000, ..bounds(100, 40_000) }) {
        for number in 0..50 {
            put(&*cache, number, 9_000);
            assert!(get(&*cache, number, NOW).is_some(), "{cache:?}");
        }
        let stats = cache.stats();
        assert!((2..=4).contains(&stats.entries) && stats.bytes == 9_000 * stats.entries, "{cache:?}");
        assert_eq!((stats.evicted, stats.rejected), (50 - stats.entries, 0), "{cache:?}");
    }
}

#[test]
fn what_is_too_old_when_its_place_is_needed_has_expired_and_was_not_evicted() {
    for cache in each(bounds(40, 1 << 20)) {
        (0..40).for_each(|number| drop(put(&*cache, number, 10)));
        let late = NOW + Duration::from_secs(300);
        (100..200).for_each(|number| drop(put_at(&*cache, number, 10, late)));
        let stats = cache.stats();
        assert_eq!((stats.inserted, withdrawn(&stats)), (140, 0), "{cache:?}");
        assert!(stats.expired > 0, "{cache:?}");
        // `Quick` sets apart what came first, and looks at it again only when something else is asked for often.
        let exact = !format!("{cache:?}").starts_with("Quick");
        assert!(!exact || (stats.expired, stats.evicted) == (40, 60), "{cache:?}");
    }
}

#[test]
fn a_cache_that_never_forgets_does_not_overflow() {
    let end = Time::from_nanos(u64::MAX - 1);
    for cache in each(Bounds { ttl: Duration::MAX, ..bounds(100, 1 << 20) }) {
        put_at(&*cache, 1, 10, end);
        assert!(get(&*cache, 1, end).is_some());
        put_at(&*cache, 1, 10, NOW);
        assert!(get(&*cache, 1, end).is_some());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put { number: i64, bytes: usize },
    Get { number: i64, after: u64 },
    Remove { number: i64 },
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = || 0_i64..60;
    let step = prop_oneof![
        8 => (number(), 0_usize..3_000).prop_map(|(number, bytes)| Step::Put { number, bytes }),
        6 => (number(), 0_u64..30).prop_map(|(number, after)| Step::Get { number, after }),
        2 => number().prop_map(|number| Step::Remove { number }),
        1 => Just(Step::Clear),
    ];
    proptest::collection::vec(step, 0..300)
}

proptest! {
    /// The model keeps everything; a cache may have dropped any of it, but serves nothing else, its bounds hold
    /// after each step, and each entry that has come is there or has gone in one way.
    #[test]
    fn nothing_but_the_last_entry_is_served_and_every_bound_holds(
        which in 0_usize..3, steps in steps(), max_entries in 1_u64..50, max_bytes in 5_000_u64..40_000,
    ) {
        let ttl = Duration::from_secs(100);
        let cache = STRATEGIES[which](Bounds { ttl, max_entry_bytes: 2_000, ..bounds(max_entries, max_bytes) }).unwrap();
        let mut model: HashMap<i64, Arc<Entry>> = HashMap::new();
        let (mut now, mut lookups, mut insertions, mut rejected) = (NOW, 0, 0, 0);
        for step in steps {
            let before = cache.stats();
            let most_withdrawn = match step {
                Step::Put { number, bytes } => {
                    let entry = put_at(&*cache, number, bytes, now);
                    (insertions, rejected) = (insertions + 1, rejected + u64::from(bytes > 2_000));
                    model.insert(number, entry);
                    1
                }
                Step::Get { number, after } => {
                    now = now + Duration::from_secs(after);
                    lookups += 1;
                    if let Some(served) = get(&*cache, number, now) {
                        let last = model.get(&number);
                        prop_assert!(last.is_some_and(|last| Arc::ptr_eq(last, &served)));
                        prop_assert!(now.since(served.stored) < ttl && served.bytes <= 2_000);
                    }
                    0
                }
                Step::Remove { number } => {
                    remove(&*cache, number);
                    model.remove(&number);
                    1
                }
                Step::Clear => {
                    cache.clear();
                    model.clear();
                    before.entries
                }
            };
            let stats = cache.stats();
            prop_assert!(stats.entries <= max_entries && stats.bytes <= max_bytes, "{:?}", stats);
            prop_assert_eq!((stats.hits + stats.misses, stats.rejected), (lookups, rejected));
            prop_assert_eq!(stats.inserted + stats.rejected, insertions);
            let gone = withdrawn(&stats).checked_sub(withdrawn(&before));
            prop_assert!(gone.is_some_and(|gone| gone <= most_withdrawn), "{:?}, before {:?}", stats, before);
        }
        let before = cache.stats();
        let served: Vec<_> = (0..60).filter_map(|number| get(&*cache, number, NOW)).collect();
        let bytes: usize = served.iter().map(|entry| entry.bytes).sum();
        prop_assert_eq!((before.entries, before.bytes), (served.len() as u64, bytes as u64));
    }
}

#[test]
fn many_threads_exceed_no_bound_and_are_served_nothing_of_others() {
    const THREADS: u64 = 4;
    const STEPS: u64 = 20_000;
    let (seed, ttl) = (seed(), Duration::from_micros(200));
    for cache in each(Bounds { ttl, max_entry_bytes: 900, ..bounds(100, 30_000) }) {
        let (now, together) = (AtomicU64::new(0), Barrier::new(THREADS as usize));
        let clock = || Time::from_nanos(now.load(Ordering::Relaxed));
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (cache, now, together) = (&*cache, &now, &together);
                scope.spawn(move || {
                    let mut random = Random::new(seed ^ thread);
                    together.wait();
                    for _ in 0..STEPS {
                        // An entry is known by the key that it was stored under.
                        let number = random.below(200);
                        match random.below(100) {
                            0..40 => {
                                let entry = entry(random.below(1_000) as usize, clock(), number);
                                insert(cache, number as i64, entry);
                            }
                            40..85 => {
                                let asked = clock();
                                if let Some(served) = get(cache, number as i64, asked) {
                                    assert_eq!(served.epoch, number);
                                    assert!(served.stored + ttl > asked, "{:?} at {asked:?}", served.stored);
                                }
                            }
                            85..95 => remove(cache, number as i64),
                            95..99 => drop(now.fetch_add(5_000, Ordering::Relaxed)),
                            _ if random.below(20) == 0 => cache.clear(),
                            _ => {
                                let CacheStats { entries, .. } = cache.stats();
                                assert!(entries <= 100, "{cache:?}");
                            }
                        }
                    }
                });
            }
        });
        let stats = cache.stats();
        withdrawn(&stats);
        assert!(stats.entries <= 100 && stats.bytes <= 30_000, "{cache:?}");
        assert!(stats.expired > 0 && stats.evicted > 0 && stats.rejected > 0, "{cache:?}");
        let served: Vec<_> = (0..200).filter_map(|number| get(&*cache, number, NOW)).collect();
        let bytes: usize = served.iter().map(|entry| entry.bytes).sum();
        assert_eq!((stats.entries, stats.bytes), (served.len() as u64, bytes as u64), "{cache:?}");
        cache.clear();
        assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0), "{cache:?}");
    }
}

#[test]
fn no_insertion_of_many_threads_is_lost_where_there_is_room() {
    const THREADS: u64 = 4;
    const KEYS: u64 = 50;
    let seed = seed();
    for cache in each(bounds(4_000, 64 << 20)) {
        let last: Vec<Vec<u64>> = thread::scope(|scope| {
            let running: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let cache = &*cache;
                    scope.spawn(move || {
                        let (mut random, mut last) = (Random::new(seed ^ thread), vec![0; KEYS as usize]);
                        for tag in 1..=20_000 {
                            let own = random.below(KEYS);
                            insert(cache, (thread * KEYS + own) as i64, entry(100, NOW, tag));
                            last[own as usize] = tag;
                            let served = get(cache, (thread * KEYS + own) as i64, NOW);
                            assert_eq!(served.map(|served| served.epoch), Some(tag), "{cache:?}");
                        }
                        last
                    })
                })
                .collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (number, tag) in last.into_iter().flatten().enumerate().filter(|(_, tag)| *tag > 0) {
            assert_eq!(get(&*cache, number as i64, NOW).map(|served| served.epoch), Some(tag), "{cache:?}");
        }
        let stats = cache.stats();
        assert_eq!((stats.inserted, stats.evicted, stats.rejected), (THREADS * 20_000, 0, 0), "{cache:?}");
    }
}
