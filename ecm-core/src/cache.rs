use crate::{Position, Rows, Time, Value, ValueRef, mixer::Mixer};
use std::{
    fmt::Debug,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

/// Stores results of queries, bounded.
///
/// A cache only stores, and forgets what has become too old: whether an entry may still be served is
/// decided by the facade, from the entry's versions, on every hit.
///
/// # Concurrency
/// Called by every thread that queries; a hit should cost tens of nanoseconds and allocate nothing.
pub trait Cache: Send + Sync + Debug {
    /// The entry under a key, unless it is older at `now` than the cache keeps anything. The caller
    /// has read the clock already: a cache reads none.
    fn get(&self, key: KeyRef<'_>, now: Time) -> Option<Arc<Entry>>;

    /// Whether the answer to a key that was looked up in vain is to be stored, asked before it is computed: what is
    /// not stored need not be gathered. Asking counts as one more time that it was wanted. An answer may be stored all the
    /// same. *Default:* yes.
    fn wants(&self, key: KeyRef<'_>) -> bool {
        let _ = key;
        true
    }

    /// Stores an entry, in place of any other under that key. May drop it, or others, at will.
    fn insert(&self, key: Key, entry: Arc<Entry>);

    /// Forgets the entry under a key.
    fn remove(&self, key: KeyRef<'_>);

    /// Forgets everything.
    fn clear(&self);

    /// Figures since the start.
    fn stats(&self) -> CacheStats;
}

impl<C: Cache + ?Sized> Cache for Box<C> {
    fn get(&self, key: KeyRef<'_>, now: Time) -> Option<Arc<Entry>> {
        (**self).get(key, now)
    }

    fn wants(&self, key: KeyRef<'_>) -> bool {
        (**self).wants(key)
    }

    fn insert(&self, key: Key, entry: Arc<Entry>) {
        (**self).insert(key, entry);
    }

    fn remove(&self, key: KeyRef<'_>) {
        (**self).remove(key);
    }

    fn clear(&self) {
        (**self).clear();
    }

    fn stats(&self) -> CacheStats {
        (**self).stats()
    }
}

/// What a result is stored under, borrowed from the call and hashed once: a lookup owns nothing.
#[derive(Clone, Copy, Debug)]
pub struct KeyRef<'a> {
    /// The hash of all the rest.
    pub hash: u64,
    /// The group that was asked.
    pub group: u32,
    /// The statement, by its number in the group.
    pub statement: u32,
    /// The parameters, by type and bits: `1`, `1.0` and `'1'` are three keys.
    pub values: &'a [ValueRef<'a>],
}

impl<'a> KeyRef<'a> {
    /// The key of a statement of a group with these parameters.
    ///
    /// Costs about 5 ns with one number, and a nanosecond for each 8 bytes of a text. The hash differs from process to
    /// process: nobody outside can choose parameters that collide.
    #[must_use]
    #[inline]
    pub fn new(group: u32, statement: u32, values: &'a [ValueRef<'a>]) -> Self {
        let hash = Mixer::of_the_process().hash(group, statement, values);
        Self { hash, group, statement, values }
    }

    /// Whether `key` is the same key.
    #[must_use]
    #[inline]
    pub fn matches(&self, key: &Key) -> bool {
        self.hash == key.hash
            && self.group == key.group
            && self.statement == key.statement
            && self.values.len() == key.values.len()
            && self.values.iter().zip(&key.values).all(|(mine, theirs)| mine.same(theirs.borrow()))
    }

    /// A key that owns its parameters.
    #[must_use]
    pub fn to_key(&self) -> Key {
        Key {
            hash: self.hash,
            group: self.group,
            statement: self.statement,
            values: self.values.iter().map(|value| value.to_value()).collect(),
        }
    }
}

/// What a result is stored under, owned. Made by [`KeyRef::to_key`], once per stored result.
#[derive(Clone, Debug)]
pub struct Key {
    hash: u64,
    group: u32,
    statement: u32,
    values: Box<[Value]>,
}

impl Key {
    /// The hash that its [`KeyRef`] had.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Lends the key as one to look up. Allocates, unlike making a [`KeyRef`] from what a call was given.
    pub fn with_ref<R>(&self, use_it: impl FnOnce(KeyRef<'_>) -> R) -> R {
        let values: Vec<_> = self.values.iter().map(Value::borrow).collect();
        use_it(KeyRef { hash: self.hash, group: self.group, statement: self.statement, values: &values })
    }

    /// About how many bytes of memory this takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let content = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
            _ => 0,
        };
        size_of::<Self>() + size_of_val(&*self.values) + self.values.iter().map(content).sum::<usize>()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
            && self.group == other.group
            && self.statement == other.statement
            && self.values.len() == other.values.len()
            && self.values.iter().zip(&other.values).all(|(mine, theirs)| mine.borrow().same(theirs.borrow()))
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// A stored result, with what it takes to judge whether it is still current.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The result.
    pub rows: Arc<Rows>,
    /// The versions of the tables that it was read from, captured before its snapshot was taken.
    pub versions: Box<[TableVersion]>,
    /// Which primary it comes from: an entry of another epoch is never served.
    pub epoch: u64,
    /// At least which commit its snapshot had seen.
    pub position: Position,
    /// When it was stored.
    pub stored: Time,
    /// How long it took to get, waiting included: what a hit saves.
    pub took: Duration,
    /// About how many bytes of memory it takes, key included. Never 0, so that everything weighs
    /// something.
    pub bytes: usize,
}

/// One table, or one of its parts, at one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableVersion {
    /// The table, by its number in the group.
    pub table: u32,
    /// How often it had been written.
    pub version: u64,
}

/// Figures of a cache since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CacheStats {
    /// Lookups that found an entry.
    pub hits: u64,
    /// Lookups that found none.
    pub misses: u64,
    /// Entries stored now.
    pub entries: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// The most entries that may be stored; 0 for a cache that stores nothing.
    pub capacity: u64,
    /// Entries that were stored, each time that one was; also in place of another.
    pub inserted: u64,
    /// Entries that were not stored: they are too large, or a cache that weighs what entries save has refused
    /// them.
    pub rejected: u64,
    /// Entries that had to go for others before they were too old.
    pub evicted: u64,
    /// Entries that went because they were too old: found so when they were asked for, or when room
    /// was made.
    pub expired: u64,
}

/// What was read again of answers that are kept, in the background, since a manager was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CacheRereads {
    /// Hits that were read again and compared.
    pub compared: u64,
    /// Those among them that were not what the database answers: more than none is an error.
    pub mismatches: u64,
    /// Hits that were picked to be compared and were not: something was written meanwhile, too many waited, no
    /// connection was free, or reading failed.
    pub skipped: u64,
    /// Answers that were read anew because an old one had been served.
    pub refreshed: u64,
    /// Readings of those that failed, or that too many waited for.
    pub refreshes_failed: u64,
}

/// The null cache: stores nothing, counts nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCache;

impl Cache for NoCache {
    fn get(&self, _key: KeyRef<'_>, _now: Time) -> Option<Arc<Entry>> {
        None
    }

    fn wants(&self, _key: KeyRef<'_>) -> bool {
        false
    }

    fn insert(&self, _key: Key, _entry: Arc<Entry>) {}

    fn remove(&self, _key: KeyRef<'_>) {}

    fn clear(&self) {}

    fn stats(&self) -> CacheStats {
        CacheStats::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Vec<Value>> {
        let value = prop_oneof![
            Just(Value::Null),
            (-2_i64..2).prop_map(Value::Integer),
            (-2_i32..2).prop_map(|number| Value::Real(number.into())),
            "[0-1]{0,2}".prop_map(|text| Value::Text(text.into())),
            "[0-1]{0,2}".prop_map(|text| Value::Blob(text.into_bytes().into())),
        ];
        proptest::collection::vec(value, 0..3)
    }

    proptest! {
        #[test]
        fn keys_match_exactly_when_group_statement_and_typed_values_do(
            a in values(), b in values(), group in 0_u32..2, statement in 0_u32..2,
        ) {
            let a_refs: Vec<_> = a.iter().map(Value::borrow).collect();
            let b_refs: Vec<_> = b.iter().map(Value::borrow).collect();
            let owned = KeyRef::new(0, 0, &a_refs).to_key();
            let asked = KeyRef::new(group, statement, &b_refs);
            let same = (group, statement) == (0, 0)
                && a_refs.len() == b_refs.len()
                && a_refs.iter().zip(&b_refs).all(|(x, y)| x.same(*y));
            prop_assert_eq!(asked.matches(&owned), same);
            prop_assert_eq!(owned == asked.to_key(), same);
            prop_assert!(owned.with_ref(|lent| lent.matches(&owned)));
        }
    }

    #[test]
    fn values_do_not_run_together() {
        let split = KeyRef::new(0, 0, &[ValueRef::Text("ab"), ValueRef::Text("c")]).hash;
        assert_ne!(split, KeyRef::new(0, 0, &[ValueRef::Text("a"), ValueRef::Text("bc")]).hash);
        assert_ne!(KeyRef::new(0, 1, &[]).hash, KeyRef::new(1, 0, &[]).hash);
    }

    #[test]
    fn the_null_cache_stores_nothing() {
        let key = KeyRef::new(0, 0, &[]);
        let entry = Entry {
            rows: Arc::default(),
            versions: Box::new([TableVersion { table: 0, version: 1 }]),
            epoch: 0,
            position: Position::default(),
            stored: Time::START,
            took: Duration::ZERO,
            bytes: 1,
        };
        assert!(!NoCache.wants(key));
        NoCache.insert(key.to_key(), Arc::new(entry));
        assert!(NoCache.get(key, Time::START).is_none());
        assert_eq!(NoCache.stats(), CacheStats::default());
    }
}
