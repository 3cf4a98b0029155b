#![expect(unsafe_code, reason = "what is in a cell belongs to whoever has its key, which the compiler cannot see")]

use crate::sync::atomic::{AtomicU32, Ordering};
use std::{
    cell::UnsafeCell,
    ptr,
    sync::atomic::{AtomicPtr, AtomicU64},
};

const VACANT: u32 = 0;
const FULL: u32 = 1;
const TAKEN: u32 = 2;
const RECALLED: u32 = 3;

/// Not one of the model checker's: how keys are numbered is no part of any schedule.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Room for one value that threads take out and put back without a lock.
///
/// It is vacant, full or taken, and while it is taken there is exactly one [`Key`] to it; without the
/// key nobody touches the value. A cell that is taken can be recalled: then putting back fails, so
/// that whoever does it asks what is to become of the value. All orders are `SeqCst`: a pool compares
/// them with those of its gate.
pub(crate) struct Cell<T> {
    /// Never used twice in this process, so that no key ever fits another cell.
    id: u64,
    state: AtomicU32,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: `value` is touched by the owner of the key alone, and the key passes from one thread to
// another by a write to `state` that releases and a read of it that acquires. So a value moves
// between threads but is never seen by two: `T: Send` is what that takes.
unsafe impl<T: Send> Sync for Cell<T> {}

/// The right to the value of one cell: exists once while the cell is taken, not at all otherwise.
#[derive(Debug)]
#[must_use = "without its key a cell stays taken for ever"]
pub(crate) struct Key(u64);

impl<T> Cell<T> {
    pub(crate) fn new() -> Self {
        let id = NEXT_ID.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Self { id, state: AtomicU32::new(VACANT), value: UnsafeCell::new(None) }
    }

    /// Takes the value of a full cell.
    #[inline]
    pub(crate) fn take(&self) -> Option<(Key, T)> {
        if !self.is_full() || !self.moves(FULL, TAKEN) {
            return None;
        }
        // SAFETY: the step from full to taken was this thread's own, and makes the only key.
        let value = unsafe { (*self.value.get()).take() };
        Some((Key(self.id), value.expect("a full cell has a value")))
    }

    /// Takes a vacant cell, to put something into it later.
    pub(crate) fn seize(&self) -> Option<Key> {
        self.moves(VACANT, TAKEN).then_some(Key(self.id))
    }

    /// Puts a value back, unless the cell was recalled.
    ///
    /// # Errors
    /// Both, unchanged, of a cell that was recalled.
    #[inline]
    pub(crate) fn put(&self, key: Key, value: T) -> Result<(), (Key, T)> {
        self.is_opened_by(&key);
        // SAFETY: the key is there, so nobody else touches the value, which is `None` while taken.
        unsafe { self.value.get().write(Some(value)) };
        if self.moves(TAKEN, FULL) {
            return Ok(());
        }
        // SAFETY: the cell is still taken, and the key still here.
        let value = unsafe { (*self.value.get()).take() };
        Err((key, value.expect("it was put in just now")))
    }

    /// Puts a value back, whether or not the cell was recalled.
    pub(crate) fn put_anyway(&self, key: Key, value: T) {
        self.is_opened_by(&key);
        // SAFETY: the key is there, so nobody else touches the value, which is `None` while taken.
        unsafe { self.value.get().write(Some(value)) };
        self.state.store(FULL, Ordering::SeqCst);
    }

    /// Leaves a taken cell empty.
    pub(crate) fn vacate(&self, key: Key) {
        self.is_opened_by(&key);
        self.state.store(VACANT, Ordering::SeqCst);
    }

    /// Recalls what is taken; answers whether anything is.
    pub(crate) fn recall(&self) -> bool {
        self.moves(TAKEN, RECALLED) || self.state.load(Ordering::SeqCst) == RECALLED
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.state.load(Ordering::SeqCst) == FULL
    }

    pub(crate) fn is_vacant(&self) -> bool {
        self.state.load(Ordering::SeqCst) == VACANT
    }

    pub(crate) fn is_taken(&self) -> bool {
        matches!(self.state.load(Ordering::SeqCst), TAKEN | RECALLED)
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

    #[test]
    fn a_value_is_taken_once_and_comes_back() {
        let cell = Cell::new();
        assert!(cell.take().is_none(), "it is vacant");
        let key = cell.seize().unwrap();
        assert!(cell.seize().is_none() && cell.take().is_none());
        cell.put(key, String::from("a")).unwrap();
        let (key, value) = cell.take().unwrap();
        assert!(cell.take().is_none() && cell.is_taken());
        cell.put(key, value + "b").unwrap();
        let (key, value) = cell.take().unwrap();
        assert_eq!(value, "ab");
        cell.vacate(key);
        assert!(!cell.is_full() && !cell.is_taken());
    }

    #[test]
    fn what_was_recalled_comes_back_only_by_force() {
        let cell = Cell::new();
        assert!(!cell.recall(), "nothing is taken");
        let key = cell.seize().unwrap();
        assert!(cell.recall() && cell.recall());
        let (key, value) = cell.put(key, 7).unwrap_err();
        assert_eq!(value, 7);
        cell.put_anyway(key, value);
        assert!(!cell.recall() && cell.is_full());
        let (key, value) = cell.take().unwrap();
        cell.put(key, value).unwrap();
    }

    #[test]
    #[should_panic(expected = "a key opens its own cell alone")]
    fn a_key_does_not_fit_another_cell() {
        let (one, other) = (Cell::new(), Cell::<u8>::new());
        let (first, _second) = (one.seize().unwrap(), other.seize().unwrap());
        let _ = one.put(first, 1);
        let (first, value) = one.take().unwrap();
        let _ = other.put(first, value);
    }

    #[test]
    fn a_value_left_in_a_cell_is_dropped_with_it() {
        let value = Arc::new(());
        let cell = Cell::new();
        let key = cell.seize().unwrap();
        cell.put(key, Arc::clone(&value)).unwrap();
        drop(cell);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn threads_that_take_and_put_never_lose_an_addition() {
        let cell = Cell::new();
        let key = cell.seize().unwrap();
        cell.put(key, Box::new(0_u64)).unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut left = 10_000;
                    while left > 0 {
                        let Some((key, mut value)) = cell.take() else {
                            thread::yield_now();
                            continue;
                        };
                        *value += 1;
                        left -= 1;
                        cell.put(key, value).unwrap();
                    }
                });
            }
        });
        assert_eq!(*cell.take().map(|(_key, value)| value).unwrap(), 40_000);
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
