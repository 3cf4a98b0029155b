use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// How long a thread waits for more work before it ends. A pool in use has some every few milliseconds
/// where its connections keep something between loans, and every second where its strategy learns.
const LINGER: Duration = Duration::from_secs(2);

type Work = Box<dyn FnOnce() + Send>;

/// Where a pool does what may take a while and for which no caller waits in person: opening,
/// checking and visiting connections, and closing those whose time is over.
///
/// A pool has one piece of work under way, which ends when nothing is left to be done; one more for
/// each that does not come back in time, and for what is closed. Work that is refused is dropped, which may close
/// connections.
pub trait Workers: Send + Sync + fmt::Debug {
    /// Runs `work` soon, preferably on another thread, and without waiting for any that runs already;
    /// answers whether it will. The pool asks again later if not. Called without any lock of the pool
    /// held.
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> bool;
}

/// A thread of a pool's own, that is there while the pool is busy.
///
/// It is started when there is work, and stays for the next piece until there was none for two seconds:
/// a pool that needs no care has no thread. Work that comes while another piece runs gets a thread of
/// its own, so that none waits for one that is stuck. Once this is dropped no thread waits any more.
pub struct OwnThread {
    name: &'static str,
    linger: Duration,
    desk: Arc<Desk>,
}

#[derive(Default)]
struct Desk {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    work: VecDeque<Work>,
    /// Whether a thread waits for work: one at most.
    has_thread: bool,
    is_over: bool,
}

impl OwnThread {
    /// No thread yet.
    #[must_use]
    pub fn new() -> Self {
        Self::lingering(LINGER)
    }

    /// As [`new`](Self::new), with another span that the thread stays without work.
    #[must_use]
    pub fn lingering(linger: Duration) -> Self {
        Self { name: "ecm-pool", linger, desk: Arc::default() }
    }

    /// What its threads are called, for people. *Default:* `ecm-pool`.
    #[must_use]
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }
}

impl Default for OwnThread {
    fn default() -> Self {
        Self::new()
    }
}

impl Workers for OwnThread {
    fn run(&self, work: Work) -> bool {
        let mut state = self.desk.lock();
        if state.has_thread && state.work.is_empty() {
            state.work.push_back(work);
            self.desk.changed.notify_all();
            return true;
        }
        drop(state);
        let (desk, linger) = (Arc::clone(&self.desk), self.linger);
        let stay = move || {
            let mut next = Some(work);
            while let Some(work) = next {
                work();
                next = desk.wait(linger);
            }
        };
        thread::Builder::new().name(self.name.into()).spawn(stay).is_ok()
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece of work; `None` if none comes, or another thread waits for it already.
    fn wait(&self, linger: Duration) -> Option<Work> {
        let mut state = self.lock();
        if state.has_thread || state.is_over {
            return None;
        }
        state.has_thread = true;
        self.changed.notify_all();
        let idle = |state: &mut Waiting| state.work.is_empty() && !state.is_over;
        let waited = self.changed.wait_timeout_while(state, linger, idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.has_thread = false;
        state.work.pop_front()
    }
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        self.desk.lock().is_over = true;
        self.desk.changed.notify_all();
    }
}

impl fmt::Debug for OwnThread {
    /// By hand: work cannot be printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnThread").field("linger", &self.linger).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use std::{
        sync::mpsc::{Receiver, Sender, channel},
        thread::ThreadId,
    };

    const FOR_EVER: Duration = Duration::from_secs(3600);

    /// Tells when its thread ends.
    struct Last(Sender<()>);

    impl Drop for Last {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    thread_local! {
        static LAST: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) };
    }

    impl OwnThread {
        /// Runs a piece of work; answers its thread, and what hears of the end of that.
        fn works(&self) -> (ThreadId, Receiver<()>) {
            let ((done, id), (last, ended)) = (channel(), channel());
            let work = move || {
                LAST.set(Some(Last(last)));
                done.send(thread::current().id()).unwrap();
            };
            assert!(self.run(Box::new(work)));
            (id.recv().unwrap(), ended)
        }

        fn wait_until_a_thread_waits(&self) {
            let state = self.desk.lock();
            drop(self.desk.changed.wait_while(state, |state| !state.has_thread).unwrap());
        }
    }

    #[test]
    fn one_piece_of_work_after_the_other_runs_on_one_thread() {
        let workers = OwnThread::lingering(FOR_EVER);
        let (first, _) = workers.works();
        for _ in 0..10 {
            workers.wait_until_a_thread_waits();
            assert_eq!(workers.works().0, first);
        }
    }

    #[test]
    fn a_thread_without_work_ends_and_the_next_piece_gets_another() {
        let workers = OwnThread::lingering(Duration::ZERO);
        let (first, ended) = workers.works();
        ended.recv().unwrap();
        assert_ne!(workers.works().0, first);
    }

    #[test]
    fn whoever_goes_leaves_no_thread_behind() {
        let workers = OwnThread::lingering(FOR_EVER);
        let (_, ended) = workers.works();
        workers.wait_until_a_thread_waits();
        drop(workers);
        ended.recv().unwrap();
    }

    #[test]
    fn work_that_is_stuck_holds_up_nothing_and_its_thread_ends_where_another_waits() {
        let workers = OwnThread::lingering(FOR_EVER);
        let ((begun, begins), (release, released), (last, ended)) = (channel(), channel::<()>(), channel());
        let stuck = move || {
            LAST.set(Some(Last(last)));
            begun.send(()).unwrap();
            released.recv().unwrap();
        };
        assert!(workers.run(Box::new(stuck)));
        begins.recv().unwrap();
        let (second, _) = workers.works();
        workers.wait_until_a_thread_waits();
        release.send(()).unwrap();
        ended.recv().unwrap();
        assert_eq!(workers.works().0, second);
    }
}
