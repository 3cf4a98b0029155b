//! What a pick costs, by the number of databases that are fit.
//!
//! `pick-64` has 64 databases of the same weight; `weighted` gives them different weights, `one
//! unfit` leaves one out. All have been asked before. `settled` is the end of a call, told with its moment: one that
//! is no peak, as nearly all are.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ecm_balancer::{Adaptive, LeastConnections, PeakEwma, Priority, Random, RoundRobin};
use ecm_core::{Balancer, CallKind, Context, Intent, Mask, Node, Sample, Time};
use std::{hint::black_box, time::Duration};

fn nodes(count: usize, weight: impl Fn(usize) -> u32) -> Vec<Node> {
    (0..count).map(|index| Node { weight: weight(index), ..Node::new(format!("node-{index}")) }).collect()
}

fn picks(criterion: &mut Criterion) {
    let balancers: [(&str, Box<dyn Balancer>); 6] = [
        ("peak-ewma", Box::new(PeakEwma::new())),
        ("adaptive", Box::new(Adaptive::new())),
        ("priority", Box::new(Priority::new())),
        ("round-robin", Box::new(RoundRobin::new())),
        ("least-connections", Box::new(LeastConnections::new())),
        ("random", Box::new(Random::with_seed(1))),
    ];
    let intent = Intent::new(CallKind::Read, &Context::NONE);
    for count in [2, 8, 64] {
        let mut group = criterion.benchmark_group(format!("pick-{count}"));
        let (even, weighted) = (nodes(count, |_| 1), nodes(count, |index| 1 + index as u32 % 3));
        let all = Mask::first(count);
        let cases = [("", &even, all), (" weighted", &weighted, all), (" one unfit", &even, all.without(count / 2))];
        for (name, balancer) in &balancers {
            for (case, nodes, fit) in cases {
                // Long enough ago that none of them is new.
                for minutes in 0..2 {
                    let at = Time::from_nanos(1 << 40) + Duration::from_secs(60) * minutes;
                    let sample = Sample::new(Duration::from_millis(1), false).ended(at);
                    (0..count).for_each(|index| balancer.settled(nodes, index, &sample));
                }
                group.bench_function(BenchmarkId::from_parameter(format!("{name}{case}")), |bencher| {
                    bencher.iter(|| balancer.pick(black_box(nodes), black_box(fit), &intent));
                });
            }
        }
        group.finish();
        let mut group = criterion.benchmark_group(format!("settled-{count}"));
        for (name, balancer) in &balancers {
            let (mut turn, at) = (0, Time::from_nanos(1 << 40) + Duration::from_secs(60));
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter(|| {
                    turn = (turn + 1) % count;
                    balancer.settled(&even, turn, black_box(&Sample::new(Duration::from_micros(900), false).ended(at)));
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, picks);
criterion_main!(benches);
