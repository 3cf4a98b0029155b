use crate::{
    currency::{Currency, Reads},
    manager::Shared,
    rereads::Sampling,
    topology::{Group, GroupShared, Member, Topology},
};
use ecm_core::{Backend, Cache, Clock, Entry, Key, KeyRef, Position, Rows, Stamp, TableVersion, Time, Transact};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// A group's part of the cache: what decides whether an entry may still be served.
#[derive(Debug)]
#[expect(unnameable_types, reason = "named in the sealed trait of jobs")]
pub struct Shelf<'a> {
    cache: &'a dyn Cache,
    /// Which hits are compared with what the database answers.
    compares: Sampling,
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
    /// Whether there was an answer that was out of date.
    was_kept: AtomicBool,
    /// How many answers had been kept for others who wait when this one was looked for.
    kept: u64,
}

/// An entry that may be served.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) entry: Arc<Entry>,
    pub(crate) age: Duration,
    pub(crate) current: bool,
}

impl<'a> Shelf<'a> {
    /// `None` for a group of which no answers are kept: without a primary its databases may differ.
    #[inline(always)]
    pub(crate) fn new<B: Backend<Connection: Transact>>(
        manager: &'a Shared<B>,
        topology: &'a Topology<B>,
        group: &'a Group<B>,
        now: Time,
    ) -> Option<Self> {
        let source = &*group.members[group.source()?];
        let Shared { stale, clock, .. } = manager;
        Some(Self {
            cache: &*topology.cache,
            compares: topology.compares,
            stale,
            group: &group.shared,
            currency: &source.currency,
            epoch: group.epoch,
            position: Position::default(),
            now,
            clock: &**clock,
            was_kept: AtomicBool::new(false),
            kept: group.shared.costs.kept(),
        })
    }

    /// The answer is not there, and will be read.
    pub(crate) fn begin<B: Backend<Connection: Transact>>(&mut self, group: &Group<B>) {
        let source = group.source().map(|source| &*group.members[source]);
        self.position = source.map(Member::position).unwrap_or_default();
    }

    pub(crate) fn group(&self) -> u32 {
        self.group.id
    }

    /// Whether the answer that was found is to be compared with what the database answers.
    #[inline]
    pub(crate) fn compares(&self) -> bool {
        self.compares.picks()
    }

    /// What an answer has to be kept with that is read after this; `None` if it must not be kept.
    pub(crate) fn capture(&self, reads: &Reads<'_>) -> Option<Box<[TableVersion]>> {
        self.currency.capture(reads, &self.group.statements)
    }

    /// Where the database stands, for those who want to read together; `None` if it cannot be told now.
    pub(crate) fn stand(&self) -> Option<Stamp> {
        self.currency.stand()
    }

    /// Whether it is known who writes the database.
    pub(crate) fn sees_writes(&self) -> bool {
        self.currency.sees_writes()
    }

    /// Whether to wait for others who ask for the same.
    pub(crate) fn is_worth_waiting_for(&self, statement: Option<u32>) -> bool {
        statement.is_some_and(|statement| self.group.costs.are_worth_waiting_for(statement))
    }

    /// Whether an answer may be there by now that was not there when it was looked for.
    pub(crate) fn may_be_kept_by_now(&self) -> bool {
        self.group.costs.kept() != self.kept
    }

    /// An answer was kept that others may have waited for.
    pub(crate) fn has_kept(&self) {
        self.group.costs.has_kept();
    }

    /// How long a statement took.
    pub(crate) fn took(&self, statement: Option<u32>, span: Duration) {
        if let Some(statement) = statement {
            self.group.costs.took(statement, span);
        }
    }

    /// Whether the cache wants the answer that it did not have.
    pub(crate) fn is_wanted(&self, key: KeyRef<'_>) -> bool {
        self.was_kept.load(Ordering::Relaxed) || self.cache.wants(key)
    }

    /// The entry under a key, if it is current, or not older than `or_old`.
    #[inline]
    pub(crate) fn get(&self, key: KeyRef<'_>, or_old: Option<Duration>) -> Option<Found> {
        let entry = self.cache.get(key, self.now)?;
        let age = self.now.since(entry.stored);
        if entry.epoch == self.epoch {
            let current = self.currency.is_current(&entry.versions);
            if current || or_old.is_some_and(|oldest| age <= oldest) {
                return Some(Found { entry, age, current });
            }
            self.was_kept.store(true, Ordering::Relaxed);
        }
        // The cache has counted a hit, and does not know that it was none.
        self.stale.fetch_add(1, Ordering::Relaxed);
        None
    }

    pub(crate) fn put(&self, key: Key, rows: Arc<Rows>, versions: Box<[TableVersion]>) {
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
