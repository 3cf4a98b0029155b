use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The VFS whose `xSync` takes [`SYNC_DELAY`].
pub const SYNC_VFS: &str = "fsync1ms";

/// How long a sync of the emulated disk takes.
pub const SYNC_DELAY: Duration = Duration::from_millis(1);

static COUNT: AtomicU64 = AtomicU64::new(0);
static NANOS: AtomicU64 = AtomicU64::new(0);

/// Told by the VFS: a sync has really taken so long.
pub fn record_sync(took: Duration) {
    COUNT.fetch_add(1, Relaxed);
    NANOS.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
}

/// How many syncs there were in this process, and how long they have taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Syncs {
    pub(crate) count: u64,
    pub(crate) nanos: u64,
}

impl Syncs {
    /// Until now.
    pub(crate) fn so_far() -> Self {
        Self { count: COUNT.load(Relaxed), nanos: NANOS.load(Relaxed) }
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { count: self.count - earlier.count, nanos: self.nanos - earlier.nanos }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.count += other.count;
        self.nanos += other.nanos;
    }
}
