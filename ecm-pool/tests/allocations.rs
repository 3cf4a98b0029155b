//! A loan of an idle connection allocates nothing, in whatever way it is asked for.
#![cfg(not(shuttle))]

use allocation_counter::measure;
use ecm_core::{Clock, Loan, SystemClock, Time, block_on, testing::Nothing};
use ecm_pool::{Pool, PoolConfig, PoolParts};
use std::sync::Arc;

fn allocations(work: impl FnOnce()) -> u64 {
    measure(work).count_total
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
