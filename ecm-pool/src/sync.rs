//! The locks and atomics of this crate: the standard library's, or those of the model checker.

#[cfg(shuttle)]
pub(crate) use shuttle::{
    sync::{Mutex, MutexGuard, atomic},
    thread::yield_now,
};
use std::sync::PoisonError;
#[cfg(not(shuttle))]
pub(crate) use std::{
    sync::{Mutex, MutexGuard, atomic},
    thread::yield_now,
};

/// Locks, also after a panic under the lock: no state here is ever left half changed by one.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A store that other threads may see late, as a processor's store buffer allows and the model checker, in
/// which every access is seen at once, does not.
///
/// Others see it when chance will have it, at a barrier, or when somebody takes the pool's lock: that is
/// earlier than a processor has to, but does not hide what happens to those who hold the lock already.
#[cfg(shuttle)]
#[derive(Debug, Default)]
pub(crate) struct StoreBuffer {
    filled: std::sync::atomic::AtomicBool,
    by: Mutex<Option<shuttle::thread::ThreadId>>,
}

#[cfg(shuttle)]
impl StoreBuffer {
    /// This thread stores something that only it sees for now.
    pub(crate) fn fill(&self) {
        *lock(&self.by) = Some(shuttle::thread::current().id());
        self.filled.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    /// Somebody looks: sees its own store, and perhaps that of another one.
    pub(crate) fn may_drain(&self, write: impl FnOnce()) {
        use shuttle::rand::RngCore;
        if self.is_filled() {
            let by = *lock(&self.by);
            if by == Some(shuttle::thread::current().id()) || shuttle::rand::thread_rng().next_u32() % 2 == 0 {
                self.drain(write);
            }
        }
    }

    /// Everybody sees the store.
    pub(crate) fn drain(&self, write: impl FnOnce()) {
        if self.is_filled() {
            let mut by = lock(&self.by);
            if by.is_some() {
                // Under its lock, so that nobody finds it drained and does not see the store.
                write();
                self.filled.store(false, std::sync::atomic::Ordering::SeqCst);
                *by = None;
            }
        }
    }

    fn is_filled(&self) -> bool {
        self.filled.load(std::sync::atomic::Ordering::SeqCst)
    }
}
