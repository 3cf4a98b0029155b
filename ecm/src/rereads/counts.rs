use ecm_core::CacheRereads;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was read again since the manager was built.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(super) compared: AtomicU64,
    pub(super) mismatches: AtomicU64,
    pub(super) skipped: AtomicU64,
    pub(super) refreshed: AtomicU64,
    pub(super) refreshes_failed: AtomicU64,
}

pub(super) fn count(figure: &AtomicU64) {
    figure.fetch_add(1, Ordering::Relaxed);
}

impl Counts {
    pub(crate) fn figures(&self) -> CacheRereads {
        let mut figures = CacheRereads::default();
        figures.compared = self.compared.load(Ordering::Relaxed);
        figures.mismatches = self.mismatches.load(Ordering::Relaxed);
        figures.skipped = self.skipped.load(Ordering::Relaxed);
        figures.refreshed = self.refreshed.load(Ordering::Relaxed);
        figures.refreshes_failed = self.refreshes_failed.load(Ordering::Relaxed);
        figures
    }
}
