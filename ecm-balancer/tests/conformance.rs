//! The balancers of this crate keep what every balancer promises.

use ecm_balancer::{LeastConnections, Priority, Random, RoundRobin};
use ecm_core::testing::conformance;

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
