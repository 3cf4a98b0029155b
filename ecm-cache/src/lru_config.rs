use crate::bounds::Bounds;
use ecm_core::InvalidConfig;
use std::time::Duration;

/// How much an [`Lru`](crate::Lru) stores, and for how long.
///
/// ```
/// use ecm_cache::LruConfig;
///
/// let config = LruConfig { max_entry_bytes: 100, max_bytes: 50, max_entries: 5, ..LruConfig::default() };
/// assert_eq!(
///     config.check().unwrap_err().to_string(),
///     "max_entry_bytes = 100 is not acceptable: 1 to 50, which is max_bytes"
/// );
/// ```
///
/// With the feature `serde` it is read and written by its field names, each of which may be left out; `ttl` is a
/// number of seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct LruConfig {
    /// The most results that are stored; `cache_max_size` in the words of the manager.
    ///
    /// Holds together with `max_bytes`: whichever is reached first makes those go that were not asked for
    /// longest.
    ///
    /// *Default:* 10,000 results. *Limits:* 1 to 1,000,000,000, and not more than `max_bytes`.
    pub max_entries: u64,
    /// The most memory that stored results take, keys included, as [`Entry::bytes`] estimates it.
    ///
    /// What the cache needs for itself comes on top: about 100 bytes a result.
    ///
    /// *Default:* 64 MiB. *Limits:* 1 byte to 1 PiB.
    ///
    /// [`Entry::bytes`]: ecm_core::Entry::bytes
    pub max_bytes: u64,
    /// The largest result that is stored; a larger one counts as rejected.
    ///
    /// A single one can displace as many smaller ones as take this much.
    ///
    /// *Default:* 1 MiB. *Limits:* 1 byte to `max_bytes`.
    pub max_entry_bytes: u64,
    /// How long after it was stored a result may be served; `cache_ttl` in the words of the manager.
    ///
    /// A result that is older is forgotten when it is asked for, or when its place is needed.
    ///
    /// *Default:* 300 seconds. *Limits:* more than zero; [`Duration::MAX`] keeps results for ever.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub ttl: Duration,
}

impl Default for LruConfig {
    fn default() -> Self {
        Self { max_entries: 10_000, max_bytes: 64 << 20, max_entry_bytes: 1 << 20, ttl: Duration::from_secs(300) }
    }
}

impl LruConfig {
    /// Whether every field is within its limits.
    ///
    /// # Errors
    /// The first field that is not, with its value and what would be accepted.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let Self { max_entries, max_bytes, max_entry_bytes, ttl } = *self;
        Bounds { max_entries, max_bytes, max_entry_bytes, ttl }.check(|| max_bytes, "max_bytes")
    }
}
