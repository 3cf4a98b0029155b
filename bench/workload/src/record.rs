use crate::{Line, syncs::Syncs};
use hdrhistogram::Histogram;
use std::time::Duration;

/// Longer samples are recorded as this one.
const LONGEST: Duration = Duration::from_secs(300);

/// Samples are kept in tenths of a nanosecond: the mean of a batch is finer than a nanosecond.
const TENTHS: u64 = 10;

/// What was measured of one system in one case: every sample, over all rounds and callers.
#[derive(Clone, Debug)]
pub struct Record {
    samples: Histogram<u64>,
    operations: u64,
    /// The time of all callers together.
    spent: Duration,
    errors: u64,
    first_error: Option<String>,
    /// The time on the wall, of all rounds together.
    elapsed: Duration,
    /// Allocations by the callers' own threads; `None` where callers have none.
    pub(crate) allocations: Option<u64>,
    pub(crate) syncs: Syncs,
}

impl Default for Record {
    fn default() -> Self {
        // Room from the start, so that no allocation of its own is counted.
        let bounds = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64 * TENTHS, 3);
        Self {
            samples: bounds.expect("the bounds are within the limits of the histogram"),
            operations: 0,
            spent: Duration::ZERO,
            errors: 0,
            first_error: None,
            elapsed: Duration::ZERO,
            allocations: None,
            syncs: Syncs::default(),
        }
    }
}

impl Record {
    /// So many operations took so long together; they are one sample, of their mean.
    pub fn add(&mut self, took: Duration, operations: u32) {
        let each = took.min(LONGEST).as_nanos() as u64 * TENTHS / u64::from(operations.max(1));
        self.samples.saturating_record(each.max(1));
        self.operations += u64::from(operations);
        self.spent += took;
    }

    /// So much time went by on the wall.
    pub fn ran(&mut self, elapsed: Duration) {
        self.elapsed += elapsed;
    }

    /// An operation has failed.
    pub fn fail(&mut self, error: impl FnOnce() -> String) {
        self.errors += 1;
        self.first_error.get_or_insert_with(error);
    }

    /// Everything that another record has, apart from time on the wall and syncs, which overlap.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.samples.add(&other.samples).expect("all records have the same bounds");
        self.operations += other.operations;
        self.spent += other.spent;
        self.errors += other.errors;
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
        self.allocations = match (self.allocations, other.allocations) {
            (Some(mine), Some(theirs)) => Some(mine + theirs),
            (mine, theirs) => mine.or(theirs),
        };
    }

    /// The line of this record.
    #[must_use]
    pub fn line(&self, suite: &str, case: &str, system: &str) -> Line {
        let operations = self.operations.max(1) as f64;
        let mut line = Line::empty(suite, case, system);
        line.ops_per_s = Some(self.operations as f64 / self.elapsed.as_secs_f64().max(1e-9));
        line.mean_ns = Some(self.spent.as_nanos() as f64 / operations);
        let nanos = |tenths: u64| Some(tenths as f64 / TENTHS as f64);
        line.p50_ns = nanos(self.samples.value_at_quantile(0.5));
        line.p99_ns = nanos(self.samples.value_at_quantile(0.99));
        line.p999_ns = nanos(self.samples.value_at_quantile(0.999));
        line.max_ns = nanos(self.samples.max());
        line.errors = Some(self.errors);
        if let Some(error) = &self.first_error {
            line = line.with("first_error", error.as_str());
        }
        if let Some(allocations) = self.allocations {
            line = line.with("allocations", rounded(allocations as f64 / operations));
        }
        if self.syncs.count > 0 {
            let mean = self.syncs.nanos as f64 / self.syncs.count as f64;
            line = line.with("syncs_per_op", rounded(self.syncs.count as f64 / operations));
            line = line.with("sync_mean_ns", mean.round());
        }
        line
    }
}

/// To three digits after the point.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_counts_all_its_operations_and_is_one_sample_of_their_mean() {
        let mut record = Record::default();
        record.add(Duration::from_nanos(12_500), 1_000);
        record.add(Duration::from_nanos(37_500), 1_000);
        record.ran(Duration::from_micros(50));
        let line = record.line("pool", "cycle-1", "ecm");
        assert_eq!((line.ops_per_s, line.mean_ns), (Some(4e7), Some(25.0)));
        assert_eq!((line.p50_ns, line.max_ns), (Some(12.5), Some(37.5)));
    }

    #[test]
    fn the_first_error_is_told() {
        let mut record = Record::default();
        record.fail(|| "busy".into());
        record.fail(|| "locked".into());
        let line = record.line("write", "threads-16", "r2d2");
        assert_eq!((line.errors, line.further["first_error"].as_str()), (Some(2), Some("busy")));
    }

    #[test]
    fn two_callers_are_told_as_one() {
        let (mut one, mut other) = (Record::default(), Record::default());
        one.add(Duration::from_nanos(10), 1);
        other.add(Duration::from_nanos(30), 1);
        (one.allocations, other.allocations) = (Some(2), Some(3));
        one.merge(&other);
        assert_eq!((one.operations, one.spent, one.allocations), (2, Duration::from_nanos(40), Some(5)));
    }
}
