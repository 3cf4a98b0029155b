//! Connections that do worse than the others: they are lent less, and replaced.

use crate::support::{Bench, Inline, MILLISECOND, SECOND, Told, id, parts};
use ecm_core::{
    Interest, PoolLoad, Sizing, Target, Time,
    testing::{Fake, TestClock},
};
use ecm_pool::{Pool, PoolConfig, PoolParts};
use std::{sync::Arc, time::Duration};

const FAILED: &str = "main demoted: its loans failed one after the other";
const SLOW: &str = "main demoted: it is slower than the others";

/// Keeps what is configured, and has the pool looked at every second.
#[derive(Debug)]
struct Looks;

impl Sizing for Looks {
    fn target(&self, load: &PoolLoad, _now: Time) -> Target {
        Target::up_to(load.max_connections).warm(load.min_connections)
    }

    fn period(&self) -> Option<Duration> {
        Some(SECOND)
    }
}

/// Three connections that are kept, and a look at them every second.
fn bench() -> (Bench, Arc<Told>) {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let told = Arc::new(Told::about(Interest::CONNECTIONS));
    let parts =
        PoolParts { workers: Arc::new(Inline), observer: told.clone(), sizing: Some(Box::new(Looks)), ..parts(&clock) };
    let config = PoolConfig {
        min_connections: 3,
        max_connections: 6,
        initial_connections: 3,
        connection_warming: true,
        ..PoolConfig::untended()
    };
    let pool = Pool::new(Arc::new(fake.clone()), config, parts);
    let bench = Bench { fake, clock, pool };
    drop(bench.lends());
    bench.clock.advance(SECOND);
    assert_eq!(bench.figures(), [3, 0, 0, 0]);
    told.take();
    (bench, told)
}

fn fails(bench: &Bench, times: usize) -> u64 {
    let mut failed = 0;
    for _ in 0..times {
        let mut lent = bench.lends();
        lent.report_fault();
        failed = id(&mut lent);
    }
    failed
}

/// Lends one connection and no other, whichever is lent first.
fn fails_alone(bench: &Bench, bad: u64, times: usize) {
    for _ in 0..times {
        let mut others = Vec::new();
        loop {
            let mut lent = bench.lends();
            if id(&mut lent) == bad {
                lent.report_fault();
                break;
            }
            others.push(lent);
        }
    }
}

#[test]
fn one_whose_loans_fail_in_a_row_is_lent_last() {
    let (bench, told) = bench();
    let bad = fails(&bench, 2);
    assert_eq!((bench.status().demoted, id(&mut bench.lends())), (0, bad), "twice may be chance, and one went well");
    assert_eq!(fails(&bench, 2), bad);
    assert_eq!(bench.status().demoted, 0);
    assert_eq!(fails(&bench, 1), bad);
    assert_eq!((bench.status().demoted, told.take()), (1, vec![FAILED.to_string()]));
    assert!((0..10).all(|_| id(&mut bench.lends()) != bad));
    let mut all = [bench.lends(), bench.lends(), bench.lends()];
    assert_eq!(id(&mut all[2]), bad, "it is lent where no other is left");
    drop(all);
    (0..10).for_each(|_| bench.clock.advance(SECOND));
    assert_eq!((bench.status().demoted, bench.status().replaced), (0, 0), "it gets another chance");
}

#[test]
fn one_that_keeps_failing_is_replaced_by_its_successor() {
    let (bench, told) = bench();
    let bad = fails(&bench, 3);
    fails_alone(&bench, bad, 5);
    assert_eq!((bench.status().replaced, bench.status().open), (0, 3));
    told.take();
    bench.clock.advance(10 * MILLISECOND);
    assert_eq!(told.take(), ["main closed: it failed again and again", "main opened"].map(String::from));
    assert_eq!((bench.figures(), bench.status().replaced, bench.status().demoted), ([3, 0, 0, 0], 1, 0));
    let mut all = [bench.lends(), bench.lends(), bench.lends()];
    assert!(all.iter_mut().all(|lent| id(lent) != bad));
}

#[test]
fn one_that_fails_again_after_its_second_chance_is_replaced() {
    let (bench, _) = bench();
    let bad = fails(&bench, 3);
    (0..11).for_each(|_| bench.clock.advance(SECOND));
    assert_eq!((bench.status().demoted, bench.status().replaced), (0, 0));
    fails_alone(&bench, bad, 3);
    assert_eq!(bench.status().demoted, 1);
    bench.clock.advance(10 * MILLISECOND);
    assert_eq!((bench.status().replaced, bench.status().demoted, bench.figures()), (1, 0, [3, 0, 0, 0]));
}

#[test]
fn where_all_fail_none_of_them_is_the_reason() {
    let (bench, told) = bench();
    for _ in 0..20 {
        let mut all = [bench.lends(), bench.lends(), bench.lends()];
        all.iter_mut().for_each(|lent| lent.report_fault());
    }
    (0..30).for_each(|_| bench.clock.advance(SECOND));
    assert_eq!((bench.status().opened, bench.status().replaced), (3, 0), "{:?}", told.take());
}

#[test]
fn the_only_connection_of_a_pool_is_never_demoted() {
    let bench = Bench::of(1);
    assert_eq!(fails(&bench, 20), 1);
    bench.clock.advance(20 * SECOND);
    assert_eq!((bench.status().demoted, bench.status().opened, bench.clock.alarms()), (0, 1, 0));
}

/// So many timed loans of each of the three connections, of which `odd` lasts so many milliseconds, the others two.
fn works(bench: &Bench, odd: u64, millis: u32, timed: u32) {
    for _ in 0..timed * 64 {
        let all = [bench.lends(), bench.lends(), bench.lends()].map(|mut lent| (id(&mut lent), lent));
        let mut left: Vec<_> = all.into_iter().map(|(id, lent)| (if id == odd { millis } else { 2 }, lent)).collect();
        left.sort_by_key(|(millis, _)| *millis);
        let mut spent = 0;
        for (millis, lent) in left {
            bench.clock.advance(Duration::from_millis((millis - spent).into()));
            spent = millis;
            drop(lent);
        }
    }
}

#[test]
fn one_that_is_slower_is_lent_last_until_it_is_clearly_as_fast_again() {
    let (bench, told) = bench();
    let slow = id(&mut bench.lends());
    works(&bench, slow, 10, 8);
    assert_eq!((bench.status().demoted, told.take()), (1, vec![SLOW.to_string()]));
    assert!(bench.lends_now().is_some_and(|mut lent| id(&mut lent) != slow));
    // Less than three times as slow, but more than half as slow again.
    works(&bench, slow, 4, 16);
    assert_eq!((bench.status().demoted, told.take()), (1, vec![]), "neither this nor that");
    works(&bench, slow, 2, 16);
    assert_eq!(bench.status().demoted, 0);
    assert_eq!((bench.status().replaced, bench.status().opened, told.take()), (0, 3, vec![]));
}

#[test]
fn one_that_is_slow_again_and_again_is_replaced_by_its_successor() {
    let (bench, told) = bench();
    let slow = id(&mut bench.lends());
    works(&bench, slow, 10, 8);
    assert_eq!((bench.status().demoted, bench.status().replaced), (1, 0));
    (0..11).for_each(|_| bench.clock.advance(SECOND));
    assert_eq!((bench.status().demoted, bench.status().open), (0, 3));
    works(&bench, slow, 10, 8);
    bench.clock.advance(SECOND);
    assert_eq!((bench.status().replaced, bench.figures()), (1, [3, 0, 0, 0]));
    let story = told.take();
    assert!(story.contains(&"main closed: it does worse than the others again and again".into()), "{story:?}");
    let mut all = [bench.lends(), bench.lends(), bench.lends()];
    assert!(all.iter_mut().all(|lent| id(lent) != slow));
}
