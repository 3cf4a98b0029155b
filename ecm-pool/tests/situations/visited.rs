//! Connections that keep something between loans, which idle ones have to let go of.

use crate::{
    rough::{Moment, Rough},
    support::{Bench, Inline, Later, SECOND, id, parts, poll_once},
};
use ecm_core::{
    Clock, Loan, Time, block_on,
    testing::{Fake, TestClock},
};
use ecm_pool::{Pool, PoolConfig, PoolParts, PoolStrategy, Workers};
use std::{pin::pin, sync::Arc, thread, time::Duration};

const TICK: Duration = Duration::from_millis(5);

fn keeping(workers: impl Workers + 'static, config: PoolConfig) -> Bench {
    let (fake, clock) = (Fake::new(), TestClock::new());
    fake.keep(TICK);
    let parts = PoolParts { workers: Arc::new(workers), ..parts(&clock) };
    let pool = Pool::new(Arc::new(fake.clone()), config, parts);
    Bench { fake, clock, pool }
}

/// Visits take place at once, on the thread that moves the clock.
fn bench() -> Bench {
    keeping(Inline, PoolConfig { max_connections: 4, ..PoolConfig::untended() })
}

fn ticks(bench: &Bench, number: usize) {
    (0..number).for_each(|_| bench.clock.advance(TICK));
}

#[test]
fn what_is_idle_is_visited_until_nothing_is_kept_and_then_nobody_is_woken_any_more() {
    let bench = bench();
    assert_eq!(bench.clock.alarms(), 0);
    drop([bench.lends(), bench.lends()]);
    assert_eq!((bench.fake.counts().kept, bench.clock.alarms()), (2, 1));
    ticks(&bench, 1);
    assert_eq!((bench.fake.counts().kept, bench.fake.counts().idles), (2, 2));
    ticks(&bench, 1);
    assert_eq!((bench.fake.counts().kept, bench.fake.counts().idles), (0, 4));
    ticks(&bench, 1);
    assert_eq!((bench.fake.counts().idles, bench.clock.alarms()), (4, 0), "it sleeps");
    (0..10).for_each(|_| bench.clock.advance(SECOND));
    assert_eq!((bench.fake.counts().idles, bench.figures()), (4, [2, 0, 0, 0]));
}

#[test]
fn the_next_loan_begins_it_again_whoever_lends_it() {
    let bench = bench();
    let lend: [fn(&Bench); 3] =
        [|bench| drop(bench.lends()), |bench| drop(bench.lends_now().unwrap()), |bench| drop(bench.lends_now())];
    for lend in lend {
        lend(&bench);
        assert_eq!((bench.fake.counts().kept, bench.clock.alarms()), (1, 1));
        ticks(&bench, 4);
        assert_eq!((bench.fake.counts().kept, bench.clock.alarms()), (0, 0));
    }
    assert_eq!(bench.fake.counts().connects, 1);
}

#[test]
fn one_that_comes_back_after_the_pool_fell_asleep_is_visited_too() {
    let bench = bench();
    let held = bench.lends();
    ticks(&bench, 3);
    assert_eq!((bench.fake.counts().idles, bench.clock.alarms()), (0, 0), "what is lent is nobody's business");
    drop(held);
    assert_eq!((bench.fake.counts().kept, bench.clock.alarms()), (1, 1));
    ticks(&bench, 2);
    assert_eq!((bench.fake.counts().kept, bench.fake.counts().idles), (0, 2));
}

#[test]
fn what_is_lent_is_not_visited_while_others_are() {
    let bench = bench();
    let held = bench.lends();
    for _ in 0..50 {
        drop(bench.lends());
        ticks(&bench, 1);
    }
    assert!(bench.fake.counts().idles >= 10, "the other one is visited now and then, however often it is lent");
    assert_eq!((bench.fake.counts().closes, bench.figures()), (0, [1, 1, 0, 0]), "a visit to a lent one panics");
    drop(held);
    ticks(&bench, 4);
    assert_eq!((bench.fake.counts().kept, bench.clock.alarms()), (0, 0));
}

#[test]
fn a_backend_that_keeps_nothing_costs_nothing() {
    let bench = Bench::of(2);
    drop(bench.lends());
    assert_eq!(bench.clock.alarms(), 0);
    ticks(&bench, 10);
    assert_eq!(bench.fake.counts().idles, 0);
}

#[test]
fn a_pool_that_is_closed_ticks_no_more() {
    let bench = bench();
    let held = bench.lends();
    drop(bench.lends());
    bench.pool.close();
    assert_eq!(bench.clock.alarms(), 0);
    drop(held);
    assert_eq!((bench.clock.alarms(), bench.fake.counts().open()), (0, 0));
    ticks(&bench, 10);
    assert_eq!(bench.fake.counts().idles, 0);
}

#[test]
fn a_visit_does_not_make_a_connection_look_used() {
    let config = PoolConfig { idle_timeout: SECOND, ..PoolConfig::untended() };
    let bench = keeping(Inline, config);
    drop(bench.lends());
    (0..199).for_each(|_| bench.clock.advance(TICK));
    assert_eq!((bench.fake.counts().idles, bench.figures()), (2, [1, 0, 0, 0]));
    bench.clock.advance(TICK);
    assert_eq!(bench.figures(), [0; 4], "a second after its use");
}

#[test]
fn whoever_asks_during_a_visit_gets_that_connection_and_no_new_one() {
    let later = Later::default();
    let bench = keeping(later.clone(), PoolConfig { max_connections: 4, ..PoolConfig::untended() });
    drop(bench.lends());
    let hold = bench.fake.hold_idles();
    ticks(&bench, 1);
    let work = later.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(work);
        bench.fake.wait_for_hanging(1);
        assert_eq!(bench.figures(), [1, 0, 0, 0], "it counts as idle");
        assert!(bench.lends_now().is_none());
        let waiting = bench.waits();
        let next = bench.waits();
        let mut opened = waiting.served();
        assert_eq!(id(&mut opened), 2, "where two want it, one opens another");
        assert!(poll_once(pin!(bench.pool.drained(Time::NEVER))).is_pending());
        assert_eq!(bench.pool.interrupt(), 1, "what is visited is not lent");
        drop(hold);
        assert_eq!(id(&mut block_on(next.lending).unwrap()), 1);
    });
    assert_eq!((bench.fake.counts().connects, bench.figures()), (2, [1, 0, 0, 0]));
}

#[test]
fn whoever_cannot_wait_is_not_refused_because_of_a_visit() {
    let later = Later::default();
    let config = PoolConfig { max_connections: 1, connection_timeout: Duration::ZERO, ..PoolConfig::untended() };
    let bench = keeping(later.clone(), config);
    drop(bench.lends());
    let hold = bench.fake.hold_idles();
    ticks(&bench, 1);
    let work = later.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(work);
        bench.fake.wait_for_hanging(1);
        let asking = scope.spawn(|| block_on(bench.pool.lend(Loan::Read, bench.clock.now(), Time::NEVER)).is_ok());
        drop(hold);
        assert!(asking.join().unwrap());
    });
}

#[test]
fn a_connection_that_panics_during_a_visit_is_closed() {
    let (rough, clock) = (Rough::default(), TestClock::new());
    rough.fake.keep(TICK);
    let parts = PoolParts { workers: Arc::new(Inline), ..parts(&clock) };
    let pool = Pool::new(Arc::new(rough.clone()), PoolConfig::untended(), parts);
    let lend = || block_on(pool.lend(Loan::Read, clock.now(), Time::NEVER)).unwrap();
    drop([lend(), lend()]);
    rough.fails_at(&[Moment::Idle]);
    (0..3).for_each(|_| clock.advance(TICK));
    assert!(rough.is_through());
    assert_eq!((rough.fake.counts().open(), rough.fake.counts().kept, pool.status().idle), (1, 0, 1));
    assert_eq!(clock.alarms(), 0);
}

#[test]
fn visits_do_not_keep_a_pool_from_being_warmed() {
    let config = PoolConfig { initial_connections: 4, strategy: PoolStrategy::Fixed, ..PoolConfig::default() };
    let bench = keeping(Inline, config);
    drop(bench.lends());
    ticks(&bench, 199);
    assert_eq!((bench.fake.counts().idles, bench.fake.counts().connects), (2, 1));
    ticks(&bench, 1);
    assert_eq!(bench.fake.counts().connects, 4);
}
