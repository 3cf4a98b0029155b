use crate::sync::{Mutex, lock};
use ecm_core::PerThread;
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The upper bounds of the buckets, in nanoseconds and as they are shown, in seconds.
///
/// From 1 ms on they are those of OpenTelemetry's `db.client.operation.duration`. Calls of SQLite mostly
/// take less, so there are finer ones below; a result from the cache falls into the first.
pub(crate) const BOUNDS: [(u64, f64); 15] = [
    (1_000, 0.000_001),
    (5_000, 0.000_005),
    (10_000, 0.000_01),
    (50_000, 0.000_05),
    (100_000, 0.000_1),
    (500_000, 0.000_5),
    (1_000_000, 0.001),
    (5_000_000, 0.005),
    (10_000_000, 0.01),
    (50_000_000, 0.05),
    (100_000_000, 0.1),
    (500_000_000, 0.5),
    (1_000_000_000, 1.0),
    (5_000_000_000, 5.0),
    (10_000_000_000, 10.0),
];

/// What a longer call counts as, so that no sum overflows: 13 days.
const LONGEST: u64 = 1 << 50;

/// The calls of one database: a histogram, and how many were slow. Counted without a lock, which is why
/// it is not a `prometheus_client` histogram, and by each thread for itself, so that threads do not meet. Takes no
/// memory for that before the first call.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    figures: OnceLock<PerThread<Figures>>,
    /// What was counted before it was cleared: nobody but its thread writes a figure.
    before: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Figures {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
    slow: AtomicU64,
}

/// What was counted, read one figure after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counted {
    pub(crate) buckets: [u64; BOUNDS.len() + 1],
    pub(crate) nanos: u64,
    pub(crate) slow: u64,
}

impl Durations {
    #[inline]
    pub(crate) fn count(&self, took: Duration, slow: bool) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(LONGEST).min(LONGEST);
        let bucket = BOUNDS.iter().position(|(bound, _)| nanos <= *bound).unwrap_or(BOUNDS.len());
        let mine = self.figures.get_or_init(PerThread::new).mine();
        mine.add(|figures| &figures.buckets[bucket], 1);
        mine.add(|figures| &figures.nanos, nanos);
        if slow {
            mine.add(|figures| &figures.slow, 1);
        }
    }

    pub(crate) fn counted(&self) -> Counted {
        let before = lock(&self.before).clone();
        self.counted_ever().without(&before)
    }

    fn counted_ever(&self) -> Counted {
        let mut sum = Counted::default();
        for figures in self.figures.get().into_iter().flat_map(PerThread::iter) {
            sum.add(&Counted {
                buckets: figures.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed)),
                nanos: figures.nanos.load(Ordering::Relaxed),
                slow: figures.slow.load(Ordering::Relaxed),
            });
        }
        sum
    }

    pub(crate) fn clear(&self) {
        let counted = self.counted_ever();
        *lock(&self.before) = counted;
    }
}

impl Counted {
    pub(crate) fn calls(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(mine, theirs)| *mine += theirs);
        self.nanos = self.nanos.saturating_add(other.nanos);
        self.slow += other.slow;
    }

    fn without(mut self, other: &Self) -> Self {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(mine, theirs)| *mine = mine.saturating_sub(theirs));
        self.nanos = self.nanos.saturating_sub(other.nanos);
        self.slow = self.slow.saturating_sub(other.slow);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bounds_rise_and_are_the_same_in_both_units() {
        assert!(BOUNDS.is_sorted());
        for (nanos, seconds) in BOUNDS {
            assert_eq!(Duration::from_secs_f64(seconds), Duration::from_nanos(nanos));
        }
    }

    proptest! {
        #[test]
        fn a_call_is_in_the_first_bucket_whose_bound_it_does_not_exceed(
            near in 0..BOUNDS.len(), off in -2_i64..=2, slow: bool,
        ) {
            let nanos = BOUNDS[near].0.checked_add_signed(off).unwrap();
            let durations = Durations::default();
            durations.count(Duration::from_nanos(nanos), slow);
            let counted = durations.counted();
            prop_assert_eq!((counted.calls(), counted.nanos, counted.slow), (1, nanos, u64::from(slow)));
            prop_assert_eq!(counted.buckets[near + usize::from(off > 0)], 1);
        }
    }

    #[test]
    fn an_absurd_duration_does_not_spoil_the_sum() {
        let durations = Durations::default();
        for took in [Duration::MAX, Duration::from_secs(1 << 40), Duration::from_nanos(3)] {
            durations.count(took, false);
        }
        let counted = durations.counted();
        assert_eq!((counted.buckets[BOUNDS.len()], counted.nanos), (2, 2 * LONGEST + 3));
        durations.clear();
        assert_eq!(durations.counted(), Counted::default());
    }
}
