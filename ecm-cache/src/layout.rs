use crate::QuickConfig;

/// Fewer entries in a shard would make its share of a skewed set of keys too uneven; what
/// `quick_cache` keeps to as well.
const LEAST_IN_A_SHARD: u64 = 32;

/// How a cache is divided so that both of its bounds hold, and the largest entry fits.
///
/// One weight serves both bounds: an entry weighs its bytes, but at least `least_weight`, which is the
/// part of all bytes that one entry of the greatest number has. Entries that fit by weight are then
/// neither too many nor too large together.
///
/// `quick_cache` stores no entry that weighs more than the hot part of a shard. Its own default of four
/// shards a core would let the machine decide which results can be stored; here the largest wanted one
/// decides how many shards there may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Layout {
    pub(crate) shards: u64,
    pub(crate) entries_in_a_shard: u64,
    /// What an entry weighs at least; never 0, since what weighs nothing is never evicted.
    pub(crate) least_weight: u64,
    /// The part of a shard that is for entries that were asked for again.
    pub(crate) hot: f64,
}

impl Layout {
    /// For a configuration that was checked, on a machine on which more shards than `most` do not help.
    pub(crate) fn new(config: &QuickConfig, most: usize) -> Self {
        let one = Self::of_one_shard(config);
        let fits = |shards: u64| {
            let layout = Self { shards, entries_in_a_shard: config.max_entries / shards, ..one };
            let enough = layout.entries_in_a_shard >= LEAST_IN_A_SHARD;
            (enough && layout.largest_entry() >= config.max_entry_bytes).then_some(layout)
        };
        let most = u64::try_from(most).unwrap_or(u64::MAX).clamp(1, 1 << 16).next_power_of_two();
        std::iter::successors(Some(most), |shards| (*shards > 2).then_some(shards / 2)).find_map(fits).unwrap_or(one)
    }

    pub(crate) fn of_one_shard(config: &QuickConfig) -> Self {
        Self {
            shards: 1,
            entries_in_a_shard: config.max_entries,
            least_weight: (config.max_bytes / config.max_entries.max(1)).max(1),
            // Of a single entry there is no part.
            hot: if config.max_entries == 1 { 1.0 } else { 0.97 },
        }
    }

    /// The greatest weight that a shard admits: computed as `quick_cache` does.
    pub(crate) fn largest_entry(&self) -> u64 {
        ((self.least_weight * self.entries_in_a_shard) as f64 * self.hot) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Layout {
        fn entries(&self) -> u64 {
            self.shards * self.entries_in_a_shard
        }

        fn weight(&self) -> u64 {
            self.entries() * self.least_weight
        }
    }

    #[test]
    fn the_largest_wanted_entry_decides_how_many_shards_there_may_be() {
        let shards = |max_entry_bytes, most| {
            let config = QuickConfig { max_entry_bytes, ..QuickConfig::default() };
            Layout::new(&config, most).shards
        };
        assert_eq!(shards(1 << 20, 1024), 32);
        assert_eq!(shards(1 << 20, 8), 8, "the machine has no use for more");
        assert_eq!(shards(2 << 20, 1024), 16);
        assert_eq!(shards(60 << 20, 1024), 1);
        assert_eq!(shards(1, 1024), 256, "not less than 32 entries in a shard");
        assert_eq!(shards(1, 5), 8, "always a power of two");
        assert_eq!(shards(1, 0), 1);
    }

    proptest! {
        #[test]
        fn what_fits_by_weight_keeps_both_bounds(
            max_entries in 1_u64..5_000, spare in 0_u64..10_000_000, largest in 1_u64..10_000_000, most in 0_usize..300,
        ) {
            let max_bytes = max_entries + spare;
            let config = QuickConfig { max_entries, max_bytes, max_entry_bytes: largest, ..QuickConfig::default() };
            prop_assume!(config.check().is_ok());
            let layout = Layout::new(&config, most);
            prop_assert!(layout.shards.is_power_of_two());
            prop_assert!(layout.weight() <= max_bytes);
            prop_assert_eq!(layout.weight() / layout.least_weight, layout.entries());
            prop_assert!(layout.entries() <= max_entries);
            prop_assert!(layout.entries() + layout.shards > max_entries, "not more is lost than a division leaves over");
            prop_assert!(layout.largest_entry() >= largest);
            prop_assert!(layout.largest_entry() >= layout.least_weight, "a small entry is admitted");
        }
    }
}
