//! A cache that lies, for the proof that a judge would notice.

use ecm::{
    cache::{Quick, QuickConfig},
    core::{Cache, CacheStats, Entry, Key, KeyRef, Time},
};
use std::sync::Arc;

/// A cache that keeps the rows which it was given first under a key for ever, and takes over from later ones only
/// what makes them look current.
#[derive(Debug)]
pub(crate) struct OldRows(Quick);

impl Default for OldRows {
    fn default() -> Self {
        Self(Quick::new(&QuickConfig::default()).expect("the defaults are valid"))
    }
}

impl Cache for OldRows {
    fn get(&self, key: KeyRef<'_>, now: Time) -> Option<Arc<Entry>> {
        self.0.get(key, now)
    }

    fn insert(&self, key: Key, entry: Arc<Entry>) {
        let old = key.with_ref(|key| self.0.get(key, entry.stored));
        let entry = old.map_or_else(
            || Arc::clone(&entry),
            |old| Arc::new(Entry { rows: Arc::clone(&old.rows), ..Entry::clone(&entry) }),
        );
        self.0.insert(key, entry);
    }

    fn remove(&self, key: KeyRef<'_>) {
        self.0.remove(key);
    }

    fn clear(&self) {
        self.0.clear();
    }

    fn stats(&self) -> CacheStats {
        self.0.stats()
    }
}
