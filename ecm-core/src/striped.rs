use std::{
    cell::Cell,
    collections::BTreeSet,
    fmt, iter,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
};

/// More would make reading all of them dear, and there are rarely more threads at work at the same instant on
/// the same figure.
const MOST: usize = 16;

/// A value once for each of some stripes, for figures that many threads write and few read: a thread always
/// writes the same stripe, and two threads mostly write different ones, so that their processors do not
/// take a line of memory away from each other. Who reads adds the stripes up.
///
/// There are as many stripes as the machine runs threads at the same time, rounded up to a power of two, 16 at
/// most; each takes 128 bytes or a multiple.
///
/// # Concurrency
/// Two threads may share a stripe, so that its values must be atomic. A sum over stripes is not of one moment.
///
/// ```
/// use ecm_core::Striped;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let calls = Striped::<AtomicU64>::new();
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| calls.mine().fetch_add(1, Ordering::Relaxed));
///     }
/// });
/// assert_eq!(calls.iter().map(|stripe| stripe.load(Ordering::Relaxed)).sum::<u64>(), 4);
/// ```
pub struct Striped<T>(Box<[Stripe<T>]>);

/// Alone on two lines: processors fetch lines in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Stripe<T>(T);

impl<T: Default> Striped<T> {
    /// A default value for each stripe.
    #[must_use]
    pub fn new() -> Self {
        Self(iter::repeat_with(Stripe::default).take(stripes()).collect())
    }
}

impl<T> Striped<T> {
    /// The one that this thread writes.
    #[inline]
    pub fn mine(&self) -> &T {
        // Their number is a power of two.
        &self.0[thread_number() & (self.0.len() - 1)].0
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|stripe| &stripe.0)
    }
}

impl<T: Default> Default for Striped<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for Striped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn stripes() -> usize {
    static STRIPES: OnceLock<usize> = OnceLock::new();
    *STRIPES.get_or_init(|| thread::available_parallelism().map_or(1, Into::into).next_power_of_two().min(MOST))
}

thread_local! {
    /// Without a destructor, so that it is as cheap as a field. 0 before the first use.
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// The number of this thread, from 1: by which it chooses its stripe. No other thread that is alive has it.
///
/// It is for what is striped without being a [`Striped`]. The numbers of threads that have ended are given again, the
/// lowest first, so that those of a program with few threads differ in their lowest bits. Costs a nanosecond.
///
/// A thread that ends, and has given its number back, has one above 2³² from then on, which others may have as well.
#[must_use]
#[inline]
pub fn thread_number() -> usize {
    match NUMBER.get() {
        0 => next_number(),
        number => number,
    }
}

#[cold]
fn next_number() -> usize {
    let number = lock().take();
    NUMBER.set(number);
    // While the thread ends it keeps its number for ever, which costs nothing but a gap.
    let _ = TAKEN.try_with(|taken| taken.0.set(number));
    number
}

/// The numbers that threads have.
struct Numbers {
    highest: usize,
    /// Those below it that no thread has any more.
    free: BTreeSet<usize>,
}

static NUMBERS: Mutex<Numbers> = Mutex::new(Numbers { highest: 0, free: BTreeSet::new() });

fn lock() -> MutexGuard<'static, Numbers> {
    NUMBERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Numbers {
    fn take(&mut self) -> usize {
        self.free.pop_first().unwrap_or_else(|| {
            self.highest += 1;
            self.highest
        })
    }
}

/// Added to the number of a thread that has given it back.
const GIVEN_BACK: usize = if usize::BITS > 32 { 1 << 32 } else { 1 << 24 };

/// Gives a number back when its thread ends. Apart from [`NUMBER`], which is as cheap as it is because it is
/// never destroyed: what counts in the destructors after this one counts under a number that is nobody's.
struct Taken(Cell<usize>);

impl Drop for Taken {
    fn drop(&mut self) {
        NUMBER.set(self.0.get() + GIVEN_BACK);
        lock().free.insert(self.0.get());
    }
}

thread_local! {
    static TAKEN: Taken = const { Taken(Cell::new(0)) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::HashSet,
        ptr,
        sync::{
            Barrier,
            atomic::{AtomicU64, Ordering},
        },
    };

    #[test]
    fn a_thread_keeps_its_stripe_and_as_many_threads_as_there_are_stripes_have_one_each() {
        let striped = Striped::<AtomicU64>::new();
        let count = striped.iter().count();
        assert!(count.is_power_of_two() && count <= MOST);
        let together = Barrier::new(count);
        let used: HashSet<usize> = thread::scope(|scope| {
            let threads: Vec<_> = iter::repeat_with(|| {
                scope.spawn(|| {
                    let mine = ptr::from_ref(striped.mine()) as usize;
                    together.wait();
                    (0..100).for_each(|_| {
                        striped.mine().fetch_add(1, Ordering::Relaxed);
                        assert_eq!(ptr::from_ref(striped.mine()) as usize, mine);
                    });
                    mine
                })
            })
            .take(count)
            .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        // Numbered one after the other, unless a thread of another test comes in between.
        assert!(used.len() > count / 2, "{used:?}");
        assert_eq!(striped.iter().map(|stripe| stripe.load(Ordering::Relaxed)).sum::<u64>(), 100 * count as u64);
    }

    #[test]
    fn stripes_do_not_share_lines() {
        let striped = Striped::<AtomicU64>::new();
        let places: Vec<_> = striped.iter().map(|stripe| ptr::from_ref(stripe) as usize).collect();
        assert!(places.iter().all(|place| place % 128 == 0), "{places:?}");
    }

    #[test]
    fn threads_that_live_have_numbers_of_their_own_and_those_that_ended_give_theirs_back() {
        const THREADS: usize = 8;
        let together = Barrier::new(THREADS);
        let numbers = || -> Vec<usize> {
            thread::scope(|scope| {
                let threads = [(); THREADS].map(|()| {
                    scope.spawn(|| {
                        let number = thread_number();
                        together.wait();
                        assert_eq!(thread_number(), number);
                        number
                    })
                });
                threads.map(|thread| thread.join().unwrap()).into()
            })
        };
        let highest = (0..50).map(|_| {
            let numbers = numbers();
            assert_eq!(numbers.iter().collect::<HashSet<_>>().len(), THREADS, "{numbers:?}");
            numbers.into_iter().max().unwrap()
        });
        // Other tests have a few at the same time. 50 times 8 would be 400.
        assert!(highest.max().unwrap() < 200);
    }
}
