use crate::support::{Bench, SECOND, Told, id, parts};
use ecm_core::{
    CheckIn, Connection, FaultKind, Interest, Kind, Loan, PoolLoad, Sizing, Target, Time, Transact,
    testing::{Fake, TestClock},
};
use ecm_pool::{Lane, Lending, Lent, Pool, PoolConfig, PoolParts};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn what_must_cross_threads_can() {
    fn sends<T: Send>() {}
    fn shares<T: Send + Sync>() {}
    shares::<Pool<Fake>>();
    shares::<Lane<Fake>>();
    sends::<Lent<'_, Fake>>();
    sends::<Lending<'_, Fake>>();
}

#[test]
fn no_more_than_the_maximum_is_opened() {
    let bench = Bench::of(3);
    let lent = [bench.lends(), bench.lends(), bench.lends()];
    let mut fourth = bench.waits();
    assert_eq!(bench.figures(), [0, 3, 0, 1]);
    drop(lent);
    let fourth = match fourth.poll() {
        std::task::Poll::Ready(answer) => answer.unwrap(),
        std::task::Poll::Pending => panic!("three came back"),
    };
    assert_eq!(bench.figures(), [2, 1, 0, 0]);
    assert_eq!((bench.fake.counts().connects, bench.fake.counts().open()), (3, 3));
    drop(fourth);
    let status = bench.status();
    assert_eq!((status.loans, status.waits, status.opened, status.closed), (4, 1, 3, 0));
}

#[test]
fn the_connection_that_came_back_last_is_lent_first() {
    let bench = Bench::of(3);
    let (a, b, c) = (bench.lends(), bench.lends(), bench.lends());
    drop((a, c, b));
    let mut again = [bench.lends_now().unwrap(), bench.lends_now().unwrap(), bench.lends_now().unwrap()];
    assert_eq!(again.each_mut().map(id), [2, 3, 1]);
}

#[test]
fn asking_without_waiting_never_opens_and_never_waits() {
    let bench = Bench::of(2);
    assert!(bench.lends_now().is_none());
    assert_eq!(bench.fake.counts().connects, 0);
    let lent = bench.lends();
    assert!(bench.lends_now().is_none(), "there is room, but nothing idle");
    drop(lent);
    assert!(bench.lends_now().is_some());
    assert_eq!((bench.fake.counts().connects, bench.status().waiting), (1, 0));
}

#[test]
fn an_idle_connection_that_went_bad_is_closed_instead_of_lent() {
    let bench = Bench::of(2);
    drop(bench.lends());
    bench.fake.fail_check_outs(FaultKind::Lost, 1);
    assert!(bench.lends_now().is_none());
    assert_eq!(bench.figures(), [0, 0, 0, 0]);
    assert_eq!(bench.fake.counts().open(), 0);
    assert_eq!(bench.status().loans, 1);
}

#[test]
fn an_idle_connection_that_went_bad_is_replaced_by_a_fresh_one() {
    let bench = Bench::of(2);
    drop(bench.lends());
    bench.fake.fail_check_outs(FaultKind::Lost, 1);
    assert_eq!(id(&mut bench.lends()), 2);
    assert_eq!((bench.fake.counts().open(), bench.status().loans), (1, 2));

    bench.fake.fail_check_outs(FaultKind::Lost, 2);
    let error = bench.asks().refused();
    assert_eq!(error.fault().unwrap().kind, FaultKind::Lost, "what a fresh connection says is reported");
    assert_eq!(error.database(), Some("main"));
    assert_eq!(bench.figures(), [0, 0, 0, 0]);
    assert_eq!((bench.fake.counts().open(), bench.status().loans), (0, 2));
}

#[test]
fn a_transaction_left_open_does_not_reach_the_next_borrower() {
    let clock = TestClock::new();
    let fake = Fake::new();
    let lane = Lane::new(Arc::new(fake.clone()), PoolConfig::untended(), parts(&clock));
    let lend = || ecm_core::block_on(lane.pool().lend(Loan::Write, Time::START, Time::NEVER)).unwrap();
    let mut writer = lend();
    writer.begin(ecm_core::Durability::Configured).unwrap();
    writer.tx().set("a", 1).unwrap();
    drop(writer);
    assert_eq!(fake.counts().resets, 1);
    assert_eq!(lend().db().get("a").unwrap(), None);
    assert_eq!(fake.counts().connects, 1);
}

#[test]
fn a_connection_that_cannot_be_reset_is_closed() {
    let bench = Bench::of(1);
    let mut lent = bench.lends();
    lent.db().leave(CheckIn::Reset);
    bench.fake.fail_resets(FaultKind::Storage, 1);
    drop(lent);
    assert_eq!((bench.fake.counts().resets, bench.fake.counts().open(), bench.status().open), (1, 0, 0));
    let mut next = bench.lends();
    next.db().leave(CheckIn::Reset);
    drop(next);
    assert_eq!((bench.fake.counts().resets, bench.figures()), (2, [1, 0, 0, 0]));
}

#[test]
fn a_pool_that_goes_leaves_nothing_open() {
    let bench = Bench::of(3);
    drop((bench.lends(), bench.lends()));
    let Bench { fake, pool, .. } = bench;
    assert_eq!(fake.counts().open(), 2);
    drop(pool);
    assert_eq!(fake.counts().open(), 0);
}

#[derive(Debug)]
struct AtMost(u32);

impl Sizing for AtMost {
    fn target(&self, load: &PoolLoad, _now: Time) -> Target {
        assert!(load.max_connections > 0);
        Target::up_to(self.0)
    }
}

#[test]
fn a_sizing_strategy_keeps_the_pool_small_but_never_empty() {
    for (most, max_connections, expected) in [(2, 5, 2), (0, 5, 1), (9, 3, 3)] {
        let (fake, clock) = (Fake::new(), TestClock::new());
        let config = PoolConfig { max_connections, ..PoolConfig::untended() };
        let parts = PoolParts { sizing: Some(Box::new(AtMost(most))), ..parts(&clock) };
        let pool = Pool::new(Arc::new(fake.clone()), config, parts);
        let bench = Bench { fake, clock, pool };
        let lent: Vec<_> = (0..expected).map(|_| bench.lends()).collect();
        let waiting = bench.waits();
        assert_eq!(bench.status().open, expected);
        drop(lent);
        drop(waiting.served());
    }
}

#[test]
fn an_observer_is_told_of_openings_and_closings_only_if_it_wants_to() {
    let story = |interest| {
        let (clock, told) = (TestClock::new(), Arc::new(Told::about(interest)));
        let parts = PoolParts { observer: told.clone(), ..parts(&clock) };
        let pool = Pool::new(Arc::new(Fake::new()), PoolConfig::untended(), parts);
        ecm_core::block_on(pool.lend(Loan::Read, Time::START, Time::NEVER)).unwrap().discard();
        drop(ecm_core::block_on(pool.lend(Loan::Read, Time::START, Time::NEVER)).unwrap());
        drop(pool.lend_now(Loan::Read, Time::START).unwrap());
        pool.close();
        drop(pool);
        told.take()
    };
    let expected =
        ["main opened", "main closed: its borrower discarded it", "main opened", "main closed: the pool is closed"];
    assert_eq!(story(Interest::CONNECTIONS), expected);
    assert!(story(Interest::ALL.wants(Interest::CALLS).then_some(Interest::CALLS).unwrap()).is_empty());
}

#[test]
#[should_panic(expected = "max_connections = 0 is not acceptable: between 1 and 10000")]
fn an_unchecked_configuration_is_no_pool() {
    let _bench = Bench::of(0);
}

#[test]
fn the_oldest_loan_is_told() {
    let bench = Bench::of(2);
    assert_eq!(bench.status().oldest_loan, None);
    let first = bench.lends();
    bench.clock.advance(3 * SECOND);
    let _second = bench.lends();
    assert_eq!(bench.status().oldest_loan, Some(3 * SECOND));
    drop(first);
    assert_eq!(bench.status().oldest_loan, Some(Duration::ZERO));
}

#[test]
fn opening_fails_as_the_backend_classifies_it() {
    let bench = Bench::of(1);
    bench.fake.fail_connects(FaultKind::Storage, 1);
    let error = bench.asks().refused();
    assert!(matches!(error.kind(), Kind::Fault(fault) if fault.kind == FaultKind::Storage));
    assert_eq!(error.to_string(), "database \"main\": told to fail: the storage failed");
    assert_eq!(bench.figures(), [0, 0, 0, 0]);
    drop(bench.lends());
}
