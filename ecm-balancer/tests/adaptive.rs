//! When the adaptive balancer changes its mind, and when it does not.

mod simulated;

use ecm_balancer::Adaptive;
use ecm_core::{Balancer, testing::TestClock};
use simulated::{Answer, Simulation};
use std::{sync::Arc, time::Duration};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const FAST: Answer = |_| (MILLI, false);
const SLOWER: Answer = |_| (MILLI * 17 / 10, false);
const SLOW: Answer = |_| (4 * MILLI, false);
const SOMETIMES_FAILS: Answer = |call| (MILLI, call % 5 == 0);

fn balancer() -> Adaptive {
    Adaptive::with_clock(Arc::new(TestClock::new()))
}

fn strategy(balancer: &Adaptive) -> String {
    balancer.explain().strategy
}

#[test]
fn it_goes_round_while_all_are_alike_and_idle() {
    let (balancer, mut group) = (balancer(), Simulation::new(&[FAST, SLOWER, FAST]));
    let sent = group.run(&balancer, 2, 20 * SECOND);
    assert!(sent.iter().max().unwrap() - sent.iter().min().unwrap() <= 1, "{sent:?}");
    let explanation = balancer.explain();
    assert_eq!((&*explanation.strategy, explanation.changes.len()), ("adaptive: round_robin", 0));
}

#[test]
fn it_avoids_a_slow_one_until_it_has_seen_it_recover() {
    let (balancer, mut group) = (balancer(), Simulation::new(&[FAST, SLOW, FAST]));
    group.run(&balancer, 6, 10 * SECOND);
    assert_eq!(strategy(&balancer), "adaptive: performance");
    let sent = group.run(&balancer, 6, 10 * SECOND);
    assert!(sent[1] * 3 < sent[0], "{sent:?}");
    assert_eq!(strategy(&balancer), "adaptive: performance", "it is avoided, and therefore little seen");

    group.answers[1] = SLOWER;
    group.run(&balancer, 6, 60 * SECOND);
    assert_eq!(strategy(&balancer), "adaptive: performance", "1.7 times as slow is not alike yet");
    group.answers[1] = FAST;
    group.run(&balancer, 6, 60 * SECOND);
    assert_eq!(strategy(&balancer), "adaptive: least_connections", "{:?}", balancer.explain());
    group.run(&balancer, 1, 10 * SECOND);
    let explanation = balancer.explain();
    assert_eq!(explanation.strategy, "adaptive: round_robin", "{explanation:?}");
    assert_eq!(explanation.changes.len(), 3, "each change once: {explanation:?}");
    assert!(explanation.changes[0].contains("\"node-1\" takes 4.0 times as long as \"node-"), "{explanation:?}");
}

#[test]
fn it_counts_calls_in_flight_where_there_are_many_and_stays_where_it_is_in_between() {
    let (balancer, mut group) = (balancer(), Simulation::new(&[FAST, FAST]));
    group.run(&balancer, 8, 10 * SECOND);
    assert_eq!(strategy(&balancer), "adaptive: least_connections");
    group.run(&balancer, 3, 10 * SECOND);
    assert_eq!(strategy(&balancer), "adaptive: least_connections", "1.5 in each: between the limits");
    group.run(&balancer, 1, 10 * SECOND);
    assert_eq!(strategy(&balancer), "adaptive: round_robin");
    group.run(&balancer, 3, 10 * SECOND);
    assert_eq!(strategy(&balancer), "adaptive: round_robin", "1.5 in each: between the limits");
}

#[test]
fn it_routes_around_failures() {
    let (balancer, mut group) = (balancer(), Simulation::new(&[FAST, SOMETIMES_FAILS]));
    group.run(&balancer, 2, 10 * SECOND);
    let explanation = balancer.explain();
    assert!(
        explanation.changes[0].ends_with("round_robin, now performance: 10.0 % of the calls fail"),
        "{explanation:?}"
    );
    let sent = group.run(&balancer, 2, 10 * SECOND);
    assert!(sent[1] * 20 < sent[0], "{sent:?}");
}

#[test]
fn one_bad_second_changes_nothing() {
    let (balancer, mut group) = (balancer(), Simulation::new(&[FAST, FAST]));
    for _ in 0..10 {
        group.run(&balancer, 2, 3 * SECOND);
        group.answers[1] = SLOW;
        group.run(&balancer, 2, SECOND);
        group.answers[1] = FAST;
        group.rest(60 * SECOND);
    }
    assert_eq!(balancer.explain().changes.len(), 0);
}
