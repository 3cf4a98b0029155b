use super::*;
use crate::{Key, testing::conformance::promise::each_is_caught_by_name};
use std::{
    cell::RefCell,
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
    thread::{self, ThreadId},
};

const CAPACITY: usize = 50;
const TTL: Duration = Duration::from_secs(60);

/// First in, first out, under one lock; right in everything but the promise that it breaks.
#[derive(Debug)]
struct Bent {
    breaks: &'static str,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<(Key, Arc<Entry>)>,
    stats: CacheStats,
    last: Option<(ThreadId, Arc<Entry>)>,
}

thread_local! {
    /// What a front for each thread remembers: the hash of a key, and what was found there.
    static FRONT: RefCell<Option<(u64, Arc<Entry>)>> = const { RefCell::new(None) };
}

impl Bent {
    fn new(breaks: &'static str) -> Self {
        FRONT.take();
        Self { breaks, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn matches(&self, asked: KeyRef<'_>, key: &Key) -> bool {
        let in_any_group = || (0..2).any(|group| KeyRef::new(group, asked.statement, asked.values).matches(key));
        match self.breaks {
            HASHES => asked.hash == key.hash(),
            TYPES => in_any_group() || asked.matches(key),
            _ => asked.matches(key),
        }
    }

    fn too_old(&self, entry: &Entry, now: Time) -> bool {
        match self.breaks {
            YOUNG => entry.stored + TTL <= now + Duration::from_nanos(1),
            OLD => entry.stored + TTL < now,
            _ => entry.stored + TTL <= now,
        }
    }

    fn find(&self, state: &mut State, key: KeyRef<'_>, now: Time) -> Option<Arc<Entry>> {
        let front = FRONT.with_borrow(|front| front.clone()).filter(|(hash, _)| *hash == key.hash);
        let last = state.last.clone().filter(|(thread, _)| *thread != thread::current().id());
        match (self.breaks, front, last) {
            (SERVES, ..) if key.values.is_empty() => return None,
            (SHARED, Some((_, entry)), _) | (APART, _, Some((_, entry))) => return Some(entry),
            _ => {}
        }
        let index = state.entries.iter().position(|(stored, _)| self.matches(key, stored))?;
        let entry = Arc::clone(&state.entries[index].1);
        assert!(self.breaks != EARLY || entry.stored <= now, "attempt to subtract with overflow");
        if self.too_old(&entry, now) {
            if self.breaks != FORGETS {
                state.entries.remove(index);
            }
            match self.breaks {
                COUNTS_AGE => state.stats.evicted += 1,
                _ => state.stats.expired += 1,
            }
            return None;
        }
        FRONT.set(Some((key.hash, Arc::clone(&entry))));
        Some(entry)
    }
}

impl Cache for Bent {
    fn get(&self, key: KeyRef<'_>, now: Time) -> Option<Arc<Entry>> {
        let mut state = self.lock();
        let found = self.find(&mut state, key, now);
        if found.is_some() || self.breaks == COUNTS_LOOKUPS {
            state.stats.hits += 1;
        } else {
            state.stats.misses += 1;
        }
        found
    }

    fn insert(&self, key: Key, entry: Arc<Entry>) {
        FRONT.take();
        let mut state = self.lock();
        let before = state.entries.iter().position(|(stored, _)| *stored == key);
        let too_large = entry.bytes >= 1 << 30;
        if self.breaks == REFUSES && too_large || self.breaks == REPLACES && before.is_some() {
            return;
        }
        before.map(|before| state.entries.remove(before));
        if too_large {
            state.stats.rejected += 1;
            return;
        }
        state.last = Some((thread::current().id(), Arc::clone(&entry)));
        state.entries.push_back((key, entry));
        state.stats.inserted += u64::from(self.breaks != COUNTS_INSERTIONS || before.is_none());
        if state.entries.len() > CAPACITY && self.breaks != BOUNDED {
            state.entries.pop_front();
            state.stats.evicted += u64::from(self.breaks != COUNTS_LOSSES);
        }
    }

    fn remove(&self, key: KeyRef<'_>) {
        FRONT.take();
        let mut state = self.lock();
        state.last = None;
        let before = state.entries.len();
        state.entries.retain(|(stored, _)| !self.matches(key, stored));
        if self.breaks == REMOVES && state.entries.len() < before {
            state.entries.clear();
        }
    }

    fn clear(&self) {
        FRONT.take();
        let mut state = self.lock();
        state.last = None;
        state.entries.truncate(usize::from(self.breaks == CLEARS));
    }

    fn stats(&self) -> CacheStats {
        let state = self.lock();
        let entries = if self.breaks == COUNTS_ENTRIES { 4 } else { state.entries.len() as u64 };
        let bytes = state.entries.iter().map(|(_, entry)| entry.bytes as u64).sum();
        let capacity = if self.breaks == NOTHING { 0 } else { CAPACITY as u64 };
        CacheStats { entries, bytes, capacity, ..state.stats }
    }
}

#[test]
fn each_promise_catches_the_cache_that_breaks_it() {
    each_is_caught_by_name(PROMISES, |breaks| cache_with_ttl(|| Bent::new(breaks), TTL));
}

#[test]
fn a_cache_that_breaks_none_passes() {
    cache_with_ttl(|| Bent::new("none"), TTL);
    cache(|| crate::NoCache);
}
