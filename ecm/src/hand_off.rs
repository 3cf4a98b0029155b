//! What passes between a task that waits and the thread that works for it.

use crate::sync::{Mutex, lock};
use ecm_core::Interrupt;
use std::{
    fmt,
    sync::Arc,
    task::{Poll, Waker},
};

/// A piece of work for a thread, as the task that waits for it sees it.
///
/// It is taken once at most, and answered once at most. The task may give it up at any moment: before the thread has
/// taken it, it is never run; while it runs, what runs is stopped; afterwards its answer is dropped. An interrupt is only
/// sent while the thread lets itself be interrupted, so that it never reaches whoever uses the same connection next.
///
/// # Concurrency
/// One lock, held for a few instructions and while the interrupt is sent.
pub(crate) struct HandOff<T>(Mutex<State<T>>);

enum State<T> {
    /// Nobody works at it yet; with whom to wake.
    Queued(Option<Waker>),
    Taken {
        /// Who waits for the answer.
        task: Option<Waker>,
        /// The thread, where it waits for something itself.
        thread: Option<Waker>,
        /// What stops it.
        interrupt: Option<Arc<dyn Interrupt>>,
    },
    Answered(T),
    /// The answer was taken, or nobody wants it.
    Over,
}

impl<T> HandOff<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State::Queued(None)))
    }

    /// The thread takes it; false if it was given up.
    pub(crate) fn take(&self) -> bool {
        let mut state = lock(&self.0);
        let State::Queued(task) = &mut *state else { return false };
        *state = State::Taken { task: task.take(), thread: None, interrupt: None };
        true
    }

    /// Whether the thread should stop; if not, `waker` is woken when it should.
    pub(crate) fn is_given_up(&self, waker: &Waker) -> bool {
        let mut state = lock(&self.0);
        let State::Taken { thread, .. } = &mut *state else { return true };
        let before = match thread {
            Some(known) if known.will_wake(waker) => None,
            known => known.replace(waker.clone()),
        };
        drop(state);
        drop(before);
        false
    }

    /// From now on the thread can be interrupted; false if it should not even begin.
    pub(crate) fn may_interrupt(&self, by: Arc<dyn Interrupt>) -> bool {
        let mut state = lock(&self.0);
        let State::Taken { interrupt, .. } = &mut *state else { return false };
        let before = interrupt.replace(by);
        drop(state);
        drop(before);
        true
    }

    /// From now on it cannot: an interrupt was sent before this returns, or never is.
    pub(crate) fn must_not_interrupt(&self) {
        let mut state = lock(&self.0);
        let taken = if let State::Taken { interrupt, .. } = &mut *state { interrupt.take() } else { None };
        drop(state);
        drop(taken);
    }

    /// The thread answers.
    pub(crate) fn answer(&self, answer: T) {
        let mut state = lock(&self.0);
        let before = match &*state {
            State::Queued(_) | State::Taken { .. } => std::mem::replace(&mut *state, State::Answered(answer)),
            State::Answered(_) | State::Over => {
                drop(state);
                drop(answer);
                return;
            }
        };
        drop(state);
        if let State::Queued(task) | State::Taken { task, .. } = before {
            task.into_iter().for_each(Waker::wake);
        }
    }

    /// The answer, or none: then `waker` is woken when it is there.
    ///
    /// # Panics
    /// After the answer was taken.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<T> {
        let mut state = lock(&self.0);
        let (State::Queued(known) | State::Taken { task: known, .. }) = &mut *state else {
            let State::Answered(answer) = std::mem::replace(&mut *state, State::Over) else {
                panic!("a hand-off was polled after it had answered")
            };
            return Poll::Ready(answer);
        };
        let before = match known {
            Some(known) if known.will_wake(waker) => None,
            known => known.replace(waker.clone()),
        };
        drop(state);
        drop(before);
        Poll::Pending
    }

    /// The task does not want it any more, unless the thread has taken it already; whether it was given up.
    pub(crate) fn withdraw(&self) -> bool {
        let mut state = lock(&self.0);
        let State::Queued(_) = &*state else { return false };
        let before = std::mem::replace(&mut *state, State::Over);
        drop(state);
        drop(before);
        true
    }

    /// The task does not want it any more: stops it, and drops its answer. Whether no thread has taken it.
    pub(crate) fn give_up(&self) -> bool {
        let mut state = lock(&self.0);
        let before = std::mem::replace(&mut *state, State::Over);
        if let State::Taken { interrupt: Some(interrupt), .. } = &before {
            // Under the lock, so that the thread does not go on to something else meanwhile.
            interrupt.interrupt();
        }
        drop(state);
        if let State::Taken { thread: Some(thread), .. } = &before {
            thread.wake_by_ref();
        }
        matches!(before, State::Queued(_))
    }
}

impl<T> fmt::Debug for HandOff<T> {
    /// By hand: answers are not for printing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &*lock(&self.0) {
            State::Queued(_) => "Queued",
            State::Taken { .. } => "Taken",
            State::Answered(_) => "Answered",
            State::Over => "Over",
        })
    }
}
