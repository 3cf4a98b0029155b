//! Connections that grow old: another one is there before they go.

use crate::support::{Bench, Inline, Later, MILLISECOND, SECOND, Told, id, parts};
use ecm_core::{
    FaultKind, Interest,
    testing::{Fake, TestClock},
};
use ecm_pool::{Pool, PoolConfig, PoolParts, PoolStrategy, Workers};
use std::sync::Arc;

const LIFETIME: u32 = 100;
const OLD: &str = "main closed: it has reached its lifetime";

fn config(min_connections: u32, max_connections: u32) -> PoolConfig {
    PoolConfig {
        min_connections,
        max_connections,
        initial_connections: min_connections,
        strategy: PoolStrategy::Fixed,
        connection_warming: true,
        max_lifetime: LIFETIME * SECOND,
        ..PoolConfig::untended()
    }
}

fn bench(config: PoolConfig, workers: impl Workers + 'static) -> (Bench, Arc<Told>) {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let told = Arc::new(Told::about(Interest::CONNECTIONS));
    let parts = PoolParts { workers: Arc::new(workers), observer: told.clone(), seed: 7, ..parts(&clock) };
    let pool = Pool::new(Arc::new(fake.clone()), config, parts);
    (Bench { fake, clock, pool }, told)
}

/// A pool that has warmed up.
fn warm(min_connections: u32, max_connections: u32) -> (Bench, Arc<Told>) {
    let (bench, told) = bench(config(min_connections, max_connections), Inline);
    drop(bench.lends());
    bench.clock.advance(SECOND);
    assert_eq!(bench.figures(), [min_connections, 0, 0, 0]);
    told.take();
    (bench, told)
}

#[test]
fn a_successor_is_there_before_an_old_connection_goes() {
    let (bench, told) = warm(1, 4);
    bench.clock.advance(LIFETIME * SECOND);
    assert_eq!(told.take(), [OLD, "main opened"].map(String::from), "an opening is told after what it has led to");
    assert_eq!((bench.figures(), bench.status().opened, bench.status().closed), ([1, 0, 0, 0], 2, 1));
    assert_eq!(id(&mut bench.lends()), 2);
}

#[test]
fn what_is_old_stays_until_its_successor_is_there() {
    let later = Later::default();
    let (bench, told) = bench(config(1, 4), later.clone());
    drop(bench.lends());
    told.take();
    bench.clock.advance((1 + LIFETIME) * SECOND);
    (0..10).for_each(|_| bench.clock.advance(10 * MILLISECOND));
    let work = later.take().expect("a successor is wanted");
    assert!(later.take().is_none(), "one worker does it");
    assert_eq!((bench.figures(), id(&mut bench.lends())), ([1, 0, 0, 0], 1));
    work();
    assert_eq!((bench.figures(), id(&mut bench.lends())), ([1, 0, 0, 0], 2));
}

#[test]
fn one_goes_at_a_time_whether_idle_or_lent() {
    let (bench, told) = warm(5, 10);
    let held = [bench.lends(), bench.lends()];
    bench.clock.advance(LIFETIME * SECOND);
    let mut opened = Vec::new();
    for _ in 0..7 {
        opened.push(told.take().iter().filter(|line| *line == "main opened").count());
        bench.clock.advance(10 * MILLISECOND);
    }
    assert_eq!(opened, [1, 1, 1, 1, 1, 0, 0]);
    assert_eq!(bench.figures(), [5, 2, 0, 0]);
    drop(held);
    assert_eq!((bench.figures(), told.take()), ([5, 0, 0, 0], vec![OLD.to_string(); 2]));
    let before = bench.clock.alarms();
    (0..100).for_each(|_| bench.clock.advance(10 * MILLISECOND));
    assert_eq!((bench.clock.alarms(), bench.status().opened), (before, 10));
}

#[test]
fn one_that_is_lent_goes_when_it_comes_back_and_its_successor_is_there_already() {
    let (bench, told) = warm(1, 4);
    let mut held = bench.lends();
    bench.clock.advance(LIFETIME * SECOND);
    assert_eq!((bench.figures(), told.take()), ([1, 1, 0, 0], vec!["main opened".to_string()]));
    assert_eq!(id(&mut held), 1);
    (0..100).for_each(|_| bench.clock.advance(SECOND / 10));
    assert_eq!(bench.status().opened, 2, "one successor is enough");
    drop(held);
    assert_eq!((bench.figures(), told.take()), ([1, 0, 0, 0], vec![OLD.to_string()]));
}

#[test]
fn a_full_pool_never_has_more_than_it_may_and_is_full_again_at_once() {
    let (bench, told) = warm(2, 2);
    bench.clock.advance(LIFETIME * SECOND);
    assert_eq!(told.take().len(), 2);
    assert_eq!((bench.figures(), bench.status().opened, bench.status().closed), ([2, 0, 0, 0], 3, 1));
    let held = bench.lends();
    let other = bench.lends();
    bench.clock.advance(10 * MILLISECOND);
    assert_eq!(bench.figures(), [0, 2, 0, 0]);
    drop((held, other));
    assert_eq!((bench.figures(), bench.status().opened, bench.status().closed), ([2, 0, 0, 0], 4, 2));
}

#[test]
fn what_cannot_be_replaced_stays_however_old_it_is() {
    for most in [1, 4] {
        let (bench, _) = warm(1, most);
        bench.fake.fail_connects(FaultKind::Storage, u32::from(most > 1) * 1_000);
        // A full pool learns only afterwards that nothing can be opened.
        bench.clock.advance((LIFETIME - 1) * SECOND);
        for _ in 0..1_000 {
            bench.clock.advance(SECOND / 10);
            assert_eq!(bench.status().idle, 1);
        }
        let attempts = bench.fake.counts().connects;
        assert!(attempts < 60, "{attempts} in 100 seconds");
        bench.fake.fail_connects(FaultKind::Storage, 0);
        (0..100).for_each(|_| bench.clock.advance(SECOND / 10));
        assert_ne!(id(&mut bench.lends()), 1);
    }
}

#[test]
fn a_full_pool_in_which_an_opening_has_failed_keeps_the_rest_however_old() {
    let (bench, _) = warm(2, 2);
    bench.fake.fail_connects(FaultKind::Storage, 1_000);
    bench.clock.advance(LIFETIME * SECOND);
    for _ in 0..1_000 {
        assert_eq!(bench.figures(), [1, 0, 0, 0]);
        bench.clock.advance(SECOND / 10);
    }
    bench.fake.fail_connects(FaultKind::Storage, 0);
    (0..200).for_each(|_| bench.clock.advance(SECOND / 10));
    let mut both = [bench.lends(), bench.lends()];
    assert!(both.iter_mut().all(|lent| id(lent) > 2));
}

#[test]
fn what_nobody_would_miss_gets_no_successor() {
    let (bench, told) = warm(1, 10);
    drop([bench.lends(), bench.lends(), bench.lends()]);
    told.take();
    (0..2 * 100 * LIFETIME).for_each(|_| bench.clock.advance(10 * MILLISECOND));
    assert_eq!(bench.figures(), [1, 0, 0, 0]);
    let story = told.take();
    assert_eq!(story[..2], [OLD.to_string(), OLD.to_string()], "{story:?}");
    assert_eq!(story[2..4], [OLD, "main opened"].map(String::from), "{story:?}");
}

#[test]
fn a_newcomer_in_the_place_of_the_old_one_is_not_taken_for_it() {
    let later = Later::default();
    let (bench, _) = bench(config(1, 4), later.clone());
    let held = bench.lends();
    bench.clock.advance((1 + LIFETIME) * SECOND);
    let work = later.take().expect("a successor is wanted");
    held.discard();
    let mut fresh = bench.lends();
    assert_eq!(id(&mut fresh), 2, "in the same place");
    work();
    drop(fresh);
    assert_eq!((bench.figures(), bench.status().closed), ([2, 0, 0, 0], 1));
}

#[test]
fn without_warming_what_is_old_goes_and_nothing_is_opened() {
    let config = PoolConfig { connection_warming: false, ..config(2, 4) };
    let (bench, _) = bench(config, Inline);
    drop([bench.lends(), bench.lends()]);
    bench.clock.advance(LIFETIME * SECOND);
    assert_eq!(bench.figures(), [1, 0, 0, 0], "one at a time");
    bench.clock.advance(10 * MILLISECOND);
    assert_eq!((bench.figures(), bench.fake.counts().connects), ([0; 4], 2));
}

#[test]
fn a_pool_is_filled_again_whatever_has_emptied_it() {
    let (bench, _) = warm(3, 4);
    let held = bench.lends();
    bench.pool.evict();
    assert_eq!(bench.figures(), [2, 1, 0, 0], "as many as are kept, at once");
    drop(held);
    assert_eq!((bench.figures(), bench.status().opened), ([3, 0, 0, 0], 6));
    bench.pool.advance_epoch();
    assert_eq!((bench.figures(), bench.status().opened), ([3, 0, 0, 0], 9));
    bench.lends().discard();
    assert_eq!(bench.figures(), [3, 0, 0, 0]);
    bench.fake.fail_connects(FaultKind::Storage, 1);
    bench.pool.evict();
    assert_eq!(bench.figures(), [0; 4]);
    bench.clock.advance(20 * MILLISECOND);
    assert_eq!(bench.figures(), [3, 0, 0, 0], "after a pause");
}

#[test]
fn what_grows_old_in_a_suspended_pool_is_succeeded_after_it_was_resumed() {
    let (bench, _) = warm(1, 4);
    bench.pool.suspend();
    let looked = bench.clock.alarms();
    bench.clock.advance(2 * LIFETIME * SECOND);
    assert_eq!((bench.figures(), bench.status().opened), ([1, 0, 0, 0], 1));
    assert!(bench.clock.alarms() < looked, "nothing is to be looked at meanwhile");
    bench.pool.resume();
    bench.clock.advance(10 * MILLISECOND);
    assert_eq!((bench.figures(), bench.status().opened, bench.status().closed), ([1, 0, 0, 0], 2, 1));
}
