use crate::{bounds::Bounds, layout::Layout};
use ecm_core::InvalidConfig;
use std::time::Duration;

/// How much a [`Quick`](crate::Quick) stores, and for how long.
///
/// ```
/// use ecm_cache::QuickConfig;
///
/// let config = QuickConfig { max_entries: 0, ..QuickConfig::default() };
/// assert_eq!(
///     config.check().unwrap_err().to_string(),
///     "max_entries = 0 is not acceptable: 1 to 67108864, and not more than max_bytes"
/// );
/// ```
///
/// With the feature `serde` it is read and written by its field names, each of which may be left out; `ttl` is a
/// number of seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct QuickConfig {
    /// The most results that are stored; `cache_max_size` in the words of the manager.
    ///
    /// Holds together with `max_bytes`: each result takes up its part of one bound or of the other,
    /// whichever is the greater part. A cache of mixed sizes is therefore full before either bound is
    /// reached.
    ///
    /// *Default:* 10,000 results. *Limits:* 1 to 1,000,000,000, and not more than `max_bytes`.
    pub max_entries: u64,
    /// The most memory that stored results take, keys included, as [`Entry::bytes`] estimates it.
    ///
    /// Rounded down to a multiple of `max_entries`. What the cache needs for itself comes on top: about 200 bytes a
    /// result, and for one that several threads hit often about as much again for each processor, 8 at most.
    ///
    /// *Default:* 64 MiB. *Limits:* 1 byte to 1 PiB.
    ///
    /// [`Entry::bytes`]: ecm_core::Entry::bytes
    pub max_bytes: u64,
    /// The largest result that is stored; a larger one counts as rejected.
    ///
    /// The cache is made of parts that each have a lock, and no result may be larger than a part: the
    /// larger this is, the fewer parts there are, and the more do threads meet. With the defaults
    /// there may be up to 32.
    ///
    /// *Default:* 1 MiB. *Limits:* 1 byte to 97 % of `max_bytes`.
    pub max_entry_bytes: u64,
    /// How long after it was stored a result may be served; `cache_ttl` in the words of the manager.
    ///
    /// A result that is older is forgotten when it is asked for, or when its place is needed. This
    /// bounds what writes of other programs can make stale; writes of the manager are seen at once,
    /// whatever this says.
    ///
    /// *Default:* 300 seconds. *Limits:* more than zero; [`Duration::MAX`] keeps results for ever.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub ttl: Duration,
}

impl Default for QuickConfig {
    fn default() -> Self {
        Self { max_entries: 10_000, max_bytes: 64 << 20, max_entry_bytes: 1 << 20, ttl: Duration::from_secs(300) }
    }
}

impl QuickConfig {
    /// Whether every field is within its limits.
    ///
    /// # Errors
    /// The first field that is not, with its value and what would be accepted.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let Self { max_entries, max_bytes, max_entry_bytes, ttl } = *self;
        let largest = || Layout::of_one_shard(self).largest_entry();
        Bounds { max_entries, max_bytes, max_entry_bytes, ttl }.check(largest, "97 % of max_bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_values_are_refused_by_name() {
        let refused = |change: fn(&mut QuickConfig)| {
            let mut config = QuickConfig::default();
            change(&mut config);
            config.check().err().map(|invalid| (invalid.field, invalid.value))
        };
        assert_eq!(refused(|_| ()), None);
        assert_eq!(refused(|config| config.max_bytes = 0), Some(("max_bytes", "0".into())));
        assert_eq!(refused(|config| config.max_bytes = u64::MAX), Some(("max_bytes", u64::MAX.to_string())));
        assert_eq!(refused(|config| config.max_entries = 0), Some(("max_entries", "0".into())));
        assert_eq!(refused(|config| config.max_entries = 64 << 20), None);
        assert_eq!(refused(|config| config.max_entries = (64 << 20) + 1), Some(("max_entries", "67108865".into())));
        assert_eq!(refused(|config| config.max_entry_bytes = 0), Some(("max_entry_bytes", "0".into())));
        assert_eq!(refused(|config| config.max_entry_bytes = 64 << 20), Some(("max_entry_bytes", "67108864".into())));
        assert_eq!(refused(|config| config.ttl = Duration::ZERO), Some(("ttl", "0s".into())));
        assert_eq!(refused(|config| config.ttl = Duration::MAX), None);
    }

    #[test]
    fn a_smaller_cache_says_what_does_not_fit_any_more() {
        let small = QuickConfig { max_bytes: 1 << 20, ..QuickConfig::default() };
        let invalid = small.check().unwrap_err();
        assert_eq!(
            invalid.to_string(),
            "max_entry_bytes = 1048576 is not acceptable: 1 to 1008800, which is 97 % of max_bytes"
        );
        let most = QuickConfig { max_entry_bytes: 1_008_800, ..small };
        assert_eq!(most.check(), Ok(()));
        let single = QuickConfig { max_entries: 1, max_bytes: 10, max_entry_bytes: 10, ..QuickConfig::default() };
        assert_eq!(single.check(), Ok(()));
    }
}
