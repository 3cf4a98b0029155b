//! Hand-overs in many schedules: nothing gets lost between two threads, whatever their order.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test -p ecm-pool --test shuttle_handoff
//! ```
#![cfg(shuttle)]

use ecm_core::{
    Clock, Connection, Kind, Loan, Stage, Time,
    testing::{Fake, TestClock},
};
use ecm_pool::{Pool, PoolConfig, PoolParts};
use shuttle::{future::block_on, thread};
use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

const ROUNDS: usize = 3_000;
const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct Bench {
    fake: Fake,
    clock: TestClock,
    pool: Arc<Pool<Fake>>,
}

impl Bench {
    fn of(max_connections: u32) -> Self {
        let (fake, clock) = (Fake::new(), TestClock::new());
        let config = PoolConfig { max_connections, ..PoolConfig::untended() };
        let parts = PoolParts::new("main", Arc::new(clock.clone()));
        let pool = Arc::new(Pool::new(Arc::new(fake.clone()), config, parts));
        Self { fake, clock, pool }
    }

    fn lends(&self, deadline: Time) -> Result<u64, Kind> {
        let lent = block_on(self.pool.lend(Loan::Read, self.clock.now(), deadline));
        lent.map(|mut lent| lent.db().id()).map_err(|error| error.kind())
    }

    fn threads(&self, actions: Vec<Box<dyn FnOnce(&Self) + Send>>) {
        let threads: Vec<_> = actions
            .into_iter()
            .map(|action| {
                let bench = self.clone();
                thread::spawn(move || action(&bench))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    fn is_at_rest(&self, open: u32) {
        let status = self.pool.status();
        assert_eq!((status.open, status.idle, status.waiting), (open, open, 0), "{status:?}");
        assert_eq!(self.fake.counts().open(), u64::from(open));
    }
}

fn lend(bench: &Bench) {
    assert!(bench.lends(Time::NEVER).is_ok());
}

/// Asks, waits at most `polls` polls for the answer, and goes away.
fn lend_or_leave(bench: &Bench, polls: usize) {
    let mut lending = pin!(bench.pool.lend(Loan::Read, bench.clock.now(), Time::NEVER));
    let mut left = polls;
    block_on(poll_fn(|context| {
        if let Poll::Ready(answer) = lending.as_mut().poll(context) {
            drop(answer.unwrap());
            return Poll::Ready(());
        }
        left -= 1;
        if left == 0 {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }));
}

#[test]
fn a_connection_that_comes_back_while_somebody_queues_is_not_lost() {
    shuttle::check_random(
        || {
            let bench = Bench::of(1);
            bench.threads(vec![Box::new(lend), Box::new(lend), Box::new(lend)]);
            bench.is_at_rest(1);
        },
        ROUNDS,
    );
}

#[test]
fn a_place_that_is_given_up_while_somebody_queues_is_not_lost() {
    let discard = |bench: &Bench| {
        block_on(bench.pool.lend(Loan::Read, Time::START, Time::NEVER)).unwrap().discard();
    };
    shuttle::check_random(
        move || {
            let bench = Bench::of(1);
            bench.threads(vec![Box::new(discard), Box::new(lend), Box::new(discard)]);
            let open = bench.pool.status().open;
            bench.is_at_rest(open);
            lend(&bench);
        },
        ROUNDS,
    );
}

#[test]
fn a_hand_over_to_one_who_goes_away_reaches_the_next() {
    shuttle::check_random(
        || {
            let bench = Bench::of(1);
            bench.threads(vec![
                Box::new(lend),
                Box::new(|bench| lend_or_leave(bench, 1)),
                Box::new(|bench| lend_or_leave(bench, 2)),
                Box::new(lend),
            ]);
            bench.is_at_rest(1);
        },
        ROUNDS,
    );
}

#[test]
fn a_hand_over_at_the_last_moment_is_taken_or_passed_on() {
    shuttle::check_random(
        || {
            let bench = Bench::of(1);
            bench.threads(vec![
                Box::new(lend),
                Box::new(|bench| match bench.lends(Time::START + SECOND) {
                    // Of opening, where it has waited for the first of all openings.
                    Ok(_) | Err(Kind::Timeout(Stage::Wait | Stage::Open)) => {}
                    Err(other) => panic!("{other:?}"),
                }),
                Box::new(|bench| bench.clock.advance(SECOND)),
                Box::new(lend),
            ]);
            bench.is_at_rest(1);
        },
        ROUNDS,
    );
}

#[test]
fn a_hand_over_that_is_revoked_while_it_is_taken_is_not_lost() {
    shuttle::check_random(
        || {
            let bench = Bench::of(1);
            bench.threads(vec![
                Box::new(lend),
                Box::new(lend),
                Box::new(lend),
                Box::new(|bench| (0..3).for_each(|_| bench.clock.advance(Duration::from_millis(1)))),
            ]);
            bench.is_at_rest(1);
        },
        ROUNDS,
    );
}

#[test]
fn nobody_sleeps_on_when_the_pool_closes_during_a_hand_over() {
    shuttle::check_random(
        || {
            let bench = Bench::of(1);
            let lend = |bench: &Bench| match bench.lends(Time::NEVER) {
                Ok(_) | Err(Kind::Closed) => {}
                Err(other) => panic!("{other:?}"),
            };
            bench.threads(vec![
                Box::new(lend),
                Box::new(lend),
                Box::new(|bench| {
                    bench.pool.close();
                    assert!(block_on(bench.pool.drained(Time::NEVER)));
                    assert_eq!(bench.fake.counts().open(), 0);
                }),
                Box::new(lend),
            ]);
            bench.is_at_rest(0);
        },
        ROUNDS,
    );
}

#[test]
fn several_who_close_at_once_all_find_everything_closed() {
    shuttle::check_random(
        || {
            let bench = Bench::of(2);
            lend(&bench);
            let lend = |bench: &Bench| match bench.lends(Time::NEVER) {
                Ok(_) | Err(Kind::Closed) => {}
                Err(other) => panic!("{other:?}"),
            };
            let close = |bench: &Bench| {
                bench.pool.close();
                assert!(block_on(bench.pool.drained(Time::NEVER)));
                assert_eq!(bench.fake.counts().open(), 0);
            };
            bench.threads(vec![Box::new(close), Box::new(lend), Box::new(close), Box::new(lend)]);
            bench.is_at_rest(0);
        },
        ROUNDS,
    );
}

/// In a calm pool those who give have no barrier of their own, and their stores may be seen late: the first who
/// queues again has to issue it for them.
#[test]
fn one_who_queues_in_a_pool_that_has_become_calm_is_not_left_waiting() {
    shuttle::check_random(
        || {
            let bench = Bench::of(1);
            lend(&bench);
            // Two samples in the model, of 64 loans each, and some that are sampled at the start.
            (0..200).for_each(|_| drop(bench.pool.lend_now(Loan::Read, Time::START)));
            bench.threads(vec![Box::new(lend), Box::new(lend)]);
            bench.is_at_rest(1);
        },
        ROUNDS,
    );
}

#[test]
fn in_strict_order_nobody_who_asks_later_is_served_before_one_who_queues() {
    use shuttle::sync::atomic::{AtomicBool, Ordering::SeqCst};
    shuttle::check_random(
        || {
            let bench = Bench::of(1);
            let (queues, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
            let first = {
                let (queues, served) = (Arc::clone(&queues), Arc::clone(&served));
                move |bench: &Bench| {
                    let mut lending = pin!(bench.pool.lend(Loan::Read, Time::START, Time::NEVER));
                    let lent = block_on(poll_fn(|context| {
                        let answer = lending.as_mut().poll(context);
                        queues.store(answer.is_pending(), SeqCst);
                        answer
                    }));
                    served.store(true, SeqCst);
                    drop(lent.unwrap());
                }
            };
            let second = move |bench: &Bench| {
                let is_behind = queues.load(SeqCst);
                let lent = match bench.pool.lend_now(Loan::Read, Time::START) {
                    Some(lent) => lent,
                    None => block_on(bench.pool.lend(Loan::Read, Time::START, Time::NEVER)).unwrap(),
                };
                assert!(!is_behind || served.load(SeqCst), "one who queues was overtaken");
                drop(lent);
            };
            bench.threads(vec![Box::new(lend), Box::new(first), Box::new(second), Box::new(lend)]);
            bench.is_at_rest(1);
        },
        ROUNDS,
    );
}
