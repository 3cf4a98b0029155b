#![expect(unsafe_code, reason = "what is in a cell belongs to whoever has its key, which the compiler cannot see")]

use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::{
    cell::UnsafeCell,
    marker::PhantomData,
    num::NonZeroU64,
    ptr,
    sync::atomic::{AtomicPtr, AtomicU64},
};

const VACANT: u32 = 0;
const FULL: u32 = 1;
const TAKEN: u32 = 2;

/// Not one of the model checker's: how keys are numbered is no part of any schedule.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Room for one value that threads take out and put back without a lock, with notes that anybody reads.
///
/// It is vacant, full or taken, and while it is taken there is exactly one [`Taken`], [`Detached`] or
/// [`Key`] to it; without that nobody touches the value. All orders are `SeqCst` but one: putting back
/// is a store that releases, see [`put`](Taken::put).
///
/// A cell can be recalled: whoever puts its value back sees that, as does whoever takes it, and asks
/// what is to become of the value.
pub(crate) struct Cell<T, N = ()> {
    /// Never used twice in this process, so that no key ever fits another cell; the tag is its lowest part.
    id: NonZeroU64,
    state: AtomicU32,
    recalled: AtomicBool,
    /// `None` while there is a [`Key`], and while the cell is vacant; otherwise there.
    value: UnsafeCell<Option<T>>,
    pub(crate) notes: N,
    #[cfg(shuttle)]
    buffer: Box<crate::sync::StoreBuffer>,
}

// SAFETY: `value` is touched by the one who has it taken alone, and that passes from one thread to
// another by a write to `state` that releases and a read of it that acquires. So a value moves
// between threads but is never seen by two: `T: Send` is what that takes. `notes` are shared by all.
unsafe impl<T: Send, N: Sync> Sync for Cell<T, N> {}

/// The right to put a value into one cell: exists while the cell is taken and its value is not in it.
#[derive(Debug)]
#[must_use = "without its key a cell stays taken for ever"]
pub(crate) struct Key(NonZeroU64);

/// The value of a cell, in the cell, in the hands of whoever has taken it.
#[must_use = "a cell stays taken until its value is put back"]
pub(crate) struct Taken<'c, T, N = ()> {
    cell: &'c Cell<T, N>,
    /// Shared between threads as the value would be.
    owns: PhantomData<T>,
}

/// A [`Taken`] that does not borrow the cell, to be attached to it again.
#[must_use = "a cell stays taken until its value is put back"]
pub(crate) struct Detached<T> {
    key: Key,
    /// Shared between threads as the value would be.
    owns: PhantomData<T>,
}

const THERE: &str = "what is taken has a value";

impl<T> Cell<T> {
    #[cfg(all(test, not(shuttle)))]
    pub(crate) fn new() -> Self {
        Self::with(0, ())
    }
}

impl<T, N> Cell<T, N> {
    /// A vacant cell. The tag is a number by which its owner finds it again.
    pub(crate) fn with(tag: u16, notes: N) -> Self {
        let number = NEXT_ID.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // A process would have to make cells for centuries before it runs out of numbers.
        assert!(number < 1 << (u64::BITS - u16::BITS), "a cell has a number of its own");
        let id = NonZeroU64::new(number << u16::BITS | u64::from(tag)).expect("numbers begin with 1");
        Self {
            id,
            state: AtomicU32::new(VACANT),
            recalled: AtomicBool::new(false),
            value: UnsafeCell::new(None),
            notes,
            #[cfg(shuttle)]
            buffer: Box::default(),
        }
    }

    /// Takes the value that is in the cell, recalled or not.
    #[inline]
    pub(crate) fn take(&self) -> Option<Taken<'_, T, N>> {
        if self.state() != FULL || !self.moves(FULL, TAKEN) {
            return None;
        }
        // The step from full to taken was this thread's own.
        Some(self.taken())
    }

    /// Takes a vacant cell, to put something into it later.
    pub(crate) fn seize(&self) -> Option<Key> {
        self.moves(VACANT, TAKEN).then_some(Key(self.id))
    }

    /// Puts a value into a taken cell, which stays taken.
    pub(crate) fn fill(&self, key: Key, value: T) -> Taken<'_, T, N> {
        self.is_opened_by(&key);
        // SAFETY: the key is there, so nobody else touches the value, and it is used up here.
        unsafe { self.value.get().write(Some(value)) };
        self.taken()
    }

    /// What was detached from this cell.
    #[inline]
    pub(crate) fn attach(&self, detached: Detached<T>) -> Taken<'_, T, N> {
        self.is_opened_by(&detached.key);
        self.taken()
    }

    #[inline]
    pub(crate) fn get<'a>(&'a self, detached: &'a Detached<T>) -> &'a T {
        self.is_opened_by(&detached.key);
        // SAFETY: what is detached is there and borrowed, so that nobody changes the value.
        unsafe { (*self.value.get()).as_ref() }.expect(THERE)
    }

    #[inline]
    #[expect(clippy::needless_pass_by_ref_mut, reason = "whoever changes the value has it alone")]
    pub(crate) fn get_mut<'a>(&'a self, detached: &'a mut Detached<T>) -> &'a mut T {
        self.is_opened_by(&detached.key);
        // SAFETY: what is detached is there and borrowed, so that nobody else touches the value.
        unsafe { (*self.value.get()).as_mut() }.expect(THERE)
    }

    /// Puts a value back for whoever takes it; it is recalled no more.
    pub(crate) fn put_anyway(&self, key: Key, value: T) {
        let _ = self.fill(key, value);
        self.recalled.store(false, Ordering::SeqCst);
        self.state.store(FULL, Ordering::SeqCst);
    }

    /// Leaves a taken cell empty; it is recalled no more.
    pub(crate) fn vacate(&self, key: Key) {
        self.is_opened_by(&key);
        self.recalled.store(false, Ordering::SeqCst);
        self.state.store(VACANT, Ordering::SeqCst);
    }

    /// Recalls the value, or no longer.
    pub(crate) fn recall(&self, recalled: bool) {
        self.recalled.store(recalled, Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn is_recalled(&self) -> bool {
        self.recalled.load(Ordering::SeqCst)
    }

    /// Whether its value may be taken: it is there, and nobody has recalled it.
    pub(crate) fn is_full(&self) -> bool {
        self.state() == FULL && !self.is_recalled()
    }

    pub(crate) fn is_vacant(&self) -> bool {
        self.state() == VACANT
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.state() == TAKEN
    }

    #[inline]
    fn state(&self) -> u32 {
        #[cfg(shuttle)]
        self.buffer.may_drain(|| self.state.store(FULL, Ordering::SeqCst));
        self.state.load(Ordering::SeqCst)
    }

    /// Lets everybody see what was put back.
    #[cfg(shuttle)]
    pub(crate) fn drain(&self) {
        self.buffer.drain(|| self.state.store(FULL, Ordering::SeqCst));
    }

    #[inline]
    fn taken(&self) -> Taken<'_, T, N> {
        Taken { cell: self, owns: PhantomData }
    }

    #[inline]
    fn moves(&self, from: u32, to: u32) -> bool {
        self.state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    #[inline]
    fn is_opened_by(&self, key: &Key) {
        assert!(key.0 == self.id, "a key opens its own cell alone");
    }
}

impl<T> Detached<T> {
    /// The tag of its cell.
    #[inline]
    pub(crate) fn tag(&self) -> u16 {
        self.key.0.get() as u16
    }
}

impl<'c, T, N> Taken<'c, T, N> {
    #[inline]
    pub(crate) fn notes(&self) -> &'c N {
        &self.cell.notes
    }

    #[inline]
    pub(crate) fn is_recalled(&self) -> bool {
        self.cell.is_recalled()
    }

    #[inline]
    pub(crate) fn get(&self) -> &T {
        // SAFETY: what is taken is borrowed, so that nobody changes the value.
        unsafe { (*self.cell.value.get()).as_ref() }.expect(THERE)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        // SAFETY: what is taken is borrowed, so that nobody else touches the value.
        unsafe { (*self.cell.value.get()).as_mut() }.expect(THERE)
    }

    #[inline]
    pub(crate) fn detach(self) -> Detached<T> {
        Detached { key: Key(self.cell.id), owns: PhantomData }
    }

    /// Takes the value out of the cell.
    pub(crate) fn empty(self) -> (Key, T) {
        // SAFETY: nobody else touches the value, and what is taken is used up here.
        let value = unsafe { (*self.cell.value.get()).take() };
        (Key(self.cell.id), value.expect(THERE))
    }

    /// Puts the value back for whoever takes it, recalled or not: that is for the caller to look at, after
    /// a barrier, since others may see this write later than what this thread reads next.
    #[inline]
    pub(crate) fn put(self) -> &'c Cell<T, N> {
        #[cfg(not(shuttle))]
        self.cell.state.store(FULL, Ordering::Release);
        #[cfg(shuttle)]
        self.cell.buffer.fill();
        self.cell
    }
}

/// A reference to something that lives for ever, which others may exchange.
pub(crate) struct Lasting<T: 'static>(AtomicPtr<T>);

impl<T: Sync> Lasting<T> {
    pub(crate) const fn none() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    #[inline]
    pub(crate) fn set(&self, to: &'static T) {
        self.0.store(ptr::from_ref(to).cast_mut(), std::sync::atomic::Ordering::Release);
    }

    pub(crate) fn get(&self) -> Option<&'static T> {
        let pointer = self.0.load(std::sync::atomic::Ordering::Acquire);
        // SAFETY: it is null, or was made by `set` from a reference that lasts for ever; nothing is
        // written through it.
        unsafe { pointer.as_ref() }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use std::{sync::Arc, thread};

    fn full<T>(value: T) -> Cell<T> {
        let cell = Cell::new();
        let key = cell.seize().unwrap();
        cell.put_anyway(key, value);
        cell
    }

    #[test]
    fn a_value_is_taken_once_and_comes_back() {
        let cell = Cell::new();
        assert!(cell.take().is_none(), "it is vacant");
        let key = cell.seize().unwrap();
        assert!(cell.seize().is_none() && cell.take().is_none());
        cell.fill(key, String::from("a")).put();
        let mut taken = cell.take().unwrap();
        assert!(cell.take().is_none() && cell.is_taken());
        taken.get_mut().push('b');
        taken.put();
        let (key, value) = cell.take().unwrap().empty();
        assert_eq!(value, "ab");
        cell.vacate(key);
        assert!(!cell.is_full() && !cell.is_taken());
    }

    #[test]
    fn what_is_detached_is_the_same_value() {
        let cell = Cell::with(9, ());
        let key = cell.seize().unwrap();
        let mut detached = cell.fill(key, 7).detach();
        assert_eq!(detached.tag(), 9);
        *cell.get_mut(&mut detached) += 1;
        assert_eq!(*cell.get(&detached), 8);
        let taken = cell.attach(detached);
        assert_eq!((*taken.get(), cell.is_taken()), (8, true));
        taken.put();
        assert!(cell.is_full());
    }

    #[test]
    fn what_was_recalled_is_so_until_it_was_dealt_with() {
        let cell = full(7);
        let taken = cell.take().unwrap();
        cell.recall(true);
        assert!(taken.is_recalled() && taken.put().is_recalled());
        let (key, value) = cell.take().unwrap().empty();
        cell.put_anyway(key, value);
        assert!(!cell.is_recalled() && cell.is_full());
        let (key, _) = cell.take().unwrap().empty();
        cell.recall(true);
        cell.vacate(key);
        assert!(!cell.is_recalled());
    }

    #[test]
    #[should_panic(expected = "a key opens its own cell alone")]
    fn a_key_does_not_fit_another_cell() {
        let (one, other) = (full(1), full(2));
        let (first, _second) = (one.take().unwrap().detach(), other.take().unwrap());
        let _ = other.attach(first);
    }

    #[test]
    fn a_value_left_in_a_cell_is_dropped_with_it() {
        let value = Arc::new(());
        let cells = [full(Arc::clone(&value)), full(Arc::clone(&value))];
        let _ = cells[1].take().unwrap();
        drop(cells);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn threads_that_take_and_put_never_lose_an_addition() {
        let cell = full(Box::new(0_u64));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut left = 10_000;
                    while left > 0 {
                        let Some(mut taken) = cell.take() else {
                            thread::yield_now();
                            continue;
                        };
                        **taken.get_mut() += 1;
                        left -= 1;
                        taken.put();
                    }
                });
            }
        });
        assert_eq!(**cell.take().unwrap().get(), 40_000);
    }

    #[test]
    fn a_lasting_reference_comes_back_as_it_was() {
        static WORDS: [&str; 2] = ["a", "b"];
        let lasting = Lasting::none();
        assert_eq!(lasting.get(), None);
        lasting.set(&WORDS[1]);
        assert_eq!(lasting.get(), Some(&"b"));
    }
}
