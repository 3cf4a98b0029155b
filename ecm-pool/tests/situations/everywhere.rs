//! Callers who go away in every phase of a connection, whatever comes of that phase.

use crate::support::{Asked, Bench, Later, MILLISECOND, SECOND, parts};
use ecm_core::{
    CheckIn, Connection, FaultKind,
    testing::{Fake, Held, TestClock},
};
use ecm_pool::{Fairness, Pool, PoolConfig, PoolParts};
use std::{sync::Arc, task::Poll, thread};

const MOST: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Create,
    Check,
    Reset,
    HandOver,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Good,
    Bad,
    /// It comes after the caller has gone.
    Slow,
    /// It comes only after the pool was closed.
    Never,
}

type Run = fn(Outcome, Fairness) -> (Bench, Later);

fn bench(fairness: Fairness) -> (Bench, Later) {
    let (fake, clock, later) = (Fake::new(), TestClock::new(), Later::default());
    let config =
        PoolConfig { max_connections: MOST, fairness, validation_interval: 10 * SECOND, ..PoolConfig::untended() };
    let parts = PoolParts { workers: Arc::new(later.clone()), ..parts(&clock) };
    let pool = Pool::new(Arc::new(fake.clone()), config, parts);
    (Bench { fake, clock, pool }, later)
}

fn is_sound(bench: &Bench) {
    let status = bench.status();
    assert!(status.open <= MOST && status.idle <= MOST && status.lent <= MOST, "{status:?}");
    assert!(bench.fake.counts().open() <= u64::from(MOST), "{status:?}");
}

/// Runs what hangs on a thread of its own while the caller goes away.
fn beside(bench: &Bench, outcome: Outcome, hold: Held, caller: Asked<'_, Fake>, work: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let working = scope.spawn(work);
        bench.fake.wait_for_hanging(1);
        is_sound(bench);
        drop(caller);
        is_sound(bench);
        if outcome == Outcome::Never {
            bench.pool.close();
            is_sound(bench);
        }
        drop(hold);
        working.join().unwrap();
    });
    is_sound(bench);
}

fn create(outcome: Outcome, fairness: Fairness) -> (Bench, Later) {
    let (bench, later) = bench(fairness);
    // Openings that take so long are left to the worker.
    bench.fake.slow_connects(20 * MILLISECOND, &bench.clock);
    let held = bench.lends();
    let caller = bench.waits();
    let work = later.take().unwrap();
    match outcome {
        Outcome::Good | Outcome::Bad => {
            bench.fake.fail_connects(FaultKind::Storage, u32::from(outcome == Outcome::Bad));
            work();
            is_sound(&bench);
            drop(caller);
        }
        Outcome::Slow | Outcome::Never => {
            let hold = bench.fake.hold_connects();
            beside(&bench, outcome, hold, caller, work);
        }
    }
    drop(held);
    (bench, later)
}

fn check(outcome: Outcome, fairness: Fairness) -> (Bench, Later) {
    let (bench, later) = bench(fairness);
    let held = bench.lends();
    drop(bench.lends());
    bench.clock.advance(10 * SECOND);
    let work = later.take().unwrap();
    bench.fake.fail_pings(FaultKind::Lost, u32::from(outcome == Outcome::Bad));
    let hold = bench.fake.hold_pings();
    thread::scope(|scope| {
        let working = scope.spawn(work);
        bench.fake.wait_for_hanging(1);
        let caller = bench.waits();
        if matches!(outcome, Outcome::Slow | Outcome::Never) {
            drop(caller);
            is_sound(&bench);
            if outcome == Outcome::Never {
                bench.pool.close();
            }
            drop(hold);
            working.join().unwrap();
        } else {
            drop(hold);
            working.join().unwrap();
            is_sound(&bench);
            drop(caller);
        }
    });
    drop(held);
    (bench, later)
}

fn reset(outcome: Outcome, fairness: Fairness) -> (Bench, Later) {
    let (bench, later) = bench(fairness);
    let (mut dirty, held) = (bench.lends(), bench.lends());
    dirty.db().leave(CheckIn::Reset);
    let caller = bench.waits();
    match outcome {
        Outcome::Good | Outcome::Bad => {
            bench.fake.fail_resets(FaultKind::Storage, u32::from(outcome == Outcome::Bad));
            drop(dirty);
            is_sound(&bench);
            drop(caller);
        }
        Outcome::Slow | Outcome::Never => {
            let hold = bench.fake.hold_resets();
            beside(&bench, outcome, hold, caller, move || drop(dirty));
        }
    }
    drop(held);
    (bench, later)
}

fn hand_over(outcome: Outcome, fairness: Fairness) -> (Bench, Later) {
    let (bench, later) = bench(fairness);
    let (given, held) = (bench.lends(), bench.lends());
    let (caller, next) = (bench.waits(), bench.waits());
    drop(given);
    match outcome {
        Outcome::Good => {
            drop(caller);
            drop(next.served());
        }
        Outcome::Bad => {
            drop(caller);
            bench.fake.fail_check_outs(FaultKind::Lost, 1);
            drop(next.served());
        }
        Outcome::Slow => {
            bench.clock.advance(2 * MILLISECOND);
            let served = next.served();
            is_sound(&bench);
            drop((caller, served));
        }
        Outcome::Never => {
            bench.clock.advance(2 * MILLISECOND);
            drop(next.served());
            bench.pool.close();
            is_sound(&bench);
            drop(caller);
        }
    }
    drop(held);
    (bench, later)
}

#[test]
fn whoever_goes_away_at_any_moment_leaves_a_pool_that_is_whole() {
    const PHASES: [(Phase, Run); 4] =
        [(Phase::Create, create), (Phase::Check, check), (Phase::Reset, reset), (Phase::HandOver, hand_over)];
    const BOUND: Fairness = Fairness::Bounded(MILLISECOND);
    for fairness in [Fairness::Strict, BOUND, Fairness::Free].into_iter().cycle().take(66) {
        for (phase, run) in PHASES {
            for outcome in [Outcome::Good, Outcome::Bad, Outcome::Slow, Outcome::Never] {
                let (bench, later) = run(outcome, fairness);
                is_sound(&bench);
                let [_, lent, opening, waiting] = bench.figures();
                assert_eq!([lent, opening, waiting], [0; 3], "{fairness:?}, {phase:?}, {outcome:?}");
                if outcome == Outcome::Never {
                    assert_eq!(bench.fake.counts().open(), 0, "{phase:?}");
                    continue;
                }
                let lent = [(); 2].map(|()| {
                    let mut asked = bench.asks();
                    match asked.poll() {
                        Poll::Ready(answer) => answer.unwrap(),
                        Poll::Pending => {
                            later.take().expect("somebody has to open it")();
                            asked.served()
                        }
                    }
                });
                drop(lent);
                is_sound(&bench);
            }
        }
    }
}
