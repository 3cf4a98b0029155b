use crate::support::{Bench, SECOND, id};
use ecm_core::{Clock, Loan, Time, block_on};
use std::{collections::VecDeque, sync::mpsc, thread};

#[test]
fn threads_and_tasks_are_served_in_the_order_of_their_arrival() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let (served, order) = mpsc::channel();
    thread::scope(|scope| {
        let mut tasks = VecDeque::new();
        for number in 0..10_usize {
            if number % 2 == 0 {
                let (served, bench) = (served.clone(), &bench);
                scope.spawn(move || {
                    let lent = block_on(bench.pool.lend(Loan::Read, bench.clock.now(), Time::NEVER)).unwrap();
                    served.send((number, bench.status().waiting)).unwrap();
                    drop(lent);
                });
                bench.wait_for_waiting(number + 1);
            } else {
                tasks.push_back((number, bench.waits()));
            }
        }
        drop(held);
        for turn in 0..10_usize {
            if turn % 2 == 0 {
                assert_eq!(order.recv().unwrap(), (turn, 9 - u32::try_from(turn).unwrap()));
            } else {
                let (number, task) = tasks.pop_front().unwrap();
                assert_eq!(number, turn);
                // The thread before gives back only after it has told.
                while task.rings() == 0 {
                    thread::yield_now();
                }
                drop(task.served());
            }
        }
    });
    assert_eq!(bench.figures(), [1, 0, 0, 0]);
    assert_eq!(bench.clock.alarms(), 0);
}

#[test]
fn a_newcomer_cannot_overtake_one_who_waits() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let first = bench.waits();
    let mut second = bench.waits();
    drop(held);
    assert!(bench.lends_now().is_none(), "the connection is on its way");
    let newcomer = bench.waits();
    assert!(second.poll().is_pending());
    assert_eq!(bench.figures(), [0, 1, 0, 2]);
    drop(first.served());
    assert_eq!(newcomer.rings(), 0);
    drop(second.served());
    drop(newcomer.served());
    assert_eq!(bench.figures(), [1, 0, 0, 0]);
}

#[test]
fn one_who_hammers_cannot_starve_one_who_waits() {
    let bench = Bench::of(2);
    let mut hammers = VecDeque::from([bench.lends(), bench.lends()]);
    let mut waiting = Some(bench.waits());
    hammers.pop_front();
    assert!(bench.lends_now().is_none());
    hammers.pop_front();
    assert!(bench.lends_now().is_some(), "the other connection is for whoever comes");
    drop(waiting.take().unwrap().served());
}

#[test]
fn one_that_comes_back_wakes_exactly_one() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let waiting: Vec<_> = (0..100).map(|_| bench.waits()).collect();
    drop(held);
    let rings: usize = waiting.iter().map(|asked| asked.rings()).sum();
    assert_eq!((rings, waiting[0].rings()), (1, 1));
}

#[test]
fn twenty_five_thousand_who_wait_for_three_connections_are_all_served_in_order() {
    let bench = Bench::of(3);
    let mut held: VecDeque<_> = (0..3).map(|_| bench.lends()).collect();
    let mut waiting: VecDeque<_> = (0..25_000).map(|_| bench.waits()).collect();
    assert_eq!(bench.status().waiting, 25_000);
    while let Some(next) = waiting.pop_front() {
        assert_eq!(next.rings(), 0);
        held.pop_front();
        assert_eq!(next.rings(), 1);
        held.push_back(next.served());
    }
    drop(held);
    assert_eq!(bench.figures(), [3, 0, 0, 0]);
    let status = bench.status();
    assert_eq!((status.loans, status.waits, status.timeouts, status.opened), (25_003, 25_000, 0, 3));
    assert_eq!(bench.clock.alarms(), 0);
}

#[test]
fn a_slow_borrower_delays_nobody_while_another_connection_comes_and_goes() {
    let bench = Bench::of(2);
    let mut slow = bench.lends();
    let mut quick = bench.lends();
    let mut waiting: VecDeque<_> = (0..20).map(|_| bench.waits()).collect();
    while let Some(next) = waiting.pop_front() {
        drop(quick);
        quick = next.served();
        assert_eq!(id(&mut quick), 2);
    }
    assert_eq!(id(&mut slow), 1);
    bench.clock.advance(SECOND);
    assert_eq!(bench.status().timeouts, 0);
}

#[test]
fn a_pool_that_was_saturated_recovers_by_itself_once_fewer_come_than_go() {
    let bench = Bench::of(2);
    let mut held = VecDeque::from([bench.lends(), bench.lends()]);
    let mut waiting: VecDeque<_> = (0..500).map(|_| bench.waits()).collect();
    // Two come back for each one that comes.
    for _ in 0..498 {
        waiting.push_back(bench.waits());
        for _ in 0..2 {
            drop(held.pop_front());
            held.push_back(waiting.pop_front().unwrap().served());
        }
    }
    assert_eq!(bench.figures(), [0, 2, 0, 2]);
    held.clear();
    waiting.into_iter().for_each(|asked| drop(asked.served()));
    assert_eq!((bench.figures(), bench.status().opened, bench.clock.alarms()), ([2, 0, 0, 0], 2, 0));
    assert!(bench.lends_now().is_some(), "nobody has to queue any more");
}
