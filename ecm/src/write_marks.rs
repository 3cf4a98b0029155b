use crate::topology::GroupShared;
use ecm_core::{Clock, TableVersion, Time};
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// Whether a group may have been written since a moment: what cached results are judged by.
///
/// The count is odd while a write is under way and moves again when it has ended, committed or not:
/// a result is current if the count was even when its read began and is the same now. So nobody who
/// has seen a new row can be served the old one from the cache. One writer at a time is the lane's
/// promise; where several hold a mark nonetheless, `writers` keeps the count odd until the last.
#[derive(Debug, Default)]
pub(crate) struct WriteMarks {
    writers: AtomicU64,
    ended: AtomicU64,
}

/// A write that is under way.
#[derive(Debug)]
#[must_use = "the write has ended when this is dropped"]
pub(crate) struct WriteMark<'a>(&'a WriteMarks);

/// A write that counts as under way from when it first runs, on whatever thread, until this is dropped.
#[derive(Debug)]
pub(crate) struct Start {
    group: Arc<GroupShared>,
    clock: Arc<dyn Clock>,
    at: OnceLock<Time>,
}

/// The whole group as one table, until single tables are told apart.
const WHOLE_GROUP: u32 = 0;

impl WriteMarks {
    pub(crate) fn begin(&self) -> WriteMark<'_> {
        self.enter();
        WriteMark(self)
    }

    fn enter(&self) {
        self.writers.fetch_add(1, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.ended.fetch_add(1, Ordering::SeqCst);
        self.writers.fetch_sub(1, Ordering::SeqCst);
    }

    /// The version now; `None` while a write is under way.
    pub(crate) fn quiet(&self) -> Option<TableVersion> {
        // `ended` moves before `writers` falls: whoever sees no writer also sees that they ended.
        let before = self.ended.load(Ordering::SeqCst);
        let quiet = self.writers.load(Ordering::SeqCst) == 0 && self.ended.load(Ordering::SeqCst) == before;
        quiet.then_some(TableVersion { table: WHOLE_GROUP, version: before })
    }

    /// Whether nothing has been written since these versions were captured.
    pub(crate) fn current(&self, versions: &[TableVersion]) -> bool {
        self.quiet().is_some_and(|now| versions == [now])
    }
}

impl Drop for WriteMark<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Start {
    pub(crate) fn new(group: &Arc<GroupShared>, clock: &Arc<dyn Clock>) -> Self {
        Self { group: Arc::clone(group), clock: Arc::clone(clock), at: OnceLock::new() }
    }

    /// It runs now, for the first time or again.
    pub(crate) fn runs(&self) {
        self.at.get_or_init(|| {
            self.group.writes.enter();
            self.clock.now()
        });
    }

    /// When it has first run.
    pub(crate) fn at(&self) -> Option<Time> {
        self.at.get().copied()
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        if self.at.get().is_some() {
            self.group.writes.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_current_during_a_write_or_after_it() {
        let marks = WriteMarks::default();
        let before = marks.quiet().unwrap();
        assert!(marks.current(&[before]));
        let outer = marks.begin();
        let inner = marks.begin();
        assert!(marks.quiet().is_none() && !marks.current(&[before]));
        drop(outer);
        assert!(marks.quiet().is_none(), "one of two still writes");
        drop(inner);
        assert!(!marks.current(&[before]));
        let after = marks.quiet().unwrap();
        assert!(marks.current(&[after]) && !marks.current(&[]));
    }
}
