//! Whom the balancer for performance picks, in situations that others get wrong.

mod simulated;

use ecm_balancer::{PeakEwma, PeakEwmaConfig};
use ecm_core::{Balancer, Mask, Node, Sample, Time, testing::TestClock};
use proptest::prelude::*;
use simulated::{Answer, INTENT, Simulation};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// 1 ms, and up to a fifth more.
const FAST: Answer = |call| (MILLI + MILLI / 100 * (call * 7 % 20), false);
const SLOW: Answer = |call| (10 * MILLI + MILLI / 10 * (call * 7 % 20), false);
const SLUGGISH: Answer = |_| (SECOND, false);
const FAILS_AT_ONCE: Answer = |_| (MILLI / 100, true);

fn balancer() -> PeakEwma {
    let config = PeakEwmaConfig { seed: Some(7), ..PeakEwmaConfig::default() };
    PeakEwma::with_config(&config, Arc::new(TestClock::new())).unwrap()
}

fn settled(balancer: &PeakEwma, nodes: &[Node], node: usize, took: Duration, at: Time) {
    balancer.settled(nodes, node, &Sample::new(took, false).ended(at));
}

#[test]
fn those_that_are_alike_share_alike_and_a_slow_one_gets_what_it_can_bear() {
    let mut alike = Simulation::new(&[FAST; 5]);
    let sent = alike.run(&balancer(), 20, 5 * SECOND);
    let mean = sent.iter().sum::<u32>() / 5;
    assert!(sent.iter().all(|&sent| sent < mean * 13 / 10), "{sent:?}");

    let mut one_slow = Simulation::new(&[FAST, FAST, SLOW]);
    let sent = one_slow.run(&balancer(), 12, 5 * SECOND);
    assert!(sent[2] * 8 < sent[0] && sent[2] * 8 < sent[1] && sent[2] > 0, "{sent:?}");
}

#[test]
fn nobody_stampedes_to_one_that_is_new() {
    let (balancer, mut group) = (balancer(), Simulation::new(&[SLOW, SLOW]));
    group.run(&balancer, 16, 20 * SECOND);
    group.join(SLUGGISH);
    let sent = group.run(&balancer, 16, SECOND / 2);
    assert_eq!((sent[2], group.most[2]), (1, 1), "one call finds out how long it takes");

    let (balancer, mut group) = (self::balancer(), Simulation::new(&[SLOW, SLOW]));
    group.run(&balancer, 16, 20 * SECOND);
    group.join(SLOW);
    let at_first = group.run(&balancer, 16, SECOND);
    let share = |sent: &[u32]| f64::from(sent[2]) / f64::from(sent.iter().sum::<u32>());
    assert!(at_first[2] > 0 && share(&at_first) < 0.15, "a tenth of its weight at first: {at_first:?}");
    group.run(&balancer, 16, 10 * SECOND);
    let later = group.run(&balancer, 16, 5 * SECOND);
    assert!((0.25..0.43).contains(&share(&later)), "its share in the end: {later:?}");
}

#[test]
fn nobody_is_slowed_down_where_all_are_new() {
    let nodes = [Node { weight: 3, ..Node::new("a") }, Node::new("b")];
    let (balancer, at) = (balancer(), Time::from_nanos(1 << 40));
    for index in [0, 1] {
        settled(&balancer, &nodes, index, MILLI, at);
    }
    let picked: Vec<_> = std::iter::repeat_with(|| {
        let picked = balancer.pick(&nodes, Mask::first(2), &INTENT).unwrap();
        nodes[picked].load.started();
        picked
    })
    .take(40)
    .collect();
    let heavy = picked.iter().filter(|&&index| index == 0).count();
    assert_eq!(heavy, 30, "three of four, by weight: {picked:?}");
}

#[test]
fn failing_fast_looks_slow_and_whoever_answers_again_comes_back_by_and_by() {
    let (balancer, mut group) = (balancer(), Simulation::new(&[SLOW, SLOW, SLOW]));
    group.run(&balancer, 12, 10 * SECOND);
    group.answers[1] = FAILS_AT_ONCE;
    let sent = group.run(&balancer, 12, 10 * SECOND);
    assert!(sent[1] <= 4, "no more than are sent before the first has failed: {sent:?}");

    group.answers[1] = SLOW;
    // Forgiven as slowly as its penalty decays.
    let mut sent = vec![0; 3];
    for _ in 0..120 {
        sent = group.run(&balancer, 12, SECOND);
        if sent[1] > 0 {
            break;
        }
    }
    let total: u32 = sent.iter().sum();
    assert!(sent[1] > 0 && sent[1] * 6 < total, "a tenth of its weight at first: {sent:?}");
    group.run(&balancer, 12, 12 * SECOND);
    let sent = group.run(&balancer, 12, 5 * SECOND);
    assert!(sent[1] * 4 > sent.iter().sum::<u32>(), "a third in the end: {sent:?}");
}

#[test]
fn after_a_rest_a_slow_one_is_tried_by_one_call_not_by_all() {
    let (balancer, mut group) = (balancer(), Simulation::new(&[FAST, FAST, SLUGGISH]));
    group.run(&balancer, 12, 5 * SECOND);
    group.rest(Duration::from_secs(3_600));
    group.run(&balancer, 12, 5 * SECOND);
    assert!(group.most[2] <= 1, "{} at the same time", group.most[2]);
}

#[test]
fn one_that_was_slow_once_is_tried_again() {
    let (balancer, mut group) = (balancer(), Simulation::new(&[FAST, SLUGGISH]));
    group.run(&balancer, 4, 5 * SECOND);
    group.answers[1] = FAST;
    let waited = (1..200).find(|_| group.run(&balancer, 4, SECOND)[1] > 100);
    let waited = waited.expect("it is tried again some time");
    assert!((20..=100).contains(&waited), "after {waited} s: a thousand times as slow decays for 69 s");
}

#[test]
fn beyond_eight_two_are_compared_and_the_slow_ones_avoided() {
    let answers: Vec<Answer> = (0..20).map(|index| if index < 4 { SLOW } else { FAST }).collect();
    let mut group = Simulation::new(&answers);
    let balancer = balancer();
    group.run(&balancer, 40, 2 * SECOND);
    let sent = group.run(&balancer, 40, 5 * SECOND);
    let (slow, fast): (u32, u32) = (sent[..4].iter().sum(), sent[4..].iter().sum());
    assert!(slow * 25 < fast, "{sent:?}");
    let mean = fast / 16;
    assert!(sent[4..].iter().all(|&sent| sent < mean * 13 / 10), "{sent:?}");
}

#[test]
fn it_tells_why_after_it_was_asked() {
    let (nodes, balancer) = (["a", "b"].map(Node::new), balancer());
    let at = Time::from_nanos(1 << 40);
    for (index, millis) in [(0, 4), (1, 1)] {
        settled(&balancer, &nodes, index, MILLI * millis, at);
    }
    let pick = || balancer.pick(&nodes, Mask::first(2), &INTENT);
    pick();
    assert_eq!(balancer.explain().decisions, [], "nobody had asked");
    pick();
    nodes[1].load.started();
    pick();
    let explanation = balancer.explain();
    assert_eq!(explanation.strategy, "performance");
    let told: Vec<_> = explanation
        .decisions
        .iter()
        .map(|decision| {
            let scores: Vec<_> =
                decision.scores.iter().map(|score| (score.score * 1e3 / 10.0).round() as i64).collect();
            (&*decision.picked, scores)
        })
        .collect();
    // Both are new: ten times their cost, in milliseconds.
    assert_eq!(told, [("b", vec![4, 1]), ("b", vec![4, 2])]);
}

#[test]
fn a_group_of_one_costs_nothing_and_one_that_is_told_no_time_asks_the_clock() {
    let clock = Arc::new(TestClock::new());
    let balancer = PeakEwma::with_clock(Arc::clone(&clock) as Arc<dyn ecm_core::Clock>);
    let nodes = ["a", "b"].map(Node::new);
    balancer.settled(&nodes[..1], 0, &Sample::new(MILLI, false));
    assert_eq!(nodes[0].load.ewma().load(Ordering::Relaxed), 0);
    for index in [0, 1] {
        balancer.settled(&nodes, index, &Sample::new(MILLI * 64, false));
    }
    clock.advance(Duration::from_secs(7));
    balancer.settled(&nodes, 0, &Sample::new(Duration::ZERO, false));
    let [a, b] = [0, 1].map(|index: usize| nodes[index].load.ewma().load(Ordering::Relaxed));
    assert!(a >> 36 < b >> 36, "half of its peak after the half-life");
    assert_eq!(((b >> 36) - (a >> 36)) >> 20, 4, "a doubling is 2^22: {}", (b >> 36) - (a >> 36));
}

proptest! {
    #[test]
    fn among_up_to_eight_it_is_the_cheapest_and_a_pick_changes_nothing(
        loads in proptest::collection::vec((1_u64..1_000, 0_u32..6, 1_u32..4), 2..=8), unfit in any::<u8>(),
    ) {
        let balancer = balancer();
        let at = Time::from_nanos(1 << 40);
        let nodes: Vec<_> = loads.iter().map(|&(_, _, weight)| Node { weight, ..Node::new("node") }).collect();
        for (index, &(millis, pending, _)) in loads.iter().enumerate() {
            settled(&balancer, &nodes, index, Duration::from_millis(millis), at);
            (0..pending).for_each(|_| nodes[index].load.started());
        }
        let fit: Mask = (0..loads.len()).filter(|index| unfit >> index & 1 == 0).collect();
        prop_assume!(!fit.is_empty());
        let words = || nodes.iter().map(|node| node.load.ewma().load(Ordering::Relaxed)).collect::<Vec<_>>();
        let before = words();
        let picked = balancer.pick(&nodes, fit, &INTENT).unwrap();
        prop_assert!(fit.contains(picked));
        prop_assert_eq!(words(), before);
        let cost = |index: usize| {
            let (millis, pending, weight) = loads[index];
            millis as f64 * f64::from(pending + 1) / f64::from(weight)
        };
        for other in fit.iter() {
            prop_assert!(cost(picked) <= cost(other) * 1.0001, "{picked} instead of {other}: {loads:?}");
        }
    }
}
