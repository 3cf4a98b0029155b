//! Prometheus metrics for ECM, by the names that users of its Python original know.
//!
//! [`Metrics`] is an observer, given to the builder of `ecm`, and what a scrape is answered from:
//!
//! ```
//! use ecm_core::{CallKind, CallReport, Context, Event, Observer};
//! use ecm_metrics::Metrics;
//! use std::{panic::Location, time::Duration};
//!
//! let metrics = Metrics::new();
//! let mut report = CallReport::new(CallKind::Query, "default", Location::caller(), &Context::NONE);
//! report.database = Some("main");
//! report.took = Duration::from_micros(40);
//! metrics.event(&Event::Call(&report));
//!
//! let page = metrics.encode(&[]);
//! assert!(page.contains("familyos_database_query_duration_seconds_count{manager=\"ecm\",database=\"main\"} 1\n"));
//! assert!(page.ends_with("# EOF\n"));
//! ```
//!
//! # Families
//!
//! | name | kind | labels | what it is |
//! |---|---|---|---|
//! | `familyos_connection_pool_total_connections` | gauge | `manager`, `database`, `pool` | connections that are open or being opened |
//! | `familyos_connection_pool_active_connections` | gauge | same | connections that are lent |
//! | `familyos_connection_pool_utilization` | gauge | same | part of the greatest number of connections that is lent, 0 to 1 |
//! | `familyos_connection_pool_success_rate` | gauge | same | part of those who asked for a connection, since the start, who got one; 1 if nobody asked |
//! | `familyos_database_query_duration_seconds` | histogram | `manager`, `database` | every call, from its start to its end |
//! | `familyos_database_slow_queries_total` | counter | same | calls that took `slow_query_threshold` or longer |
//! | `familyos_database_wal_frames` | gauge | same | length of the log, in pages, each as often as it was committed |
//! | `familyos_database_wal_backfilled_frames` | gauge | same | how many of them are in the file already |
//! | `familyos_database_oldest_snapshot_seconds` | gauge | same | age of the oldest loan, whose snapshot may keep the log from being emptied; 0 if nothing is lent |
//! | `familyos_query_cache_hits_total` | counter | `manager` | lookups that found a stored result, also one that is out of date |
//! | `familyos_query_cache_misses_total` | counter | same | lookups that found none |
//! | `familyos_query_cache_size` | gauge | same | stored results |
//! | `familyos_query_cache_utilization` | gauge | same | part of the greatest number of results that is stored, 0 to 1 |
//! | `familyos_query_cache_checks_total` | counter | same | hits that were compared with what the database answers |
//! | `familyos_query_cache_mismatches_total` | counter | same | hits that were not what the database answers: more than none is an error |
//! | `familyos_query_cache_refreshes_total` | counter | same | results that were read anew because an old one had been served |
//!
//! The families of the log are there for databases that have one and that this process writes.
//! `pool` is `readers` or `writer`. `database` is `none` for calls that reached no database: served from
//! the cache, or given up before. It is `other` for the databases beyond a [limit](Metrics::limited_to).
//! Names are cut after 120 bytes.

mod calls;
mod durations;
mod exposition;
mod label;
mod metrics;
mod scrape;
mod sync;

pub use metrics::Metrics;
