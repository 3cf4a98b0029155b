use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

/// A share of all events, picked at random: a loop over as many keys as lie between two picks is not always picked at
/// the same one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampling {
    /// Of 2^32.
    share: u64,
}

thread_local! {
    /// Of a linear congruential generator (Knuth's MMIX); 0 before its first number.
    static STATE: Cell<u64> = const { Cell::new(0) };
}

impl Sampling {
    /// Of 0, none, to 1, all.
    pub(crate) fn of(share: f64) -> Self {
        // What is out of bounds is cut by the conversion.
        Self { share: (share * 4_294_967_296.0) as u64 }
    }

    /// Whether this one is picked. Costs a multiplication; nothing is written that another thread reads.
    #[inline]
    pub(crate) fn picks(self) -> bool {
        self.share != 0 && self.share > next()
    }
}

/// The next number below 2^32. A thread that ends has no memory any more, and gets one that is never picked.
#[inline]
fn next() -> u64 {
    let next = STATE.try_with(|state| {
        let now = state.get();
        let next = if now == 0 { seed() } else { now };
        let next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.set(next);
        next >> 32
    });
    next.unwrap_or(u64::MAX)
}

/// Another one for each thread, also for those that end before they have come to a pick.
#[cold]
fn seed() -> u64 {
    static THREADS: AtomicU64 = AtomicU64::new(1);
    THREADS.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_many_is_picked_and_of_those_of_one_key_too() {
        let picked = |sampling: Sampling, among: usize| (0..among).filter(|_| sampling.picks()).count();
        assert_eq!((picked(Sampling::of(0.0), 10_000), picked(Sampling::of(1.0), 10_000)), (0, 10_000));
        let some = picked(Sampling::of(0.01), 1_000_000);
        assert!((9_000..11_000).contains(&some), "{some}");
        // A hundred keys in a loop: each comes to its turn.
        let mut picks = [0_u32; 100];
        for number in 0..1_000_000 {
            picks[number % 100] += u32::from(Sampling::of(0.01).picks());
        }
        assert!(picks.iter().all(|picks| (40..180).contains(picks)), "{picks:?}");
    }

    #[test]
    fn threads_that_end_early_are_picked_from_as_others_are() {
        let of_a_thread = || (0..10).filter(|_| Sampling::of(0.1).picks()).count();
        let picked: usize =
            std::thread::scope(|scope| (0..300).map(|_| scope.spawn(of_a_thread).join().unwrap()).sum());
        assert!((150..500).contains(&picked), "{picked}");
    }
}
