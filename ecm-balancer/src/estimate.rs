use crate::logarithm::{FRACTION, exp2, log2};
use ecm_core::Time;
use std::time::Duration;

const TICK: u32 = 36;
const TICK_NANOS: u32 = 22;

/// How many binary digits beyond those of a logarithm a fall has.
const FINER: u32 = 4;

/// The most ticks of a span: 52 days.
const FAR: i64 = 1 << 30;

/// A moment in units of 2^22 nanoseconds, 4.2 milliseconds; 36 bits of it last 9 years, and wrap around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick(pub(crate) u64);

impl Tick {
    #[inline]
    pub(crate) fn of(time: Time) -> Self {
        Self((time.as_nanos() >> TICK_NANOS) & MASK)
    }

    /// How many ticks after `earlier` this is, or before it: less than 2^35.
    #[inline]
    pub(crate) fn since(self, earlier: Self) -> i64 {
        (self.0.wrapping_sub(earlier.0) << (64 - TICK)) as i64 >> (64 - TICK)
    }

    pub(crate) fn ticks(span: Duration) -> i64 {
        i64::try_from(span.as_nanos() >> TICK_NANOS).unwrap_or(FAR).min(FAR)
    }
}

const MASK: u64 = (1 << TICK) - 1;

/// The peak EWMA of one database, in one word:
///
/// ```text
/// | logarithm of nanoseconds: 28 | tick: 36 |
/// ```
///
/// 0 stands for no history. The logarithm makes comparing cheap: what decays exponentially falls by a
/// straight line ("forward decay": Cormode, Shkapenyuk, Srivastava and Xu, *Forward Decay: A Practical Time
/// Decay Model for Streaming Systems*, 2009), so that a pick needs neither an exponential nor the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Estimate(pub(crate) u64);

impl Estimate {
    pub(crate) fn new(log2: i64, at: Tick) -> Self {
        // 1 at least, which is no time at all, so that it is not taken for no history.
        let log2 = log2.clamp(1, (1 << (64 - TICK)) - 1) as u64;
        Self(log2 << TICK | at.0)
    }

    #[inline]
    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The logarithm of its nanoseconds when it was last changed.
    #[inline]
    pub(crate) fn log2(self) -> i64 {
        (self.0 >> TICK) as i64
    }

    #[inline]
    pub(crate) fn at(self) -> Tick {
        Tick(self.0 & MASK)
    }
}

/// How an estimate loses weight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decay {
    /// By how much a logarithm falls in a tick, in units of 2^-26: less than 2^23, so that the product with any
    /// span has room in 64 bits.
    fall: i64,
    per_tick: f64,
    /// A sample that is no peak and comes sooner than this has next to no weight, and is not looked at.
    step: i64,
}

impl Decay {
    /// To 1/e in this time.
    pub(crate) fn over(tau: Duration) -> Self {
        let per_tick = f64::from(1 << TICK_NANOS) / tau.as_nanos() as f64;
        let fall = per_tick * std::f64::consts::LOG2_E * f64::from(1_u32 << (FRACTION + FINER));
        Self { fall: fall.round() as i64, per_tick, step: (Tick::ticks(tau) >> 10).max(1) }
    }

    /// By how much the logarithm has fallen after so many ticks.
    #[inline]
    pub(crate) fn after(&self, ticks: i64) -> i64 {
        (ticks * self.fall) >> FINER
    }

    /// `seen` after a sample, or nothing if that changes nothing.
    ///
    /// A peak is jumped to at once, and from there it goes down by time: Finagle's rule (`PeakEwma`).
    #[inline]
    pub(crate) fn observed(&self, seen: Estimate, took: Duration, now: Tick) -> Option<Estimate> {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let sample = log2(nanos);
        if seen.is_none() || sample > seen.log2() {
            return Some(Estimate::new(sample, later(seen, now)));
        }
        let ticks = now.since(seen.at());
        (ticks >= self.step).then(|| self.averaged(seen, nanos, ticks, now))
    }

    fn averaged(&self, seen: Estimate, nanos: u64, ticks: i64, now: Tick) -> Estimate {
        let weight = (-(ticks as f64) * self.per_tick).exp();
        let average = exp2(seen.log2()) * weight + nanos as f64 * (1.0 - weight);
        Estimate::new((average.max(1.0).log2() * (1_u64 << FRACTION) as f64).round() as i64, now)
    }
}

/// A sample that comes late does not turn the time back.
fn later(seen: Estimate, now: Tick) -> Tick {
    if seen.is_none() || now.since(seen.at()) > 0 { now } else { seen.at() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MILLI: u64 = 1_000_000;

    proptest! {
        #[test]
        fn it_is_what_a_model_of_high_precision_says(
            samples in proptest::collection::vec((0_u64..20_000, 1_000_u64..10_000_000_000), 1..200),
            tau in 100_u64..100_000,
        ) {
            let decay = Decay::over(Duration::from_millis(tau));
            let (mut estimate, mut model, mut at, mut now) = (Estimate(0), 0.0_f64, 0, 0_u64);
            for (gap, nanos) in samples {
                now += gap * MILLI;
                let tick = Tick::of(Time::from_nanos(now));
                // The model has the same ticks and leaves out the same samples; everything else is exact.
                if nanos as f64 > model {
                    (model, at) = (nanos as f64, tick.0);
                } else if (tick.0 - at) as i64 >= decay.step {
                    let span = (tick.0 - at) as f64 * f64::from(1 << TICK_NANOS) / (tau * MILLI) as f64;
                    model = model * (-span).exp() + nanos as f64 * (1.0 - (-span).exp());
                    at = tick.0;
                }
                estimate = decay.observed(estimate, Duration::from_nanos(nanos), tick).unwrap_or(estimate);
                let value = exp2(estimate.log2());
                prop_assert!((value / model - 1.0).abs() < 1e-3, "{value}, not {model}");
            }
        }

        #[test]
        fn a_word_says_what_was_put_in(log2 in 1_i64..1 << 28, at in 0_u64..1 << TICK, ahead in -(1_i64 << 35)..1 << 35) {
            let estimate = Estimate::new(log2, Tick(at));
            prop_assert_eq!((estimate.log2(), estimate.at()), (log2, Tick(at)));
            let other = Tick(at.wrapping_add(ahead as u64) & MASK);
            prop_assert_eq!(other.since(Tick(at)), ahead);
        }
    }

    #[test]
    fn after_a_peak_half_of_it_is_left_after_the_half_life() {
        let tau = Duration::from_secs(10);
        let decay = Decay::over(tau);
        let half_life = Tick::ticks(tau.mul_f64(std::f64::consts::LN_2));
        let fallen = decay.after(half_life) as f64 / f64::from(1 << FRACTION);
        assert!((fallen - 1.0).abs() < 0.01, "by {fallen} doublings");
        let peak = decay.observed(Estimate(0), Duration::from_secs(1), Tick(5)).unwrap();
        let recovered = decay.observed(peak, Duration::ZERO, Tick(5 + half_life as u64)).unwrap();
        assert!((exp2(recovered.log2()) / 5e8 - 1.0).abs() < 0.01, "{recovered:?}");
    }

    #[test]
    fn every_word_can_be_looked_at_and_no_time_is_too_long() {
        let decay = Decay::over(Duration::from_millis(100));
        for word in [1, u64::MAX, 1 << 63, 1 << 36] {
            for now in [Tick(0), Tick(MASK)] {
                decay.observed(Estimate(word), Duration::MAX, now);
                decay.observed(Estimate(word), Duration::ZERO, now);
                decay.after(now.since(Estimate(word).at()));
            }
        }
    }
}
