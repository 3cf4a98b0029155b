//! A trace played to a real cache.

use ecm_cache::{Lru, LruConfig, Quick, QuickConfig, Sharded, ShardedConfig};
use ecm_core::{Cache, Entry, KeyRef, Position, Time, ValueRef};
use std::{sync::Arc, time::Duration};

pub(crate) const STRATEGIES: [&str; 3] = ["Quick", "Lru", "Sharded"];

/// The strategy of this number, with room for so many entries and bytes.
pub(crate) fn strategy(number: usize, max_entries: u64, max_bytes: u64, max_entry_bytes: u64) -> Box<dyn Cache> {
    let fits = "the bounds are within the limits";
    match number {
        0 => {
            let config = QuickConfig { max_entries, max_bytes, max_entry_bytes, ..QuickConfig::default() };
            Box::new(Quick::new(&config).expect(fits))
        }
        1 => {
            let config = LruConfig { max_entries, max_bytes, max_entry_bytes, ..LruConfig::default() };
            Box::new(Lru::new(&config).expect(fits))
        }
        _ => {
            let config = ShardedConfig { max_entries, max_bytes, max_entry_bytes, ..ShardedConfig::default() };
            Box::new(Sharded::new(&config).expect(fits))
        }
    }
}

/// What a result takes.
pub(crate) struct Takes {
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
}

/// Asks for each, and stores what is not there; tells `served` of each that is.
pub(crate) fn replay(cache: &dyn Cache, requests: &[u32], takes: impl Fn(u32) -> Takes, mut served: impl FnMut(u32)) {
    for number in requests {
        let values = [ValueRef::Integer(i64::from(*number))];
        let key = KeyRef::new(0, 0, &values);
        if cache.get(key, Time::START).is_some() {
            served(*number);
            continue;
        }
        let Takes { bytes, time: took } = takes(*number);
        let (position, stored) = (Position::default(), Time::START);
        let entry = Entry { rows: Arc::default(), versions: Box::default(), epoch: 0, position, stored, took, bytes };
        cache.insert(key.to_key(), Arc::new(entry));
    }
}

/// The part of all requests that a strategy serves, with room for so many entries.
pub(crate) fn hit_ratio(number: usize, requests: &[u32], capacity: u64) -> f64 {
    let cache = strategy(number, capacity, 64 << 20, 300);
    let mut hits = 0_usize;
    let alike = |_| Takes { bytes: 300, time: Duration::from_micros(10) };
    replay(&*cache, requests, alike, |_| hits += 1);
    hits as f64 / requests.len() as f64
}
