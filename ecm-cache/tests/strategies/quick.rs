//! What is particular to `Quick`.

use crate::support::{NOW, get, put, put_at};
use ecm_cache::{Quick, QuickConfig};
use ecm_core::{
    Cache, KeyRef, Time, ValueRef,
    testing::{self, Random},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

fn config(max_entries: u64, max_bytes: u64) -> QuickConfig {
    QuickConfig { max_entries, max_bytes, max_entry_bytes: max_bytes / 2, ..QuickConfig::default() }
}

fn cache(config: &QuickConfig) -> Quick {
    Quick::new(config).unwrap()
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
fn a_full_cache_wants_only_what_was_asked_for_before_until_it_is_emptied() {
    let cache = cache(&config(100, 1 << 20));
    let wants = |number: i64| cache.wants(KeyRef::new(0, 0, &[ValueRef::Integer(number)]));
    assert!((0..50).all(&wants), "there is room");
    (0..300).for_each(|number| drop(put(&cache, number, 10)));
    assert!(cache.stats().evicted > 0);
    let at_once = (1_000..1_100).filter(|number| wants(*number)).count();
    assert!(at_once <= 2, "{at_once} of 100 were taken for others");
    assert!((1_090..1_100).filter(|number| wants(*number)).count() >= 8, "asked for the second time, just now");
    put(&cache, 5_000, 10);
    assert!(get(&cache, 5_000, NOW).is_some(), "not to be wanted is no reason to refuse");
    cache.clear();
    assert!((2_000..2_050).all(&wants), "there is room again");
}

/// The hits and the insertions of a caller who stores everything, or asks before.
fn hits_and_insertions(keys: &[i64], asks: bool) -> (usize, usize) {
    let cache = cache(&config(1_000, 1 << 20));
    let (mut hits, mut insertions) = (0, 0);
    for number in keys {
        if get(&cache, *number, NOW).is_some() {
            hits += 1;
        } else if !asks || cache.wants(KeyRef::new(0, 0, &[ValueRef::Integer(*number)])) {
            put(&cache, *number, 10);
            insertions += 1;
        }
    }
    (hits, insertions)
}

#[test]
fn asking_what_is_wanted_saves_insertions_and_costs_hardly_a_hit() {
    let mut random = Random::new(testing::seed());
    // Below a power of two that is itself by chance: nearly Zipf's law.
    let mut skewed = || {
        let bound = 1 << random.below(15);
        random.below(bound).cast_signed()
    };
    let skewed: Vec<i64> = (0..200_000).map(|_| skewed()).collect();
    let with_a_scan: Vec<i64> = skewed.iter().zip(1_000_000..).flat_map(|(number, once)| [*number, once]).collect();
    let longer_than_the_cache: Vec<i64> = (0..200_000).map(|number| number % 1_200).collect();
    // And of so many insertions at most one is left.
    for (keys, of) in [(&skewed, 1.0), (&with_a_scan, 1.8), (&longer_than_the_cache, 1.0)] {
        let ((hits, all), (asking, wanted)) = (hits_and_insertions(keys, false), hits_and_insertions(keys, true));
        assert!(asking as f64 >= hits as f64 * 0.98, "{asking} hits instead of {hits}");
        assert!(wanted as f64 * of <= all as f64, "{wanted} insertions instead of {all}");
    }
}

#[test]
fn replacing_and_removing_do_not_make_a_cache_full() {
    let cache = cache(&config(100, 1 << 20));
    for round in 0..100 {
        put(&cache, round % 5, 10);
        cache.remove(KeyRef::new(0, 0, &[ValueRef::Integer(round % 7)]));
    }
    assert!((1_000..1_100).all(|number| cache.wants(KeyRef::new(0, 0, &[ValueRef::Integer(number)]))));
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
