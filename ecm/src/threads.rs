//! Threads that wait and threads that work: the operating system's, or those of the model checker.

#[cfg(not(shuttle))]
pub(crate) use ecm_core::block_on;
use ecm_pool::Workers;
#[cfg(shuttle)]
pub(crate) use shuttle::future::block_on;
use std::sync::Arc;

/// A thread that is there while there is work.
#[cfg(not(shuttle))]
pub(crate) fn thread_for_work(name: &'static str) -> Arc<dyn Workers> {
    Arc::new(ecm_pool::OwnThread::new().named(name))
}

/// One for each piece of work: a thread that waits for more would be reported as one that waits for ever.
#[cfg(shuttle)]
pub(crate) fn thread_for_work(_name: &'static str) -> Arc<dyn Workers> {
    #[derive(Debug)]
    struct OneEach;

    impl Workers for OneEach {
        fn run(&self, work: Box<dyn FnOnce() + Send>) -> bool {
            drop(shuttle::thread::spawn(work));
            true
        }
    }
    Arc::new(OneEach)
}
