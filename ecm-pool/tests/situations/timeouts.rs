use crate::support::{Asked, Bench, MILLISECOND, SECOND};
use ecm_core::{Clock, FaultKind, Kind, Loan, Stage, Time, block_on, testing::FakeError};
use ecm_pool::PoolConfig;
use std::time::Duration;
use std::{error::Error as _, thread};

#[test]
fn a_wait_that_was_in_vain_tells_how_the_pool_stands() {
    let bench =
        Bench::configured(PoolConfig { max_connections: 2, connection_timeout: 5 * SECOND, ..PoolConfig::untended() });
    let _held = bench.lends();
    let from = format!("{}:{}", file!(), line!() - 1);
    bench.clock.advance(SECOND);
    let _other = bench.lends();
    let waiting = bench.waits();
    let _behind = bench.waits();
    bench.clock.advance(5 * SECOND - MILLISECOND);
    assert_eq!(waiting.rings(), 0);
    bench.clock.advance(MILLISECOND);
    assert_eq!(waiting.rings(), 1);
    let error = waiting.refused();
    assert_eq!(error.kind(), Kind::Timeout(Stage::Wait));
    let message = error.to_string();
    let (message, column) = message.rsplit_once(':').unwrap();
    assert!(column.parse::<u32>().is_ok(), "{column}");
    assert_eq!(
        message,
        format!(
            "database \"main\": gave up after 5.0s waiting for a connection: 2 of at most 2 connections are open, \
             0 idle, 2 lent, 0 being opened, 2 waiting; the oldest loan has lasted 6.0s, made at {from}"
        )
    );
    let status = bench.status();
    assert_eq!((status.waits, status.timeouts, status.waiting), (2, 1, 1));
}

#[test]
fn a_wait_that_was_in_vain_names_the_last_failure_to_open() {
    let bench = Bench::of(2);
    let held = bench.lends();
    bench.fake.fail_connects(FaultKind::Storage, 1);
    drop(bench.asks().refused());
    bench
        .pool
        .reconfigure(PoolConfig { max_connections: 1, connection_timeout: SECOND, ..PoolConfig::untended() })
        .unwrap();
    let waiting = bench.waits();
    bench.clock.advance(SECOND);
    let message = waiting.refused().to_string();
    assert!(message.ends_with("the last attempt to open one failed: told to fail: the storage failed"), "{message}");
    held.discard();
    drop(bench.lends());
    let _held = bench.lends();
    let waiting = bench.waits();
    bench.clock.advance(SECOND);
    assert!(!waiting.refused().to_string().contains("failed"), "opening has worked since");
}

#[test]
fn without_a_timeout_nobody_waits_but_connections_are_opened() {
    let bench = Bench::configured(PoolConfig {
        max_connections: 1,
        connection_timeout: Duration::ZERO,
        ..PoolConfig::untended()
    });
    let held = bench.lends();
    let error = bench.asks().refused();
    assert_eq!(error.kind(), Kind::Timeout(Stage::Wait));
    let status = bench.status();
    assert_eq!((status.waits, status.timeouts, status.waiting), (0, 1, 0));
    drop(held);
    drop(bench.lends());
    assert_eq!(bench.clock.alarms(), 0);
}

#[test]
fn the_deadline_of_a_call_cuts_the_timeout_short() {
    let bench = Bench::of(1);
    let _held = bench.lends();
    let mut asked = Asked::new(bench.pool.lend(Loan::Read, Time::START, Time::START + SECOND));
    assert!(asked.poll().is_pending());
    bench.clock.advance(SECOND);
    assert_eq!(asked.refused().kind(), Kind::Timeout(Stage::Wait));
    let late = Asked::new(bench.pool.lend(Loan::Read, bench.clock.now(), Time::START + SECOND));
    assert_eq!(late.refused().kind(), Kind::Timeout(Stage::Wait));
}

#[test]
fn a_connection_that_comes_at_the_last_moment_is_taken() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let waiting = bench.waits();
    drop(held);
    bench.clock.advance(3600 * SECOND);
    drop(waiting.served());
    assert_eq!(bench.status().timeouts, 0);
}

#[test]
fn an_open_is_not_begun_for_one_whose_time_is_over() {
    let bench = Bench::of(1);
    let held = bench.lends();
    let first = bench.waits();
    held.discard();
    bench.clock.advance(3600 * SECOND);
    let second = bench.waits();
    assert_eq!(first.refused().kind(), Kind::Timeout(Stage::Wait));
    assert_eq!(bench.fake.counts().connects, 1);
    drop(second.served());
    assert_eq!(bench.fake.counts().connects, 2);
}

#[test]
fn an_open_that_fails_after_the_deadline_is_a_timeout_of_opening() {
    let bench = Bench::of(1);
    bench.fake.fail_connects(FaultKind::Storage, 1);
    let hold = bench.fake.hold_connects();
    let error = thread::scope(|scope| {
        let asking = scope.spawn(|| block_on(bench.pool.lend(Loan::Read, Time::START, Time::START + SECOND)));
        bench.fake.wait_for_hanging(1);
        assert_eq!(bench.figures(), [0, 0, 1, 0]);
        bench.clock.advance(2 * SECOND);
        drop(hold);
        asking.join().unwrap().unwrap_err()
    });
    assert_eq!(error.kind(), Kind::Timeout(Stage::Open));
    assert_eq!(
        error.to_string(),
        "database \"main\": gave up after 2.0s opening a connection: 1 of at most 1 connections are open, 0 idle, \
         0 lent, 1 being opened, 0 waiting; an opening has lasted 2.0s; \
         the last attempt to open one failed: told to fail: the storage failed"
    );
    assert_eq!(error.source().unwrap().downcast_ref(), Some(&FakeError::new(FaultKind::Storage)));
    assert_eq!(bench.figures(), [0, 0, 0, 0]);
}

#[test]
fn an_open_that_is_late_but_works_is_lent() {
    let bench = Bench::of(1);
    let hold = bench.fake.hold_connects();
    thread::scope(|scope| {
        let asking = scope.spawn(|| block_on(bench.pool.lend(Loan::Read, Time::START, Time::START + SECOND)));
        bench.fake.wait_for_hanging(1);
        bench.clock.advance(2 * SECOND);
        drop(hold);
        drop(asking.join().unwrap().unwrap());
    });
    assert_eq!(bench.figures(), [1, 0, 0, 0]);
}

#[test]
fn a_thread_that_waits_in_vain_is_woken_by_the_clock_alone() {
    let bench = Bench::of(1);
    let _held = bench.lends();
    let error = thread::scope(|scope| {
        let asking = scope.spawn(|| block_on(bench.pool.lend(Loan::Read, Time::START, Time::NEVER)).map(drop));
        bench.clock.wait_for_alarms(1);
        bench.clock.advance(30 * SECOND);
        asking.join().unwrap().unwrap_err()
    });
    assert_eq!(error.kind(), Kind::Timeout(Stage::Wait));
    assert_eq!(bench.clock.alarms(), 0);
}

#[test]
fn one_who_comes_after_its_deadline_is_lent_what_is_idle_but_opens_nothing() {
    let bench = Bench::of(1);
    bench.clock.advance(2 * SECOND);
    let late = || Asked::new(bench.pool.lend(Loan::Read, bench.clock.now(), Time::START + SECOND));
    assert_eq!(late().refused().kind(), Kind::Timeout(Stage::Wait));
    let status = bench.status();
    assert_eq!((status.timeouts, status.opening, bench.fake.counts().connects), (1, 0, 0));
    drop(bench.lends());
    drop(late().served());
}

#[test]
fn everybody_hears_in_time_that_its_time_is_over_whoever_came_first() {
    let bench = Bench::of(1);
    let _held = bench.lends();
    let until = |seconds: u32| Time::START + seconds * SECOND;
    let mut asked: Vec<_> =
        [5, 2, 9, 2].map(|seconds| Asked::new(bench.pool.lend(Loan::Read, Time::START, until(seconds)))).into();
    for asked in &mut asked {
        assert!(asked.poll().is_pending());
    }
    let mut rung = Vec::new();
    for second in 1..=9 {
        bench.clock.advance(SECOND);
        rung.push(asked.iter().map(Asked::rings).sum::<usize>());
        assert!(bench.clock.alarms() <= 1, "after {second} s");
    }
    assert_eq!(rung, [0, 2, 2, 2, 3, 3, 3, 3, 4]);
    for asked in asked {
        assert_eq!(asked.refused().kind(), Kind::Timeout(Stage::Wait));
    }
    assert_eq!(bench.clock.alarms(), 0);
}
