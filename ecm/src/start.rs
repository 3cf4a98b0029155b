use ecm_core::{Clock, Time};
use std::sync::{Arc, OnceLock};

/// When a write first ran, on whatever thread.
#[derive(Debug)]
pub(crate) struct Start {
    clock: Arc<dyn Clock>,
    at: OnceLock<Time>,
}

impl Start {
    pub(crate) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self { clock: Arc::clone(clock), at: OnceLock::new() }
    }

    /// It runs now, for the first time or again.
    pub(crate) fn runs(&self) {
        self.at.get_or_init(|| self.clock.now());
    }

    /// When it has first run.
    pub(crate) fn at(&self) -> Option<Time> {
        self.at.get().copied()
    }
}
