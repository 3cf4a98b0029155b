use crate::sync::{AtomicU64, Ordering, Striped};
use ecm_core::Time;
use std::time::Duration;

/// How many buckets a window has.
pub(crate) const BUCKETS: u64 = 10;

const TAG: u32 = 22;
const COUNT: u32 = 21;
const MOST: u64 = (1 << COUNT) - 1;

/// Calls within the last while, counted exactly in ten buckets of time, by the threads that made them.
///
/// A bucket is a word, in which the counts stand beside the bucket's time, so that beginning it anew and counting
/// the first call in it are one compare-and-swap: no rotation can lose a call or count it twice.
#[derive(Debug)]
pub(crate) struct Window {
    width_nanos: u64,
    stripes: Striped<Buckets>,
    /// The number of the newest bucket that somebody has counted in.
    newest: AtomicU64,
    /// The same of the newest call that was bad or slow, counted from 1; 0 if there was none.
    newest_bad: AtomicU64,
}

#[derive(Debug, Default)]
struct Buckets {
    /// `part` is of calls that have failed.
    calls: [AtomicU64; BUCKETS as usize],
    /// `total` is of calls that were slow, so that one that is neither costs no second word.
    slow: [AtomicU64; BUCKETS as usize],
}

/// ```text
/// | tag: 22 | total: 21 | part: 21 |
/// ```
///
/// The tag is the number of the bucket since the clock began, modulo 2^22; buckets are emptied before their tag can
/// come round. With a total of 0 it is empty, and the rest tells when it was emptied. Counts end at 2,097,151.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket(u64);

impl Bucket {
    fn new(tag: u64, total: u64, part: u64) -> Self {
        Self((tag & ((1 << TAG) - 1)) << (2 * COUNT) | total.min(MOST) << COUNT | part.min(MOST))
    }

    /// Differs from whatever was there, be it emptied before for another epoch.
    fn emptied_for_epoch(epoch: u64) -> Self {
        Self::new(epoch, 0, 1)
    }

    /// The same for the bucket of number `tick`.
    fn emptied_at(tick: u64) -> Self {
        Self::new(tick, 0, 2)
    }

    fn total(self) -> u64 {
        self.0 >> COUNT & MOST
    }

    fn part(self) -> u64 {
        self.0 & MOST
    }

    /// How many buckets after that of number `tick` this one is, or before it.
    fn ahead_of(self, tick: u64) -> i64 {
        let (tag, unused) = (self.0 >> (2 * COUNT), 64 - TAG);
        (tag.wrapping_sub(tick) << unused) as i64 >> unused
    }

    /// With one more call in the bucket of number `tick`; nothing if a newer bucket has taken its place.
    fn with(self, tick: u64, part: u64) -> Option<Self> {
        match self.ahead_of(tick) {
            _ if self.total() == 0 => Some(Self::new(tick, 1, part)),
            0 => Some(Self::new(tick, self.total() + 1, self.part() + part)),
            // The buckets of one place are apart by a multiple of their number.
            1..=MUCH_NEWER => None,
            _ => Some(Self::new(tick, 1, part)),
        }
    }
}

/// Stripes are swept once in 2^20 buckets.
const SWEPT: u32 = 20;

/// By how many buckets the clocks of two threads differ at most; what is further ahead is old, and the tag has
/// come round.
const MUCH_NEWER: i64 = 8 * BUCKETS as i64;

/// What is in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) total: u64,
    pub(crate) failed: u64,
    pub(crate) slow: u64,
}

impl Window {
    /// Empty, as long as this.
    pub(crate) fn new(span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self {
            width_nanos: (nanos / BUCKETS).max(1),
            stripes: Striped::default(),
            newest: AtomicU64::new(0),
            newest_bad: AtomicU64::new(0),
        }
    }

    #[inline]
    fn tick(&self, now: Time) -> u64 {
        now.as_nanos() / self.width_nanos
    }

    /// Counts a call while `still` it counts: asked after the bucket was read, so that one whose epoch has ended
    /// cannot get into a window that was emptied for the next.
    ///
    /// Whether it was counted. One so late that its bucket is gone was, in a window that it is not in any more.
    #[inline]
    pub(crate) fn add(&self, now: Time, failed: bool, slow: bool, still: impl Fn() -> bool) -> bool {
        let tick = self.tick(now);
        let newest = self.newest.load(Ordering::SeqCst);
        if newest < tick {
            self.advance(newest, tick);
        }
        if failed || slow {
            // Before it is counted, so that who counts after it does not overlook it.
            self.newest_bad.fetch_max(tick + 1, Ordering::SeqCst);
        }
        let mine = self.stripes.mine();
        let place = (tick % BUCKETS) as usize;
        if slow && !count(&mine.slow[place], tick, 0, &still) {
            return false;
        }
        count(&mine.calls[place], tick, u64::from(failed), &still)
    }

    /// Somebody counts in a newer bucket than anybody before.
    #[cold]
    fn advance(&self, newest: u64, tick: u64) {
        if tick - newest >= BUCKETS {
            // Nothing is young enough, whatever its tag. Until this is the newest one nobody counts in it.
            self.empty_with(Bucket::emptied_at(tick), &|| self.newest.load(Ordering::SeqCst) == newest);
        } else if tick >> SWEPT != newest >> SWEPT {
            self.sweep(newest, tick);
        }
        self.newest.fetch_max(tick, Ordering::SeqCst);
    }

    /// Empties what is too old, in stripes that nobody uses any more.
    fn sweep(&self, newest: u64, tick: u64) {
        for word in self.stripes.iter().flat_map(|stripe| stripe.calls.iter().chain(&stripe.slow)) {
            let seen = word.load(Ordering::SeqCst);
            if !is_within(Bucket(seen), newest) {
                let emptied = Bucket::emptied_at(tick).0;
                // If it has changed, somebody uses it.
                let _ = word.compare_exchange(seen, emptied, Ordering::SeqCst, Ordering::SeqCst);
            }
        }
    }

    /// Whether anything in the window may make it reach a limit.
    #[inline]
    pub(crate) fn is_suspect(&self) -> bool {
        self.newest_bad.load(Ordering::SeqCst) + BUCKETS > self.newest.load(Ordering::SeqCst) + 1
            && self.newest_bad.load(Ordering::SeqCst) > 0
    }

    /// What is in it at the newest moment of which a call is in it. Who has counted a call and asks then has the calls
    /// of everybody who has asked before.
    pub(crate) fn counts(&self) -> Counts {
        let newest = self.newest.load(Ordering::SeqCst);
        let mut counts = Counts::default();
        for bucket in self.stripes.iter().flat_map(|stripe| &stripe.calls) {
            let bucket = Bucket(bucket.load(Ordering::SeqCst));
            if is_within(bucket, newest) {
                counts.total += bucket.total();
                counts.failed += bucket.part();
            }
        }
        for bucket in self.stripes.iter().flat_map(|stripe| &stripe.slow) {
            let bucket = Bucket(bucket.load(Ordering::SeqCst));
            if is_within(bucket, newest) {
                counts.slow += bucket.total();
            }
        }
        counts
    }

    /// Empties it for the epoch that ends now, while `still` that has not ended.
    pub(crate) fn empty(&self, epoch: u64, still: &dyn Fn() -> bool) {
        self.empty_with(Bucket::emptied_for_epoch(epoch), still);
    }

    fn empty_with(&self, emptied: Bucket, still: &dyn Fn() -> bool) {
        for word in self.stripes.iter().flat_map(|stripe| stripe.calls.iter().chain(&stripe.slow)) {
            let mut seen = word.load(Ordering::SeqCst);
            while still() {
                match word.compare_exchange(seen, emptied.0, Ordering::SeqCst, Ordering::SeqCst) {
                    Ok(_) => break,
                    Err(changed) => seen = changed,
                }
            }
        }
    }

    /// One of another length, with what is in this one and young enough.
    pub(crate) fn resized(&self, span: Duration) -> Self {
        let next = Self::new(span);
        let (newest, newest_bad) = (self.newest.load(Ordering::SeqCst), self.newest_bad.load(Ordering::SeqCst));
        // The end of a bucket, so that none is made older than it is.
        let moved = |tick: u64| (tick + 1).saturating_mul(self.width_nanos).saturating_sub(1) / next.width_nanos;
        next.newest.store(moved(newest), Ordering::SeqCst);
        next.newest_bad.store(newest_bad.checked_sub(1).map_or(0, |tick| moved(tick) + 1), Ordering::SeqCst);
        let into = next.stripes.mine();
        for stripe in self.stripes.iter() {
            for (from, to) in stripe
                .calls
                .iter()
                .zip([&into.calls; BUCKETS as usize])
                .chain(stripe.slow.iter().zip([&into.slow; BUCKETS as usize]))
            {
                let bucket = Bucket(from.load(Ordering::SeqCst));
                if !is_within(bucket, newest) {
                    continue;
                }
                let tick = moved(newest.wrapping_add_signed(bucket.ahead_of(newest)));
                if moved(newest) - tick.min(moved(newest)) >= BUCKETS {
                    continue;
                }
                let word = &to[(tick % BUCKETS) as usize];
                let there = Bucket(word.load(Ordering::SeqCst));
                let (total, part) = (there.total() + bucket.total(), there.part() + bucket.part());
                word.store(Bucket::new(tick, total, part).0, Ordering::SeqCst);
            }
        }
        next
    }
}

/// Whether a bucket has calls of the window that ends with this one. One that is newer has, too: it was counted in
/// since the end was looked at.
fn is_within(bucket: Bucket, newest: u64) -> bool {
    bucket.total() > 0 && (1 - BUCKETS as i64..=MUCH_NEWER).contains(&bucket.ahead_of(newest))
}

#[inline]
fn count(word: &AtomicU64, tick: u64, part: u64, still: &impl Fn() -> bool) -> bool {
    let mut seen = word.load(Ordering::SeqCst);
    loop {
        if !still() {
            return false;
        }
        let Some(next) = Bucket(seen).with(tick, part) else { return true };
        match word.compare_exchange(seen, next.0, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => return true,
            Err(changed) => seen = changed,
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn within(calls: &[(u64, bool, bool)], newest: u64) -> Counts {
        let mut counts = Counts::default();
        for &(tick, failed, slow) in calls.iter().filter(|(tick, ..)| newest - tick < BUCKETS) {
            counts.total += u64::from(tick <= newest);
            counts.failed += u64::from(failed);
            counts.slow += u64::from(slow);
        }
        counts
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

        #[test]
        fn it_counts_what_a_list_counts(
            millis in prop_oneof![Just(1_000_u64), Just(3_600_000), 1_000_u64..3_600_000],
            calls in proptest::collection::vec((0_u32..100, 0_u64..1_000, any::<bool>(), any::<bool>()), 1..300),
        ) {
            let window = Window::new(Duration::from_millis(millis));
            let (mut listed, mut now) = (Vec::new(), 1 << 40);
            for (kind, part, failed, slow) in calls {
                // Mostly close together, sometimes up to ten windows apart, sometimes by a nanosecond.
                let gap = match kind {
                    0..5 => millis * 1_000_000 / 100 * part,
                    5..30 => 1,
                    _ => millis * 1_000 * part / 25,
                };
                now += gap;
                prop_assert!(window.add(Time::from_nanos(now), failed, slow, || true));
                let tick = now / window.width_nanos;
                listed.push((tick, failed, slow));
                let expected = within(&listed, tick);
                prop_assert_eq!(window.counts(), expected);
                prop_assert_eq!(window.is_suspect(), expected.failed + expected.slow > 0);
            }
        }

        #[test]
        fn one_of_another_length_has_what_is_young_enough(
            from in 1_000_u64..100_000, to in 1_000_u64..100_000,
            calls in proptest::collection::vec((0_u64..1_000, any::<bool>(), any::<bool>()), 1..100),
        ) {
            let window = Window::new(Duration::from_millis(from));
            let (mut times, mut now) = (Vec::new(), 1 << 40);
            for (gap, failed, slow) in calls {
                now += gap * from * 1_000_000 / 20_000;
                window.add(Time::from_nanos(now), failed, slow, || true);
                times.push((now, failed, slow));
            }
            let next = window.resized(Duration::from_millis(to));
            let (counts, all) = (next.counts(), window.counts());
            // Exact but for the width of a bucket of both.
            let slack = window.width_nanos + next.width_nanos;
            let since = |span: u64| {
                let within = times.iter().filter(|(at, ..)| now - at < span);
                within.count() as u64
            };
            let (least, most) = (since((to * 1_000_000).saturating_sub(slack)), since(to * 1_000_000 + slack));
            let least = least.min(since((from * 1_000_000).saturating_sub(slack)));
            prop_assert!((least..=most.min(all.total)).contains(&counts.total), "{counts:?}: {least} to {most}");
            prop_assert!(counts.failed <= all.failed && counts.slow <= all.slow);
            prop_assert!(to < from || counts == all, "{counts:?} {all:?}");
            prop_assert!(next.is_suspect() || counts.failed + counts.slow == 0);
        }
    }

    #[test]
    fn what_comes_late_is_in_its_own_bucket_or_in_none() {
        let window = Window::new(Duration::from_secs(10));
        let second = |second: u64| Time::from_nanos(second * 1_000_000_000);
        assert!(window.add(second(100), true, false, || true));
        assert!(window.add(second(95), true, false, || true), "another thread has looked at the clock before");
        assert_eq!(window.counts().failed, 2);
        assert!(window.add(second(90), true, false, || true), "its bucket is that of 100 now");
        assert_eq!(window.counts().failed, 2);
        assert!(window.add(second(104), false, false, || true));
        assert_eq!(window.counts(), Counts { total: 3, failed: 2, slow: 0 });
        assert!(window.add(second(105), false, false, || true));
        assert_eq!(window.counts(), Counts { total: 3, failed: 1, slow: 0 });
    }

    #[test]
    fn a_window_that_was_emptied_takes_nothing_that_was_under_way() {
        let window = Window::new(Duration::from_secs(10));
        let now = Time::from_nanos(1 << 40);
        window.add(now, true, true, || true);
        window.empty(5, &|| true);
        assert_eq!(window.counts(), Counts::default());
        assert!(!window.add(now, true, true, || false));
        // Emptied between the look at the bucket and the count, with the epoch over when it is tried again.
        let asked = std::cell::Cell::new(0);
        let counted = window.add(now, true, false, || {
            asked.set(asked.get() + 1);
            if asked.get() == 1 {
                window.empty(6, &|| true);
            }
            asked.get() == 1
        });
        assert_eq!((counted, window.counts()), (false, Counts::default()));
        window.empty(7, &|| false);
        assert!(window.add(now, true, false, || true));
        window.empty(7, &|| false);
        assert_eq!(window.counts().failed, 1, "that epoch is over");
    }

    #[test]
    fn what_a_thread_has_counted_that_is_gone_does_not_come_back() {
        let window = Window::new(Duration::from_secs(1));
        let second = |second: u64| Time::from_nanos(second * 1_000_000_000);
        let left = window.stripes.iter().map(|stripe| &stripe.calls[0]);
        window.add(second(1), false, false, || true);
        left.for_each(|word| word.store(Bucket::new(10, 7, 7).0, Ordering::SeqCst));
        // In another bucket than that, until its tag comes round.
        for tick in (15..(1 << 22) + 30).filter(|tick| tick % 10 == 5 || tick % 10 == 9) {
            window.add(Time::from_nanos(tick * 100_000_000), false, false, || true);
        }
        for tick in (1_u64 << 22) + 2..(1 << 22) + 30 {
            window.newest.store(tick, Ordering::SeqCst);
            assert_eq!(window.counts().failed, 0);
        }
    }

    #[test]
    fn after_any_rest_it_goes_on() {
        let window = Window::new(Duration::from_secs(1));
        let mut now = Time::START;
        for rest in [10, 11, 1 << 20, (1 << 21) + 5, (1 << 22) - 5, 1 << 22, (1 << 22) + 5, 1 << 23, 1 << 33] {
            now = now + Duration::from_millis(rest * 100);
            assert!(window.add(now, true, false, || true));
            assert_eq!(window.counts().failed, 1, "after {rest} buckets");
        }
        assert!(window.add(Time::NEVER, true, false, || true));
        assert_eq!(window.counts().failed, 1);
    }
}
