use std::{fmt, ops, time::Duration};

/// An instant on a [`Clock`](crate::Clock), in nanoseconds since that clock started.
///
/// Unlike `std::time::Instant` it can be made up, so that a test can move it, and it fits an
/// `AtomicU64`, so that a strategy can keep it in one word. 64 bits last 584 years. Times of
/// different clocks must not be compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The moment at which the clock started.
    pub const START: Self = Self(0);
    /// Later than every deadline: a wait until this moment has no limit.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the clock started.
    #[must_use]
    #[inline]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock started.
    #[must_use]
    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    #[inline]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Saturates at [`Time::NEVER`], so that an unlimited budget stays unlimited.
impl ops::Add<Duration> for Time {
    type Output = Self;

    #[inline]
    fn add(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NEVER { f.write_str("never") } else { write!(f, "+{:?}", Duration::from_nanos(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_never_wraps_around() {
        assert_eq!(Time::from_nanos(5) + Duration::from_nanos(2), Time::from_nanos(7));
        assert_eq!(Time::from_nanos(5) + Duration::MAX, Time::NEVER);
        assert_eq!(Time::NEVER + Duration::from_secs(1), Time::NEVER);
    }

    #[test]
    fn a_span_is_never_negative() {
        let (early, late) = (Time::from_nanos(10), Time::from_nanos(35));
        assert_eq!(late.since(early), Duration::from_nanos(25));
        assert_eq!(early.since(late), Duration::ZERO);
    }

    #[test]
    fn prints_for_people() {
        assert_eq!(format!("{:?} {:?}", Time::from_nanos(1_500_000), Time::NEVER), "+1.5ms never");
    }
}
