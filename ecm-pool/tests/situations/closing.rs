use crate::support::{Bench, SECOND, poll_once};
use ecm_core::{Clock, Connection, Kind, Loan, Time, block_on};
use std::{pin::pin, task::Poll, thread};

#[test]
fn everybody_who_waits_is_told_that_the_pool_is_closed() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let waiting = [bench.waits(), bench.waits(), bench.waits()];
    bench.pool.close();
    assert_eq!(waiting.each_ref().map(|asked| asked.rings()), [1, 1, 1]);
    for asked in waiting {
        let error = asked.refused();
        assert_eq!((error.kind(), error.database()), (Kind::Closed, Some("main")));
    }
    assert_eq!(bench.asks().refused().kind(), Kind::Closed);
    assert!(bench.lends_now().is_none());
    assert_eq!(bench.fake.counts().open(), 1);
    drop(held);
    assert_eq!((bench.fake.counts().open(), bench.figures()), (0, [0; 4]));
    bench.pool.close();
    assert_eq!(bench.status().closed, 1);
    assert_eq!(bench.clock.alarms(), 0);
}

#[test]
fn closing_takes_back_what_was_handed_over() {
    let bench = Bench::of(2);
    let held = [bench.lends(), bench.lends()];
    let [with_connection, with_place, behind] = [bench.waits(), bench.waits(), bench.waits()];
    let [first, second] = held;
    drop(first);
    second.discard();
    assert_eq!(bench.figures(), [0, 1, 1, 1]);
    bench.pool.close();
    assert_eq!((bench.figures(), bench.fake.counts().open()), ([0; 4], 0));
    drop(with_place);
    assert_eq!(with_connection.refused().kind(), Kind::Closed);
    assert_eq!(behind.refused().kind(), Kind::Closed);
    assert_eq!(bench.figures(), [0; 4]);
}

#[test]
fn a_connection_that_is_opened_while_the_pool_closes_is_closed() {
    let bench = Bench::of(1);
    let hold = bench.fake.hold_connects();
    let error = thread::scope(|scope| {
        let asking = scope.spawn(|| block_on(bench.pool.lend(Loan::Read, Time::START, Time::NEVER)).map(drop));
        bench.fake.wait_for_hanging(1);
        bench.pool.close();
        let mut drained = pin!(bench.pool.drained(Time::NEVER));
        assert!(poll_once(drained.as_mut()).is_pending(), "one is still being opened");
        drop(hold);
        assert!(block_on(drained));
        asking.join().unwrap().unwrap_err()
    });
    assert_eq!(error.kind(), Kind::Closed);
    assert_eq!((bench.fake.counts().open(), bench.figures()), (0, [0; 4]));
    assert_eq!((bench.status().opened, bench.status().closed), (1, 1));
}

#[test]
fn draining_ends_when_the_last_one_has_come_back() {
    let bench = Bench::of(2);
    let (first, second) = (bench.lends(), bench.lends());
    bench.pool.close();
    let mut drained = pin!(bench.pool.drained(Time::START + SECOND));
    assert!(poll_once(drained.as_mut()).is_pending());
    drop(first);
    assert!(poll_once(drained.as_mut()).is_pending());
    drop(second);
    assert_eq!(poll_once(drained.as_mut()), Poll::Ready(true));
    assert_eq!(bench.fake.counts().open(), 0, "closed, not only given back");
}

#[test]
fn draining_wakes_a_thread_that_waits_for_it() {
    let bench = Bench::of(1);
    let held = bench.lends();
    bench.pool.close();
    thread::scope(|scope| {
        let draining = scope.spawn(|| block_on(bench.pool.drained(Time::START + SECOND)));
        bench.clock.wait_for_alarms(1);
        drop(held);
        assert!(draining.join().unwrap());
    });
    assert_eq!(bench.clock.alarms(), 0);
}

#[test]
fn at_the_deadline_what_still_runs_is_interrupted() {
    let bench = Bench::of(2);
    let mut stuck = bench.lends();
    drop(bench.lends());
    let hold = bench.fake.hold_statements();
    thread::scope(|scope| {
        let running = scope.spawn(move || stuck.db().get("a").unwrap_err());
        bench.fake.wait_for_hanging(1);
        bench.pool.close();
        let mut drained = pin!(bench.pool.drained(bench.clock.now() + SECOND));
        assert!(poll_once(drained.as_mut()).is_pending());
        bench.clock.advance(SECOND);
        assert_eq!(poll_once(drained.as_mut()), Poll::Ready(false));
        assert_eq!(bench.pool.interrupt(), 1);
        assert_eq!(running.join().unwrap().to_string(), "told to fail: the statement was stopped");
    });
    drop(hold);
    assert!(block_on(bench.pool.drained(Time::START)));
    assert_eq!(bench.fake.counts().open(), 0);
}

#[test]
fn a_late_interrupt_does_not_reach_the_next_borrower() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let waiting = bench.waits();
    assert_eq!(bench.pool.interrupt(), 1);
    drop(held);
    let mut next = waiting.served();
    assert_eq!(next.db().id(), 2, "the interrupted connection is closed");
    assert_eq!(next.db().get("a").unwrap(), None);
    drop(next);
    assert_eq!(bench.pool.interrupt(), 0, "nothing is lent");
    assert_eq!((bench.fake.counts().interrupts, bench.figures()), (1, [1, 0, 0, 0]));
}

#[test]
fn an_open_pool_in_which_nothing_is_lent_is_drained() {
    let bench = Bench::of(1);
    drop(bench.lends());
    assert!(block_on(bench.pool.drained(Time::START)));
    let _held = bench.lends();
    assert!(!block_on(bench.pool.drained(Time::START)), "a deadline that has passed answers at once");
}
