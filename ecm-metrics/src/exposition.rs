use crate::{
    durations::{BOUNDS, Counted},
    label::Escaped,
    scrape::{DatabaseLabels, Log, Pool, PoolLabels, Scrape, Stored},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use std::fmt;

/// The scrape in OpenMetrics text.
pub(crate) fn encode(scrape: Scrape) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut page = String::new();
    text::encode(&mut page, &registry).expect("a string takes everything");
    page
}

/// How one figure of a sample is written. A counter's name gets its `_total` here.
type Write<F> = fn(&F, MetricEncoder<'_>) -> fmt::Result;

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.pools(&mut encoder)?;
        self.durations(&mut encoder)?;
        self.slow_queries(&mut encoder)?;
        self.logs(&mut encoder)?;
        self.caches(&mut encoder)
    }
}

impl Scrape {
    fn pools(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let families: [(&str, &str, Write<Pool>); 4] = [
            (
                "familyos_connection_pool_total_connections",
                "Connections that are open or being opened.",
                |pool, encoder| ConstGauge::new(whole(pool.open)).encode(encoder),
            ),
            ("familyos_connection_pool_active_connections", "Connections that are lent.", |pool, encoder| {
                ConstGauge::new(whole(pool.lent)).encode(encoder)
            }),
            (
                "familyos_connection_pool_utilization",
                "Part of the greatest number of connections that is lent, 0 to 1.",
                |pool, encoder| ConstGauge::new(pool.utilization()).encode(encoder),
            ),
            (
                "familyos_connection_pool_success_rate",
                "Part of those who asked for a connection, since the start, who got one.",
                |pool, encoder| ConstGauge::new(pool.success_rate()).encode(encoder),
            ),
        ];
        for (name, help, write) in families {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (PoolLabels { manager, database, pool: kind }, pool) in &self.pools {
                let labels = [("manager", Escaped(manager)), ("database", Escaped(database)), ("pool", Escaped(kind))];
                write(pool, family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn durations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        // The unit is put behind the name.
        let (name, seconds) = ("familyos_database_query_duration", Some(&Unit::Seconds));
        let help = "Calls, from the start to the end.";
        let mut family = encoder.encode_descriptor(name, help, seconds, MetricType::Histogram)?;
        for (DatabaseLabels { manager, database }, counted) in &self.calls {
            let labels = [("manager", Escaped(manager)), ("database", Escaped(database))];
            histogram(counted, family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn slow_queries(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let name = "familyos_database_slow_queries";
        let help = "Calls that took slow_query_threshold or longer.";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (DatabaseLabels { manager, database }, counted) in &self.calls {
            let labels = [("manager", Escaped(manager)), ("database", Escaped(database))];
            ConstCounter::new(counted.slow).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn logs(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let families: [(&str, &str, Option<&Unit>, Write<Log>); 3] = [
            (
                "familyos_database_wal_frames",
                "Length of the log, in pages, each as often as it was committed.",
                None,
                |log, encoder| ConstGauge::new(whole(log.frames)).encode(encoder),
            ),
            (
                "familyos_database_wal_backfilled_frames",
                "Pages of the log that are in the file already.",
                None,
                |log, encoder| ConstGauge::new(whole(log.backfilled)).encode(encoder),
            ),
            // The unit is put behind the name.
            (
                "familyos_database_oldest_snapshot",
                "Age of the oldest loan, whose snapshot may keep the log from being emptied.",
                Some(&Unit::Seconds),
                |log, encoder| ConstGauge::new(log.oldest_snapshot.as_secs_f64()).encode(encoder),
            ),
        ];
        for (name, help, unit, write) in families {
            let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
            for (DatabaseLabels { manager, database }, log) in &self.logs {
                let labels = [("manager", Escaped(manager)), ("database", Escaped(database))];
                write(log, family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn caches(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let families: [(&str, &str, MetricType, Write<Stored>); 7] = [
            (
                "familyos_query_cache_hits",
                "Lookups that found a stored result.",
                MetricType::Counter,
                |stored, encoder| ConstCounter::new(stored.hits).encode(encoder),
            ),
            ("familyos_query_cache_misses", "Lookups that found none.", MetricType::Counter, |stored, encoder| {
                ConstCounter::new(stored.misses).encode(encoder)
            }),
            ("familyos_query_cache_size", "Stored results.", MetricType::Gauge, |stored, encoder| {
                ConstGauge::new(whole(stored.entries)).encode(encoder)
            }),
            (
                "familyos_query_cache_utilization",
                "Part of the greatest number of results that is stored, 0 to 1.",
                MetricType::Gauge,
                |stored, encoder| ConstGauge::new(stored.utilization()).encode(encoder),
            ),
            (
                "familyos_query_cache_checks",
                "Hits that were compared with what the database answers.",
                MetricType::Counter,
                |stored, encoder| ConstCounter::new(stored.compared).encode(encoder),
            ),
            (
                "familyos_query_cache_mismatches",
                "Hits that were not what the database answers: more than none is an error.",
                MetricType::Counter,
                |stored, encoder| ConstCounter::new(stored.mismatches).encode(encoder),
            ),
            (
                "familyos_query_cache_refreshes",
                "Results that were read anew because an old one had been served.",
                MetricType::Counter,
                |stored, encoder| ConstCounter::new(stored.refreshed).encode(encoder),
            ),
        ];
        for (name, help, kind, write) in families {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (manager, stored) in &self.caches {
                write(stored, family.encode_family(&[("manager", Escaped(manager))])?)?;
            }
        }
        Ok(())
    }
}

fn histogram(counted: &Counted, mut encoder: MetricEncoder<'_>) -> fmt::Result {
    // What has no bound is written as +Inf.
    let bounds = BOUNDS.iter().map(|(_, seconds)| *seconds).chain([f64::MAX]);
    let buckets: Vec<_> = bounds.zip(counted.buckets).collect();
    let seconds = counted.nanos as f64 / 1e9;
    encoder.encode_histogram::<NoLabelSet>(seconds, counted.calls(), &buckets, None)
}

/// What a gauge takes.
fn whole(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}
