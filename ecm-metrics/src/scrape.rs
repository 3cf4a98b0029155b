use crate::durations::Counted;
use ecm_core::{CacheRereads, CacheStats, LogStatus, PoolStatus};
use std::{collections::BTreeMap, time::Duration};

/// The figures of one scrape, each under its labels and in their order.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    pub(crate) pools: BTreeMap<PoolLabels, Pool>,
    pub(crate) calls: BTreeMap<DatabaseLabels, Counted>,
    pub(crate) logs: BTreeMap<DatabaseLabels, Log>,
    pub(crate) caches: BTreeMap<Box<str>, Stored>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PoolLabels {
    pub(crate) manager: Box<str>,
    pub(crate) database: Box<str>,
    pub(crate) pool: &'static str,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DatabaseLabels {
    pub(crate) manager: Box<str>,
    pub(crate) database: Box<str>,
}

/// The pools under one set of labels: nearly always one.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    pub(crate) open: u64,
    pub(crate) lent: u64,
    most: u64,
    granted: u64,
    refused: u64,
}

/// The logs under one set of labels: nearly always one.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) frames: u64,
    pub(crate) backfilled: u64,
    pub(crate) oldest_snapshot: Duration,
}

/// The caches under one set of labels: nearly always one.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) entries: u64,
    capacity: u64,
    pub(crate) compared: u64,
    pub(crate) mismatches: u64,
    pub(crate) refreshed: u64,
}

impl Pool {
    pub(crate) fn add(&mut self, status: &PoolStatus) {
        self.open += u64::from(status.open);
        self.lent += u64::from(status.lent);
        self.most += u64::from(status.max_connections);
        self.granted = self.granted.saturating_add(status.loans);
        self.refused = self.refused.saturating_add(status.timeouts.saturating_add(status.failures));
    }

    /// 0 to 1, also where more are lent than a smaller configuration allows now.
    pub(crate) fn utilization(&self) -> f64 {
        part(self.lent, self.most)
    }

    /// Of all who asked and were answered; 1 if nobody was.
    pub(crate) fn success_rate(&self) -> f64 {
        let asked = self.granted.saturating_add(self.refused);
        if asked == 0 { 1.0 } else { part(self.granted, asked) }
    }
}

impl Log {
    pub(crate) fn add(&mut self, status: &LogStatus) {
        self.frames = self.frames.saturating_add(status.frames);
        self.backfilled = self.backfilled.saturating_add(status.backfilled);
        self.oldest_snapshot = self.oldest_snapshot.max(status.oldest_snapshot.unwrap_or_default());
    }
}

impl Stored {
    pub(crate) fn add(&mut self, stats: &CacheStats, rereads: &CacheRereads) {
        self.hits = self.hits.saturating_add(stats.hits);
        self.misses = self.misses.saturating_add(stats.misses);
        self.entries = self.entries.saturating_add(stats.entries);
        self.capacity = self.capacity.saturating_add(stats.capacity);
        self.compared = self.compared.saturating_add(rereads.compared);
        self.mismatches = self.mismatches.saturating_add(rereads.mismatches);
        self.refreshed = self.refreshed.saturating_add(rereads.refreshed);
    }

    pub(crate) fn utilization(&self) -> f64 {
        part(self.entries, self.capacity)
    }
}

/// 0 of nothing.
fn part(of: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (of as f64 / whole as f64).min(1.0) }
}
