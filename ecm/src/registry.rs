use ecm_core::{Analysis, Prepared};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

/// The statements of a group that have been analysed, by their text.
///
/// Bounded: a program that writes values into its SQL instead of binding them would fill the memory
/// otherwise. When it is full everything is forgotten, which costs one analysis per text; numbers
/// are never given twice.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_text: HashMap<Arc<str>, Arc<Prepared>>,
    next_id: u32,
    /// How often everything was forgotten: an analysis from before says nothing of what is now.
    clears: u64,
}

const CAPACITY: usize = 4_096;

impl Registry {
    pub(crate) fn get(&self, sql: &str) -> Option<Arc<Prepared>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).by_text.get(sql).cloned()
    }

    /// To be asked before an analysis begins.
    pub(crate) fn clears(&self) -> u64 {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clears
    }

    /// Keeps an analysis, unless everything was forgotten since it began; if another thread was faster,
    /// that one's is answered.
    pub(crate) fn add(&self, sql: &str, analysis: Analysis, clears: u64) -> Arc<Prepared> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = known.by_text.get(sql) {
            return Arc::clone(prepared);
        }
        if known.by_text.len() >= CAPACITY {
            known.by_text.clear();
        }
        let sql: Arc<str> = sql.into();
        let prepared = Arc::new(Prepared { id: known.next_id, sql: Arc::clone(&sql), analysis });
        known.next_id = known.next_id.wrapping_add(1);
        if known.clears == clears {
            known.by_text.insert(sql, Arc::clone(&prepared));
        }
        prepared
    }

    /// Forgets everything: the schema may have changed.
    pub(crate) fn clear(&self) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.by_text.clear();
        known.clears += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_number_and_no_number_is_given_twice() {
        let registry = Registry::default();
        let first = registry.add("select 1", Analysis::default(), registry.clears());
        assert_eq!(registry.add("select 1", Analysis::default(), registry.clears()).id, first.id);
        registry.clear();
        assert!(registry.get("select 1").is_none());
        assert_ne!(registry.add("select 1", Analysis::default(), registry.clears()).id, first.id);
    }

    #[test]
    fn an_analysis_that_a_change_has_overtaken_is_used_once_and_not_kept() {
        let registry = Registry::default();
        let before = registry.clears();
        registry.clear();
        let used = registry.add("select 1", Analysis::default(), before);
        assert!(registry.get("select 1").is_none());
        assert_ne!(registry.add("select 1", Analysis::default(), registry.clears()).id, used.id);
    }

    #[test]
    fn texts_without_end_do_not_fill_the_memory() {
        let registry = Registry::default();
        for number in 0..3 * CAPACITY {
            registry.add(&format!("select {number}"), Analysis::default(), registry.clears());
        }
        assert!(registry.known.read().unwrap().by_text.len() <= CAPACITY);
    }
}
