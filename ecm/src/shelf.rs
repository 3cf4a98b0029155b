use crate::topology::{Group, GroupShared};
use ecm_core::{Backend, Cache, Entry, KeyRef, Position, Rows, TableVersion, Time, Transact};
use std::sync::Arc;

/// A group's part of the cache: what decides whether an entry may still be served.
#[derive(Debug)]
#[expect(unnameable_types, reason = "named in the sealed trait of jobs")]
pub struct Shelf<'a> {
    cache: &'a dyn Cache,
    group: &'a GroupShared,
    /// Of the version of the configuration that the call goes by.
    epoch: u64,
    now: Time,
}

impl<'a> Shelf<'a> {
    pub(crate) fn new<B: Backend<Connection: Transact>>(cache: &'a dyn Cache, group: &'a Group<B>, now: Time) -> Self {
        Self { cache, group: &group.shared, epoch: group.epoch, now }
    }

    pub(crate) fn group(&self) -> u32 {
        self.group.id
    }

    /// The version of the group now; `None` while it is written.
    pub(crate) fn version(&self) -> Option<TableVersion> {
        self.group.writes.quiet()
    }

    /// The rows under a key, if they are current.
    pub(crate) fn get(&self, key: KeyRef<'_>) -> Option<Arc<Rows>> {
        let entry = self.cache.get(key, self.now)?;
        let current = entry.epoch == self.epoch && self.group.writes.current(&entry.versions);
        current.then(|| Arc::clone(&entry.rows))
    }

    pub(crate) fn put(&self, key: KeyRef<'_>, rows: Arc<Rows>, version: TableVersion) {
        let key = key.to_key();
        let entry = Entry {
            bytes: key.bytes() + rows.bytes() + size_of::<Entry>(),
            rows,
            versions: Box::new([version]),
            epoch: self.epoch,
            position: Position { epoch: self.epoch, commit: version.version },
            stored: self.now,
        };
        self.cache.insert(key, Arc::new(entry));
    }
}
