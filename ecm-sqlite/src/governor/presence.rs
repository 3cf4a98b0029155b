use super::{BEFORE_THE_GATE, Governor, READERS};
use crate::{Sqlite, sync::lock};
use ecm_core::{Access, Clock};
use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// That a connection is open, and whether it is in a transaction that writes.
///
/// Dropped after the connection itself is closed: after the last one the log is moved into the file.
pub(crate) struct Presence {
    governor: Option<Arc<Governor>>,
    inside: bool,
}

impl Presence {
    /// A connection is being opened.
    pub(crate) fn new(database: &Sqlite, access: Access, clock: &Arc<dyn Clock>) -> Self {
        let governor = database.governor().cloned();
        if let Some(governor) = &governor {
            governor.gate.connect();
            *lock(&governor.clock) = Some(Arc::clone(clock));
            if access == Access::Write {
                governor.writes.store(true, Ordering::Relaxed);
            }
        }
        Self { governor, inside: false }
    }

    pub(crate) fn governor(&self) -> Option<&Arc<Governor>> {
        self.governor.as_ref()
    }

    /// A transaction that writes is about to begin: it waits while the log is being emptied, for no longer
    /// than it has time.
    pub(crate) fn enter(&mut self, time_left: impl FnOnce() -> Duration) {
        if let Some(governor) = &self.governor
            && !self.inside
        {
            governor.gate.enter(|| time_left().min(BEFORE_THE_GATE));
            self.inside = true;
        }
    }

    /// A transaction that reads is about to begin, or a statement without one: it waits while readers are
    /// in the way of emptying the log, for no longer than it has time.
    pub(crate) fn wait_to_read(&self, time_left: impl FnOnce() -> Duration) {
        if let Some(governor) = &self.governor {
            governor.gate.wait_to_read(|| time_left().min(READERS));
        }
    }

    /// Whether a transaction that reads would wait now before it begins.
    pub(crate) fn readers_wait(&self) -> bool {
        self.governor.as_ref().is_some_and(|governor| governor.gate.readers_wait())
    }

    /// The transaction is over, if there was one.
    pub(crate) fn leave(&mut self) {
        if std::mem::take(&mut self.inside)
            && let Some(governor) = &self.governor
        {
            governor.gate.leave();
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.leave();
        let Some(governor) = &self.governor else { return };
        let is_last = governor.gate.disconnect(|| {
            if let Some(handle) = &*lock(&governor.interrupt) {
                handle.interrupt();
            }
        });
        if is_last {
            governor.close();
        }
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence").field("inside", &self.inside).finish_non_exhaustive()
    }
}
