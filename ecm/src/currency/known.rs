use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use ecm_core::Stamp;

/// Where the database stood when the versions of all that had been written until then had been moved.
///
/// Only ever moves after them. Words of two commits may be seen mixed, while it moves on: to equal the stamp of the
/// present, each word that is another since the last commit must come from there, and whoever has seen that word
/// sees the versions that were moved before it was stored. So no lock is needed, by whomever it is moved on.
#[derive(Debug, Default)]
pub(super) struct Known {
    is_set: AtomicBool,
    words: [AtomicU64; 6],
}

impl Known {
    /// Whether the database stands there. What was moved before is seen by whoever is told so.
    #[inline]
    pub(super) fn is(&self, now: &Stamp) -> bool {
        let pairs = self.words.iter().zip(&now.0);
        let differences = pairs.fold(0, |differences, (word, now)| differences | (word.load(Ordering::Acquire) ^ now));
        differences == 0 && self.is_set.load(Ordering::Acquire)
    }

    /// Everything that was written until then has been moved.
    pub(super) fn set(&self, to: &Stamp) {
        self.words.iter().zip(to.0).for_each(|(word, to)| word.store(to, Ordering::Release));
        self.is_set.store(true, Ordering::Release);
    }
}
