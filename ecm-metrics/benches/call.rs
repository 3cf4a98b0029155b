//! What counting a call costs, by the number of databases and of threads.

use criterion::{Criterion, criterion_group, criterion_main};
use ecm_core::{CallKind, CallReport, Context, Event, Observer};
use ecm_metrics::Metrics;
use std::{
    hint::black_box,
    panic::Location,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

fn report<'a>(database: &'a str, took: u64) -> CallReport<'a> {
    let mut report = CallReport::new(CallKind::Query, "default", Location::caller(), &Context::NONE);
    report.database = Some(database);
    report.took = Duration::from_nanos(took);
    report
}

fn told(metrics: &Metrics, report: &CallReport<'_>) {
    metrics.event(black_box(&Event::Call(report)));
}

fn counting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("call");
    let metrics = Metrics::new();
    let (quick, slow) = (report("main", 1_300), report("main", 3_000_000_000));
    group.bench_function("one database", |bencher| bencher.iter(|| told(&metrics, &quick)));
    group.bench_function("one database, 3 s", |bencher| bencher.iter(|| told(&metrics, &slow)));
    let names: Vec<String> = (0..100).map(|number| format!("tenant-{number}")).collect();
    let reports: Vec<_> = names.iter().map(|name| report(name, 1_300)).collect();
    let mut next = reports.iter().cycle();
    group.bench_function("100 databases", |bencher| {
        bencher.iter(|| told(&metrics, next.next().expect("a cycle has no end")));
    });
    let full = Metrics::limited_to(4);
    let mut next = reports.iter().cycle();
    group.bench_function("100 databases, 4 of them by name", |bencher| {
        bencher.iter(|| told(&full, next.next().expect("a cycle has no end")));
    });
    for (name, others) in [("two threads, one database", "main"), ("two threads, a database each", "other")] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let start = Barrier::new(2);
                let timed = |database| {
                    let report = report(database, 1_300);
                    start.wait();
                    let began = Instant::now();
                    (0..count).for_each(|_| told(&metrics, &report));
                    began.elapsed()
                };
                thread::scope(|scope| {
                    let other = scope.spawn(|| timed(others));
                    let mine = timed("main");
                    mine.max(other.join().expect("no thread panics"))
                })
            });
        });
    }
    group.finish();
}

fn scraping(criterion: &mut Criterion) {
    let metrics = Metrics::new();
    (0..10).for_each(|number| told(&metrics, &report(&format!("tenant-{number}"), 1_300)));
    criterion.bench_function("scrape, 10 databases", |bencher| bencher.iter(|| metrics.encode(&[])));
}

fn quickly() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3))
}

criterion_group! { name = benches; config = quickly(); targets = counting, scraping }
criterion_main!(benches);
