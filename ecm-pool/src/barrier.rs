#![cfg_attr(
    all(target_os = "linux", not(miri), not(shuttle)),
    expect(unsafe_code, reason = "the barrier is a call of the system that no library wraps")
)]

//! A barrier in every thread of the process at once, so that those who pay for one often need none.
//!
//! Of two threads that each write one thing and then read what the other writes, at least one sees the
//! other's write only if both have a full barrier in between. Where one side is rare, it can issue the
//! barriers of both ("asymmetric fences", P1202R5): when [`everywhere`] returns, all that any thread had
//! written before its latest read is visible. The frequent side then only has to keep its write
//! before its read in the code.
//!
//! Linux does it by `membarrier(2)`. Elsewhere it is not available, and the frequent side has a barrier of
//! its own. So it is where a filter forbids the call.

use std::sync::atomic::{Ordering, compiler_fence};

/// Between a write and a read, on the side for which others call [`everywhere`].
#[inline]
pub(crate) fn here() {
    compiler_fence(Ordering::SeqCst);
}

pub(crate) use system::{everywhere, is_available};

#[cfg(all(target_os = "linux", not(miri), not(shuttle)))]
mod system {
    use libc::{
        MEMBARRIER_CMD_PRIVATE_EXPEDITED, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, SYS_membarrier, c_int, c_uint,
        syscall,
    };
    use std::{
        sync::{
            OnceLock,
            atomic::{AtomicBool, Ordering::Relaxed},
        },
        thread,
        time::Duration,
    };

    /// Whether the system has forbidden the call after it had allowed it.
    static FORBIDDEN: AtomicBool = AtomicBool::new(false);

    /// Whether [`everywhere`] may be relied on from now on.
    pub(crate) fn is_available() -> bool {
        static ALLOWED: OnceLock<bool> = OnceLock::new();
        *ALLOWED.get_or_init(|| call(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)) && !FORBIDDEN.load(Relaxed)
    }

    /// A full barrier in every thread of this process. Interrupts each processor that runs one of them: 1 to
    /// 2 µs as a rule, 15 µs in nested virtual machines.
    pub(crate) fn everywhere() {
        if !call(MEMBARRIER_CMD_PRIVATE_EXPEDITED) {
            FORBIDDEN.store(true, Relaxed);
            // Once in a process at most. A processor writes back what it has buffered within a microsecond.
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn call(command: c_int) -> bool {
        let (flags, processor): (c_uint, c_int) = (0, 0);
        // SAFETY: the call takes three numbers, and neither reads nor writes memory of ours.
        unsafe { syscall(SYS_membarrier, command, flags, processor) == 0 }
    }
}

/// The model checker has stores of its own that others see late, see `StoreBuffer`.
#[cfg(shuttle)]
mod system {
    pub(crate) fn is_available() -> bool {
        true
    }

    pub(crate) fn everywhere() {}
}

#[cfg(not(any(shuttle, all(target_os = "linux", not(miri)))))]
mod system {
    /// Whether [`everywhere`] may be relied on.
    pub(crate) fn is_available() -> bool {
        false
    }

    pub(crate) fn everywhere() {
        unreachable!("nobody relies on a barrier that is not available");
    }
}
