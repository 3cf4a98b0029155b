use crate::{Striped, thread_number};
use std::{
    fmt, iter, ops,
    sync::atomic::{AtomicU64, Ordering},
};

/// How many threads have a value of their own.
const OWN: usize = 16;

/// A value for each of some threads alone, and some that the others share: for counting what happens in every call.
///
/// An addition that must be atomic costs six nanoseconds where a load, an addition and a store cost one, and a call
/// counts several things. The first sixteen threads that are alive are alone with their value, by
/// [`thread_number`]; further ones share [`Striped`] values. Each value takes 128 bytes or a multiple.
///
/// # Concurrency
/// Whoever writes does so by [`Mine::add`]. A sum over all values is not of one moment.
///
/// ```
/// use ecm_core::PerThread;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let calls = PerThread::<AtomicU64>::new();
/// std::thread::scope(|scope| {
///     for _ in 0..20 {
///         scope.spawn(|| calls.mine().add(|calls| calls, 2));
///     }
/// });
/// assert_eq!(calls.iter().map(|calls| calls.load(Ordering::Relaxed)).sum::<u64>(), 40);
/// ```
pub struct PerThread<T> {
    own: Box<[Alone<T>]>,
    shared: Striped<T>,
}

/// On two lines that nobody else writes: processors fetch lines in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Alone<T>(T);

/// The value that this thread writes.
#[derive(Debug)]
pub struct Mine<'p, T> {
    value: &'p T,
    is_alone: bool,
}

impl<T: Default> PerThread<T> {
    /// A default value for each.
    #[must_use]
    pub fn new() -> Self {
        Self { own: iter::repeat_with(Alone::default).take(OWN).collect(), shared: Striped::new() }
    }
}

impl<T> PerThread<T> {
    /// The one that this thread writes.
    #[inline]
    pub fn mine(&self) -> Mine<'_, T> {
        // The model checker runs all its threads on one.
        match self.own.get(thread_number().wrapping_sub(1)) {
            Some(own) if cfg!(not(shuttle)) => Mine { value: &own.0, is_alone: true },
            _ => Mine { value: self.shared.mine(), is_alone: false },
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.own.iter().map(|own| &own.0).chain(self.shared.iter())
    }
}

impl<T> Mine<'_, T> {
    /// Adds to a figure of it, wrapping around.
    #[inline]
    pub fn add(&self, figure: impl FnOnce(&T) -> &AtomicU64, number: u64) {
        let figure = figure(self.value);
        if self.is_alone {
            // Nobody else writes it; the number of a thread that has ended goes to another one under a lock.
            figure.store(figure.load(Ordering::Relaxed).wrapping_add(number), Ordering::Relaxed);
        } else {
            figure.fetch_add(number, Ordering::Relaxed);
        }
    }
}

impl<T> ops::Deref for Mine<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.value
    }
}

impl<T: Default> Default for PerThread<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for PerThread<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::RefCell, sync::Barrier, thread};

    fn sum(figures: &PerThread<AtomicU64>) -> u64 {
        figures.iter().map(|figure| figure.load(Ordering::Relaxed)).sum()
    }

    #[test]
    fn nothing_is_lost_where_more_threads_count_than_have_a_value_of_their_own() {
        const THREADS: usize = 3 * OWN;
        let (figures, together) = (PerThread::<AtomicU64>::new(), Barrier::new(THREADS));
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    together.wait();
                    (0..10_000).for_each(|_| figures.mine().add(|figure| figure, 1));
                });
            }
        });
        assert_eq!(sum(&figures), 10_000 * THREADS as u64);
    }

    #[test]
    fn nothing_is_lost_where_threads_come_and_go() {
        let figures = PerThread::<AtomicU64>::new();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        thread::scope(|scope| {
                            scope.spawn(|| (0..100).for_each(|_| figures.mine().add(|figure| figure, 1)));
                        });
                    }
                });
            }
        });
        assert_eq!(sum(&figures), 4 * 200 * 100);
    }

    /// Counts while its thread ends, after everything that was made later has gone.
    struct Last(RefCell<Option<&'static PerThread<AtomicU64>>>);

    impl Drop for Last {
        fn drop(&mut self) {
            if let Some(figures) = self.0.take() {
                assert!(!figures.mine().is_alone, "another thread may have the number by now");
                figures.mine().add(|figure| figure, 1);
            }
        }
    }

    thread_local! {
        static LAST: Last = const { Last(RefCell::new(None)) };
    }

    #[test]
    fn one_that_counts_while_its_thread_ends_is_alone_with_nothing() {
        let figures: &'static PerThread<AtomicU64> = Box::leak(Box::default());
        let counting = thread::spawn(move || {
            // Made before the thread has a number, and so destroyed after it was given back.
            LAST.with(|last| last.0.replace(Some(figures)));
            figures.mine().add(|figure| figure, 1);
        });
        counting.join().unwrap();
        assert_eq!(sum(figures), 2);
    }
}
