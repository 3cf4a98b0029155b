use ecm_core::{Entry, thread_number};
use std::sync::{Arc, OnceLock};

/// More than so many processors share copies.
const MOST: usize = 8;

/// Of so many hits by a thread without a copy of its own, one makes it one: what is hit rarely is not copied.
const ONE_COPIES_OF: u64 = 8;

/// An entry as it is stored: with copies for the threads that hit it, because who takes an entry along counts a
/// reference to it, and a count that two threads write takes the line of memory away from each in turn.
///
/// The thread that stored it takes the entry itself, so that a program with one thread makes no copy. A copy shares the
/// rows.
#[derive(Debug)]
pub(crate) struct Held {
    entry: Arc<Entry>,
    /// The stripe of the thread that stored it.
    stored_by: usize,
    copies: OnceLock<Box<[OnceLock<Arc<Entry>>]>>,
}

/// How many copies of an entry help on a machine that runs so many threads at the same time: a power of two. More
/// than that would tell more threads apart, but a copy that is not in the cache of the processor costs what it saves.
pub(crate) fn stripes(threads: usize) -> usize {
    threads.clamp(1, MOST).next_power_of_two()
}

impl Held {
    /// By the thread that stores it.
    pub(crate) fn new(entry: Arc<Entry>, stripes: usize) -> Self {
        Self { entry, stored_by: thread_number() & (stripes - 1), copies: OnceLock::new() }
    }

    /// The one to judge it by, whichever thread asks.
    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// The one for this thread to take along, of so many stripes as there were when it was stored. `hits` is how many it
    /// has had.
    #[inline]
    pub(crate) fn mine(&self, stripes: usize, hits: u64) -> &Arc<Entry> {
        let stripe = thread_number() & (stripes - 1);
        if stripe == self.stored_by {
            return &self.entry;
        }
        match self.copies.get().and_then(|copies| copies[stripe].get()) {
            Some(mine) => mine,
            None if hits.is_multiple_of(ONE_COPIES_OF) => self.copy(stripe, stripes),
            None => &self.entry,
        }
    }

    #[cold]
    fn copy(&self, stripe: usize, stripes: usize) -> &Arc<Entry> {
        let copies = self.copies.get_or_init(|| std::iter::repeat_with(OnceLock::new).take(stripes).collect());
        copies[stripe].get_or_init(|| Arc::new(Entry::clone(&self.entry)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecm_core::{Position, TableVersion, Time};
    use std::{sync::Barrier, thread, time::Duration};

    fn entry() -> Arc<Entry> {
        Arc::new(Entry {
            rows: Arc::default(),
            versions: Box::new([TableVersion { table: 1, version: 7 }]),
            epoch: 3,
            position: Position::default(),
            stored: Time::START,
            took: Duration::ZERO,
            bytes: 300,
        })
    }

    #[test]
    fn the_thread_that_stored_an_entry_takes_it_along_itself_however_many_processors_there_are() {
        for threads in [0, 1, 2, 3, 8, 64] {
            let (stored, stripes) = (entry(), stripes(threads));
            assert!(stripes.is_power_of_two() && stripes <= MOST);
            let held = Held::new(Arc::clone(&stored), stripes);
            assert!((0..100).all(|hits| Arc::ptr_eq(held.mine(stripes, hits), &stored)), "{threads}");
            assert!(held.copies.get().is_none());
        }
    }

    #[test]
    fn threads_of_other_stripes_have_a_copy_for_each_stripe_after_some_hits_which_shares_the_rows() {
        const STRIPES: usize = 4;
        let stored = entry();
        let held = Held::new(Arc::clone(&stored), STRIPES);
        let together = Barrier::new(STRIPES);
        let theirs: Vec<(usize, Arc<Entry>)> = thread::scope(|scope| {
            let others = [(); STRIPES].map(|()| {
                scope.spawn(|| {
                    let stripe = thread_number() % STRIPES;
                    together.wait();
                    assert!(Arc::ptr_eq(held.mine(STRIPES, 1), &stored), "one hit is no reason for a copy");
                    together.wait();
                    (stripe, Arc::clone(held.mine(STRIPES, ONE_COPIES_OF)))
                })
            });
            others.map(|other| other.join().unwrap()).into()
        });
        for (stripe, entry) in &theirs {
            let mine = *stripe == thread_number() % STRIPES;
            assert_eq!(Arc::ptr_eq(entry, &stored), mine, "stripe {stripe}");
            for (other, others) in &theirs {
                assert_eq!(Arc::ptr_eq(entry, others), stripe == other, "stripes {stripe} and {other}");
            }
            assert!(Arc::ptr_eq(&entry.rows, &stored.rows));
            assert_eq!((entry.versions.clone(), entry.epoch), (stored.versions.clone(), 3));
        }
    }
}
