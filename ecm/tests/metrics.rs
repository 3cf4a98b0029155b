//! What a scrape is answered with.

#![cfg(feature = "metrics")]

#[path = "support/fakes.rs"]
mod fakes;

use ecm::{ConnectionManager, ManagerConfig, core::testing::Fake};
use fakes::builder;

fn counting(on: bool) -> ConnectionManager<Fake> {
    let config = ManagerConfig { enable_load_balancing: false, enable_metrics: on, ..ManagerConfig::default() };
    builder(&Fake::new()).name("notes").configure(&config).build().unwrap()
}

fn read(manager: &ConnectionManager<Fake>) {
    manager.read(|db| Ok(db.get("a")?)).wait().unwrap();
}

/// The calls to `main` that the page tells of.
fn counted(manager: &ConnectionManager<Fake>) -> Option<u64> {
    let start = "familyos_database_query_duration_seconds_count{manager=\"notes\",database=\"main\"} ";
    let page = manager.metrics();
    assert!(page.ends_with("# EOF\n"), "{page}");
    page.lines().find_map(|line| line.strip_prefix(start)).map(|count| count.parse().unwrap())
}

#[test]
fn calls_are_counted_while_the_configuration_says_so() {
    let manager = counting(true);
    (0..3).for_each(|_| read(&manager));
    assert_eq!(counted(&manager), Some(3));
    manager.apply("enable_metrics", "false").unwrap();
    read(&manager);
    assert_eq!(counted(&manager), Some(3));
    manager.apply("enable_metrics", "true").unwrap();
    read(&manager);
    assert_eq!(counted(&manager), Some(4));
}

#[test]
fn without_counting_the_figures_of_pools_are_there_all_the_same() {
    let manager = counting(false);
    read(&manager);
    assert_eq!(counted(&manager).unwrap_or(0), 0);
    let readers = "{manager=\"notes\",database=\"main\",pool=\"readers\"} 1";
    assert!(manager.metrics().contains(&format!("familyos_connection_pool_total_connections{readers}")));
}
