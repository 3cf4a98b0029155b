use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

/// Every version of a value since the start, kept until this is dropped.
///
/// The current one is a few loads away and can be borrowed for as long as this lives, without a
/// reference count: guards, nodes and breakers borrow from it. The price is that an old version
/// stays in memory. Segments double in size, so that a version never moves.
#[derive(Debug)]
pub(crate) struct Versions<T> {
    segments: [OnceLock<Box<[OnceLock<T>]>>; SEGMENTS],
    current: AtomicUsize,
    changing: Mutex<()>,
}

/// Room for 2^32 - 1 versions: at one change a millisecond, 49 days.
const SEGMENTS: usize = 32;

impl<T> Versions<T> {
    pub(crate) fn new(first: T) -> Self {
        let versions = Self {
            segments: [const { OnceLock::new() }; SEGMENTS],
            current: AtomicUsize::new(0),
            changing: Mutex::new(()),
        };
        let stored = versions.cell(0).set(first);
        debug_assert!(stored.is_ok(), "a fresh cell is empty");
        versions
    }

    /// The version in force.
    #[inline]
    pub(crate) fn current(&self) -> &T {
        let index = self.current.load(Ordering::Acquire);
        self.cell(index).get().expect("the index moves after its cell is filled")
    }

    /// Every version so far, the first one first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        let last = self.current.load(Ordering::Acquire);
        (0..=last).filter_map(|index| self.cell(index).get())
    }

    /// Replaces the version in force by what `change` makes of it, unless it fails. One change at a
    /// time; the result of `change` is what this answers.
    pub(crate) fn change<R, E>(&self, change: impl FnOnce(&T) -> Result<(T, R), E>) -> Result<R, E> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, result) = change(self.current())?;
        let index = self.current.load(Ordering::Relaxed) + 1;
        let stored = self.cell(index).set(next);
        debug_assert!(stored.is_ok(), "a cell beyond the current one is empty");
        self.current.store(index, Ordering::Release);
        Ok(result)
    }

    /// How many versions there have been.
    pub(crate) fn count(&self) -> u64 {
        self.current.load(Ordering::Acquire) as u64 + 1
    }

    fn cell(&self, index: usize) -> &OnceLock<T> {
        let segment = (index + 1).ilog2() as usize;
        let cells =
            self.segments[segment].get_or_init(|| std::iter::repeat_with(OnceLock::new).take(1 << segment).collect());
        &cells[index + 1 - (1 << segment)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{convert::Infallible, thread};

    fn push(versions: &Versions<u64>) {
        let next = |current: &u64| Ok::<_, Infallible>((current + 1, ()));
        versions.change(next).unwrap();
    }

    #[test]
    fn a_borrowed_version_outlives_its_successors() {
        let versions = Versions::new(0);
        let first = versions.current();
        for _ in 0..1_000 {
            push(&versions);
        }
        assert_eq!((*first, *versions.current(), versions.count()), (0, 1_000, 1_001));
        assert!(versions.all().copied().eq(0..=1_000));
    }

    #[test]
    fn a_change_that_fails_makes_no_version() {
        let versions = Versions::new(7);
        assert_eq!(versions.change(|_| Err::<(i32, ()), _>("no")), Err("no"));
        assert_eq!((*versions.current(), versions.count()), (7, 1));
    }

    #[test]
    fn changes_by_many_threads_are_all_kept() {
        let versions = Versions::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..250 {
                        let seen = *versions.current();
                        push(&versions);
                        assert!(*versions.current() > seen);
                    }
                });
            }
        });
        assert_eq!(*versions.current(), 1_000);
    }
}
