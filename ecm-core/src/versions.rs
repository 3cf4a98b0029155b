use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

/// Every version of a value since the start, kept until this is dropped: for what is read by every call and
/// changes while calls go on, such as the configuration of a strategy.
///
/// The current one is a few loads away and can be borrowed for as long as this lives, without a
/// reference count. The price is that an old version stays in memory. Segments double in size, so that a version
/// never moves.
///
/// ```
/// use ecm_core::Versions;
///
/// let versions = Versions::new(1);
/// let first = versions.current();
/// versions.change(|current| Ok::<_, ()>((current + 1, ()))).unwrap();
/// assert_eq!((first, versions.current()), (&1, &2));
/// ```
#[derive(Debug)]
pub struct Versions<T> {
    segments: [OnceLock<Box<[OnceLock<T>]>>; SEGMENTS],
    current: AtomicUsize,
    changing: Mutex<()>,
}

/// Room for 2^32 - 1 versions: at one change a millisecond, 49 days.
const SEGMENTS: usize = 32;

impl<T> Versions<T> {
    /// Begins with this version.
    #[must_use]
    pub fn new(first: T) -> Self {
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
    pub fn current(&self) -> &T {
        let index = self.current.load(Ordering::Acquire);
        self.cell(index).get().expect("the index moves after its cell is filled")
    }

    /// Every version so far, the first one first.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        let last = self.current.load(Ordering::Acquire);
        (0..=last).filter_map(|index| self.cell(index).get())
    }

    /// How many versions there have been.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.current.load(Ordering::Acquire) as u64 + 1
    }

    /// Replaces the version in force by what `change` makes of it, unless it fails. One change at a
    /// time; the result of `change` is what this answers.
    ///
    /// # Errors
    /// That of `change`; nothing has changed then.
    pub fn change<R, E>(&self, change: impl FnOnce(&T) -> Result<(T, R), E>) -> Result<R, E> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, result) = change(self.current())?;
        let index = self.current.load(Ordering::Relaxed) + 1;
        let stored = self.cell(index).set(next);
        debug_assert!(stored.is_ok(), "a cell beyond the current one is empty");
        self.current.store(index, Ordering::Release);
        Ok(result)
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
    use std::thread;

    #[test]
    fn an_old_version_stays_where_it_is_and_a_change_that_fails_changes_nothing() {
        let versions = Versions::new(0_u64);
        let first = versions.current();
        for n in 1..=100 {
            versions.change(|current| Ok::<_, ()>((current + 1, ()))).unwrap();
            assert_eq!(*versions.current(), n);
        }
        assert_eq!(versions.change(|_| Err::<(u64, ()), _>("no")), Err("no"));
        assert_eq!((*first, *versions.current(), versions.count()), (0, 100, 101));
        assert!(versions.all().copied().eq(0..=100));
    }

    #[test]
    fn changes_of_many_threads_are_made_one_after_the_other() {
        let versions = Versions::new(0_u64);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let before = *versions.current();
                        versions.change(|current| Ok::<_, ()>((current + 1, ()))).unwrap();
                        assert!(*versions.current() > before);
                    }
                });
            }
        });
        assert_eq!(*versions.current(), 4_000);
    }
}
