//! How large a pool becomes when many come at once, and who takes everything that there is.

use crate::support::{Bench, Later, MILLISECOND, parts};
use ecm_core::{
    Loan, Time, block_on,
    testing::{Fake, TestClock},
};
use ecm_pool::{Pool, PoolConfig, PoolParts};
use std::{
    collections::VecDeque,
    sync::{Arc, Barrier},
    task::Poll,
    thread,
};

#[test]
fn a_spike_of_short_calls_does_not_grow_a_pool_whose_connections_open_slowly() {
    let (fake, clock, later) = (Fake::new(), TestClock::new(), Later::default());
    let parts = PoolParts { workers: Arc::new(later.clone()), ..parts(&clock) };
    let pool = Pool::new(Arc::new(fake.clone()), PoolConfig::untended(), parts);
    let bench = Bench { fake, clock, pool };
    bench.fake.slow_connects(150 * MILLISECOND, &bench.clock);
    let mut lent = vec![bench.lends()];
    for _ in 0..4 {
        let waiting = bench.waits();
        later.take().unwrap()();
        lent.push(waiting.served());
    }
    drop(lent);
    assert_eq!(bench.figures(), [5, 0, 0, 0]);

    let hold = bench.fake.hold_connects();
    let mut lent: Vec<_> = (0..5).map(|_| bench.lends()).collect();
    let mut waiting: VecDeque<_> = (0..45).map(|_| bench.waits()).collect();
    thread::scope(|scope| {
        scope.spawn(later.take().unwrap());
        bench.fake.wait_for_hanging(1);
        let mut worked = 0;
        while !waiting.is_empty() {
            bench.clock.advance(2 * MILLISECOND);
            worked += 2;
            lent.clear();
            waiting.retain_mut(|caller| match caller.poll() {
                Poll::Ready(answer) => {
                    lent.push(answer.unwrap());
                    false
                }
                Poll::Pending => true,
            });
            assert!(bench.status().open <= 6, "{:?}", bench.pool);
        }
        assert_eq!(worked, 18, "45 callers on 5 connections, 2 ms each");
        drop(hold);
    });
    drop(lent);
    assert_eq!((bench.figures(), bench.fake.counts().connects), ([6, 0, 0, 0], 6));
}

#[test]
fn one_who_takes_everything_beside_many_who_take_one_does_not_lock_the_pool_up() {
    const CONNECTIONS: usize = 4;
    let clock = TestClock::new();
    let config = PoolConfig { max_connections: CONNECTIONS as u32, ..PoolConfig::untended() };
    let pool = Pool::new(Arc::new(Fake::new()), config, parts(&clock));
    let lend = || block_on(pool.lend(Loan::Read, Time::START, Time::NEVER)).unwrap();
    let start = Barrier::new(7);
    thread::scope(|scope| {
        // Two of them at the same time would wait for each other, with whatever pool.
        scope.spawn(|| {
            start.wait();
            for _ in 0..200 {
                let all: Vec<_> = (0..CONNECTIONS).map(|_| lend()).collect();
                assert_eq!(all.len(), CONNECTIONS);
            }
        });
        for _ in 0..6 {
            scope.spawn(|| {
                start.wait();
                (0..500).for_each(|_| drop(lend()));
            });
        }
    });
    let status = pool.status();
    assert_eq!((status.lent, status.waiting, status.loans), (0, 0, 200 * CONNECTIONS as u64 + 6 * 500));
}
