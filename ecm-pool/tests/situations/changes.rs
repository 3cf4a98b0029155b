//! Epochs and configurations that change while connections are lent.

use crate::support::{Bench, SECOND, id};
use ecm_core::{FaultKind, Kind, Loan, Stage, Time, block_on};
use ecm_pool::PoolConfig;
use std::thread;

fn at_most(max_connections: u32) -> PoolConfig {
    PoolConfig { max_connections, ..PoolConfig::untended() }
}

#[test]
fn connections_of_an_older_epoch_are_not_lent_again() {
    let bench = Bench::of(2);
    let lent = bench.lends();
    drop(bench.lends());
    assert_eq!((bench.pool.epoch(), lent.epoch()), (0, 0));
    assert_eq!(bench.pool.advance_epoch(), 1);
    assert_eq!((bench.figures(), bench.fake.counts().open()), ([0, 1, 0, 0], 1), "the idle one is closed at once");
    drop(lent);
    assert_eq!((bench.figures(), bench.fake.counts().open()), ([0; 4], 0), "the lent one when it comes back");
    let mut fresh = bench.lends();
    assert_eq!((id(&mut fresh), fresh.epoch(), bench.status().epoch), (3, 1, 1));
    drop(fresh);
    assert_eq!(bench.figures(), [1, 0, 0, 0]);
}

#[test]
fn one_who_was_handed_an_old_connection_opens_a_new_one() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let waiting = bench.waits();
    drop(held);
    bench.pool.advance_epoch();
    assert_eq!((bench.figures(), bench.fake.counts().open()), ([0, 0, 1, 0], 0));
    let mut lent = waiting.served();
    assert_eq!((id(&mut lent), lent.epoch()), (2, 1));
}

#[test]
fn one_that_was_opened_across_the_change_is_of_the_old_epoch() {
    let bench = Bench::of(1);
    let hold = bench.fake.hold_connects();
    thread::scope(|scope| {
        let asking = scope.spawn(|| block_on(bench.pool.lend(Loan::Read, Time::START, Time::NEVER)).unwrap());
        bench.fake.wait_for_hanging(1);
        bench.pool.advance_epoch();
        drop(hold);
        assert_eq!(asking.join().unwrap().epoch(), 0);
    });
    assert_eq!((bench.figures(), bench.fake.counts().open()), ([0; 4], 0));
}

#[test]
fn those_who_wait_are_served_when_more_is_allowed() {
    let bench = Bench::of(1);
    let _held = bench.lends();
    let [first, second, third] = [bench.waits(), bench.waits(), bench.waits()];
    bench.pool.reconfigure(at_most(3)).unwrap();
    assert_eq!([first.rings(), second.rings(), third.rings()], [1, 1, 0]);
    assert_eq!(bench.figures(), [0, 1, 2, 1]);
    let _lent = [first.served(), second.served()];
    assert_eq!(bench.figures(), [0, 3, 0, 1]);
    assert_eq!(bench.status().max_connections, 3);
}

#[test]
fn surplus_connections_are_closed_when_less_is_allowed() {
    let bench = Bench::of(4);
    let (a, b, c, d) = (bench.lends(), bench.lends(), bench.lends(), bench.lends());
    drop((c, d));
    bench.pool.reconfigure(at_most(3)).unwrap();
    assert_eq!(bench.figures(), [1, 2, 0, 0]);
    assert_eq!(id(&mut bench.lends_now().unwrap()), 4, "the one unused for longest was closed");
    bench.pool.reconfigure(at_most(1)).unwrap();
    assert_eq!(bench.figures(), [0, 2, 0, 0]);
    let waiting = bench.waits();
    drop(a);
    assert_eq!((bench.figures(), waiting.rings()), ([0, 1, 0, 1], 0), "surplus is not handed over");
    drop(b);
    let mut lent = waiting.served();
    assert_eq!((id(&mut lent), bench.figures()), (2, [0, 1, 0, 0]));
    assert_eq!(bench.fake.counts().open(), 1);
}

#[test]
fn an_unacceptable_configuration_changes_nothing() {
    let bench = Bench::of(2);
    let invalid = bench.pool.reconfigure(at_most(10_001)).unwrap_err();
    assert_eq!((invalid.field, invalid.value.as_str()), ("max_connections", "10001"));
    assert_eq!(bench.status().max_connections, 2);
}

#[test]
fn a_new_timeout_holds_for_those_who_ask_after_it() {
    let bench = Bench::of(1);
    let _held = bench.lends();
    let mut before = bench.waits();
    bench
        .pool
        .reconfigure(PoolConfig { max_connections: 1, connection_timeout: SECOND, ..PoolConfig::untended() })
        .unwrap();
    let after = bench.waits();
    bench.clock.advance(SECOND);
    assert!(before.poll().is_pending());
    assert_eq!(after.refused().kind(), Kind::Timeout(Stage::Wait));
}

#[test]
fn what_is_opened_in_place_of_a_loan_that_failed_is_closed_if_the_maximum_was_lowered_meanwhile() {
    let bench = Bench::of(2);
    let (first, second) = (bench.lends(), bench.lends());
    let waiting = bench.waits();
    drop(first);
    bench.pool.reconfigure(at_most(1)).unwrap();
    bench.fake.fail_check_outs(FaultKind::Storage, 1);
    let opened = waiting.served();
    assert_eq!(bench.figures(), [0, 2, 0, 0]);
    drop(opened);
    assert_eq!(bench.figures(), [0, 1, 0, 0]);
    drop(second);
    assert_eq!(bench.figures(), [1, 0, 0, 0]);
}
