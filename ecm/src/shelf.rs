use crate::{
    manager::Shared,
    topology::{Group, GroupShared},
    write_marks::WriteMarks,
};
use ecm_core::{Backend, Cache, Clock, Entry, KeyRef, Position, Rows, TableVersion, Time, Transact};
use ecm_pool::Lane;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A group's part of the cache: what decides whether an entry may still be served.
#[derive(Debug)]
#[expect(unnameable_types, reason = "named in the sealed trait of jobs")]
pub struct Shelf<'a> {
    cache: &'a dyn Cache,
    /// Entries that were found and not served.
    stale: &'a AtomicU64,
    group: &'a GroupShared,
    /// Of the primary; `None` where nobody writes.
    marks: Option<&'a WriteMarks>,
    /// Of the version of the configuration that the call goes by.
    epoch: u64,
    /// Where the primary's last commit stood when the call began: whatever is read later has seen it.
    position: Position,
    now: Time,
    clock: &'a dyn Clock,
}

impl<'a> Shelf<'a> {
    pub(crate) fn new<B: Backend<Connection: Transact>>(
        manager: &'a Shared<B>,
        group: &'a Group<B>,
        now: Time,
    ) -> Self {
        let primary = group.primary().map(|primary| &*group.members[primary]);
        let position = primary.and_then(|primary| primary.writer.as_ref()).map(Lane::position).unwrap_or_default();
        let marks = primary.map(|primary| &*primary.marks);
        let Shared { cache, stale, clock, .. } = manager;
        Self { cache: &**cache, stale, group: &group.shared, marks, epoch: group.epoch, position, now, clock: &**clock }
    }

    pub(crate) fn group(&self) -> u32 {
        self.group.id
    }

    /// The versions of these tables now; `None` while a write to one of them is being committed.
    pub(crate) fn versions(&self, tables: &[Box<str>]) -> Option<Box<[TableVersion]>> {
        self.marks.map_or_else(|| Some(Box::default()), |marks| marks.quiet(tables))
    }

    /// The rows under a key, if they are current.
    pub(crate) fn get(&self, key: KeyRef<'_>) -> Option<Arc<Rows>> {
        let entry = self.cache.get(key, self.now)?;
        if entry.epoch == self.epoch && self.marks.is_none_or(|marks| marks.current(&entry.versions)) {
            return Some(Arc::clone(&entry.rows));
        }
        // The cache has counted a hit, and does not know that it was none.
        self.stale.fetch_add(1, Ordering::Relaxed);
        None
    }

    pub(crate) fn put(&self, key: KeyRef<'_>, rows: Arc<Rows>, versions: Box<[TableVersion]>) {
        let key = key.to_key();
        let entry = Entry {
            bytes: key.bytes() + rows.bytes() + size_of::<Entry>(),
            rows,
            versions,
            epoch: self.epoch,
            position: self.position,
            stored: self.now,
            took: self.clock.now().since(self.now),
        };
        self.cache.insert(key, Arc::new(entry));
    }
}
