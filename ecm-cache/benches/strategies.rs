//! What a lookup and an insertion cost with each strategy, alone and with a second thread.
//!
//! Keys are made beforehand, as the facade makes them once a call; a hit includes giving the entry back.

use criterion::{BatchSize, Bencher, Criterion, criterion_group, criterion_main};
use ecm_cache::{Lru, LruConfig, Quick, QuickConfig, Sharded, ShardedConfig};
use ecm_core::{Cache, Entry, Key, KeyRef, Position, Time, Value, ValueRef};
use std::{
    hint::black_box,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

const KEYS: i64 = 10_000;
const NOW: Time = Time::START;

type Hashed = (u64, [Value; 1]);

fn key(number: i64) -> Key {
    KeyRef::new(0, 1, &[ValueRef::Integer(number)]).to_key()
}

fn entry() -> Arc<Entry> {
    let position = Position::default();
    Arc::new(Entry {
        rows: Arc::default(),
        versions: Box::default(),
        epoch: 0,
        position,
        stored: NOW,
        took: Duration::ZERO,
        bytes: 300,
    })
}

/// The strategies, empty; behind the trait, as the facade has them.
fn strategies(max_entries: u64) -> [(&'static str, Box<dyn Cache>); 3] {
    let quick = Quick::new(&QuickConfig { max_entries, ..QuickConfig::default() });
    let lru = Lru::new(&LruConfig { max_entries, ..LruConfig::default() });
    let sharded = Sharded::new(&ShardedConfig { max_entries, ..ShardedConfig::default() });
    [
        ("quick", Box::new(quick.expect("within the limits"))),
        ("lru", Box::new(lru.expect("within the limits"))),
        ("sharded", Box::new(sharded.expect("within the limits"))),
    ]
}

/// The hash of each key with its value: a `KeyRef` over them costs nothing to put together.
fn hashed(numbers: std::ops::Range<i64>) -> Vec<Hashed> {
    let hash = |number| KeyRef::new(0, 1, &[ValueRef::Integer(number)]).hash;
    numbers.map(|number| (hash(number), [Value::Integer(number)])).collect()
}

fn look_up(cache: &dyn Cache, (hash, value): &Hashed) -> Option<Arc<Entry>> {
    let values: [ValueRef<'_>; 1] = [value[0].borrow()];
    cache.get(KeyRef { hash: *hash, group: 0, statement: 1, values: black_box(&values) }, NOW)
}

/// The time that two threads take for as many rounds each.
fn by_two(bencher: &mut Bencher<'_>, prepare: impl Fn(u64, usize) -> Box<dyn FnOnce() + Send> + Sync) {
    bencher.iter_custom(|count| {
        let start = Barrier::new(2);
        let timed = |thread| {
            let work = prepare(count, thread);
            start.wait();
            let began = Instant::now();
            work();
            began.elapsed()
        };
        thread::scope(|scope| {
            let other = scope.spawn(|| timed(1));
            let mine = timed(0);
            mine.max(other.join().expect("no thread panics"))
        })
    });
}

fn lookups_by_two(bencher: &mut Bencher<'_>, cache: &Arc<dyn Cache>, keys: [&[Hashed]; 2]) {
    by_two(bencher, |count, thread| {
        let (cache, keys) = (Arc::clone(cache), keys[thread].to_vec());
        Box::new(move || {
            for key in keys.iter().cycle().take(usize::try_from(count).expect("few enough")) {
                black_box(look_up(&*cache, key));
            }
        })
    });
}

fn lookups(criterion: &mut Criterion) {
    let (present, absent) = (hashed(0..KEYS), hashed(-KEYS..0));
    for (name, cache) in strategies(16_384) {
        (0..KEYS).for_each(|number| cache.insert(key(number), entry()));
        let cache: Arc<dyn Cache> = cache.into();
        let mut group = criterion.benchmark_group(name);
        group.bench_function("hit, one key", |bencher| bencher.iter(|| look_up(&*cache, black_box(&present[7]))));
        for (case, keys) in [("hit, 10,000 keys", &present), ("miss", &absent)] {
            let mut keys = keys.iter().cycle();
            group.bench_function(case, |bencher| {
                bencher.iter(|| look_up(&*cache, keys.next().expect("a cycle has no end")));
            });
        }
        let (one, other) = present.split_at(present.len() / 2);
        group.bench_function("hit, two threads, one key", |bencher| {
            lookups_by_two(bencher, &cache, [&present[7..8], &present[7..8]]);
        });
        group.bench_function("hit, two threads, 5,000 keys each", |bencher| {
            lookups_by_two(bencher, &cache, [one, other]);
        });
        group.bench_function("miss, two threads", |bencher| {
            lookups_by_two(bencher, &cache, [&absent, &absent]);
        });
        group.finish();
    }
}

fn insertions(criterion: &mut Criterion) {
    for (name, cache) in strategies(1_000) {
        let cache: Arc<dyn Cache> = cache.into();
        let mut group = criterion.benchmark_group(name);
        group.bench_function("insert in place of another", |bencher| {
            bencher.iter_batched(|| (key(7), entry()), |(key, entry)| cache.insert(key, entry), BatchSize::SmallInput);
        });
        let mut number = 0;
        group.bench_function("insert, evicting another", |bencher| {
            bencher.iter_batched(
                || {
                    number += 1;
                    (key(number), entry())
                },
                |(key, entry)| cache.insert(key, entry),
                BatchSize::SmallInput,
            );
        });
        group.bench_function("insert, two threads, evicting others", |bencher| {
            by_two(bencher, |count, thread| {
                let count = i64::try_from(count).expect("few enough");
                let first = if thread == 0 { 0 } else { i64::MIN };
                let made: Vec<_> = (0..count).map(|number| (key(first + number), entry())).collect();
                let cache = Arc::clone(&cache);
                Box::new(move || made.into_iter().for_each(|(key, entry)| cache.insert(key, entry)))
            });
        });
        group.finish();
    }
}

fn quickly() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_millis(1_500))
}

criterion_group! { name = benches; config = quickly(); targets = lookups, insertions }
criterion_main!(benches);
