//! What a scrape answers, to the letter.

use ecm_core::{
    CacheStats, CallKind, CallReport, Context, DatabaseStatus, Error, Event, GroupStatus, Interest, LogStatus, Managed,
    Observer, PoolStatus, Status,
};
use ecm_metrics::Metrics;
use std::{panic::Location, time::Duration};

/// A manager that is in the state that a test gives it.
struct Still(Status);

impl Managed for Still {
    fn name(&self) -> &str {
        &self.0.name
    }
    fn status(&self) -> Status {
        self.0.clone()
    }
    fn apply(&self, _field: &str, _value: &str) -> Result<(), Error> {
        Ok(())
    }
    fn close(&self, _patience: Duration) -> Result<(), Error> {
        Ok(())
    }
}

fn manager(name: &str, databases: Vec<DatabaseStatus>) -> Still {
    let mut status = Status::new(name);
    status.groups = vec![GroupStatus::new("default", databases)];
    Still(status)
}

fn database(name: &str) -> DatabaseStatus {
    DatabaseStatus::new(name, "memory")
}

fn pool(max_connections: u32, open: u32, lent: u32) -> PoolStatus {
    let mut status = PoolStatus::default();
    (status.max_connections, status.open, status.lent) = (max_connections, open, lent);
    status
}

fn call(metrics: &Metrics, database: Option<&str>, took: Duration, slow: bool) {
    let mut report = CallReport::new(CallKind::Query, "default", Location::caller(), &Context::NONE);
    (report.database, report.took, report.slow) = (database, took, slow);
    metrics.event(&Event::Call(&report));
}

/// The lines of a page that are samples of this family.
fn samples<'p>(page: &'p str, family: &str) -> Vec<&'p str> {
    page.lines().filter(|line| line.starts_with(family)).collect()
}

#[test]
fn a_scrape_is_exactly_this_text() {
    let metrics = Metrics::new();
    assert_eq!(metrics.interest(), Interest::CALLS);
    let mut main = database("main");
    main.readers = pool(50, 4, 1);
    (main.readers.loans, main.readers.timeouts, main.readers.failures) = (7, 2, 1);
    main.writer = Some(pool(1, 1, 1));
    let mut log = LogStatus::default();
    (log.frames, log.backfilled, log.oldest_snapshot) = (1_200, 1_000, Some(Duration::from_millis(1_500)));
    main.log = Some(log);
    let mut manager = manager("ecm", vec![main]);
    let mut cache = CacheStats::default();
    (cache.hits, cache.misses, cache.entries, cache.capacity) = (8, 2, 2_500, 10_000);
    manager.0.cache = cache;
    let rereads = &mut manager.0.cache_rereads;
    (rereads.compared, rereads.mismatches, rereads.refreshed) = (1_000, 2, 3);

    call(&metrics, Some("main"), Duration::from_nanos(900), false);
    call(&metrics, Some("main"), Duration::from_micros(1), false);
    call(&metrics, Some("main"), Duration::from_millis(2), false);
    call(&metrics, Some("main"), Duration::from_secs(11), true);
    call(&metrics, None, Duration::from_nanos(120), false);

    assert_eq!(metrics.encode(&[&manager]), include_str!("scrape.txt"));
}

#[test]
fn the_families_are_the_thirteen_that_are_known_whatever_there_is_to_show() {
    let metrics = Metrics::new();
    let empty = metrics.encode(&[]);
    let families: Vec<_> = empty.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert_eq!(
        families,
        [
            "familyos_connection_pool_total_connections gauge",
            "familyos_connection_pool_active_connections gauge",
            "familyos_connection_pool_utilization gauge",
            "familyos_connection_pool_success_rate gauge",
            "familyos_database_query_duration_seconds histogram",
            "familyos_database_slow_queries counter",
            "familyos_database_wal_frames gauge",
            "familyos_database_wal_backfilled_frames gauge",
            "familyos_database_oldest_snapshot_seconds gauge",
            "familyos_query_cache_hits counter",
            "familyos_query_cache_misses counter",
            "familyos_query_cache_size gauge",
            "familyos_query_cache_utilization gauge",
            "familyos_query_cache_checks counter",
            "familyos_query_cache_mismatches counter",
            "familyos_query_cache_refreshes counter",
        ]
    );
    assert!(empty.ends_with("# EOF\n"));
    let idle = metrics.encode(&[&manager("ecm", vec![database("main")])]);
    assert_eq!(
        samples(&idle, "familyos_database_query_duration_seconds_count"),
        [r#"familyos_database_query_duration_seconds_count{manager="ecm",database="main"} 0"#],
        "a registered database is there before it is called"
    );
    assert_eq!(
        samples(&idle, "familyos_connection_pool_success_rate"),
        [r#"familyos_connection_pool_success_rate{manager="ecm",database="main",pool="readers"} 1.0"#]
    );
    assert_eq!(
        samples(&idle, "familyos_query_cache_utilization"),
        [r#"familyos_query_cache_utilization{manager="ecm"} 0.0"#]
    );
}

#[test]
fn managers_are_told_apart_by_name_and_those_of_one_name_counted_together() {
    let metrics = Metrics::new();
    let notes = metrics.for_manager("notes");
    call(&metrics, Some("main"), Duration::from_millis(1), false);
    call(&notes, Some("main"), Duration::from_millis(1), true);
    call(&metrics.for_manager("notes"), Some("main"), Duration::from_millis(1), true);
    let clone = metrics.clone();
    call(&clone, Some("main"), Duration::from_millis(1), true);
    let mut first = database("main");
    first.readers = pool(10, 3, 2);
    let mut second = database("main");
    second.readers = pool(10, 2, 2);
    let managers =
        [manager("ecm", vec![first]), manager("notes", vec![second.clone()]), manager("notes", vec![second])];
    let managed: Vec<&dyn Managed> = managers.iter().map(|manager| manager as &dyn Managed).collect();
    let page = metrics.encode(&managed);
    assert_eq!(
        samples(&page, "familyos_database_slow_queries_total"),
        [
            r#"familyos_database_slow_queries_total{manager="ecm",database="main"} 1"#,
            r#"familyos_database_slow_queries_total{manager="notes",database="main"} 2"#,
        ]
    );
    assert_eq!(
        samples(&page, "familyos_connection_pool_active_connections"),
        [
            r#"familyos_connection_pool_active_connections{manager="ecm",database="main",pool="readers"} 2"#,
            r#"familyos_connection_pool_active_connections{manager="notes",database="main",pool="readers"} 4"#,
        ]
    );
    assert_eq!(
        samples(&page, "familyos_connection_pool_utilization")[1],
        r#"familyos_connection_pool_utilization{manager="notes",database="main",pool="readers"} 0.2"#
    );
    assert_no_series_is_twice(&page);
}

#[test]
fn names_cannot_break_out_of_their_label() {
    let metrics = Metrics::new();
    let name = "a\"} 1\n# EOF\\";
    call(&metrics, Some(name), Duration::from_millis(1), true);
    let page = metrics.encode(&[&manager(name, vec![database(name)])]);
    assert_eq!(
        samples(&page, "familyos_database_slow_queries_total"),
        [r##"familyos_database_slow_queries_total{manager="ecm",database="a\"} 1\n# EOF\\"} 1"##]
    );
    assert_eq!(page.lines().filter(|line| line.starts_with("# EOF")).count(), 1);
    assert_eq!(
        samples(&page, "familyos_query_cache_size"),
        [r##"familyos_query_cache_size{manager="a\"} 1\n# EOF\\"} 0"##]
    );
}

#[test]
fn a_thousand_databases_that_come_and_go_leave_no_series() {
    let metrics = Metrics::new();
    let mut sizes = Vec::new();
    for number in 0..1_000 {
        let name = format!("tenant-{number:04}");
        call(&metrics, Some(&name), Duration::from_millis(1), false);
        sizes.push(metrics.encode(&[&manager("ecm", vec![database(&name)])]).lines().count());
    }
    assert!(sizes[1..].iter().all(|lines| *lines == sizes[1]), "{sizes:?}");
    let gone = manager("ecm", vec![database("tenant-0999")]);
    let _shown_once_more = metrics.encode(&[&gone]);
    let page = metrics.encode(&[&gone]);
    assert_eq!(
        samples(&page, "familyos_database_query_duration_seconds_count"),
        [r#"familyos_database_query_duration_seconds_count{manager="ecm",database="tenant-0999"} 1"#]
    );
}

#[test]
fn without_a_scrape_the_series_stay_within_the_limit() {
    let metrics = Metrics::limited_to(3);
    for number in 0..1_000 {
        call(&metrics, Some(&format!("tenant-{number}")), Duration::from_millis(1), false);
    }
    let count = |page: &str| samples(page, "familyos_database_query_duration_seconds_count").len();
    assert_eq!(count(&metrics.encode(&[])), 4);
    let databases = (0..50).map(|number| database(&format!("tenant-{number}"))).collect();
    let page = metrics.encode(&[&manager("ecm", databases)]);
    assert_eq!(
        samples(&page, "familyos_connection_pool_total_connections"),
        [
            r#"familyos_connection_pool_total_connections{manager="ecm",database="other",pool="readers"} 0"#,
            r#"familyos_connection_pool_total_connections{manager="ecm",database="tenant-0",pool="readers"} 0"#,
            r#"familyos_connection_pool_total_connections{manager="ecm",database="tenant-1",pool="readers"} 0"#,
            r#"familyos_connection_pool_total_connections{manager="ecm",database="tenant-2",pool="readers"} 0"#,
        ],
        "pools are called as the calls are"
    );
    assert!(
        samples(&page, "familyos_database_query_duration_seconds_count")[0].ends_with(r#"database="other"} 997"#),
        "every call is counted"
    );
    let unobserved = (0..50).map(|number| database(&format!("tenant-{number}"))).collect();
    let page = metrics.encode(&[&manager("unobserved", unobserved)]);
    assert_eq!(samples(&page, "familyos_connection_pool_total_connections").len(), 4);
}

#[test]
fn a_manager_of_any_number_of_databases_stays_within_the_budget_of_series() {
    let metrics = Metrics::new();
    let databases = (0..1_000).map(|number| {
        let name = format!("tenant-{number}");
        call(&metrics, Some(&name), Duration::from_millis(1), true);
        let mut database = database(&name);
        database.writer = Some(pool(1, 1, 0));
        database
    });
    let page = metrics.encode(&[&manager("ecm", databases.collect())]);
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(series, (128 + 1) * 27 + 7);
    assert_no_series_is_twice(&page);
}

#[test]
fn a_manager_goes_with_its_observers() {
    let metrics = Metrics::new();
    for number in 0..1_000 {
        let observer = metrics.for_manager(&format!("session-{number}"));
        call(&observer, Some("main"), Duration::from_millis(1), false);
    }
    let last = metrics.for_manager("last");
    call(&last, Some("main"), Duration::from_millis(1), false);
    assert_eq!(
        samples(&metrics.encode(&[]), "familyos_database_query_duration_seconds_count"),
        [r#"familyos_database_query_duration_seconds_count{manager="last",database="main"} 1"#]
    );
}

fn assert_no_series_is_twice(page: &str) {
    let mut series: Vec<_> =
        page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' ')).collect();
    let count = series.len();
    series.sort_by_key(|(series, _)| *series);
    series.dedup_by_key(|(series, _)| *series);
    assert_eq!(series.len(), count, "{page}");
}
