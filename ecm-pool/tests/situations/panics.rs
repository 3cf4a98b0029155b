//! Whoever panics, and wherever: the place is free afterwards, and the next one is served.

use crate::{
    rough::{
        Moment::{self, CheckIn as AtCheckIn, CheckOut, Close, Connect, Interrupter, Reset},
        Rough,
    },
    support::{Asked, Bench, Inline, SECOND, parts},
};
use ecm_core::{
    CheckIn, Clock, Connection, Event, FaultKind, Interest, Kind, Loan, Observer, Time, testing::TestClock,
};
use ecm_pool::{Lent, Pool, PoolConfig, PoolParts};
use std::{
    future::Future as _,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

struct Hard {
    rough: Rough,
    pool: Pool<Rough>,
}

impl Hard {
    fn new() -> Self {
        Self::of(1)
    }

    fn of(max_connections: u32) -> Self {
        let rough = Rough::default();
        let config = PoolConfig { max_connections, ..PoolConfig::untended() };
        let pool = Pool::new(Arc::new(rough.clone()), config, parts(&TestClock::new()));
        Self { rough, pool }
    }

    fn asks(&self) -> Asked<'_, Rough> {
        Asked::new(self.pool.lend(Loan::Read, Time::START, Time::NEVER))
    }

    fn panics(&self, moments: &[Moment], act: impl FnOnce()) {
        self.rough.fails_at(moments);
        assert!(catch_unwind(AssertUnwindSafe(act)).is_err());
        assert!(self.rough.is_through());
    }

    fn waits(&self) -> Asked<'_, Rough> {
        let mut asked = self.asks();
        assert!(asked.poll().is_pending());
        asked
    }

    /// The pool is as good as new: one connection at most, and somebody gets it.
    fn works(&self, waiting: Asked<'_, Rough>) {
        drop(waiting.served());
        let status = self.pool.status();
        assert_eq!((status.open, status.idle, status.lent, status.opening), (1, 1, 0, 0));
        assert_eq!(self.rough.fake.counts().open(), 1);
        assert_eq!(status.opened - status.closed, 1);
    }
}

#[test]
fn a_borrower_who_panics_gives_back_all_the_same() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let waiting = bench.waits();
    let lost = catch_unwind(AssertUnwindSafe(|| {
        let _held = held;
        panic!("the borrower panics");
    }));
    assert!(lost.is_err());
    drop(waiting.served());
    assert_eq!((bench.figures(), bench.fake.counts().check_ins), ([1, 0, 0, 0], 2));
}

#[test]
fn a_connect_that_panics_frees_its_place() {
    let hard = Hard::new();
    hard.panics(&[Connect], || drop(hard.asks().served()));
    assert_eq!(hard.pool.status().open, 0);
    hard.works(hard.asks());
}

#[test]
fn a_connect_that_panics_lets_the_next_one_open() {
    let hard = Hard::new();
    let held = hard.asks().served();
    let (first, second) = (hard.waits(), hard.waits());
    held.discard();
    hard.panics(&[Connect], || drop(first.served()));
    assert_eq!(second.rings(), 1);
    hard.works(second);
}

#[test]
fn a_fresh_connection_that_panics_frees_its_place() {
    for moment in [Interrupter, CheckOut] {
        let hard = Hard::new();
        hard.panics(&[moment], || drop(hard.asks().served()));
        assert_eq!(hard.pool.status().open, 0, "{moment:?}");
        assert_eq!(hard.rough.fake.counts().open(), 0, "{moment:?}");
        hard.works(hard.asks());
    }
}

#[test]
fn a_pooled_connection_that_panics_when_it_is_lent_is_closed() {
    let hard = Hard::new();
    let held = hard.asks().served();
    let (first, second) = (hard.waits(), hard.waits());
    drop(held);
    hard.panics(&[CheckOut], || drop(first.served()));
    hard.works(second);
    hard.panics(&[CheckOut], || drop(hard.pool.lend_now(Loan::Read, Time::START)));
    assert_eq!(hard.rough.fake.counts().open(), 0);
}

#[test]
fn a_connection_that_panics_when_it_comes_back_is_closed() {
    for moments in [&[AtCheckIn][..], &[Reset], &[AtCheckIn, Close], &[Reset, Close]] {
        let hard = Hard::new();
        let mut held = hard.asks().served();
        held.db().leave(CheckIn::Reset);
        let waiting = hard.waits();
        hard.rough.fails_at(moments);
        drop(held);
        assert!(hard.rough.is_through(), "{moments:?}");
        hard.works(waiting);
    }
}

#[test]
fn a_connection_that_panics_while_its_borrower_panics_aborts_nothing() {
    for moments in [&[AtCheckIn][..], &[Reset, Close], &[AtCheckIn, Close]] {
        let hard = Hard::new();
        let mut held = hard.asks().served();
        held.db().leave(CheckIn::Reset);
        let waiting = hard.waits();
        hard.panics(moments, || {
            let _held = held;
            panic!("the borrower panics");
        });
        hard.works(waiting);
    }
}

#[test]
fn a_connection_that_panics_when_it_is_closed_does_not_keep_the_others_open() {
    let rough = Rough::default();
    let pool = Pool::new(Arc::new(rough.clone()), PoolConfig::untended(), parts(&TestClock::new()));
    let lend = || Asked::new(pool.lend(Loan::Read, Time::START, Time::NEVER)).served();
    drop((lend(), lend(), lend()));
    drop([lend(), lend(), lend()]);
    rough.fails_at(&[Close]);
    pool.close();
    assert_eq!((rough.is_through(), rough.fake.counts().open()), (true, 0));
    assert!(ecm_core::block_on(pool.drained(Time::START)));
}

#[derive(Debug, Default)]
struct Touchy(AtomicBool);

impl Observer for Touchy {
    fn interest(&self) -> Interest {
        Interest::CONNECTIONS
    }
    fn event(&self, event: &Event<'_>) {
        assert!(!self.0.load(Ordering::SeqCst), "told to panic: {event:?}");
    }
}

#[test]
fn an_observer_that_panics_costs_no_place() {
    let touchy = Arc::new(Touchy::default());
    let parts = PoolParts { observer: touchy.clone(), ..parts(&TestClock::new()) };
    let config = PoolConfig { max_connections: 1, ..PoolConfig::untended() };
    let rough = Rough::default();
    let hard = Hard { pool: Pool::new(Arc::new(rough.clone()), config, parts), rough };
    touchy.0.store(true, Ordering::SeqCst);
    hard.panics(&[], || drop(hard.asks().served()));
    assert_eq!((hard.pool.status().open, hard.rough.fake.counts().open()), (0, 0));
    touchy.0.store(false, Ordering::SeqCst);

    let held = hard.asks().served();
    let waiting = hard.waits();
    touchy.0.store(true, Ordering::SeqCst);
    hard.panics(&[], || Lent::discard(held));
    touchy.0.store(false, Ordering::SeqCst);
    hard.works(waiting);
}

#[test]
fn an_observer_that_panics_does_not_end_the_care_for_connections() {
    let (clock, touchy, rough) = (TestClock::new(), Arc::new(Touchy::default()), Rough::default());
    let parts = PoolParts { observer: touchy.clone(), workers: Arc::new(Inline), ..parts(&clock) };
    let config = PoolConfig { validation_interval: 10 * SECOND, ..PoolConfig::untended() };
    let pool = Pool::new(Arc::new(rough.clone()), config, parts);
    for panics in [true, false] {
        drop(Asked::new(pool.lend(Loan::Read, clock.now(), Time::NEVER)).served());
        touchy.0.store(panics, Ordering::SeqCst);
        rough.fake.fail_pings(FaultKind::Lost, 1);
        clock.advance(20 * SECOND);
        assert_eq!((pool.status().open, rough.fake.counts().open()), (0, 0));
        touchy.0.store(false, Ordering::SeqCst);
    }
}

#[test]
fn a_connection_that_panics_when_it_is_checked_is_closed_whoever_checks_it() {
    let (rough, clock) = (Rough::default(), TestClock::new());
    let config = PoolConfig {
        max_connections: 2,
        validation_interval: 10 * SECOND,
        validation_bypass: 5 * SECOND,
        ..PoolConfig::untended()
    };
    let parts = PoolParts { workers: Arc::new(Inline), ..parts(&clock) };
    let pool = Pool::new(Arc::new(rough.clone()), config, parts);
    let asks = || Asked::new(pool.lend(Loan::Read, clock.now(), Time::NEVER));
    drop(asks().served());
    clock.advance(6 * SECOND);
    rough.fails_at(&[Moment::Ping]);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(asks().served()))).is_err());
    assert_eq!((pool.status().open, rough.fake.counts().open()), (0, 0));
    drop(asks().served());
    rough.fails_at(&[Moment::Ping]);
    clock.advance(10 * SECOND);
    assert!(rough.is_through());
    assert_eq!((pool.status().open, rough.fake.counts().open()), (0, 0));
    drop(asks().served());
    assert_eq!(pool.status().opened, 3);
}

struct Thorny;

impl Wake for Thorny {
    fn wake(self: Arc<Self>) {
        panic!("told to panic when it is woken");
    }
}

#[test]
fn a_waker_that_panics_keeps_nobody_else_from_being_woken_and_nothing_from_being_closed() {
    let hard = Hard::new();
    drop(hard.asks().served());
    hard.pool.suspend();
    let mut thorny = Box::pin(hard.pool.lend(Loan::Read, Time::START, Time::NEVER));
    let waker = Waker::from(Arc::new(Thorny));
    assert!(thorny.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let second = hard.waits();
    hard.panics(&[], || hard.pool.close());
    assert_eq!(second.rings(), 1);
    assert_eq!((hard.pool.status().open, hard.rough.fake.counts().open()), (0, 0));
    assert_eq!(second.refused().kind(), Kind::Closed);
}

#[test]
fn a_waker_that_panics_costs_no_place_of_the_one_who_wakes_it() {
    let hard = Hard::of(2);
    let held = [hard.asks().served(), hard.asks().served()];
    let mut thorny = Box::pin(hard.pool.lend(Loan::Read, Time::START, Time::NEVER));
    let waker = Waker::from(Arc::new(Thorny));
    assert!(thorny.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    hard.panics(&[], || drop(held));
    assert_eq!((hard.pool.status().lent, hard.pool.status().idle), (1, 1), "one is on its way");
    drop(thorny);
    assert_eq!((hard.pool.status().lent, hard.pool.status().idle), (0, 2));
}
