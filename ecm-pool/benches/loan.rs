//! What a loan costs: taken, given back, over connections that do nothing.
//!
//! `cycle-1` is one thread that is never in anybody's way. `threads-8-on-8` has a connection for each
//! thread; `threads-8-on-2` has two for eight, in each setting of fairness, and tells loans a second of
//! all threads together.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ecm_core::{Clock, Loan, SystemClock, Time, block_on, testing::Nothing};
use ecm_pool::{Fairness, Pool, PoolConfig, PoolParts};
use std::{
    hint::black_box,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

const THREADS: u32 = 8;

fn pool(max_connections: u32, fairness: Fairness) -> Arc<Pool<Nothing>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config = PoolConfig { max_connections, fairness, ..PoolConfig::untended() };
    let pool = Pool::new(Arc::new(Nothing), config, PoolParts::new("main", clock));
    let lent: Vec<_> = (0..max_connections)
        .map(|_| block_on(pool.lend(Loan::Read, Time::START, Time::NEVER)).expect("nothing can fail"))
        .collect();
    drop(lent);
    Arc::new(pool)
}

fn cycle(pool: &Pool<Nothing>) {
    match pool.lend_now(Loan::Read, Time::START) {
        Some(lent) => drop(black_box(lent)),
        None => drop(black_box(block_on(pool.lend(Loan::Read, Time::START, Time::NEVER)).expect("it waits"))),
    }
}

/// How long the threads take for so many cycles together.
fn together(pool: &Pool<Nothing>, cycles: u64) -> Duration {
    let each = cycles / u64::from(THREADS) + 1;
    let barrier = Barrier::new(THREADS as usize + 1);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                barrier.wait();
                (0..each).for_each(|_| cycle(pool));
                barrier.wait();
            });
        }
        barrier.wait();
        let began = Instant::now();
        barrier.wait();
        began.elapsed()
    })
}

fn alone(criterion: &mut Criterion) {
    let pool = pool(8, Fairness::Strict);
    let mut group = criterion.benchmark_group("cycle-1");
    group.bench_function("borrowed", |bencher| {
        bencher.iter(|| drop(black_box(pool.lend_now(Loan::Read, Time::START).expect("it is idle"))));
    });
    group.bench_function("owned", |bencher| {
        bencher.iter(|| drop(black_box(pool.lend_owned_now(Loan::Read, Time::START).expect("it is idle"))));
    });
    group.bench_function("awaited", |bencher| {
        bencher.iter(|| drop(black_box(block_on(pool.lend(Loan::Read, Time::START, Time::NEVER)).expect("idle"))));
    });
    group.finish();
}

fn many(criterion: &mut Criterion) {
    let settings = [
        ("strict", Fairness::Strict),
        ("bounded", Fairness::Bounded(Duration::from_micros(500))),
        ("free", Fairness::Free),
    ];
    for (name, connections) in [("threads-8-on-8", 8), ("threads-8-on-2", 2)] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(1));
        for (setting, fairness) in settings {
            let pool = pool(connections, fairness);
            group.bench_function(setting, |bencher| bencher.iter_custom(|cycles| together(&pool, cycles)));
        }
        group.finish();
    }
}

criterion_group!(benches, alone, many);
criterion_main!(benches);
