//! What is done to a pool while it runs: suspended, evicted, asked for guards that own.

use crate::support::{Asked, Bench, SECOND, id, parts, poll_once};
use ecm_core::{
    Connection, Kind, Loan, Stage, Time,
    testing::{Fake, TestClock},
};
use ecm_pool::{Owned, OwnedLending, Pool, PoolConfig};
use std::{pin::pin, sync::Arc, task::Poll};

#[test]
fn a_suspended_pool_lends_nothing_until_it_is_resumed() {
    let bench = Bench::of(2);
    let held = bench.lends();
    bench.pool.suspend();
    assert!(bench.lends_now().is_none());
    let [first, second] = [bench.waits(), bench.waits()];
    drop(held);
    assert_eq!((first.rings(), bench.figures()), (0, [1, 0, 0, 2]), "what comes back stays idle");
    bench.pool.resume();
    assert_eq!((first.rings(), second.rings()), (1, 1));
    assert_eq!(bench.figures(), [0, 1, 1, 0]);
    drop((first.served(), second.served()));
    drop(bench.lends_now().unwrap());
}

#[test]
fn whoever_waits_for_a_suspended_pool_waits_as_long_as_it_may() {
    let bench = Bench::of(1);
    drop(bench.lends());
    bench.pool.suspend();
    let waiting = bench.waits();
    bench.clock.advance(30 * SECOND);
    assert_eq!(waiting.refused().kind(), Kind::Timeout(Stage::Wait));
    let waiting = bench.waits();
    bench.pool.close();
    assert_eq!(waiting.refused().kind(), Kind::Closed);
    bench.pool.resume();
    assert_eq!(bench.asks().refused().kind(), Kind::Closed);
}

#[test]
fn eviction_closes_what_is_idle_now_and_what_is_lent_when_it_comes_back() {
    let bench = Bench::of(3);
    let held = bench.lends();
    drop(bench.lends());
    let before = bench.pool.epoch();
    bench.pool.evict();
    assert_eq!((bench.figures(), bench.fake.counts().open()), ([0, 1, 0, 0], 1));
    let mut fresh = bench.lends();
    assert_eq!(id(&mut fresh), 3);
    drop(held);
    assert_eq!((bench.figures(), bench.fake.counts().open()), ([0, 1, 0, 0], 1));
    drop(fresh);
    assert_eq!((bench.figures(), bench.pool.epoch()), ([1, 0, 0, 0], before), "a fresh one is not evicted again");
}

#[test]
fn eviction_of_all_that_is_lent_serves_those_who_wait_with_fresh_ones() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let waiting = bench.waits();
    bench.pool.evict();
    drop(held);
    assert_eq!(id(&mut waiting.served()), 2);
}

#[test]
fn one_too_many_in_the_queue_is_refused_at_once() {
    let bench = Bench::configured(PoolConfig { max_connections: 1, max_waiting: 2, ..PoolConfig::untended() });
    let held = bench.lends();
    let [first, second] = [bench.waits(), bench.waits()];
    let error = bench.asks().refused();
    assert_eq!((error.kind(), error.database()), (Kind::QueueFull, Some("main")));
    let message = error.to_string();
    assert!(
        message.contains("1 of at most 1 connections are open, 0 idle, 1 lent, 0 being opened, 2 waiting"),
        "{message}"
    );
    drop(first);
    let third = bench.waits();
    drop(held);
    drop(second.served());
    drop(third.served());
    assert_eq!(bench.status().timeouts, 0);
}

#[test]
fn where_nobody_may_wait_connections_are_opened_all_the_same() {
    let bench = Bench::configured(PoolConfig { max_connections: 1, max_waiting: 0, ..PoolConfig::untended() });
    let held = bench.lends();
    assert_eq!(bench.asks().refused().kind(), Kind::QueueFull);
    drop(held);
    drop(bench.lends());
}

fn shared() -> (Fake, Arc<Pool<Fake>>) {
    let fake = Fake::new();
    let config = PoolConfig { max_connections: 1, ..PoolConfig::untended() };
    (fake.clone(), Arc::new(Pool::new(Arc::new(fake), config, parts(&TestClock::new()))))
}

#[test]
fn a_guard_that_owns_keeps_its_pool_and_gives_back_to_it() {
    let (fake, pool) = shared();
    let mut owned = ecm_core::block_on(pool.lend_owned(Loan::Read, Time::START, Time::NEVER)).unwrap();
    assert_eq!((owned.db().id(), owned.epoch(), pool.status().lent), (1, 0, 1));
    assert!(Arc::ptr_eq(owned.pool(), &pool));
    drop(owned);
    let owned = pool.lend_owned_now(Loan::Read, Time::START).unwrap();
    drop(pool);
    assert_eq!(fake.counts().open(), 1);
    drop(owned);
    assert_eq!(fake.counts().open(), 0, "the last guard closes the pool");
}

#[test]
fn guards_that_own_and_guards_that_borrow_stand_in_one_queue() {
    let (_fake, pool) = shared();
    let held = pool.lend_owned_now(Loan::Read, Time::START);
    assert!(held.is_none(), "nothing is opened");
    let held = ecm_core::block_on(pool.lend_owned(Loan::Read, Time::START, Time::NEVER)).unwrap();
    let mut owning = pin!(pool.lend_owned(Loan::Read, Time::START, Time::NEVER));
    assert!(poll_once(owning.as_mut()).is_pending());
    let mut borrowing = Asked::new(pool.lend(Loan::Read, Time::START, Time::NEVER));
    assert!(borrowing.poll().is_pending());
    held.discard();
    assert!(borrowing.poll().is_pending());
    let Poll::Ready(Ok(owned)) = poll_once(owning.as_mut()) else { panic!("it is first") };
    drop(owned);
    drop(borrowing.served());
    let waiting = pool.lend_owned(Loan::Read, Time::START, Time::NEVER);
    drop(waiting);
    assert_eq!((pool.status().idle, pool.status().waiting), (1, 0));
}

#[test]
fn what_owns_can_go_anywhere() {
    fn goes<T: Send + 'static>() {}
    goes::<Owned<Fake>>();
    goes::<OwnedLending<Fake>>();
}
