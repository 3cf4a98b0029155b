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
}

const CAPACITY: usize = 4_096;

impl Registry {
    pub(crate) fn get(&self, sql: &str) -> Option<Arc<Prepared>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).by_text.get(sql).cloned()
    }

    /// Keeps an analysis; if another thread was faster, that one's is answered.
    pub(crate) fn add(&self, sql: &str, analysis: Analysis) -> Arc<Prepared> {
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
        known.by_text.insert(sql, Arc::clone(&prepared));
        prepared
    }

    /// Forgets everything: the schema may have changed.
    pub(crate) fn clear(&self) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).by_text.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_keeps_its_number_and_no_number_is_given_twice() {
        let registry = Registry::default();
        let first = registry.add("select 1", Analysis::default());
        assert_eq!(registry.add("select 1", Analysis::default()).id, first.id);
        registry.clear();
        assert!(registry.get("select 1").is_none());
        assert_ne!(registry.add("select 1", Analysis::default()).id, first.id);
    }

    #[test]
    fn texts_without_end_do_not_fill_the_memory() {
        let registry = Registry::default();
        for number in 0..3 * CAPACITY {
            registry.add(&format!("select {number}"), Analysis::default());
        }
        assert!(registry.known.read().unwrap().by_text.len() <= CAPACITY);
    }
}
