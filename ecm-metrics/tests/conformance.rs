//! `Metrics` under the suite that every observer has to pass.

use ecm_core::testing::conformance;
use ecm_metrics::Metrics;

#[test]
fn metrics_keep_the_contract_of_an_observer() {
    conformance::observer(Metrics::new);
    conformance::observer(|| Metrics::limited_to(0));
    conformance::observer(|| Metrics::limited_to(1));
    conformance::observer(|| Metrics::new().for_manager("notes"));
}
