//! A loan of an idle connection allocates nothing, in whatever way it is asked for.
#![cfg(not(shuttle))]
#![expect(unsafe_code, reason = "an allocator that counts is an unsafe trait")]

#[path = "../benches/nothing/mod.rs"]
mod nothing;

use ecm_core::{Clock, Loan, SystemClock, Time, block_on};
use ecm_pool::{Pool, PoolConfig, PoolParts};
use nothing::Nothing;
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::Arc,
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: everything is passed on to the system's allocator unchanged; the counter is a field of the
// thread without a destructor, and counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc`, and so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(7)))), 1);
}

#[test]
fn a_loan_of_an_idle_connection_allocates_nothing() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config = PoolConfig { max_connections: 2, ..PoolConfig::untended() };
    let pool = Arc::new(Pool::new(Arc::new(Nothing), config, PoolParts::new("main", clock)));
    let lend = || block_on(pool.lend(Loan::Read, Time::START, Time::NEVER)).unwrap();
    let lend_owned = || block_on(pool.lend_owned(Loan::Read, Time::START, Time::NEVER)).unwrap();
    assert!(allocations(|| drop((lend(), lend()))) > 0, "opening does");

    let often = |work: &dyn Fn()| allocations(|| (0..1_000).for_each(|_| work()));
    assert_eq!(often(&|| drop((lend(), lend()))), 0);
    assert_eq!(often(&|| drop(pool.lend_now(Loan::Read, Time::START).unwrap())), 0);
    assert_eq!(often(&|| drop((lend_owned(), pool.lend_owned_now(Loan::Read, Time::START).unwrap()))), 0);
    assert_eq!(pool.status().opened, 2);
}
