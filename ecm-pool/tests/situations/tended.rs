//! How a pool looks after its connections while nobody asks for them.

use crate::support::{Bench, Inline, Later, MILLISECOND, SECOND, Told, id, parts};
use ecm_core::{
    CheckIn, Clock, Connection, FaultKind, Interest, Loan, PoolLoad, Sizing, Target, Time,
    testing::{Fake, TestClock},
};
use ecm_pool::{Pool, PoolConfig, PoolParts, PoolStrategy};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// What is opened and checked in the background is so at once, on the thread that moves the clock.
fn bench(config: PoolConfig) -> Bench {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let parts = PoolParts { workers: Arc::new(Inline), seed: 7, ..parts(&clock) };
    let pool = Pool::new(Arc::new(fake.clone()), config, parts);
    Bench { fake, clock, pool }
}

fn lends_all(bench: &Bench, number: usize) {
    let lent: Vec<_> = (0..number).map(|_| bench.lends()).collect();
    drop(lent);
}

#[test]
fn a_pool_in_use_is_warmed_in_the_background_and_shrinks_to_its_fewest() {
    let bench = bench(PoolConfig { strategy: PoolStrategy::Fixed, ..PoolConfig::default() });
    assert_eq!(bench.clock.alarms(), 0, "one that is not used costs nothing");
    drop(bench.lends());
    bench.clock.advance(SECOND - MILLISECOND);
    assert_eq!(bench.status().open, 1);
    bench.clock.advance(MILLISECOND);
    assert_eq!(bench.figures(), [5, 0, 0, 0]);
    (0..400).for_each(|_| bench.clock.advance(SECOND));
    assert_eq!((bench.figures(), bench.fake.counts().open()), ([2, 0, 0, 0], 2));
    bench.pool.close();
    assert_eq!(bench.clock.alarms(), 0);
}

#[test]
fn without_warming_nothing_is_opened_ahead() {
    let bench = bench(PoolConfig { connection_warming: false, ..PoolConfig::default() });
    drop(bench.lends());
    (0..100).for_each(|_| bench.clock.advance(SECOND));
    assert_eq!(bench.fake.counts().connects, 1);
}

#[test]
fn a_pool_of_one_is_not_warmed_beyond_it() {
    let bench = bench(PoolConfig { max_connections: 1, ..PoolConfig::default() });
    drop(bench.lends());
    (0..10).for_each(|_| bench.clock.advance(SECOND));
    assert_eq!(bench.fake.counts().connects, 1);
}

#[test]
fn what_is_idle_for_too_long_goes_the_coldest_first_down_to_the_fewest() {
    let bench = bench(PoolConfig { idle_timeout: 10 * SECOND, min_connections: 1, ..PoolConfig::untended() });
    lends_all(&bench, 4);
    bench.clock.advance(6 * SECOND);
    let used = [bench.lends(), bench.lends()];
    let kept: BTreeSet<u64> = used.map(|mut lent| id(&mut lent)).into();
    bench.clock.advance(4 * SECOND);
    assert_eq!(bench.figures(), [2, 0, 0, 0]);
    let mut left = [bench.lends(), bench.lends()];
    assert_eq!(BTreeSet::from(left.each_mut().map(id)), kept);
    drop(left);
    bench.clock.advance(10 * SECOND);
    assert_eq!(bench.figures(), [1, 0, 0, 0]);
    bench.clock.advance(3600 * SECOND);
    assert_eq!(bench.figures(), [1, 0, 0, 0]);
}

#[test]
fn a_trickle_of_loans_shrinks_a_pool_to_what_it_needs() {
    let bench = bench(PoolConfig { idle_timeout: SECOND, ..PoolConfig::untended() });
    lends_all(&bench, 5);
    for _ in 0..12 {
        bench.clock.advance(250 * MILLISECOND);
        drop(bench.lends());
    }
    assert_eq!(bench.figures(), [1, 0, 0, 0]);
}

#[test]
fn what_is_lent_is_not_closed_for_being_idle() {
    let bench = bench(PoolConfig { idle_timeout: SECOND, ..PoolConfig::untended() });
    let held = bench.lends();
    bench.clock.advance(100 * SECOND);
    assert_eq!(bench.figures(), [0, 1, 0, 0]);
    drop(held);
    assert_eq!(bench.figures(), [1, 0, 0, 0]);
    bench.clock.advance(SECOND);
    assert_eq!(bench.figures(), [0, 0, 0, 0]);
}

#[test]
fn connections_opened_together_do_not_grow_too_old_together() {
    let config = PoolConfig { max_lifetime: 1000 * SECOND, max_connections: 100, ..PoolConfig::untended() };
    let bench = bench(config);
    lends_all(&bench, 100);
    bench.clock.advance(900 * SECOND);
    let mut gone = Vec::new();
    for second in 0..=100 {
        let closed = usize::try_from(bench.status().closed).unwrap();
        gone.resize(closed, second);
        bench.clock.advance(SECOND);
    }
    (0..100).for_each(|_| bench.clock.advance(SECOND));
    assert_eq!(bench.status().closed, 100);
    assert!(gone[0] < 10 && gone[89] > 70, "spread over the window: {gone:?}");
}

#[test]
fn one_that_is_lent_is_retired_when_it_comes_back() {
    let bench = bench(PoolConfig { max_lifetime: 100 * SECOND, ..PoolConfig::untended() });
    let mut held = bench.lends();
    bench.clock.advance(200 * SECOND);
    assert_eq!((id(&mut held), bench.fake.counts().open()), (1, 1));
    drop(held);
    assert_eq!((bench.figures(), bench.fake.counts().open()), ([0; 4], 0));
}

#[test]
fn idle_connections_are_checked_in_the_background_and_replaced_if_they_fail() {
    let config = PoolConfig { validation_interval: 10 * SECOND, ..PoolConfig::untended() };
    let bench = bench(config);
    lends_all(&bench, 3);
    bench.clock.advance(9 * SECOND);
    assert_eq!(bench.fake.counts().pings, 0);
    drop(bench.lends());
    bench.clock.advance(SECOND);
    assert_eq!(bench.fake.counts().pings, 2, "one was used meanwhile");
    bench.fake.fail_pings(FaultKind::Lost, 1);
    bench.clock.advance(10 * SECOND);
    assert_eq!((bench.figures(), bench.fake.counts().open()), ([2, 0, 0, 0], 2));
}

#[test]
fn one_failed_check_makes_all_idle_ones_suspect() {
    let config = PoolConfig { validation_bypass: 10 * SECOND, ..PoolConfig::untended() };
    let bench = bench(config);
    lends_all(&bench, 4);
    bench.clock.advance(5 * SECOND);
    drop(bench.lends());
    assert_eq!(bench.fake.counts().pings, 0, "used not long ago");
    bench.clock.advance(11 * SECOND);
    bench.fake.fail_pings(FaultKind::Lost, 1);
    assert!(bench.lends_now().is_none(), "it failed its check");
    bench.fake.fail_pings(FaultKind::Lost, 1);
    let mut lent = bench.lends();
    assert_eq!((id(&mut lent), bench.fake.counts().pings), (5, 2));
    drop(lent);
    let all = [bench.lends(), bench.lends(), bench.lends()];
    assert_eq!(bench.fake.counts().pings, 4, "the fresh one is above suspicion, the others are not");
    drop(all);
    drop([bench.lends(), bench.lends(), bench.lends()]);
    assert_eq!(bench.fake.counts().pings, 4);
}

#[test]
fn an_opening_ahead_that_fails_is_tried_again_after_longer_and_longer_pauses() {
    let config = PoolConfig { strategy: PoolStrategy::Fixed, initial_connections: 2, ..PoolConfig::default() };
    let bench = bench(config);
    drop(bench.lends());
    bench.fake.fail_connects(FaultKind::Storage, 1_000);
    bench.clock.advance(SECOND);
    let attempts = |span: Duration| {
        let before = bench.fake.counts().connects;
        (0..1_000).for_each(|_| bench.clock.advance(span / 1_000));
        bench.fake.counts().connects - before
    };
    let first = attempts(SECOND);
    assert!((4..=9).contains(&first), "{first}");
    attempts(9 * SECOND);
    let later = attempts(100 * SECOND);
    assert!((20..=40).contains(&later), "at most every 2.5 seconds: {later}");
    bench.fake.fail_connects(FaultKind::Storage, 0);
    attempts(6 * SECOND);
    assert_eq!(bench.figures(), [2, 0, 0, 0]);
}

#[test]
fn what_the_clock_closes_is_closed_by_the_workers() {
    let (fake, clock, later) = (Fake::new(), TestClock::new(), Later::default());
    let config = PoolConfig { idle_timeout: 10 * SECOND, ..PoolConfig::untended() };
    let parts = PoolParts { workers: Arc::new(later.clone()), ..parts(&clock) };
    let bench = Bench { pool: Pool::new(Arc::new(fake.clone()), config, parts), fake, clock };
    drop(bench.lends());
    bench.clock.advance(11 * SECOND);
    assert_eq!((bench.figures(), bench.fake.counts().open()), ([0; 4], 1), "its place is free, whatever closing takes");
    later.take().expect("closing is left to the workers")();
    assert_eq!(bench.fake.counts().open(), 0);
}

#[test]
fn a_loan_that_lasts_too_long_is_reported_once_with_its_place() {
    let (clock, told) = (TestClock::new(), Arc::new(Told::about(Interest::CONNECTIONS)));
    let parts = PoolParts { observer: told.clone(), workers: Arc::new(Inline), ..parts(&clock) };
    let config = PoolConfig { leak_threshold: 10 * SECOND, ..PoolConfig::untended() };
    let bench = Bench { pool: Pool::new(Arc::new(Fake::new()), config, parts), fake: Fake::new(), clock };
    let short = bench.lends();
    let leaked = bench.lends();
    let from = format!("{}:{}:", file!(), line!() - 1);
    drop(short);
    told.take();
    (0..100).for_each(|_| bench.clock.advance(SECOND));
    let story = told.take();
    assert!(
        story.len() == 1 && story[0].starts_with("main overdue after 10s from ") && story[0].contains(&from),
        "{story:?}"
    );
    drop(leaked);
    let again = bench.lends();
    bench.clock.advance(20 * SECOND);
    assert_eq!(told.take().len(), 1, "another loan is reported again");
    drop(again);
}

#[test]
fn openings_that_take_long_are_taken_over_from_the_callers() {
    let bench = bench(PoolConfig { max_connections: 10, ..PoolConfig::untended() });
    bench.fake.slow_connects(150 * MILLISECOND, &bench.clock);
    let first = bench.lends();
    assert_eq!(bench.fake.counts().connects, 1, "nobody knew that it takes long");
    let mut waiting: Vec<_> = (0..3).map(|_| bench.asks()).collect();
    assert!(waiting[0].poll().is_pending());
    assert_eq!((bench.fake.counts().connects, waiting[0].rings()), (2, 1), "opened by the worker, and handed over");
    drop(waiting);
    assert_eq!(bench.figures(), [1, 1, 0, 0], "whoever goes away leaves a connection behind");
    drop(first);
}

#[test]
fn an_opening_that_fails_in_the_background_leaves_opening_to_the_callers() {
    let bench = bench(PoolConfig { max_connections: 2, ..PoolConfig::untended() });
    bench.fake.slow_connects(150 * MILLISECOND, &bench.clock);
    let held = bench.lends();
    bench.fake.fail_connects(FaultKind::Storage, 2);
    let mut waiting = bench.asks();
    assert!(waiting.poll().is_pending());
    assert_eq!(waiting.rings(), 1);
    assert_eq!(waiting.refused().fault().unwrap().kind, FaultKind::Storage, "it hears the reason");
    assert_eq!(bench.figures(), [0, 1, 0, 0]);
    drop(held);
}

#[test]
fn a_worker_that_meets_a_panic_goes_on() {
    use crate::rough::{Moment, Rough};
    let (rough, clock) = (Rough::default(), TestClock::new());
    let parts = PoolParts { workers: Arc::new(Inline), ..parts(&clock) };
    let config = PoolConfig { initial_connections: 3, strategy: PoolStrategy::Fixed, ..PoolConfig::default() };
    let pool = Pool::new(Arc::new(rough.clone()), config, parts);
    drop(ecm_core::block_on(pool.lend(Loan::Read, Time::START, Time::NEVER)).unwrap());
    rough.fails_at(&[Moment::Connect]);
    clock.advance(SECOND);
    assert_eq!((pool.status().open, pool.status().opening), (1, 0));
    (0..10).for_each(|_| clock.advance(SECOND));
    assert_eq!((pool.status().idle, pool.status().opening), (3, 0));
    assert_eq!(rough.fake.counts().open(), 3);
}

#[test]
fn each_connection_is_used_in_its_turn_where_all_are_to_be_used_alike() {
    let bench = bench(PoolConfig { strategy: PoolStrategy::Balanced, ..PoolConfig::untended() });
    lends_all(&bench, 3);
    let order: Vec<_> = (0..6).map(|_| id(&mut bench.lends())).collect();
    assert_eq!(order[..3].iter().collect::<BTreeSet<_>>().len(), 3, "{order:?}");
    assert_eq!(order[..3], order[3..]);
}

#[test]
fn a_pool_takes_another_strategy_while_it_runs() {
    let bench = bench(PoolConfig { max_connections: 3, ..PoolConfig::untended() });
    lends_all(&bench, 3);
    let same: BTreeSet<_> = (0..6).map(|_| id(&mut bench.lends())).collect();
    assert_eq!(same.len(), 1);
    let strategy = PoolStrategy::Balanced;
    bench.pool.reconfigure(PoolConfig { max_connections: 3, strategy, ..PoolConfig::untended() }).unwrap();
    let each: BTreeSet<_> = (0..6).map(|_| id(&mut bench.lends())).collect();
    assert_eq!(each.len(), 3);
}

#[test]
fn a_conserving_pool_lets_callers_queue_before_it_grows() {
    let bench = bench(PoolConfig { strategy: PoolStrategy::ResourceConserving, ..PoolConfig::untended() });
    let held = bench.lends();
    let waiting = [bench.waits(), bench.waits()];
    assert_eq!(bench.status().open, 1);
    let third = bench.waits();
    assert_eq!((bench.status().open, waiting[0].rings()), (2, 1), "the first in the queue opens it");
    drop(held);
    drop(waiting.map(|asked| asked.served()));
    drop(third.served());
}

#[test]
fn a_pool_that_adapts_follows_a_load_that_rises_and_falls() {
    let bench = bench(PoolConfig { idle_timeout: SECOND, connection_warming: true, ..PoolConfig::untended() });
    bench.pool.reconfigure(PoolConfig { idle_timeout: SECOND, ..PoolConfig::untended() }).unwrap();
    let parts = PoolParts { workers: Arc::new(Inline), ..parts(&bench.clock) };
    let config = PoolConfig {
        strategy: PoolStrategy::Adaptive,
        connection_warming: true,
        idle_timeout: SECOND,
        ..PoolConfig::untended()
    };
    let bench =
        Bench { pool: Pool::new(Arc::new(bench.fake.clone()), config, parts), fake: bench.fake, clock: bench.clock };
    // Each tenth of a second so many loans of 0.1 seconds begin together.
    let seconds = |number: usize, at_once: usize| {
        for _ in 0..10 * number {
            let lent: Vec<_> = (0..at_once).map(|_| bench.lends()).collect();
            bench.clock.advance(100 * MILLISECOND);
            drop(lent);
        }
        bench.status().open
    };
    let calm = seconds(20, 2);
    assert!((2..=6).contains(&calm), "{calm}");
    let busy = seconds(20, 20);
    assert!((20..=30).contains(&busy), "{busy}");
    let opened = bench.status().opened;
    assert_eq!(seconds(60, 20), busy);
    assert_eq!(bench.status().opened, opened, "a steady load opens nothing");
    let calm = seconds(120, 2);
    assert!((2..=6).contains(&calm), "{calm}");
}

#[test]
fn a_connection_that_is_much_slower_than_the_others_is_replaced() {
    let bench = bench(PoolConfig { validation_interval: 10 * SECOND, ..PoolConfig::untended() });
    let slow = id(&mut bench.lends());
    // One loan in 64 is timed.
    for _ in 0..4 * 64 {
        let all = [bench.lends(), bench.lends(), bench.lends()];
        bench.clock.advance(MILLISECOND / 4);
        let all = all.map(|mut lent| (id(&mut lent), lent));
        let (first, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(id, _)| *id == slow);
        drop(others);
        bench.clock.advance(10 * MILLISECOND);
        assert_eq!(bench.status().open, 3, "it is not judged by a few loans");
        drop(first);
    }
    bench.clock.advance(10 * SECOND);
    let mut left = [bench.lends_now().unwrap(), bench.lends_now().unwrap()];
    assert!(bench.lends_now().is_none());
    assert!(left.iter_mut().all(|lent| id(lent) != slow));
}

#[test]
fn a_connection_that_is_slower_than_the_others_is_lent_last_until_it_is_judged_anew() {
    let bench = bench(PoolConfig { validation_interval: 60 * SECOND, ..PoolConfig::untended() });
    let slow = id(&mut bench.lends());
    for _ in 0..16 * 64 {
        let all = [bench.lends(), bench.lends(), bench.lends()].map(|mut lent| (id(&mut lent), lent));
        bench.clock.advance(MILLISECOND);
        let (first, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(id, _)| *id == slow);
        drop(others);
        bench.clock.advance(4 * MILLISECOND);
        // Given back last, it is the one that this thread would be lent first.
        drop(first);
    }
    assert_eq!(id(&mut bench.lends()), slow, "until the pool is looked after");
    bench.clock.advance(60 * SECOND);
    let mut lent = [bench.lends_now().unwrap(), bench.lends_now().unwrap(), bench.lends_now().unwrap()];
    assert_eq!(id(&mut lent[2]), slow, "the last one, but it is lent");
    assert_eq!(bench.figures(), [0, 3, 0, 0], "and not replaced");
    drop(lent);
    assert!((0..3).all(|_| id(&mut bench.lends()) != slow));
    bench.clock.advance(10 * SECOND);
    let (mut others, mut last) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let mut lent = bench.lends();
        if id(&mut lent) == slow { &mut last } else { &mut others }.push(lent);
    }
    drop(others);
    drop(last);
    assert_eq!(id(&mut bench.lends()), slow, "it is lent like the others again");
}

#[derive(Debug)]
struct Greedy;

impl Sizing for Greedy {
    fn target(&self, load: &PoolLoad, _now: Time) -> Target {
        Target::up_to(u32::MAX).warm(load.max_connections * 2).linger(Duration::ZERO)
    }
}

#[test]
fn no_strategy_brings_a_pool_beyond_its_configuration() {
    let clock = TestClock::new();
    let parts = PoolParts { workers: Arc::new(Inline), sizing: Some(Box::new(Greedy)), ..parts(&clock) };
    let config = PoolConfig { max_connections: 4, ..PoolConfig::default() };
    let fake = Fake::new();
    let bench = Bench { pool: Pool::new(Arc::new(fake.clone()), config, parts), fake, clock };
    drop(bench.lends());
    (0..10).for_each(|_| bench.clock.advance(SECOND));
    assert_eq!(bench.figures(), [4, 0, 0, 0]);
    let mut lent = bench.lends();
    lent.db().leave(CheckIn::Discard);
    drop(lent);
    bench.clock.advance(1_000 * SECOND);
    assert_eq!((bench.figures(), bench.clock.now() > Time::START), ([4, 0, 0, 0], true));
}

#[test]
fn where_no_worker_can_be_had_callers_open_for_themselves() {
    #[derive(Debug)]
    struct Nobody;
    impl ecm_pool::Workers for Nobody {
        fn run(&self, _: Box<dyn FnOnce() + Send>) -> bool {
            false
        }
    }
    let (fake, clock) = (Fake::new(), TestClock::new());
    let parts = PoolParts { workers: Arc::new(Nobody), ..parts(&clock) };
    let config = PoolConfig { max_connections: 4, ..PoolConfig::untended() };
    let pool = Pool::new(Arc::new(fake.clone()), config, parts);
    let bench = Bench { fake, clock, pool };
    bench.fake.slow_connects(150 * MILLISECOND, &bench.clock);
    let first = bench.lends();
    let mut second = bench.asks();
    let at_once = second.poll();
    assert!(at_once.is_ready() || second.rings() == 1, "nobody opens for it");
    drop((at_once, second, first));
}

#[test]
fn the_ring_of_a_tending_alarm_that_was_replaced_does_not_use_up_the_next_one() {
    let clock = Arc::new(crate::revoked::Repeating::default());
    let parts = PoolParts {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        workers: Arc::new(Inline),
        ..parts(clock.test_clock())
    };
    let config = PoolConfig { idle_timeout: 10 * SECOND, ..PoolConfig::untended() };
    let fake = Fake::new();
    let pool = Pool::new(Arc::new(fake.clone()), config.clone(), parts);
    drop(ecm_core::block_on(pool.lend(Loan::Read, clock.now(), Time::NEVER)).unwrap());
    let ringing = clock.last().unwrap();
    pool.reconfigure(PoolConfig { idle_timeout: 9 * SECOND, ..config }).unwrap();
    ringing.wake();
    (0..100).for_each(|_| clock.test_clock().advance(SECOND));
    assert_eq!(fake.counts().open(), 0, "nothing looks after the pool any more");
}
