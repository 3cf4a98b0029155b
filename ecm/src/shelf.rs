use crate::{
    currency::{Currency, Reads},
    manager::Shared,
    topology::{Group, GroupShared},
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
    /// Of the database that answers are kept of.
    currency: &'a Currency,
    /// Of the version of the configuration that the call goes by.
    epoch: u64,
    /// Where the last commit stood when reading began: whatever is read later has seen it.
    position: Position,
    now: Time,
    clock: &'a dyn Clock,
}

impl<'a> Shelf<'a> {
    /// `None` for a group of which no answers are kept: without a primary its databases may differ.
    #[inline(always)]
    pub(crate) fn new<B: Backend<Connection: Transact>>(
        manager: &'a Shared<B>,
        cache: &'a dyn Cache,
        group: &'a Group<B>,
        now: Time,
    ) -> Option<Self> {
        let source = &*group.members[group.source()?];
        let Shared { stale, clock, .. } = manager;
        Some(Self {
            cache,
            stale,
            group: &group.shared,
            currency: &source.currency,
            epoch: group.epoch,
            position: Position::default(),
            now,
            clock: &**clock,
        })
    }

    /// The answer is not there, and will be read.
    pub(crate) fn begin<B: Backend<Connection: Transact>>(&mut self, group: &Group<B>) {
        let source = group.source().map(|source| &*group.members[source]);
        self.position = source.and_then(|source| source.writer.as_ref()).map(Lane::position).unwrap_or_default();
    }

    pub(crate) fn group(&self) -> u32 {
        self.group.id
    }

    /// What an answer has to be kept with that is read after this; `None` if it must not be kept.
    pub(crate) fn capture(&self, reads: &Reads<'_>) -> Option<Box<[TableVersion]>> {
        self.currency.capture(reads, &self.group.statements)
    }

    /// The entry under a key, if it is current.
    #[inline]
    pub(crate) fn get(&self, key: KeyRef<'_>) -> Option<Arc<Entry>> {
        let entry = self.cache.get(key, self.now)?;
        if entry.epoch == self.epoch && self.currency.is_current(&entry.versions) {
            return Some(entry);
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
