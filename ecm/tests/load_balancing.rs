//! How reads are spread by the strategy that a configuration names, and what people can do about breakers.
#![cfg(feature = "standard")]

use ecm::{
    ConnectionManager, Database, Kind, LoadBalanceStrategy, ManagerConfig,
    balancer::{Adaptive, PeakEwma, PreferTag, RoundRobin},
    breaker::{FailureRate, FailureRateConfig, Mode},
    core::{
        Balancer, Breaker, BreakerState, FaultKind,
        testing::{Fake, TestClock},
    },
};
use std::{sync::Arc, time::Duration};

const MILLI: Duration = Duration::from_millis(1);

/// A primary and two copies of different priority, on a clock that stands still unless a read moves it.
fn three(strategy: LoadBalanceStrategy) -> (TestClock, ecm::Builder<Fake>) {
    let clock = TestClock::new();
    let database = |name: &str, priority| Database::new(name, Fake::new()).read_only(name != "a").priority(priority);
    let config = ManagerConfig { load_balance_strategy: strategy, enable_metrics: false, ..ManagerConfig::default() };
    let builder = ConnectionManager::<Fake>::builder_for().configure(&config).clock(clock.clone());
    (clock, builder.database(database("a", 0)).database(database("b", 2)).database(database("c", 1)))
}

/// Reads, of which those of a database take so long by the clock; how many each has answered.
fn reads(manager: &ConnectionManager<Fake>, clock: &TestClock, count: u32, millis: [u32; 3]) -> [u64; 3] {
    let calls = || {
        let status = manager.status();
        ["a", "b", "c"].map(|name| status.database(name).unwrap().calls)
    };
    let before = calls();
    for _ in 0..count {
        manager
            .read(|db| {
                let pending = |name: &str| manager.status().database(name).unwrap().pending;
                let serving = ["a", "b", "c"].into_iter().position(|name| pending(name) > 0).unwrap();
                clock.advance(MILLI * millis[serving]);
                Ok(db.get("x")?)
            })
            .wait()
            .unwrap();
    }
    let after = calls();
    [0, 1, 2].map(|index: usize| after[index] - before[index])
}

#[test]
fn by_default_the_one_that_answers_first_serves() {
    assert_eq!(ManagerConfig::default().load_balance_strategy, LoadBalanceStrategy::Performance);
    let (clock, builder) = three(LoadBalanceStrategy::default());
    assert!(builder.wiring().contains(&("balancer", "PeakEwma".to_owned())), "{builder:?}");
    let manager = builder.build().unwrap();
    let [a, b, c] = reads(&manager, &clock, 300, [8, 2, 9]);
    assert!(b > 250 && a > 0 && c > 0, "{a} {b} {c}");
}

#[test]
fn each_word_acts_and_another_one_while_running() {
    let (clock, builder) = three(LoadBalanceStrategy::RoundRobin);
    let manager = builder.build().unwrap();
    assert_eq!(reads(&manager, &clock, 30, [8, 2, 9]), [10, 10, 10]);
    manager.apply("load_balance_strategy", "priority").unwrap();
    assert_eq!(reads(&manager, &clock, 30, [8, 2, 9]), [0, 30, 0]);
    manager.apply("load_balance_strategy", "least_connections").unwrap();
    assert_eq!(reads(&manager, &clock, 30, [8, 2, 9]), [10, 10, 10], "none is in flight when another is picked");
    manager.apply("load_balance_strategy", "random").unwrap();
    let random = reads(&manager, &clock, 300, [8, 2, 9]);
    assert!(random.iter().all(|calls| (50..150).contains(calls)), "{random:?}");
    manager.apply("load_balance_strategy", "adaptive").unwrap();
    reads(&manager, &clock, 1_000, [8, 2, 9]);
    let adapted = reads(&manager, &clock, 300, [8, 2, 9]);
    assert!(adapted[1] > 250, "it has noticed: {adapted:?}");

    assert!(
        manager.status().groups.len() == 1 && manager.config().load_balance_strategy == LoadBalanceStrategy::Adaptive
    );
    let error = manager.apply("load_balance_strategy", "fastest").unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    let expected = "load_balance_strategy = fastest is not acceptable: one of performance, adaptive, round_robin";
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn a_balancer_that_was_given_wins_and_its_maker_can_ask_it_why() {
    let (clock, builder) = three(LoadBalanceStrategy::Priority);
    let balancer = Arc::new(PeakEwma::with_clock(Arc::new(clock.clone())));
    let given = Arc::clone(&balancer);
    let manager = builder.balancer(move |_group| Arc::clone(&given)).build().unwrap();
    balancer.explain();
    let [a, b, c] = reads(&manager, &clock, 300, [2, 8, 9]);
    assert!(a > 250, "not by priority: {a} {b} {c}");
    let explanation = balancer.explain();
    let last = explanation.decisions.last().unwrap();
    let best = last.scores.iter().min_by(|a, b| a.score.total_cmp(&b.score)).unwrap();
    assert_eq!((last.scores.len(), &best.database), (3, &last.picked), "{explanation:?}");

    let (clock, builder) = three(LoadBalanceStrategy::Priority);
    let balancer = Arc::new(Adaptive::with_clock(Arc::new(clock.clone())));
    let given = Arc::clone(&balancer);
    let manager = builder.balancer(move |_group| Arc::clone(&given)).build().unwrap();
    reads(&manager, &clock, 1_500, [2, 8, 9]);
    let explanation = balancer.explain();
    assert!(
        explanation.changes[0].contains("now performance: \"c\" takes 4.5 times as long as \"a\""),
        "{explanation:?}"
    );
}

#[test]
fn a_balancer_that_was_chosen_by_its_name_tells_why_it_picks() {
    let (clock, builder) = three(LoadBalanceStrategy::Performance);
    let manager = builder.build().unwrap();
    assert!(manager.explain_balancing("default").unwrap().decisions.is_empty(), "nobody has asked before");
    reads(&manager, &clock, 40, [2, 8, 9]);
    let explanation = manager.explain_balancing("default").unwrap();
    assert_eq!(explanation.strategy, "performance");
    let last = explanation.decisions.last().unwrap();
    let best = last.scores.iter().min_by(|a, b| a.score.total_cmp(&b.score)).unwrap();
    assert_eq!((last.scores.len(), &best.database), (3, &last.picked), "{explanation:?}");
    manager.apply("enable_load_balancing", "false").unwrap();
    assert!(manager.explain_balancing("default").unwrap().strategy.starts_with("off"));
    assert_eq!(manager.explain_balancing("none").unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn reads_stay_with_a_tag_while_somebody_there_can_serve_them() {
    let database = |name: &str, tag: &str| Database::new(name, Fake::new()).read_only(name != "a").tag(tag);
    let manager = ConnectionManager::<Fake>::builder_for()
        .database(database("a", "us"))
        .database(database("b", "eu"))
        .database(database("c", "eu"))
        .balancer(|_group| PreferTag::new("eu", RoundRobin::new()))
        .build()
        .unwrap();
    let clock = TestClock::new();
    assert_eq!(reads(&manager, &clock, 10, [0; 3]), [0, 5, 5]);
}

#[test]
fn people_steer_a_breaker_that_a_manager_uses() {
    let fake = Fake::new();
    let config = FailureRateConfig { minimum_calls: 4, failure_threshold: None, ..FailureRateConfig::default() };
    let breaker = Arc::new(FailureRate::with_config(&config).unwrap());
    let given = Arc::clone(&breaker);
    let manager = ConnectionManager::<Fake>::builder_for()
        .database(Database::new("main", fake.clone()))
        .breaker(move |_database| Arc::clone(&given))
        .build()
        .unwrap();
    let read = || manager.read(|db| Ok(db.get("x")?)).wait().map_err(|error| error.kind());
    breaker.set_mode(Mode::Observing);
    (0..2).for_each(|_| assert!(read().is_ok()));
    fake.fail_statements(FaultKind::Storage, 2);
    (0..2).for_each(|_| assert!(read().is_err()));
    assert_eq!((breaker.state(), breaker.would_be()), (BreakerState::Closed, BreakerState::Open));
    assert!(read().is_ok(), "it only says what it would do");
    assert_eq!(breaker.figures().withheld, 1);
    breaker.set_mode(Mode::Enforcing);
    assert_eq!(read(), Err(Kind::Rejected));
    assert_eq!(manager.status().database("main").unwrap().breaker, BreakerState::Open);
    breaker.set_mode(Mode::Disabled);
    assert!(read().is_ok());
    breaker.set_mode(Mode::ForcedOpen);
    assert_eq!(read(), Err(Kind::Rejected));
}
