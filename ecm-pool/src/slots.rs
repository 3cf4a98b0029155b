use crate::{
    cell::{Cell, Lasting, Taken},
    hints,
    sync::atomic::{AtomicUsize, Ordering},
};
use ecm_core::Time;
use std::{
    ops::Deref,
    panic::Location,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Slots that are there from the start; each further block doubles their number.
const FIRST: usize = 16;
/// Together with the first ones more than the 10,000 that a configuration may allow.
const BLOCKS: usize = 10;

/// The place of one connection, alone on its two cache lines.
#[repr(align(128))]
pub(crate) struct Slot<C> {
    pub(crate) cell: Cell<Box<C>, Figures>,
}

/// The connection of a slot, in the slot, in somebody's hands.
pub(crate) type Held<'p, C> = Taken<'p, Box<C>, Figures>;

/// What is known of a connection without the lock of the pool: written by whoever has it taken, and
/// read by anybody.
pub(crate) struct Figures {
    /// How a thread remembers this slot.
    hint: u64,
    /// Which one its connection is.
    number: AtomicU64,
    /// The epoch in which its connection was opened.
    epoch: AtomicU64,
    /// Since when it is lent; [`Time::NEVER`] while it is not.
    lent_at: AtomicU64,
    /// Until when it was certainly in use.
    used_at: AtomicU64,
    /// When it was last found to work.
    checked_at: AtomicU64,
    loans: AtomicU64,
    /// How long its loans last, in nanoseconds, on a moving average of samples; 0 before the first.
    held: AtomicU64,
    samples: AtomicU64,
    lent_from: Lasting<Location<'static>>,
    /// Whether the others are lent first.
    shunned: AtomicBool,
    /// What its loan ends with: a [`Fate`](crate::lent::Fate).
    fate: AtomicU8,
}

impl<C> Slot<C> {
    fn new(pool: u32, index: usize) -> Self {
        let tag = u16::try_from(index).expect("there are far fewer slots in all blocks");
        Self { cell: Cell::with(tag, Figures::new(hints::hint(pool, index))) }
    }
}

impl<C> Deref for Slot<C> {
    type Target = Figures;

    #[inline]
    fn deref(&self) -> &Figures {
        &self.cell.notes
    }
}

impl Figures {
    fn new(hint: u64) -> Self {
        Self {
            hint,
            number: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            lent_at: AtomicU64::new(Time::NEVER.as_nanos()),
            used_at: AtomicU64::new(0),
            checked_at: AtomicU64::new(0),
            loans: AtomicU64::new(0),
            held: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            lent_from: Lasting::none(),
            shunned: AtomicBool::new(false),
            fate: AtomicU8::new(0),
        }
    }

    #[inline]
    pub(crate) fn hint(&self) -> u64 {
        self.hint
    }

    #[inline]
    pub(crate) fn index(&self) -> usize {
        hints::index(self.hint)
    }

    #[inline]
    pub(crate) fn fate(&self) -> u8 {
        self.fate.load(Relaxed)
    }

    pub(crate) fn set_fate(&self, fate: u8) {
        self.fate.store(fate, Relaxed);
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }

    /// Which connection of the pool is in it.
    pub(crate) fn number(&self) -> u64 {
        self.number.load(Relaxed)
    }

    /// This connection, of this epoch, was opened for it.
    pub(crate) fn opened(&self, number: u64, epoch: u64, now: Time) {
        self.number.store(number, Relaxed);
        self.epoch.store(epoch, Relaxed);
        self.used_at.store(now.as_nanos(), Relaxed);
        self.checked_at.store(now.as_nanos(), Relaxed);
        self.judge_anew();
    }

    /// Whether the others are lent first.
    #[inline]
    pub(crate) fn is_shunned(&self) -> bool {
        self.shunned.load(Relaxed)
    }

    /// Has the others lent first.
    pub(crate) fn shun(&self) {
        self.shunned.store(true, Relaxed);
    }

    /// Lends it like the others again.
    pub(crate) fn pardon(&self) {
        self.shunned.store(false, Relaxed);
    }

    /// Forgets how long its loans lasted, and lends it like the others.
    pub(crate) fn judge_anew(&self) {
        self.held.store(0, Relaxed);
        self.samples.store(0, Relaxed);
        self.pardon();
    }

    /// Its connection was found to work.
    pub(crate) fn checked(&self, now: Time) {
        self.checked_at.store(now.as_nanos(), Relaxed);
    }

    /// When it was last used or found to work.
    #[inline]
    pub(crate) fn known_good_at(&self) -> Time {
        Time::from_nanos(self.used_at.load(Relaxed).max(self.checked_at.load(Relaxed)))
    }

    /// Whether the end of this loan is to be timed: of the first one and then of every 64th, so that
    /// the clock costs nothing on average.
    #[inline]
    pub(crate) fn is_sampled(&self) -> bool {
        self.loans.load(Relaxed) % 64 == 1
    }

    /// A loan that is timed ends now.
    pub(crate) fn sample(&self, now: Time) {
        let Some((at, _)) = self.loan() else { return };
        let held = u64::try_from(now.since(at).as_nanos()).unwrap_or(u64::MAX).max(1);
        let before = self.held.load(Relaxed);
        let next = if before == 0 { held } else { before - before / 8 + held / 8 };
        self.held.store(next.max(1), Relaxed);
        self.samples.store(self.samples.load(Relaxed) + 1, Relaxed);
    }

    /// How many loans of its connection were timed.
    pub(crate) fn samples(&self) -> u64 {
        self.samples.load(Relaxed)
    }

    /// How long its loans last; `None` before the first sample.
    pub(crate) fn held(&self) -> Option<Duration> {
        let held = self.held.load(Relaxed);
        (held > 0).then(|| Duration::from_nanos(held))
    }

    #[inline]
    pub(crate) fn lent(&self, now: Time, from: &'static Location<'static>) {
        self.lent_at.store(now.as_nanos(), Relaxed);
        self.lent_from.set(from);
    }

    /// A loan has begun. Only the owner of the key writes, so this need not be one step.
    #[inline]
    pub(crate) fn count_loan(&self) {
        self.loans.store(self.loans.load(Relaxed) + 1, Relaxed);
    }

    #[inline]
    pub(crate) fn given(&self, tick: u64) {
        let lent_at = self.lent_at.load(Relaxed);
        self.lent_at.store(Time::NEVER.as_nanos(), Relaxed);
        if lent_at != Time::NEVER.as_nanos() {
            self.used_at.store(lent_at.max(tick), Relaxed);
        }
    }

    /// Since when it is lent; [`Time::NEVER`] while it is not.
    #[inline]
    pub(crate) fn lent_at(&self) -> Time {
        Time::from_nanos(self.lent_at.load(Relaxed))
    }

    /// Since when it is lent, and from where; `None` while it is not.
    pub(crate) fn loan(&self) -> Option<(Time, Option<&'static Location<'static>>)> {
        let at = self.lent_at();
        (at != Time::NEVER).then(|| (at, self.lent_from.get()))
    }

    pub(crate) fn used_at(&self) -> Time {
        Time::from_nanos(self.used_at.load(Relaxed))
    }

    pub(crate) fn loans(&self) -> u64 {
        self.loans.load(Relaxed)
    }
}

/// All slots of a pool. There are more when they are needed, never less, and they never move.
pub(crate) struct Slots<C> {
    /// The number of the pool, for hints.
    pool: u32,
    in_use: AtomicUsize,
    first: [Slot<C>; FIRST],
    more: [OnceLock<Box<[Slot<C>]>>; BLOCKS],
}

impl<C> Slots<C> {
    pub(crate) fn new(pool: u32) -> Self {
        Self {
            pool,
            in_use: AtomicUsize::new(0),
            first: std::array::from_fn(|index| Slot::new(pool, index)),
            more: [const { OnceLock::new() }; BLOCKS],
        }
    }

    /// How many have ever been used: a prefix.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.in_use.load(Ordering::Acquire)
    }

    /// One more slot. Called under the lock of the pool.
    pub(crate) fn grow(&self) -> usize {
        let index = self.len();
        if let Some((block, _)) = block_of(index) {
            self.more[block].get_or_init(|| {
                let first = FIRST << block;
                (first..2 * first).map(|index| Slot::new(self.pool, index)).collect()
            });
        }
        self.in_use.store(index + 1, Ordering::Release);
        index
    }

    /// The slot of this index, which must be in use.
    #[inline]
    pub(crate) fn at(&self, index: usize) -> &Slot<C> {
        self.find(index).expect("a slot is used only after it was made")
    }

    #[inline]
    fn find(&self, index: usize) -> Option<&Slot<C>> {
        match self.first.get(index) {
            Some(slot) => Some(slot),
            None => {
                let (block, offset) = block_of(index)?;
                self.more.get(block)?.get()?.get(offset)
            }
        }
    }

    /// The slot of this index if there is one: for hints.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&Slot<C>> {
        self.find(index)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Slot<C>)> {
        (0..self.len()).map(|index| (index, self.at(index)))
    }
}

/// The further block that holds an index, and where in it; `None` for the first ones.
fn block_of(index: usize) -> Option<(usize, usize)> {
    let block = (index / FIRST).checked_ilog2()? as usize;
    Some((block, index - (FIRST << block)))
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn every_index_up_to_the_limit_has_a_slot_of_its_own() {
        let slots = Slots::<u8>::new(1);
        let mut seen = std::collections::HashSet::new();
        for index in 0..10_000 {
            assert!(index < FIRST || index.is_power_of_two() || slots.get(index).is_some() || index % FIRST == 0);
            assert_eq!(slots.grow(), index);
            assert_eq!(slots.at(index).index(), index);
            assert!(seen.insert(std::ptr::from_ref(slots.at(index))));
        }
        assert_eq!((slots.len(), slots.iter().count()), (10_000, 10_000));
        assert!(slots.get(usize::MAX).is_none());
    }

    #[test]
    fn a_slot_fills_whole_cache_lines() {
        assert_eq!((size_of::<Slot<[u8; 999]>>(), align_of::<Slot<u8>>()), (128, 128));
    }
}
