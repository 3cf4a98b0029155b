//! The locks and atomics of this crate: the standard library's, or those of the model checker.

#[cfg(not(shuttle))]
pub(crate) use ecm_core::block_on;
#[cfg(shuttle)]
pub(crate) use shuttle::future::block_on;
#[cfg(shuttle)]
pub(crate) use shuttle::{
    sync::{Mutex, MutexGuard, atomic},
    thread::yield_now,
};
use std::sync::PoisonError;
#[cfg(not(shuttle))]
use std::{hint::spin_loop, sync::TryLockError};
#[cfg(not(shuttle))]
pub(crate) use std::{
    sync::{Mutex, MutexGuard, atomic},
    thread::yield_now,
};

/// How often a thread looks again before it does as the standard library does, each time after twice as long.
#[cfg(not(shuttle))]
const LOOKS: u32 = 5;

/// Locks, also after a panic under the lock: no state here is ever left half changed by one.
///
/// What is done under a lock here takes less than a microsecond. The standard library looks at a lock that is taken as
/// often as it can, which takes the line of the lock from the one who is to let it go; looking ever more seldom, at
/// most 124 pauses of the processor in all, eight tasks on two connections get a twentieth more loans.
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    #[cfg(not(shuttle))]
    for look in 0..LOOKS {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => (0..4 << look).for_each(|_| spin_loop()),
        }
    }
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
