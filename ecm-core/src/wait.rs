use std::{
    cell::RefCell,
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

/// Runs a future to its end on this thread, which sleeps whenever the future waits.
///
/// This is how a blocking call of ECM waits: whatever waits is a future, and a blocking call is one
/// that its own thread polls. No runtime is needed. The waker of a thread is made once and reused,
/// so a wait allocates nothing here.
///
/// ```
/// assert_eq!(ecm_core::block_on(async { 6 * 7 }), 42);
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    PARKER.with(|parker| {
        let waker = parker.borrow().clone();
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            // A wake-up between the poll and here has left its token, so park returns at once. One
            // meant for an earlier wait only costs a needless poll.
            thread::park();
        }
    })
}

thread_local! {
    static PARKER: RefCell<Waker> = RefCell::new(Waker::from(Arc::new(Parker(thread::current()))));
}

struct Parker(Thread);

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, sync::mpsc};

    #[test]
    fn sleeps_until_another_thread_wakes() {
        let (send, receive) = mpsc::channel::<Waker>();
        let waking = thread::spawn(move || receive.recv().unwrap().wake());
        let mut polls = 0;
        let answer = block_on(poll_fn(|context| {
            polls += 1;
            if polls == 1 {
                send.send(context.waker().clone()).unwrap();
                Poll::Pending
            } else {
                Poll::Ready(polls)
            }
        }));
        waking.join().unwrap();
        assert!(answer >= 2);
    }

    #[test]
    fn a_call_inside_a_call_works() {
        assert_eq!(block_on(async { block_on(async { 1 }) + 1 }), 2);
    }
}
