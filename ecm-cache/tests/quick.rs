//! What is particular to `Quick`, and where caches of its kind have gone wrong.

use ecm_cache::{Quick, QuickConfig};
use ecm_core::{Cache, Entry, KeyRef, Position, Time, ValueRef, testing::conformance};
use proptest::prelude::*;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

const NOW: Time = Time::START;

fn config(max_entries: u64, max_bytes: u64) -> QuickConfig {
    QuickConfig { max_entries, max_bytes, max_entry_bytes: max_bytes / 2, ..QuickConfig::default() }
}

fn cache(config: &QuickConfig) -> Quick {
    Quick::new(config).unwrap()
}

fn entry(bytes: usize, stored: Time) -> Arc<Entry> {
    let position = Position::default();
    Arc::new(Entry { rows: Arc::default(), versions: Box::default(), epoch: 0, position, stored, bytes })
}

fn put(cache: &Quick, number: i64, bytes: usize) -> Arc<Entry> {
    put_at(cache, number, bytes, NOW)
}

fn put_at(cache: &Quick, number: i64, bytes: usize, stored: Time) -> Arc<Entry> {
    let entry = entry(bytes, stored);
    cache.insert(KeyRef::new(0, 0, &[ValueRef::Integer(number)]).to_key(), Arc::clone(&entry));
    entry
}

fn get(cache: &Quick, number: i64, now: Time) -> Option<Arc<Entry>> {
    cache.get(KeyRef::new(0, 0, &[ValueRef::Integer(number)]), now)
}

#[test]
fn keeps_the_contract_of_a_cache_whatever_its_size() {
    for max_entries in [5, 100, 3_000] {
        let config = QuickConfig { ttl: Duration::from_secs(7), ..config(max_entries, 64 << 20) };
        conformance::cache_with_ttl(|| cache(&config), config.ttl);
    }
    conformance::cache_with_ttl(Quick::default, QuickConfig::default().ttl);
    conformance::cache_with_ttl(|| cache(&config(100, 200_000)), QuickConfig::default().ttl);
}

#[test]
fn empty_results_weigh_something_and_are_evicted() {
    let cache = cache(&config(40, 1 << 20));
    (0..1_000).for_each(|number| drop(put(&cache, number, 0)));
    let stats = cache.stats();
    assert!(stats.entries <= 40, "{stats:?}");
    assert_eq!(stats.entries + stats.evicted, 1_000);
    assert_eq!(stats.bytes, 0, "what they say that they take");
}

#[test]
fn too_large_is_rejected_and_takes_the_old_entry_along() {
    let cache = cache(&QuickConfig { max_entry_bytes: 1_000, ..config(100, 1 << 20) });
    put(&cache, 1, 1_000);
    assert!(get(&cache, 1, NOW).is_some());
    put(&cache, 1, 1_001);
    put(&cache, 2, usize::MAX);
    assert!(get(&cache, 1, NOW).is_none() && get(&cache, 2, NOW).is_none());
    let stats = cache.stats();
    assert_eq!((stats.rejected, stats.evicted, stats.entries, stats.bytes), (2, 0, 0, 0));
}

#[test]
fn a_cache_of_one_entry_stores_one() {
    let cache = cache(&QuickConfig { max_entry_bytes: 500, ..config(1, 500) });
    for number in 0..3 {
        let entry = put(&cache, number, 500);
        assert!(Arc::ptr_eq(&get(&cache, number, NOW).unwrap(), &entry));
    }
    assert_eq!((cache.stats().entries, cache.stats().bytes, cache.stats().evicted), (1, 500, 2));
}

#[test]
fn what_was_asked_for_again_outlives_a_scan() {
    let cache = cache(&config(100, 1 << 20));
    for number in 0..20 {
        put(&cache, number, 10);
        get(&cache, number, NOW);
        get(&cache, number, NOW);
    }
    (1_000..3_000).for_each(|number| drop(put(&cache, number, 10)));
    let kept = (0..20).filter(|number| get(&cache, *number, NOW).is_some()).count();
    assert_eq!(kept, 20);
}

#[test]
fn a_cache_that_never_forgets_does_not_overflow() {
    let cache = cache(&QuickConfig { ttl: Duration::MAX, ..QuickConfig::default() });
    put_at(&cache, 1, 10, Time::from_nanos(u64::MAX - 1));
    assert!(get(&cache, 1, Time::from_nanos(u64::MAX - 1)).is_some());
    put_at(&cache, 1, 10, NOW);
    assert!(get(&cache, 1, Time::from_nanos(u64::MAX - 1)).is_some());
}

#[test]
fn whoever_finds_an_entry_too_old_does_not_remove_its_successor() {
    let cache = cache(&config(100, 1 << 20));
    let (span, now) = (QuickConfig::default().ttl, AtomicU64::new(0));
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            for _ in 0..300_000 {
                get(&cache, 1, Time::from_nanos(now.load(Ordering::Relaxed)));
            }
        });
        let (mut this, mut lost) = (NOW, 0);
        while !other.is_finished() {
            // The entry of the round before is too old now, and the other thread may be finding it out.
            this = this + span;
            now.store(this.as_nanos(), Ordering::Relaxed);
            put_at(&cache, 1, 10, this);
            lost += u32::from(get(&cache, 1, this).is_none());
        }
        assert_eq!(lost, 0);
    });
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
    /// The model keeps everything; the cache may have dropped any of it, but serves nothing else, and
    /// its figures are those of what it has.
    #[test]
    fn nothing_but_the_last_entry_is_served_and_every_bound_holds(
        steps in steps(), max_entries in 1_u64..50, max_bytes in 5_000_u64..40_000,
    ) {
        let ttl = Duration::from_secs(100);
        let config = QuickConfig { ttl, max_entry_bytes: 2_000, ..config(max_entries, max_bytes) };
        let cache = cache(&config);
        let mut model: HashMap<i64, Arc<Entry>> = HashMap::new();
        let (mut now, mut lookups, mut rejected) = (NOW, 0, 0);
        for step in steps {
            match step {
                Step::Put { number, bytes } => {
                    let entry = put_at(&cache, number, bytes, now);
                    rejected += u64::from(bytes > 2_000);
                    model.insert(number, entry);
                }
                Step::Get { number, after } => {
                    now = now + Duration::from_secs(after);
                    lookups += 1;
                    if let Some(served) = get(&cache, number, now) {
                        let last = model.get(&number);
                        prop_assert!(last.is_some_and(|last| Arc::ptr_eq(last, &served)));
                        prop_assert!(now.since(served.stored) < ttl && served.bytes <= 2_000);
                    }
                }
                Step::Remove { number } => {
                    cache.remove(KeyRef::new(0, 0, &[ValueRef::Integer(number)]));
                    model.remove(&number);
                }
                Step::Clear => {
                    cache.clear();
                    model.clear();
                }
            }
            let stats = cache.stats();
            prop_assert!(stats.entries <= max_entries && stats.bytes <= max_bytes, "{:?}", stats);
            prop_assert_eq!((stats.hits + stats.misses, stats.rejected), (lookups, rejected));
        }
        let before = cache.stats();
        let served: Vec<_> = (0..60).filter_map(|number| get(&cache, number, NOW)).collect();
        let bytes: usize = served.iter().map(|entry| entry.bytes).sum();
        prop_assert_eq!((before.entries, before.bytes), (served.len() as u64, bytes as u64));
    }
}
