//! What a pick costs, by the number of databases that are fit.
//!
//! `pick-64` has 64 databases of the same weight; `weighted` gives them different weights, `one
//! unfit` leaves one out.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ecm_balancer::{LeastConnections, Priority, Random, RoundRobin};
use ecm_core::{Balancer, CallKind, Context, Intent, Mask, Node};
use std::hint::black_box;

fn nodes(count: usize, weight: impl Fn(usize) -> u32) -> Vec<Node> {
    (0..count).map(|index| Node { weight: weight(index), ..Node::new(format!("node-{index}")) }).collect()
}

fn picks(criterion: &mut Criterion) {
    let balancers: [(&str, Box<dyn Balancer>); 4] = [
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
                group.bench_function(BenchmarkId::from_parameter(format!("{name}{case}")), |bencher| {
                    bencher.iter(|| balancer.pick(black_box(nodes), black_box(fit), &intent));
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, picks);
criterion_main!(benches);
