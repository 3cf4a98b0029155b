use std::{fmt::Debug, thread};

/// Where a pool does what may take a while and for which no caller waits in person: opening,
/// checking and visiting connections.
///
/// A pool has at most one piece of work under way, which ends when nothing is left to be done.
pub trait Workers: Send + Sync + Debug {
    /// Runs `work` soon, preferably on another thread; answers whether it will. The pool asks again
    /// later if not. Called without any lock of the pool held.
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> bool;
}

/// A thread for each piece of work, which ends with it: a pool that needs no care has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnThread;

impl Workers for OwnThread {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> bool {
        thread::Builder::new().name("ecm-pool".into()).spawn(work).is_ok()
    }
}
