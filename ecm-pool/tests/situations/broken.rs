use crate::support::{Bench, id};
use ecm_core::{CheckIn, Connection, FaultKind};

#[test]
fn a_broken_connection_does_not_starve_those_who_wait() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let [first, second] = [bench.waits(), bench.waits()];
    held.discard();
    assert_eq!((first.rings(), bench.fake.counts().open()), (1, 0));
    let mut first = first.served();
    assert_eq!(id(&mut first), 2);
    first.db().leave(CheckIn::Discard);
    drop(first);
    assert_eq!(id(&mut second.served()), 3);
    assert_eq!(bench.status().closed, 2);
}

#[test]
fn whoever_cannot_open_lets_the_next_one_try_and_gets_its_own_error() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let [first, second, third] = [bench.waits(), bench.waits(), bench.waits()];
    held.discard();
    bench.fake.fail_connects(FaultKind::Storage, 1);
    assert_eq!(first.refused().fault().unwrap().kind, FaultKind::Storage);
    bench.fake.fail_connects(FaultKind::Memory, 1);
    assert_eq!(second.refused().fault().unwrap().kind, FaultKind::Memory);
    drop(third.served());
    assert_eq!(bench.figures(), [1, 0, 0, 0]);
    assert_eq!((bench.status().loans, bench.status().failures), (2, 2));
}

#[test]
fn a_pool_whose_idle_connections_are_all_broken_serves_everybody() {
    let bench = Bench::of(3);
    drop([bench.lends(), bench.lends(), bench.lends()]);
    bench.fake.fail_check_outs(FaultKind::Lost, 1);
    let mut first = bench.lends();
    assert_eq!(id(&mut first), 4);
    bench.fake.fail_check_outs(FaultKind::Lost, 1);
    let mut second = bench.lends();
    assert_eq!(id(&mut second), 5);
    assert_eq!(bench.figures(), [1, 2, 0, 0]);
    assert_eq!(bench.fake.counts().open(), 3);
}

#[test]
fn a_broken_connection_handed_over_is_replaced_in_its_place() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let waiting = bench.waits();
    drop(held);
    bench.fake.fail_check_outs(FaultKind::Lost, 1);
    assert_eq!(id(&mut waiting.served()), 2);
    assert_eq!((bench.fake.counts().open(), bench.figures()), (1, [1, 0, 0, 0]));
}

#[test]
fn a_database_that_is_down_is_no_hot_loop() {
    let bench = Bench::of(2);
    drop(bench.lends());
    bench.fake.fail_check_outs(FaultKind::Lost, 9);
    bench.fake.fail_connects(FaultKind::Storage, 9);
    assert_eq!(bench.asks().refused().fault().unwrap().kind, FaultKind::Storage);
    assert_eq!(bench.fake.counts().connects, 2, "one attempt a caller");
    assert_eq!(bench.figures(), [0; 4]);
}
