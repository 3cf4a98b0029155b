//! The threads on which a database works for those who await.

use std::{
    collections::BTreeMap,
    fmt, mem,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// How long a thread waits for more work before it ends.
const LINGER: Duration = Duration::from_secs(2);

/// A small set of threads of one database, for what awaited calls cannot do where they are polled.
///
/// Work is taken in the order in which it came. A thread is started when there is more work than threads that wait for
/// some, up to the number that the configuration allows, and ends when there was no work for two seconds. What waits
/// is an entry here, not a thread. Dropping it ends the threads when they have done what they do.
///
/// # Concurrency
/// One lock, held for a few instructions; work runs without it.
#[derive(Default)]
pub(crate) struct ReaderThreads(Arc<Desk>);

type Work = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By their numbers, which are the order.
    queue: BTreeMap<u64, Work>,
    next: u64,
    threads: u32,
    idle: u32,
    most: u32,
    over: bool,
}

/// Why work was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As much waits as may.
    Full,
    /// The system gives no thread.
    NoThread,
}

impl ReaderThreads {
    /// Has `work` run by one of at most `most` threads, behind whatever came before, unless `most_waiting` wait
    /// already. Answers its number.
    pub(crate) fn run(&self, work: Work, most: u32, most_waiting: u32) -> Result<u64, Refused> {
        let mut state = self.0.lock();
        if state.queue.len() >= usize::try_from(most_waiting).unwrap_or(usize::MAX) {
            return Err(Refused::Full);
        }
        let number = state.next;
        state.next += 1;
        state.most = most.max(1);
        state.queue.insert(number, work);
        let waiting = state.queue.len();
        if waiting <= state.idle as usize || state.threads >= state.most {
            drop(state);
            self.0.changed.notify_one();
            return Ok(number);
        }
        state.threads += 1;
        drop(state);
        let desk = Arc::clone(&self.0);
        let started = thread::Builder::new().name("ecm-reader".into()).spawn(move || desk.serve());
        if started.is_err() {
            let mut state = self.0.lock();
            state.threads -= 1;
            let refused = if state.threads == 0 { state.queue.remove(&number) } else { None };
            drop(state);
            if refused.is_some() {
                return Err(Refused::NoThread);
            }
        }
        Ok(number)
    }

    /// Forgets work that no thread has taken yet.
    pub(crate) fn forget(&self, number: u64) {
        let work = self.0.lock().queue.remove(&number);
        drop(work);
    }

    /// How much waits for a thread, and how many threads there are.
    pub(crate) fn status(&self) -> (usize, u32) {
        let state = self.0.lock();
        (state.queue.len(), state.threads)
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if state.threads > state.most {
                break;
            }
            if let Some((_, work)) = state.queue.pop_first() {
                drop(state);
                // Work answers its own panics; one of a waker must not end the thread.
                let _told_by_the_hook = panic::catch_unwind(AssertUnwindSafe(work));
                state = self.lock();
                continue;
            }
            if state.over {
                break;
            }
            state.idle += 1;
            let waited = self.changed.wait_timeout(state, LINGER);
            let timed_out;
            (state, timed_out) = waited.map(|(state, end)| (state, end.timed_out())).unwrap_or_else(|poisoned| {
                let (state, end) = poisoned.into_inner();
                (state, end.timed_out())
            });
            state.idle -= 1;
            if timed_out && state.queue.is_empty() {
                break;
            }
        }
        state.threads -= 1;
        drop(state);
    }
}

impl Drop for ReaderThreads {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.over = true;
        let queue = mem::take(&mut state.queue);
        drop(state);
        self.0.changed.notify_all();
        drop(queue);
    }
}

impl fmt::Debug for ReaderThreads {
    /// By hand: work does not print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waiting, threads) = self.status();
        f.debug_struct("ReaderThreads").field("waiting", &waiting).field("threads", &threads).finish()
    }
}
