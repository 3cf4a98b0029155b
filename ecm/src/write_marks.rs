use ecm_core::TableVersion;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// The whole group as one table, until single tables are told apart.
const WHOLE_GROUP: u32 = 0;

impl WriteMarks {
    pub(crate) fn begin(&self) -> WriteMark<'_> {
        self.writers.fetch_add(1, Ordering::SeqCst);
        WriteMark(self)
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
        self.0.ended.fetch_add(1, Ordering::SeqCst);
        self.0.writers.fetch_sub(1, Ordering::SeqCst);
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
