//! A result cache of one's own: strictly least recently used, and held to the contract of every cache.
//!
//! ```text
//! cargo run -p ecm --example custom_cache
//! cargo test -p ecm --example custom_cache
//! ```

use ecm::{
    ConnectionManager, Database,
    core::{Cache, CacheStats, Entry, Key, KeyRef, Time},
    sqlite::Sqlite,
};
use std::{
    collections::VecDeque,
    error::Error,
    io::{Write, stdout},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Keeps the results that were asked for last, whatever their size and age. It looks through all of them,
/// which is quick enough for a hundred.
#[derive(Debug)]
struct Lru {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What was used last comes first.
    entries: VecDeque<(Key, Arc<Entry>)>,
    stats: CacheStats,
}

impl Lru {
    fn new(capacity: usize) -> Self {
        Self { capacity, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache for Lru {
    fn get(&self, key: KeyRef<'_>, _now: Time) -> Option<Arc<Entry>> {
        let mut state = self.lock();
        let found = state.entries.iter().position(|(stored, _)| key.matches(stored));
        let Some(used) = found.and_then(|index| state.entries.remove(index)) else {
            state.stats.misses += 1;
            return None;
        };
        state.stats.hits += 1;
        let entry = Arc::clone(&used.1);
        state.entries.push_front(used);
        Some(entry)
    }

    fn insert(&self, key: Key, entry: Arc<Entry>) {
        let mut state = self.lock();
        state.entries.retain(|(stored, _)| *stored != key);
        state.entries.push_front((key, entry));
        state.stats.inserted += 1;
        if state.entries.len() > self.capacity {
            state.entries.pop_back();
            state.stats.evicted += 1;
        }
    }

    fn remove(&self, key: KeyRef<'_>) {
        self.lock().entries.retain(|(stored, _)| !key.matches(stored));
    }

    fn clear(&self) {
        self.lock().entries.clear();
    }

    fn stats(&self) -> CacheStats {
        let state = self.lock();
        let mut stats = state.stats;
        stats.entries = state.entries.len() as u64;
        stats.bytes = state.entries.iter().map(|(_, entry)| entry.bytes as u64).sum();
        stats.capacity = self.capacity as u64;
        stats
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let manager =
        ConnectionManager::builder().database(Database::new("main", Sqlite::memory())).cache(Lru::new(100)).build()?;
    manager.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT)").wait()?;
    manager.write(|tx| Ok(tx.execute("INSERT INTO note (title) VALUES ('bread'), ('salt')", [])?)).wait()?;

    let mut out = stdout().lock();
    let title = |id: i64| manager.query("SELECT title FROM note WHERE id = ?1").bind(id).one::<String>().wait();
    for id in [1, 2, 1, 1] {
        writeln!(out, "note {id}: {}", title(id)?)?;
    }
    manager.execute("UPDATE note SET title = 'rye bread' WHERE id = 1").wait()?;
    writeln!(out, "note 1, after a write: {}", title(1)?)?;

    let CacheStats { hits, misses, entries, .. } = manager.status().cache;
    writeln!(out, "{hits} lookups found a result (one was out of date), {misses} found none; {entries} are stored")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecm::core::{Position, ValueRef, testing::conformance};
    use std::time::Duration;

    #[test]
    fn it_keeps_the_contract_of_a_cache() {
        conformance::cache(|| Lru::new(100));
    }

    #[test]
    fn what_was_not_asked_for_longest_goes_first() {
        let cache = Lru::new(3);
        let (position, stored, took) = (Position::default(), Time::START, Duration::ZERO);
        let entry =
            Entry { rows: Arc::default(), versions: Box::default(), epoch: 0, position, stored, took, bytes: 1 };
        let store = |number| {
            let key = KeyRef::new(0, 0, &[ValueRef::Integer(number)]).to_key();
            cache.insert(key, Arc::new(entry.clone()));
        };
        let stored = |number| cache.get(KeyRef::new(0, 0, &[ValueRef::Integer(number)]), Time::START).is_some();
        (1..=3).for_each(store);
        assert!(stored(1));
        (4..=5).for_each(store);
        assert_eq!([1, 2, 3, 4, 5].map(stored), [true, false, false, true, true]);
    }
}
