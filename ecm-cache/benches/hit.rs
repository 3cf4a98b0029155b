//! What a lookup and an insertion cost, alone and with a second thread.
//!
//! Keys are made beforehand, as the facade makes them once a call; a hit includes giving the entry back.

use criterion::{BatchSize, Bencher, Criterion, criterion_group, criterion_main};
use ecm_cache::{Quick, QuickConfig};
use ecm_core::{Cache, Entry, Key, KeyRef, Position, Time, Value, ValueRef};
use std::{
    hint::black_box,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

const KEYS: i64 = 10_000;
const NOW: Time = Time::START;

fn values(numbers: std::ops::Range<i64>) -> Vec<Value> {
    numbers.map(Value::Integer).collect()
}

fn key(value: &Value) -> Key {
    KeyRef::new(0, 1, &[value.borrow()]).to_key()
}

fn entry() -> Arc<Entry> {
    let position = Position::default();
    Arc::new(Entry { rows: Arc::default(), versions: Box::default(), epoch: 0, position, stored: NOW, bytes: 300 })
}

fn full() -> Quick {
    let cache = Quick::new(&QuickConfig { max_entries: 16_384, ..QuickConfig::default() }).expect("within the limits");
    values(0..KEYS).iter().for_each(|value| cache.insert(key(value), entry()));
    cache
}

/// The hash of each key with its value: a `KeyRef` over them costs nothing to put together.
fn hashed(numbers: std::ops::Range<i64>) -> Vec<(u64, [Value; 1])> {
    values(numbers).into_iter().map(|value| (KeyRef::new(0, 1, &[value.borrow()]).hash, [value])).collect()
}

fn look_up(cache: &Quick, (hash, value): &(u64, [Value; 1])) -> Option<Arc<Entry>> {
    let values: [ValueRef<'_>; 1] = [value[0].borrow()];
    cache.get(KeyRef { hash: *hash, group: 0, statement: 1, values: black_box(&values) }, NOW)
}

/// The time that two threads take for as many lookups each.
fn by_two(bencher: &mut Bencher<'_>, cache: &Quick, keys: [&[(u64, [Value; 1])]; 2]) {
    bencher.iter_custom(|count| {
        let start = Barrier::new(2);
        let timed = |keys: &[(u64, [Value; 1])]| {
            start.wait();
            let began = Instant::now();
            for key in keys.iter().cycle().take(usize::try_from(count).expect("few enough")) {
                black_box(look_up(cache, key));
            }
            began.elapsed()
        };
        thread::scope(|scope| {
            let other = scope.spawn(|| timed(keys[1]));
            let mine = timed(keys[0]);
            mine.max(other.join().expect("no thread panics"))
        })
    });
}

fn lookups(criterion: &mut Criterion) {
    let cache = full();
    let present = hashed(0..KEYS);
    let absent = hashed(-KEYS..0);
    let mut group = criterion.benchmark_group("lookup");
    group.bench_function("hit, one key", |bencher| bencher.iter(|| look_up(&cache, black_box(&present[7]))));
    let mut keys = present.iter().cycle();
    group.bench_function("hit, 10,000 keys", |bencher| {
        bencher.iter(|| look_up(&cache, keys.next().expect("a cycle has no end")));
    });
    let mut keys = absent.iter().cycle();
    group.bench_function("miss", |bencher| {
        bencher.iter(|| look_up(&cache, keys.next().expect("a cycle has no end")));
    });
    group.bench_function("hit, two threads, one key", |bencher| {
        by_two(bencher, &cache, [&present[7..8], &present[7..8]]);
    });
    group.bench_function("hit, two threads, a key each", |bencher| {
        by_two(bencher, &cache, [&present[7..8], &present[8..9]]);
    });
    group.bench_function("hit, two threads, 5,000 keys each", |bencher| {
        let (one, other) = present.split_at(present.len() / 2);
        by_two(bencher, &cache, [one, other]);
    });
    group.finish();
}

fn insertions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("insert");
    let cache = full();
    let same = Value::Integer(7);
    group.bench_function("in place of another", |bencher| {
        bencher.iter_batched(|| (key(&same), entry()), |(key, entry)| cache.insert(key, entry), BatchSize::SmallInput);
    });
    let small = Quick::new(&QuickConfig { max_entries: 1_000, ..QuickConfig::default() }).expect("within the limits");
    let mut number = 0;
    group.bench_function("evicting another", |bencher| {
        bencher.iter_batched(
            || {
                number += 1;
                (key(&Value::Integer(number)), entry())
            },
            |(key, entry)| small.insert(key, entry),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn quickly() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3))
}

criterion_group! { name = benches; config = quickly(); targets = lookups, insertions }
criterion_main!(benches);
