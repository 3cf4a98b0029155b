use crate::support::{Bench, SECOND};

#[test]
fn one_who_goes_away_leaves_no_ghost_in_the_queue() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let [first, second, third] = [bench.waits(), bench.waits(), bench.waits()];
    drop(second);
    drop(first);
    assert_eq!(bench.figures(), [0, 1, 0, 1]);
    drop(held);
    drop(third.served());
    assert_eq!(bench.figures(), [1, 0, 0, 0]);
    assert_eq!(bench.clock.alarms(), 0);
}

#[test]
fn one_who_goes_away_before_the_first_poll_was_never_there() {
    let bench = Bench::of(1);
    drop(bench.asks());
    assert_eq!((bench.figures(), bench.fake.counts().connects), ([0; 4], 0));
}

#[test]
fn a_connection_handed_to_one_who_goes_away_reaches_the_next() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let [first, second, third] = [bench.waits(), bench.waits(), bench.waits()];
    drop(held);
    drop(first);
    assert_eq!((second.rings(), third.rings()), (1, 0));
    drop(second);
    drop(third);
    assert_eq!(bench.figures(), [1, 0, 0, 0]);
    assert_eq!(bench.fake.counts().connects, 1);
}

#[test]
fn a_place_handed_to_one_who_goes_away_reaches_the_next() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let [first, second] = [bench.waits(), bench.waits()];
    held.discard();
    assert_eq!(bench.figures(), [0, 0, 1, 1]);
    drop(first);
    assert_eq!(second.rings(), 1);
    drop(second);
    assert_eq!(bench.figures(), [0, 0, 0, 0]);
    drop(bench.lends());
}

#[test]
fn tens_of_thousands_who_go_away_leave_a_pool_that_works() {
    let bench = Bench::of(2);
    let held = [bench.lends(), bench.lends()];
    for round in 0..4 {
        let mut waiting: Vec<_> = (0..50_000).map(|_| bench.waits()).collect();
        if round % 2 == 0 {
            waiting.reverse();
        }
        drop(waiting);
        assert_eq!(bench.figures(), [0, 2, 0, 0]);
    }
    assert_eq!(bench.clock.alarms(), 0);
    drop(held);
    drop([bench.lends(), bench.lends()]);
    assert_eq!(bench.fake.counts().connects, 2);
}

#[test]
fn one_whose_time_is_over_and_who_is_dropped_unpolled_leaves_no_ghost() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let waiting = bench.waits();
    bench.clock.advance(60 * SECOND);
    drop(waiting);
    assert_eq!(bench.figures(), [0, 1, 0, 0]);
    drop(held);
    assert_eq!(bench.figures(), [1, 0, 0, 0]);
}
