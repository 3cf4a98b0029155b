use crate::Striped;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

/// A database of a group, as a balancer sees it. Kept by the facade; its index in the group is
/// stable for one version of the configuration.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name, unique in the manager.
    pub name: Arc<str>,
    /// Its share of the work, relative to the others; at least 1.
    pub weight: u32,
    /// Whom to prefer: higher first.
    pub priority: i32,
    /// Whether it can be written.
    pub writable: bool,
    /// Free words, such as a region, for balancers that filter.
    pub tags: Arc<[Box<str>]>,
    /// What it carries right now. Shared by all versions of the configuration, so that a change of
    /// it does not forget the calls in flight.
    pub load: Arc<Load>,
}

impl Node {
    /// A database of this name that is only read, of weight 1 and priority 0, without tags or load.
    ///
    /// ```
    /// use ecm_core::Node;
    ///
    /// let node = Node { weight: 3, ..Node::new("replica") };
    /// assert_eq!((&*node.name, node.weight, node.load.pending()), ("replica", 3, 0));
    /// ```
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), weight: 1, priority: 0, writable: false, tags: Arc::new([]), load: Arc::default() }
    }
}

/// What a database carries: moved by the facade, read by balancers.
///
/// # Concurrency
/// Threads that begin and end calls mostly write different lines of memory; who reads adds them up.
#[derive(Debug, Default)]
pub struct Load {
    /// In each stripe, the calls that have started there less those that have ended there.
    pending: Striped<AtomicI64>,
    ewma: AtomicU64,
    phase: AtomicU64,
}

impl Load {
    /// Calls that were sent there and have not ended. Not of one moment, where others begin and end meanwhile.
    #[must_use]
    #[inline]
    pub fn pending(&self) -> u32 {
        let pending: i64 = self.pending.iter().map(|stripe| stripe.load(Ordering::Relaxed)).sum();
        // A call that ends elsewhere than it began may be seen to end alone.
        u32::try_from(pending.max(0)).unwrap_or(u32::MAX)
    }

    /// One more call is sent there.
    #[inline]
    pub fn started(&self) {
        self.pending.mine().fetch_add(1, Ordering::Relaxed);
    }

    /// A call has ended.
    #[inline]
    pub fn ended(&self) {
        self.pending.mine().fetch_sub(1, Ordering::Relaxed);
    }

    /// A word that belongs to the group's balancer, for a moving average or the like; 0 at first.
    #[must_use]
    #[inline]
    pub fn ewma(&self) -> &AtomicU64 {
        &self.ewma
    }

    /// Another word that belongs to the group's balancer, for when the database has joined, failed or healed, or
    /// the like; 0 at first.
    #[must_use]
    #[inline]
    pub fn phase(&self) -> &AtomicU64 {
        &self.phase
    }
}

/// A set of up to 64 databases of a group, by index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mask(u64);

impl Mask {
    /// How many databases a group may have.
    pub const CAPACITY: usize = 64;
    /// None.
    pub const NONE: Self = Self(0);

    /// The first `count` databases.
    ///
    /// # Panics
    /// If `count` is more than [`CAPACITY`](Self::CAPACITY).
    #[must_use]
    #[inline]
    pub const fn first(count: usize) -> Self {
        assert!(count <= Self::CAPACITY, "a mask has room for 64 databases");
        if count == 0 { Self(0) } else { Self(u64::MAX >> (Self::CAPACITY - count)) }
    }

    /// With this database.
    ///
    /// # Panics
    /// In builds with debug assertions, if `index` is 64 or more.
    #[must_use]
    #[inline]
    pub const fn with(self, index: usize) -> Self {
        debug_assert!(index < Self::CAPACITY, "a mask has room for 64 databases");
        Self(self.0 | (1 << (index % Self::CAPACITY)))
    }

    /// Without this database.
    #[must_use]
    #[inline]
    pub const fn without(self, index: usize) -> Self {
        if index < Self::CAPACITY { Self(self.0 & !(1 << index)) } else { self }
    }

    /// Those in both.
    #[must_use]
    #[inline]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are not in the other.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether this database is in it.
    #[must_use]
    #[inline]
    pub const fn contains(self, index: usize) -> bool {
        index < Self::CAPACITY && self.0 & (1 << index) != 0
    }

    /// Whether it is empty.
    #[must_use]
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many are in it.
    #[must_use]
    #[inline]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The lowest index in it.
    #[must_use]
    #[inline]
    pub const fn lowest(self) -> Option<usize> {
        if self.0 == 0 { None } else { Some(self.0.trailing_zeros() as usize) }
    }

    /// The index in it that has `n` others of it below; `None` if it has no more than `n`.
    ///
    /// Looks at each byte up to the answer, not at each index; at one alone where all below are in it.
    #[must_use]
    pub fn nth(self, n: usize) -> Option<usize> {
        if n < self.0.trailing_ones() as usize {
            return Some(n);
        }
        let mut left = n;
        for (place, byte) in self.0.to_le_bytes().into_iter().enumerate() {
            let ones = byte.count_ones() as usize;
            if left < ones {
                let above = (0..left).fold(byte, |rest, _| rest & (rest - 1));
                return Some(place * 8 + above.trailing_zeros() as usize);
            }
            left -= ones;
        }
        None
    }

    /// The indices in it, rising.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let index = rest.lowest()?;
            rest.0 &= rest.0 - 1;
            Some(index)
        })
    }
}

impl FromIterator<usize> for Mask {
    fn from_iter<I: IntoIterator<Item = usize>>(indices: I) -> Self {
        indices.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_mask_is_a_set_of_indices(indices in proptest::collection::btree_set(0_usize..64, 0..64), gone in 0_usize..70) {
            let mask: Mask = indices.iter().copied().collect();
            prop_assert_eq!(mask.len(), indices.len());
            prop_assert_eq!(mask.lowest(), indices.first().copied());
            prop_assert_eq!(&mask.iter().collect::<BTreeSet<_>>(), &indices);
            prop_assert_eq!(mask.contains(gone), indices.contains(&gone));
            prop_assert!(!mask.without(gone).contains(gone));
        }

        #[test]
        fn what_is_counted_off_is_what_is_walked_to(bits in any::<u64>(), dense in 0_usize..=64, other in any::<u64>()) {
            for mask in [Mask(bits), Mask(bits).and(Mask(other)), Mask::first(dense), Mask::first(dense).without(dense / 2)] {
                let walked: Vec<_> = mask.iter().collect();
                let counted: Vec<_> = (0..64).map_while(|n| mask.nth(n)).collect();
                prop_assert_eq!(&counted, &walked);
                prop_assert_eq!((mask.nth(walked.len()), mask.nth(usize::MAX)), (None, None));
                let rest: Vec<_> = walked.iter().copied().filter(|&index| !Mask(other).contains(index)).collect();
                prop_assert_eq!(mask.minus(Mask(other)).iter().collect::<Vec<_>>(), rest);
            }
        }

        #[test]
        fn the_first_ones(count in 0_usize..=64) {
            prop_assert_eq!(Mask::first(count).iter().collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_call_may_end_on_another_thread_than_it_has_begun_on() {
        let load = Load::default();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..9).for_each(|_| load.started())).join().unwrap();
            assert_eq!(load.pending(), 9);
            scope.spawn(|| (0..5).for_each(|_| load.ended())).join().unwrap();
            scope.spawn(|| (0..3).for_each(|_| load.ended())).join().unwrap();
        });
        assert_eq!(load.pending(), 1);
        load.ended();
        load.ended();
        assert_eq!(load.pending(), 0, "one that is seen to end alone is no call");
    }

    #[test]
    #[should_panic(expected = "64 databases")]
    fn sixty_five_are_too_many() {
        let _ = Mask::first(65);
    }
}
