//! What may overtake whom in each setting of fairness.

use crate::support::{Bench, MILLISECOND, id};
use ecm_pool::{Fairness, PoolConfig};
use std::time::Duration;

fn bench(fairness: Fairness) -> Bench {
    Bench::configured(PoolConfig { max_connections: 1, fairness, ..PoolConfig::untended() })
}

#[test]
fn in_strict_order_nobody_takes_what_is_on_its_way() {
    let bench = bench(Fairness::Strict);
    let held = bench.lends();
    let waiting = bench.waits();
    drop(held);
    assert!(bench.lends_now().is_none());
    let newcomer = bench.waits();
    drop(waiting.served());
    drop(newcomer.served());
}

#[test]
fn a_free_pool_lends_what_is_on_its_way_to_whoever_runs_already() {
    let bench = bench(Fairness::Free);
    let held = bench.lends();
    let mut waiting = bench.waits();
    drop(held);
    assert_eq!(waiting.rings(), 1);
    let robber = bench.lends_now().expect("the waiter does not run yet");
    assert_eq!(bench.figures(), [0, 1, 0, 1]);
    assert!(waiting.poll().is_pending(), "it queues again, with its old rank");
    let mut later = bench.waits();
    drop(robber);
    assert_eq!((waiting.rings(), later.rings()), (2, 0));
    assert!(later.poll().is_pending());
    drop(waiting.served());
    assert_eq!(later.rings(), 1);
    drop(later.served());
    assert_eq!((bench.figures(), bench.clock.alarms()), ([1, 0, 0, 0], 0));
}

#[test]
fn a_bounded_pool_stops_overtaking_one_who_has_waited_long_enough() {
    let bench = bench(Fairness::Bounded(2 * MILLISECOND));
    let held = bench.lends();
    let mut waiting = bench.waits();
    bench.clock.advance(MILLISECOND);
    drop(held);
    let robber = bench.lends_now().expect("it has not waited long");
    assert!(waiting.poll().is_pending());
    bench.clock.advance(MILLISECOND);
    drop(robber);
    assert!(bench.lends_now().is_none(), "now its turn has come");
    let newcomer = bench.waits();
    drop(waiting.served());
    drop(newcomer.served());
}

#[test]
fn the_one_who_came_last_is_robbed_first() {
    let bench =
        Bench::configured(PoolConfig { max_connections: 2, fairness: Fairness::Free, ..PoolConfig::untended() });
    let held = [bench.lends(), bench.lends()];
    let mut waiting = [bench.waits(), bench.waits()];
    drop(held);
    let mut robber = bench.lends_now().unwrap();
    assert_eq!(id(&mut robber), 2);
    assert!(waiting[1].poll().is_pending());
    let [first, second] = waiting;
    drop(first.served());
    drop(second.served());
    drop(robber);
    assert_eq!(bench.figures(), [2, 0, 0, 0]);
}

#[test]
fn room_to_open_in_is_not_robbed() {
    let bench = bench(Fairness::Free);
    let held = bench.lends();
    let waiting = bench.waits();
    held.discard();
    assert!(bench.lends_now().is_none(), "that never opens");
    let newcomer = bench.waits();
    drop(waiting.served());
    drop(newcomer.served());
    assert_eq!(bench.fake.counts().connects, 2);
}

#[test]
fn one_who_was_robbed_and_goes_away_leaves_no_trace() {
    let bench = bench(Fairness::Bounded(Duration::MAX));
    let held = bench.lends();
    let waiting = bench.waits();
    drop(held);
    let robber = bench.lends_now().unwrap();
    drop(waiting);
    assert_eq!(bench.figures(), [0, 1, 0, 0]);
    drop(robber);
    assert_eq!((bench.figures(), bench.clock.alarms()), ([1, 0, 0, 0], 0));
}
