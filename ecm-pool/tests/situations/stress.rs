use ecm_core::{Clock, Connection, Loan, PoolStatus, SystemClock, Time, block_on, testing::Fake};
use ecm_pool::{Pool, PoolConfig, PoolParts};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

const THREADS: usize = 8;
const LOANS: usize = 20_000;

#[test]
fn many_threads_on_two_connections_never_share_one() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let fake = Fake::new();
    let config =
        PoolConfig { max_connections: 2, connection_timeout: Duration::from_secs(3600), ..PoolConfig::untended() };
    let pool = Pool::new(Arc::new(fake.clone()), config, PoolParts::new("main", Arc::clone(&clock)));
    let held: Vec<AtomicBool> = (0..10_000).map(|_| AtomicBool::new(false)).collect();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (pool, held) = (&pool, &held);
            scope.spawn(move || {
                for loan in 0..LOANS {
                    let lent = pool.lend_now(Loan::Read, Time::START);
                    let mut lent =
                        lent.unwrap_or_else(|| block_on(pool.lend(Loan::Read, Time::START, Time::NEVER)).unwrap());
                    let id = usize::try_from(lent.db().id()).unwrap();
                    assert!(!held[id].swap(true, Ordering::SeqCst), "connection {id} is lent twice");
                    if loan % 16 == 0 {
                        thread::yield_now();
                    }
                    held[id].store(false, Ordering::SeqCst);
                    if loan % 1_000 == number {
                        lent.discard();
                    }
                }
            });
        }
    });
    let status = pool.status();
    let discarded = (THREADS * LOANS / 1_000) as u64;
    assert_eq!((status.loans, status.timeouts, status.waiting), ((THREADS * LOANS) as u64, 0, 0));
    assert_eq!((status.idle, status.open), (status.open, status.idle));
    assert_eq!((status.closed, status.opened), (discarded, discarded + u64::from(status.open)));
    assert_eq!(fake.counts().open(), u64::from(status.open));
}

#[test]
fn whatever_goes_on_a_scrape_adds_up_and_no_counter_runs_backwards() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config =
        PoolConfig { max_connections: 3, connection_timeout: Duration::from_secs(3600), ..PoolConfig::untended() };
    let pool = Pool::new(Arc::new(Fake::new()), config, PoolParts::new("main", Arc::clone(&clock)));
    let left = AtomicUsize::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for loan in 0..5_000 {
                    let lent = block_on(pool.lend(Loan::Read, clock.now(), Time::NEVER)).unwrap();
                    if loan % 50 == 0 { lent.discard() } else { drop(lent) }
                }
                left.fetch_sub(1, Ordering::SeqCst);
            });
        }
        let mut before = pool.status();
        while left.load(Ordering::SeqCst) > 0 {
            let now = pool.status();
            assert_eq!(now.open, now.idle + now.lent + now.opening, "{now:?}");
            assert!(now.open <= now.max_connections, "{now:?}");
            let counters =
                |status: &PoolStatus| [status.loans, status.waits, status.opened, status.closed, status.failures];
            let ran = counters(&before).into_iter().zip(counters(&now)).all(|(before, now)| before <= now);
            assert!(ran, "{before:?}, then {now:?}");
            before = now;
        }
    });
    let status = pool.status();
    assert_eq!((status.loans, status.closed, status.waiting), (20_000, 400, 0));
}
