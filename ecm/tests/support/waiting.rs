//! Writers that wait together.

use ecm::ConnectionManager;
use std::thread;

/// Lets all of these wait for the writer of `main` before the first one gets it, in their order.
pub(crate) fn together<T: Send>(manager: &ConnectionManager, calls: Vec<Box<dyn FnOnce() -> T + Send + '_>>) -> Vec<T> {
    let held = manager.connection().wait().unwrap();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for call in calls {
            threads.push(scope.spawn(call));
            let waiting = || manager.status().database("main").unwrap().writer.as_ref().unwrap().waiting as usize;
            // One whose deadline has come waits no longer.
            while waiting() + threads.iter().filter(|thread| thread.is_finished()).count() < threads.len() {
                thread::yield_now();
            }
        }
        drop(held);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
