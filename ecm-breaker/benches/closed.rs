//! What a closed breaker costs a call: admitting it and recording its success.
//!
//! `closed-8` is eight threads on one breaker; its figure is the time that one of them takes for one
//! call. On a machine with fewer processors they take turns, and it is that many times larger.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ecm_breaker::{ConsecutiveFailures, FailureRate};
use ecm_core::{Admission, Breaker, NeverOpen, Time};
use std::{
    hint::black_box,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

const THREADS: usize = 8;

fn call(breaker: &dyn Breaker) {
    let now = black_box(Time::START);
    Admission::ask(breaker, now).expect("it is closed").succeeded(now);
}

/// How long the slowest of the threads takes for so many calls each.
fn together(breaker: &dyn Breaker, calls: u64) -> Duration {
    let start = Barrier::new(THREADS);
    let thread = || {
        start.wait();
        let began = Instant::now();
        (0..calls).for_each(|_| call(breaker));
        began.elapsed()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(thread)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no call panics")).max().unwrap_or_default()
    })
}

fn closed(criterion: &mut Criterion) {
    let breakers: [(&str, Box<dyn Breaker>); 3] = [
        ("none", Box::new(NeverOpen)),
        ("consecutive-failures", Box::new(ConsecutiveFailures::new(5))),
        ("failure-rate", Box::new(FailureRate::new(0.5))),
    ];
    for (name, breaker) in &breakers {
        criterion.benchmark_group("closed-1").bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| call(black_box(&**breaker)));
        });
        criterion.benchmark_group("closed-8").bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|calls| together(&**breaker, calls));
        });
    }
}

criterion_group!(benches, closed);
criterion_main!(benches);
