use ecm_core::Time;
use std::sync::{Mutex, PoisonError};

/// How many attempts beyond the first the calls of a group may make together.
///
/// A token bucket, shared by whatever sends a call again: retries, failover, hedges. It holds up to
/// [`CAPACITY`](Self::CAPACITY) attempts, gains [`PER_SECOND`](Self::PER_SECOND) with time, so that a group with few
/// calls may repeat them, and [`PERCENT`](Self::PERCENT) of one with each attempt that succeeds, so that a group that is
/// down altogether is not asked more and more often. Within any span there are therefore no more further attempts than
/// the capacity, and what is gained within the span.
///
/// The figures are those of Finagle's `RetryBudget` (20 %, 10 a second, 10 seconds), paid by successes as in gRFC A6.
///
/// # Cost
/// Nothing for a call that needs no second attempt: successes are counted anyway, and are looked up when one is wanted.
#[derive(Debug, Default)]
pub(crate) struct RetryBudget(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    /// In hundredths of an attempt.
    tokens: u64,
    successes: u64,
    filled: Time,
    figures: RetryFigures,
}

/// What a group has done beyond the first attempts of its calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RetryFigures {
    pub(crate) granted: u64,
    pub(crate) refused: u64,
}

impl RetryBudget {
    pub(crate) const CAPACITY: u64 = 100;
    pub(crate) const PER_SECOND: u64 = 10;
    pub(crate) const PERCENT: u64 = 20;

    /// Takes one attempt, if there is one. `successes` is how many attempts have succeeded in the group so far.
    pub(crate) fn withdraw(&self, successes: u64, now: Time) -> bool {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Fewer than before where a database has left the group.
        let paid = successes.saturating_sub(bucket.successes).saturating_mul(Self::PERCENT);
        bucket.successes = successes;
        let part = 1_000_000_000 / (Self::PER_SECOND * 100);
        let parts = now.as_nanos().saturating_sub(bucket.filled.as_nanos()) / part;
        // By whole parts, so that frequent questions lose nothing.
        bucket.filled = Time::from_nanos(bucket.filled.as_nanos() + parts * part);
        bucket.tokens = bucket.tokens.saturating_add(paid).saturating_add(parts).min(Self::CAPACITY * 100);
        let granted = bucket.tokens >= 100;
        if granted {
            bucket.tokens -= 100;
            bucket.figures.granted += 1;
        } else {
            bucket.figures.refused += 1;
        }
        granted
    }

    pub(crate) fn figures(&self) -> RetryFigures {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).figures
    }
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            tokens: RetryBudget::CAPACITY * 100,
            successes: 0,
            filled: Time::START,
            figures: RetryFigures::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: u64 = 1_000_000_000;

    fn drain(budget: &RetryBudget, successes: u64, now: Time) -> u64 {
        (0..).take_while(|_| budget.withdraw(successes, now)).count() as u64
    }

    #[test]
    fn a_full_bucket_is_emptied_and_fills_by_time_and_by_what_succeeds() {
        let budget = RetryBudget::default();
        let mut now = Time::START;
        assert_eq!(drain(&budget, 0, now), 100);
        now = now + Duration::from_millis(99);
        assert_eq!(drain(&budget, 0, now), 0);
        now = now + Duration::from_millis(1);
        assert_eq!(drain(&budget, 0, now), 1);
        assert_eq!(drain(&budget, 14, now), 2, "a fifth of 14, less what is not a whole one");
        assert_eq!(drain(&budget, 15, now), 1);
        now = now + Duration::from_secs(3600);
        assert_eq!(drain(&budget, 1_000_000, now), 100, "no more than it holds");
        assert_eq!(drain(&budget, 5, now), 0, "a database has left");
        assert_eq!(drain(&budget, 10, now), 1);
        assert_eq!(budget.figures(), RetryFigures { granted: 205, refused: 8 });
    }

    #[test]
    fn within_any_span_there_are_no_more_than_it_holds_and_gains() {
        for seed in 0..64_u64 {
            let mut state = seed;
            let mut random = |below: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % below
            };
            let budget = RetryBudget::default();
            let (mut now, mut successes) = (0, 0);
            let mut granted = vec![];
            for _ in 0..400 {
                now += random(2 * SECOND) / (1 + random(50));
                successes += random(40);
                for _ in 0..random(30) {
                    if budget.withdraw(successes, Time::from_nanos(now)) {
                        granted.push((now, successes));
                    }
                }
            }
            for from in (0..granted.len()).step_by(7) {
                for to in (from..granted.len()).step_by(11) {
                    let ((began, before), (ended, after)) = (granted[from], granted[to]);
                    let gained = (ended - began) * RetryBudget::PER_SECOND / SECOND
                        + (after - before) * RetryBudget::PERCENT / 100;
                    let count = (to - from) as u64;
                    assert!(count <= RetryBudget::CAPACITY + gained + 1, "seed {seed}: {count} in {from}..{to}");
                }
            }
        }
    }
}
