#[cfg(test)]
mod wrong;

use super::{at_once::at_once, promise::promises};
use crate::{Cache, CacheStats, Entry, KeyRef, Position, Time, Value};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

promises! {
    NOTHING = "a cache that says it has no capacity stores nothing";
    SERVES = "what was stored under a key is served under it";
    TYPES = "keys differ by group, statement, number of values, and each value by type and bits";
    HASHES = "keys that only have the same hash are not mistaken for each other";
    REPLACES = "what was stored last under a key is served, nothing older";
    REFUSES = "what is too large to be stored leaves nothing older in its place";
    REMOVES = "what was removed is not served, and nothing else is removed with it";
    CLEARS = "a cleared cache serves nothing, and stores again";
    EARLY = "a lookup that began before an entry was stored does no harm";
    COUNTS_LOOKUPS = "every lookup counts as one hit or as one miss";
    COUNTS_ENTRIES = "entries and bytes are those of what is stored";
    BOUNDED = "there are never more entries than the capacity says";
    COUNTS_LOSSES = "what is not stored any more was evicted, and what never was is rejected";
    COUNTS_INSERTIONS = "every insertion counts once, as inserted or as rejected";
    SHARED = "what one thread has stored is served to another";
    APART = "threads at the same time get the entries of the keys they ask for";
    YOUNG = "an entry is served until it is as old as the cache keeps anything";
    OLD = "an entry that is as old as the cache keeps anything is not served";
    FORGETS = "an entry that was found too old is not kept";
    COUNTS_AGE = "an entry that was found too old counts as expired, once, and not as evicted";
}

/// The most entries of a cache that the suite can fill in reasonable time.
const LARGEST: u64 = 20_000;

/// Holds a cache to the contract of [`Cache`].
///
/// `make` makes an empty cache of at most 20,000 entries that keeps a few small entries where nothing
/// else is stored, or one whose capacity is 0. It is called many times.
///
/// ```
/// ecm_core::testing::conformance::cache(|| ecm_core::NoCache);
/// ```
///
/// # Panics
/// With the first promise that is broken.
pub fn cache<C: Cache>(make: impl Fn() -> C) {
    let fresh = || Bench { cache: make(), now: Time::from_nanos(1_000) };
    if fresh().stats().capacity == 0 {
        return stores_nothing(&fresh());
    }
    serves(&fresh());
    tells_keys_apart(&fresh());
    tells_hashes_apart(&fresh());
    replaces(&fresh());
    refuses(&fresh());
    removes(&fresh());
    clears(&fresh());
    bears_an_early_lookup(&fresh());
    counts_lookups(&fresh());
    counts_entries(&fresh());
    is_bounded(&fresh());
    counts_insertions(&fresh());
    is_shared(&fresh());
    keeps_threads_apart(&fresh());
}

/// Holds a cache that forgets what is older than `ttl` to the contract of [`Cache`], and to its word.
///
/// As [`cache`], and an entry that was stored at some moment is served before `ttl` has passed since,
/// and not from then on.
///
/// # Panics
/// With the first promise that is broken.
pub fn cache_with_ttl<C: Cache>(make: impl Fn() -> C, ttl: Duration) {
    cache(&make);
    let mut bench = Bench { cache: make(), now: Time::from_nanos(1_000) };
    let key = Asked::number(1);
    for round in 1..=3 {
        let stored = bench.now;
        let entry = bench.put(&key, round);
        let last = Time::from_nanos((stored + ttl).as_nanos() - 1);
        assert!(bench.serves_at(&key, &entry, last), "{YOUNG}: it was gone 1 ns before {ttl:?} had passed");
        for late in [Duration::ZERO, Duration::from_nanos(1), ttl] {
            let at = stored + ttl + late;
            assert!(!bench.serves_at(&key, &entry, at), "{OLD}: it was served {late:?} after {ttl:?} had passed");
        }
        let CacheStats { entries, expired, evicted, .. } = bench.stats();
        assert!(entries == 0, "{FORGETS}: the cache still counts {entries} entries");
        let right = (expired, evicted) == (round, 0);
        assert!(right, "{COUNTS_AGE}: after {round} of them {expired} count as expired and {evicted} as evicted");
        bench.now = stored + ttl;
    }
}

fn stores_nothing<C: Cache>(bench: &Bench<C>) {
    let key = Asked::number(1);
    bench.put(&key, 1);
    assert!(bench.get(&key).is_none(), "{NOTHING}: an entry was served");
    assert!(bench.stats().entries == 0, "{NOTHING}: {:?}", bench.stats());
    bench.remove(&key);
    bench.cache.clear();
}

fn serves<C: Cache>(bench: &Bench<C>) {
    for key in Asked::of_every_kind() {
        assert!(bench.get(&key).is_none(), "{SERVES}: an empty cache served an entry under {key:?}");
        let entry = bench.put(&key, 1);
        assert!(bench.serves(&key, &entry), "{SERVES}: asked for {key:?}, the entry just stored was not served");
        bench.remove(&key);
    }
}

fn tells_keys_apart<C: Cache>(bench: &Bench<C>) {
    let keys = Asked::of_every_kind();
    for (number, stored) in keys.iter().enumerate() {
        bench.put(stored, 1);
        for asked in others(&keys, number) {
            assert!(bench.get(asked).is_none(), "{TYPES}: stored under {stored:?}, served under {asked:?}");
        }
        bench.remove(stored);
    }
}

fn tells_hashes_apart<C: Cache>(bench: &Bench<C>) {
    let keys: Vec<_> = Asked::of_every_kind().into_iter().map(|key| Asked { hash: Some(7), ..key }).collect();
    for (number, stored) in keys.iter().enumerate() {
        bench.put(stored, 1);
        for asked in others(&keys, number) {
            assert!(bench.get(asked).is_none(), "{HASHES}: stored under {stored:?}, served under {asked:?}");
            bench.remove(asked);
        }
        let kept = bench.get(stored).is_some();
        assert!(kept, "{HASHES}: removing others of the same hash has removed {stored:?}");
        bench.remove(stored);
    }
}

fn others(keys: &[Asked], number: usize) -> impl Iterator<Item = &Asked> {
    keys.iter().enumerate().filter(move |(other, _)| *other != number).map(|(_, key)| key)
}

fn replaces<C: Cache>(bench: &Bench<C>) {
    let key = Asked::number(1);
    for tag in 1..=3 {
        let entry = bench.put(&key, tag);
        let seen = bench.get(&key).map(|entry| entry.epoch);
        assert!(bench.serves(&key, &entry), "{REPLACES}: stored number {tag}, served {seen:?}");
    }
}

fn refuses<C: Cache>(bench: &Bench<C>) {
    let key = Asked::number(1);
    bench.put(&key, 1);
    bench.insert(&key, Entry { bytes: 1 << 30, ..bench.entry(2) });
    let seen = bench.get(&key).map(|entry| entry.epoch);
    assert!(seen != Some(1), "{REFUSES}: after one of 1 GiB the small one before it was served");
}

fn removes<C: Cache>(bench: &Bench<C>) {
    let keys = [Asked::number(1), Asked::number(2)];
    let [_, other] = keys.each_ref().map(|key| bench.put(key, 1));
    bench.remove(&Asked::number(3));
    bench.remove(&keys[0]);
    bench.remove(&keys[0]);
    assert!(bench.get(&keys[0]).is_none(), "{REMOVES}: the removed one was served");
    assert!(bench.serves(&keys[1], &other), "{REMOVES}: another one has gone as well");
}

fn clears<C: Cache>(bench: &Bench<C>) {
    bench.cache.clear();
    let keys: Vec<_> = (0..3).map(Asked::number).collect();
    for round in 1..=2 {
        let entries: Vec<_> = keys.iter().map(|key| bench.put(key, round)).collect();
        let served = keys.iter().zip(&entries).filter(|(key, entry)| bench.serves(key, entry)).count();
        assert!(served == 3, "{CLEARS}: in round {round} only {served} of 3 entries were stored");
        bench.cache.clear();
        let served = keys.iter().filter(|key| bench.get(key).is_some()).count();
        assert!(served == 0, "{CLEARS}: {served} of 3 entries were served afterwards");
    }
}

fn bears_an_early_lookup<C: Cache>(bench: &Bench<C>) {
    let key = Asked::number(1);
    let entry = bench.put(&key, 1);
    let early = catch_unwind(AssertUnwindSafe(|| bench.get_at(&key, Time::START)));
    assert!(early.is_ok(), "{EARLY}: it panicked");
    assert!(bench.serves(&key, &entry), "{EARLY}: the entry is gone");
}

fn counts_lookups<C: Cache>(bench: &Bench<C>) {
    let (key, absent) = (Asked::number(1), Asked::number(2));
    let before = bench.stats();
    bench.put(&key, 1);
    let (mut hits, mut misses) = (0, 0);
    for asked in [&key, &absent, &key, &absent, &absent] {
        if bench.get(asked).is_some() { hits += 1 } else { misses += 1 }
    }
    let after = bench.stats();
    let counted = (after.hits - before.hits, after.misses - before.misses);
    assert!(counted == (hits, misses), "{COUNTS_LOOKUPS}: counted {counted:?} of {hits} hits and {misses} misses");
}

fn counts_entries<C: Cache>(bench: &Bench<C>) {
    let keys: Vec<_> = (0..4).map(Asked::number).collect();
    let agrees = |when: &str| {
        let stored: Vec<_> = keys.iter().filter_map(|key| bench.get(key)).collect();
        let bytes: u64 = stored.iter().map(|entry| entry.bytes as u64).sum();
        let stats = bench.stats();
        let right =
            stats.entries == stored.len() as u64 && if bytes == 0 { stats.bytes == 0 } else { stats.bytes >= bytes };
        assert!(right, "{COUNTS_ENTRIES}: {when} there are {} of {bytes} bytes, but {stats:?}", stored.len());
    };
    agrees("at first");
    keys.iter().for_each(|key| drop(bench.put(key, 1)));
    agrees("after four were stored");
    bench.insert(&keys[0], Entry { bytes: 1_000, ..bench.entry(2) });
    agrees("after one was replaced by a larger one");
    bench.put(&keys[0], 3);
    agrees("after it was replaced by a smaller one");
    bench.remove(&keys[0]);
    bench.remove(&keys[0]);
    agrees("after one was removed");
    bench.insert(&keys[1], Entry { bytes: 1 << 30, ..bench.entry(4) });
    agrees("after one was replaced by one of 1 GiB");
    bench.cache.clear();
    agrees("after all were cleared");
}

fn is_bounded<C: Cache>(bench: &Bench<C>) {
    for tag in 1..=3 {
        bench.put(&Asked::number(0), tag);
    }
    let evicted = bench.stats().evicted;
    assert!(evicted == 0, "{COUNTS_LOSSES}: {evicted} count as evicted, where one was replaced twice");
    let capacity = bench.stats().capacity;
    assert!(
        capacity <= LARGEST,
        "the suite has to fill the cache: make one of at most {LARGEST} entries, not {capacity}"
    );
    let count = 3 * capacity + 10;
    let keys: Vec<_> = (0..count).map(|number| Asked::number(number as i64)).collect();
    for key in &keys {
        bench.put(key, 1);
        let entries = bench.stats().entries;
        assert!(entries <= capacity, "{BOUNDED}: {entries} entries, where {capacity} may be");
    }
    let served = keys.iter().filter(|key| bench.get(key).is_some()).count() as u64;
    assert!(served <= capacity, "{BOUNDED}: {served} entries are served, where {capacity} may be");
    let stats = bench.stats();
    let lost = stats.evicted + stats.rejected;
    assert!(
        served + lost == count,
        "{COUNTS_LOSSES}: {served} of {count} entries are served, {} count as evicted and {} as rejected",
        stats.evicted,
        stats.rejected
    );
}

fn counts_insertions<C: Cache>(bench: &Bench<C>) {
    let insertions = [(1, 300), (1, 300), (2, 300), (2, 1 << 30), (1, 300)];
    for (number, bytes) in insertions {
        bench.insert(&Asked::number(number), Entry { bytes, ..bench.entry(1) });
    }
    bench.remove(&Asked::number(1));
    let CacheStats { inserted, rejected, .. } = bench.stats();
    let made = insertions.len() as u64;
    assert!(
        inserted + rejected == made,
        "{COUNTS_INSERTIONS}: of {made} insertions {inserted} count as inserted and {rejected} as rejected"
    );
}

fn is_shared<C: Cache>(bench: &Bench<C>) {
    let key = Asked::number(1);
    for tag in 1..=2 {
        at_once(1, |_| drop(bench.put(&key, tag)));
        let seen = bench.get(&key).map(|entry| entry.epoch);
        assert!(seen == Some(tag), "{SHARED}: another thread stored {tag}, this one was served {seen:?}");
    }
    at_once(1, |_| bench.remove(&key));
    assert!(bench.get(&key).is_none(), "{SHARED}: this one was served what another thread had removed");
}

fn keeps_threads_apart<C: Cache>(bench: &Bench<C>) {
    const THREADS: u64 = 4;
    const KEYS: u64 = 8;
    let key = |tag: u64| Asked::number(tag as i64);
    let own = |thread: u64| thread * KEYS..(thread + 1) * KEYS;
    for _round in 0..20 {
        at_once(THREADS, |thread| own(thread).for_each(|tag| drop(bench.put(&key(tag), tag))));
        at_once(THREADS, |thread| {
            for tag in 0..THREADS * KEYS {
                let seen = bench.get(&key(tag)).map(|entry| entry.epoch);
                assert!(seen.is_none_or(|seen| seen == tag), "{APART}: asked for {tag}, served {seen:?}");
            }
            own(thread).step_by(2).for_each(|tag| bench.remove(&key(tag)));
            own(thread).step_by(3).for_each(|tag| drop(bench.put(&key(tag), tag)));
        });
    }
    bench.cache.clear();
    let stats = bench.stats();
    assert!((stats.entries, stats.bytes) == (0, 0), "{APART}: everything was cleared, but {stats:?}");
}

/// A cache with a moment at which it is used.
struct Bench<C> {
    cache: C,
    now: Time,
}

impl<C: Cache> Bench<C> {
    /// An entry that is known by its epoch.
    fn entry(&self, tag: u64) -> Entry {
        Entry {
            rows: Arc::default(),
            versions: Box::default(),
            epoch: tag,
            position: Position::default(),
            stored: self.now,
            took: Duration::from_micros(10),
            bytes: 300,
        }
    }

    fn put(&self, key: &Asked, tag: u64) -> Arc<Entry> {
        self.insert(key, self.entry(tag))
    }

    fn insert(&self, key: &Asked, entry: Entry) -> Arc<Entry> {
        let entry = Arc::new(entry);
        self.cache.insert(key.with(|key| key.to_key()), Arc::clone(&entry));
        entry
    }

    fn get(&self, key: &Asked) -> Option<Arc<Entry>> {
        self.get_at(key, self.now)
    }

    fn get_at(&self, key: &Asked, now: Time) -> Option<Arc<Entry>> {
        key.with(|key| self.cache.get(key, now))
    }

    fn serves(&self, key: &Asked, entry: &Arc<Entry>) -> bool {
        self.serves_at(key, entry, self.now)
    }

    fn serves_at(&self, key: &Asked, entry: &Arc<Entry>, now: Time) -> bool {
        self.get_at(key, now).is_some_and(|served| Arc::ptr_eq(&served, entry))
    }

    fn remove(&self, key: &Asked) {
        key.with(|key| self.cache.remove(key));
    }

    fn stats(&self) -> CacheStats {
        self.cache.stats()
    }
}

/// A key, made anew for each use: a cache that compares addresses finds nothing.
#[derive(Clone, Debug)]
struct Asked {
    group: u32,
    statement: u32,
    values: Vec<Value>,
    /// Instead of the one that the key has.
    hash: Option<u64>,
}

impl Asked {
    fn number(number: i64) -> Self {
        Self::of([Value::Integer(number)])
    }

    fn of<const N: usize>(values: [Value; N]) -> Self {
        Self { group: 0, statement: 1, values: values.into(), hash: None }
    }

    /// Keys of which each is near to another one, and none is the same.
    fn of_every_kind() -> Vec<Self> {
        let text = |text: &str| Value::Text(text.into());
        let blob = |bytes: &[u8]| Value::Blob(bytes.into());
        vec![
            Self::of([]),
            Self::of([Value::Null]),
            Self::of([Value::Null, Value::Null]),
            Self::number(0),
            Self::number(1),
            Self { group: 1, ..Self::number(1) },
            Self { statement: 2, ..Self::number(1) },
            Self::of([Value::Integer(1), Value::Integer(1)]),
            Self::of([Value::Real(1.0)]),
            Self::of([Value::Real(0.0)]),
            Self::of([Value::Real(-0.0)]),
            Self::of([Value::Real(f64::NAN)]),
            Self::of([text("1")]),
            Self::of([text("")]),
            Self::of([text("ab"), text("c")]),
            Self::of([text("a"), text("bc")]),
            Self::of([blob(b"1")]),
            Self::of([blob(b"")]),
        ]
    }

    fn with<R>(&self, use_it: impl FnOnce(KeyRef<'_>) -> R) -> R {
        let values: Vec<_> = self.values.iter().map(Value::borrow).collect();
        let mut key = KeyRef::new(self.group, self.statement, &values);
        key.hash = self.hash.unwrap_or(key.hash);
        use_it(key)
    }
}
