use crate::bounds::Bounds;
use ecm_core::InvalidConfig;
use std::time::Duration;

/// Fewer entries in a part would make its share of a set of keys too uneven.
const LEAST_IN_A_PART: u64 = 32;

/// How much a [`Sharded`](crate::Sharded) stores, and for how long.
///
/// ```
/// use ecm_cache::ShardedConfig;
/// use std::time::Duration;
///
/// let config = ShardedConfig { ttl: Duration::ZERO, ..ShardedConfig::default() };
/// assert_eq!(config.check().unwrap_err().to_string(), "ttl = 0s is not acceptable: more than zero");
/// ```
///
/// With the feature `serde` it is read and written by its field names, each of which may be left out; `ttl` is a
/// number of seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct ShardedConfig {
    /// The most results that are stored; `cache_max_size` in the words of the manager.
    ///
    /// Divided evenly among the parts of the cache, and rounded down. Holds together with `max_bytes`:
    /// whichever is reached first, in a part, makes the oldest of that part go.
    ///
    /// *Default:* 10,000 results. *Limits:* 1 to 1,000,000,000, and not more than `max_bytes`.
    pub max_entries: u64,
    /// The most memory that stored results take, keys included, as [`Entry::bytes`] estimates it.
    ///
    /// Divided as `max_entries` is. What the cache needs for itself comes on top: about 200 bytes a
    /// result.
    ///
    /// *Default:* 64 MiB. *Limits:* 1 byte to 1 PiB.
    ///
    /// [`Entry::bytes`]: ecm_core::Entry::bytes
    pub max_bytes: u64,
    /// The largest result that is stored; a larger one counts as rejected.
    ///
    /// No result may be larger than a part: the larger this is, the fewer parts there are, and the more
    /// do threads that store meet. With the defaults there may be up to 64.
    ///
    /// *Default:* 1 MiB. *Limits:* 1 byte to `max_bytes`.
    pub max_entry_bytes: u64,
    /// How long after it was stored a result may be served; `cache_ttl` in the words of the manager.
    ///
    /// A result that is older is forgotten when it is asked for, or when something else is stored in its
    /// part.
    ///
    /// *Default:* 300 seconds. *Limits:* more than zero; [`Duration::MAX`] keeps results for ever.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub ttl: Duration,
}

impl Default for ShardedConfig {
    fn default() -> Self {
        Self { max_entries: 10_000, max_bytes: 64 << 20, max_entry_bytes: 1 << 20, ttl: Duration::from_secs(300) }
    }
}

impl ShardedConfig {
    /// Whether every field is within its limits.
    ///
    /// # Errors
    /// The first field that is not, with its value and what would be accepted.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let Self { max_entries, max_bytes, max_entry_bytes, ttl } = *self;
        Bounds { max_entries, max_bytes, max_entry_bytes, ttl }.check(|| max_bytes, "max_bytes")
    }

    /// Into how many parts a checked one divides the cache, a power of two; more than `most` do not help.
    pub(crate) fn parts(&self, most: usize) -> u64 {
        let fits =
            |parts: &u64| self.max_entries / parts >= LEAST_IN_A_PART && self.max_bytes / parts >= self.max_entry_bytes;
        let most = u64::try_from(most).unwrap_or(u64::MAX).clamp(1, 1 << 16).next_power_of_two();
        std::iter::successors(Some(most), |parts| Some(parts / 2))
            .take_while(|parts| *parts > 1)
            .find(fits)
            .unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_is_too_small_for_the_largest_entry_or_for_an_even_share() {
        let parts = |max_entries, max_entry_bytes, most| {
            ShardedConfig { max_entries, max_entry_bytes, ..ShardedConfig::default() }.parts(most)
        };
        assert_eq!(parts(10_000, 1 << 20, 1_024), 64);
        assert_eq!(parts(10_000, 1 << 20, 5), 8);
        assert_eq!(parts(10_000, 40 << 20, 8), 1);
        assert_eq!(parts(10_000, 32 << 20, 8), 2);
        assert_eq!(parts(128, 1, 1_024), 4);
        assert_eq!(parts(63, 1, 1_024), 1);
        assert_eq!(parts(10_000, 1, 0), 1);
    }
}
