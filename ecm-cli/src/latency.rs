use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// Longer durations are recorded as this one: some 36 years.
const LONGEST_NS: u64 = 1 << 60;

/// How long things took: every duration counted, to three significant digits.
#[derive(Clone, Debug)]
pub(crate) struct Latency(Histogram<u64>);

/// What is told of a [`Latency`]. Rates are per second, durations in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Figures {
    pub(crate) count: u64,
    pub(crate) per_second: f64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) max_ns: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new(3).expect("three digits are within the limits of the histogram"))
    }
}

impl Latency {
    pub(crate) fn record(&mut self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(LONGEST_NS).min(LONGEST_NS);
        self.0.record(ns).expect("the histogram resizes to anything up to its longest duration");
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("a histogram that resizes takes in every other");
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The figures of what was recorded during `elapsed`; zeros if nothing was.
    pub(crate) fn figures(&self, elapsed: Duration) -> Figures {
        let seconds = elapsed.as_secs_f64();
        let at = |quantile| self.0.value_at_quantile(quantile);
        Figures {
            count: self.count(),
            per_second: if seconds > 0.0 { self.count() as f64 / seconds } else { 0.0 },
            p50_ns: at(0.5),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: self.0.max(),
        }
    }
}

impl Figures {
    /// The cells of a table: count, per second, p50, p99, p99.9, max.
    pub(crate) fn cells(&self) -> [String; 6] {
        [
            grouped(self.count),
            rate(self.per_second),
            span(self.p50_ns),
            span(self.p99_ns),
            span(self.p999_ns),
            span(self.max_ns),
        ]
    }
}

/// A number of nanoseconds for people: three digits and a unit.
pub(crate) fn span(ns: u64) -> String {
    let scaled = |unit: f64, name: &str| {
        let value = ns as f64 / unit;
        let digits = if value >= 99.95 {
            0
        } else if value >= 9.995 {
            1
        } else {
            2
        };
        format!("{value:.digits$} {name}")
    };
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => scaled(1e3, "µs"),
        1_000_000..1_000_000_000 => scaled(1e6, "ms"),
        _ => scaled(1e9, "s"),
    }
}

/// A rate for people.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second >= 100.0 { grouped(per_second.round() as u64) } else { format!("{per_second:.1}") }
}

/// A whole number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_threads_recorded_is_told_as_one() {
        let (mut one, mut other) = (Latency::default(), Latency::default());
        (1..=50).for_each(|millis| one.record(Duration::from_millis(millis)));
        (51..=100).for_each(|millis| other.record(Duration::from_millis(millis)));
        one.merge(&other);
        let figures = one.figures(Duration::from_secs(2));
        assert_eq!((figures.count, figures.per_second), (100, 50.0));
        for (told, millis) in [(figures.p50_ns, 50), (figures.p99_ns, 99), (figures.max_ns, 100)] {
            let exact = f64::from(millis) * 1e6;
            assert!((told as f64 - exact).abs() <= exact * 0.001, "{told} is not {millis} ms");
        }
    }

    #[test]
    fn nothing_recorded_is_zeros_and_not_a_division_by_zero() {
        let figures = Latency::default().figures(Duration::ZERO);
        assert_eq!(figures, Figures { count: 0, per_second: 0.0, p50_ns: 0, p99_ns: 0, p999_ns: 0, max_ns: 0 });
    }

    #[test]
    fn a_duration_longer_than_any_histogram_is_recorded_as_its_longest() {
        let mut latency = Latency::default();
        latency.record(Duration::MAX);
        assert_eq!(latency.count(), 1);
        assert!(latency.figures(Duration::from_secs(1)).max_ns > 1 << 50);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([7, 1_500, 99_960, 12_345_678].map(span), ["7 ns", "1.50 µs", "100 µs", "12.3 ms"]);
        assert_eq!(span(2_000_000_000), "2.00 s");
        assert_eq!([rate(99.94), rate(1234.5)], ["99.9", "1,235"]);
    }
}
