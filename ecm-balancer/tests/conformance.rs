//! The balancers of this crate keep what every balancer promises.

use ecm_balancer::{
    Adaptive, LeastConnections, Named, PeakEwma, PeakEwmaConfig, PreferTag, Priority, Random, RequireTag, RoundRobin,
    Selection, Strategy,
};
use ecm_core::testing::conformance::{self, BalancerException};
use std::{sync::Arc, time::Duration};

#[test]
fn round_robin() {
    conformance::balancer(RoundRobin::new);
}

#[test]
fn priority() {
    conformance::balancer(Priority::new);
}

#[test]
fn least_connections() {
    conformance::balancer(LeastConnections::new);
}

#[test]
fn random() {
    for seed in 0..10 {
        conformance::balancer(move || Random::with_seed(seed));
    }
}

#[test]
fn peak_ewma() {
    conformance::balancer(PeakEwma::new);
    let extremes = [(100, 1, 0), (3_600_000, 3_600_000, 3_600_000)];
    for (decay, penalty, slow_start) in extremes.map(|(a, b, c)| [a, b, c].map(Duration::from_millis).into()) {
        let config = PeakEwmaConfig { decay, penalty, slow_start, seed: Some(1) };
        let clock = Arc::new(ecm_core::testing::TestClock::new());
        conformance::balancer(move || {
            PeakEwma::with_config(&config, Arc::clone(&clock) as _).expect("within the limits")
        });
    }
}

#[test]
fn adaptive() {
    conformance::balancer(Adaptive::new);
}

#[test]
fn tagged() {
    conformance::balancer(|| PreferTag::new("eu", PeakEwma::new()));
    conformance::balancer_except(&[BalancerException::Declines], || RequireTag::new("eu", RoundRobin::new()));
}

#[test]
fn shared() {
    conformance::balancer(|| Arc::new(RoundRobin::new()));
}

#[test]
fn each_by_its_name() {
    for strategy in [Strategy::Performance, Strategy::Adaptive, Strategy::LeastConnections, Strategy::Priority] {
        let clock = Arc::new(ecm_core::testing::TestClock::new());
        conformance::balancer(move || Named::new(Selection::new(strategy), Arc::clone(&clock) as _));
    }
}
