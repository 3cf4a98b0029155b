use std::sync::atomic::{AtomicU16, Ordering};

/// How many places there are for each entry of the capacity.
const PLACES: u64 = 8;

/// Which hashes were asked for lately: each has one place, in which it leaves 16 of its bits, until another one that
/// has the same place comes.
///
/// It may forget, and two hashes of 65,536 that share a place are taken for one.
///
/// # Concurrency
/// Two threads that ask for the same hash at the same time may both be told that it is new.
#[derive(Debug)]
pub(crate) struct Seen(Box<[AtomicU16]>);

impl Seen {
    /// For a cache of so many entries; takes from 16 to 32 bytes for each, 8 MiB at most.
    pub(crate) fn new(entries: u64) -> Self {
        let places = entries.saturating_mul(PLACES).clamp(64, 1 << 22).next_power_of_two();
        Self((0..places).map(|_| AtomicU16::new(0)).collect())
    }

    /// Whether it was asked for already; from now on it was.
    pub(crate) fn again(&self, hash: u64) -> bool {
        // Not 0, which is what nobody has left.
        let mark = (hash >> 48) as u16 | 1;
        let place = &self.0[hash as usize & (self.0.len() - 1)];
        if place.load(Ordering::Relaxed) == mark {
            return true;
        }
        place.store(mark, Ordering::Relaxed);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014)
        let state = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^ (state >> 31)
    }

    #[test]
    fn what_was_asked_for_lately_is_known_and_what_is_new_is_not() {
        let seen = Seen::new(1_000);
        let new = (0..1_000).filter(|number| !seen.again(hash(*number))).count();
        assert!(new >= 995, "{new}");
        let known = (0..1_000).filter(|number| seen.again(hash(*number))).count();
        // One of sixteen has lost its place to a later one, or has just taken that of one.
        assert!(known >= 850, "{known}");
    }

    #[test]
    fn what_was_asked_for_long_ago_is_forgotten() {
        let seen = Seen::new(100);
        seen.again(hash(0));
        (1..20_000).for_each(|number| _ = seen.again(hash(number)));
        assert!(!seen.again(hash(0)));
    }

    #[test]
    fn a_cache_without_measure_takes_no_more_than_eight_mebibytes() {
        assert_eq!(Seen::new(u64::MAX).0.len() * size_of::<AtomicU16>(), 8 << 20);
    }
}
