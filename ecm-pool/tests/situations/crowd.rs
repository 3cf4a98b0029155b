use crate::support::Bench;
use ecm_core::{Clock, Loan, Time, block_on};
use std::{collections::VecDeque, sync::mpsc, thread};

const CALLERS: usize = 10_000;
/// Of so many callers one is a thread, the others are tasks.
const EACH: usize = 50;

#[test]
fn ten_thousand_threads_and_tasks_on_four_connections_are_all_served_in_order() {
    let bench = Bench::of(4);
    let mut held: VecDeque<_> = (0..4).map(|_| bench.lends()).collect();
    let (served, order) = mpsc::channel();
    thread::scope(|scope| {
        let mut tasks = VecDeque::new();
        for number in 0..CALLERS {
            if number % EACH == 0 {
                let (served, bench) = (served.clone(), &bench);
                scope.spawn(move || {
                    let lent = block_on(bench.pool.lend(Loan::Read, bench.clock.now(), Time::NEVER)).unwrap();
                    served.send(number).unwrap();
                    drop(lent);
                });
                bench.wait_for_waiting(number + 1);
            } else {
                tasks.push_back(bench.waits());
            }
        }
        assert_eq!(bench.status().waiting as usize, CALLERS);
        // A thread gives back by itself, and so to the next in the queue.
        let mut on_its_way = false;
        for number in 0..CALLERS {
            if !on_its_way {
                drop(held.pop_front());
            }
            on_its_way = number % EACH == 0;
            if on_its_way {
                assert_eq!(order.recv().unwrap(), number);
            } else {
                let task = tasks.pop_front().unwrap();
                while task.rings() == 0 {
                    thread::yield_now();
                }
                assert!(tasks.front().is_none_or(|behind| behind.rings() == 0), "{number} is served first");
                held.push_back(task.served());
            }
        }
    });
    drop(held);
    let status = bench.status();
    assert_eq!(bench.figures(), [4, 0, 0, 0]);
    assert_eq!((status.loans, status.waits), (CALLERS as u64 + 4, CALLERS as u64));
    assert_eq!((status.timeouts, status.opened, bench.clock.alarms()), (0, 4, 0));
}
