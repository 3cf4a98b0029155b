//! Writers that wait together.

use ecm::ConnectionManager;
use std::thread;

/// Lets all of these wait for the writer of `main` before the first one gets it, in their order.
pub(crate) fn together<T: Send>(manager: &ConnectionManager, calls: Vec<Box<dyn FnOnce() -> T + Send + '_>>) -> Vec<T> {
    let held = manager.connection().wait().unwrap();
    thread::scope(|scope| {
        let threads: Vec<_> = (1_u32..)
            .zip(calls)
            .map(|(number, call)| {
                let thread = scope.spawn(call);
                while manager.status().database("main").unwrap().writer.as_ref().unwrap().waiting < number {
                    thread::yield_now();
                }
                thread
            })
            .collect();
        drop(held);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
