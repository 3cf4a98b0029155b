use ecm_core::{Entry, InvalidConfig, Time};
use std::time::Duration;

const MOST_ENTRIES: u64 = 1_000_000_000;
const MOST_BYTES: u64 = 1 << 50;

/// What every strategy is bounded by.
pub(crate) struct Bounds {
    pub(crate) max_entries: u64,
    pub(crate) max_bytes: u64,
    pub(crate) max_entry_bytes: u64,
    pub(crate) ttl: Duration,
}

impl Bounds {
    /// Whether each is within its limits, where no entry may be larger than `largest` of the bytes, a
    /// part that `part` puts into words.
    pub(crate) fn check(&self, largest: impl FnOnce() -> u64, part: &str) -> Result<(), InvalidConfig> {
        if !(1..=MOST_BYTES).contains(&self.max_bytes) {
            return Err(InvalidConfig::new("max_bytes", self.max_bytes, format_args!("1 to {MOST_BYTES}")));
        }
        let most = MOST_ENTRIES.min(self.max_bytes);
        if !(1..=most).contains(&self.max_entries) {
            let accepted = format_args!("1 to {most}, and not more than max_bytes");
            return Err(InvalidConfig::new("max_entries", self.max_entries, accepted));
        }
        let largest = largest();
        if !(1..=largest).contains(&self.max_entry_bytes) {
            let accepted = format_args!("1 to {largest}, which is {part}");
            return Err(InvalidConfig::new("max_entry_bytes", self.max_entry_bytes, accepted));
        }
        if self.ttl.is_zero() {
            return Err(InvalidConfig::new("ttl", "0s", "more than zero"));
        }
        Ok(())
    }
}

/// Whether an entry is as old at `now` as anything is kept.
pub(crate) fn too_old(entry: &Entry, ttl: Duration, now: Time) -> bool {
    entry.stored + ttl <= now
}

pub(crate) fn bytes(entry: &Entry) -> u64 {
    u64::try_from(entry.bytes).unwrap_or(u64::MAX)
}
