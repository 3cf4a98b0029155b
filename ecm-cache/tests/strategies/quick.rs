//! What is particular to `Quick`.

use crate::support::{NOW, get, put, put_at};
use ecm_cache::{Quick, QuickConfig};
use ecm_core::{Cache, Time};
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
