use ecm_core::Time;

const OPENINGS: u32 = 5;
const EPOCH: u32 = 18;
const VALUE: u32 = 40;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// All that decides about a call, in one word, so that each change is one compare-and-swap:
///
/// ```text
/// | openings: 5 | half-open: 1 | epoch: 18 | value: 40 |
/// ```
///
/// *Openings* since it was last closed, 0 while it is; 31 stands for more. *Epoch*: changes of state
/// so far, modulo 2^18. *Value*: the failures in a row while it is closed, else a deadline in
/// milliseconds, which lasts 34 years.
///
/// An epoch comes again after 262,144 changes of state. A permit would have to be out for so many, and
/// for neither one more nor one less, to be taken for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

/// What a [`Word`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Closed { failures: u64 },
    Open { until: Time },
    HalfOpen { until: Time },
}

impl Word {
    /// Closed, without failures, in the first epoch.
    pub(crate) const CLOSED: Self = Self(0);

    #[inline]
    pub(crate) fn state(self) -> State {
        let value = self.0 & ones(VALUE);
        if self.is_closed() {
            return State::Closed { failures: value };
        }
        let until = Time::from_nanos(value.saturating_mul(NANOS_PER_MILLI));
        if self.0 >> (VALUE + EPOCH) & 1 == 1 { State::HalfOpen { until } } else { State::Open { until } }
    }

    #[inline]
    pub(crate) fn is_closed(self) -> bool {
        self.0 >> (VALUE + EPOCH) == 0
    }

    #[inline]
    pub(crate) fn epoch(self) -> u64 {
        self.0 >> VALUE & ones(EPOCH)
    }

    /// How often it has opened since it was last closed.
    pub(crate) fn openings(self) -> u32 {
        (self.0 >> (VALUE + EPOCH + 1)) as u32
    }

    /// Closed in this epoch, with so many failures in a row.
    #[inline]
    pub(crate) fn closed(epoch: u64, failures: u64) -> Self {
        Self((epoch & ones(EPOCH)) << VALUE | failures.min(ones(VALUE)))
    }

    /// The next epoch, closed.
    pub(crate) fn then_closed(self) -> Self {
        Self::closed(self.epoch() + 1, 0)
    }

    /// The next epoch, open until the first millisecond that is not before `until`.
    pub(crate) fn then_open(self, until: Time) -> Self {
        let openings = (self.openings() + 1).min(ones(OPENINGS) as u32);
        Self::waiting(openings, false, self.epoch() + 1, until)
    }

    /// The next epoch, half-open until then.
    pub(crate) fn then_half_open(self, until: Time) -> Self {
        Self::waiting(self.openings().max(1), true, self.epoch() + 1, until)
    }

    /// The same half-open epoch, with another deadline.
    pub(crate) fn half_open_until(self, until: Time) -> Self {
        Self::waiting(self.openings(), true, self.epoch(), until)
    }

    fn waiting(openings: u32, half_open: bool, epoch: u64, until: Time) -> Self {
        let millis = until.as_nanos().div_ceil(NANOS_PER_MILLI).min(ones(VALUE));
        let kind = u64::from(openings) << 1 | u64::from(half_open);
        Self((kind << EPOCH | epoch & ones(EPOCH)) << VALUE | millis)
    }
}

const fn ones(bits: u32) -> u64 {
    (1 << bits) - 1
}

const _: () = assert!(OPENINGS + 1 + EPOCH + VALUE == u64::BITS);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_word_says_what_was_put_in(openings in 1_u32..32, epoch in 0_u64..1 << EPOCH, millis in 1_u64..1 << VALUE) {
            let until = Time::from_nanos(millis * NANOS_PER_MILLI);
            let before = Word::waiting(openings, true, epoch, Time::START);
            for until_given in [until, Time::from_nanos(until.as_nanos() - NANOS_PER_MILLI + 1)] {
                let open = before.then_open(until_given);
                prop_assert_eq!(open.state(), State::Open { until });
                prop_assert_eq!((open.openings(), open.epoch()), (31.min(openings + 1), (epoch + 1) % (1 << EPOCH)));
                let half_open = open.then_half_open(until_given);
                prop_assert_eq!(half_open.state(), State::HalfOpen { until });
                prop_assert_eq!((half_open.openings(), half_open.epoch()), (open.openings(), (epoch + 2) % (1 << EPOCH)));
                let renewed = half_open.half_open_until(Time::START);
                prop_assert_eq!(renewed.state(), State::HalfOpen { until: Time::START });
                prop_assert_eq!((renewed.openings(), renewed.epoch()), (half_open.openings(), half_open.epoch()));
            }
            let closed = before.then_closed();
            prop_assert_eq!(closed.state(), State::Closed { failures: 0 });
            prop_assert_eq!((closed.openings(), closed.epoch()), (0, (epoch + 1) % (1 << EPOCH)));
            let failed = Word::closed(epoch, millis);
            prop_assert_eq!((failed.state(), failed.epoch()), (State::Closed { failures: millis }, epoch));
        }
    }

    #[test]
    fn a_moment_that_is_too_late_to_be_kept_comes_early_instead_of_never() {
        let last = Time::from_nanos(ones(VALUE) * NANOS_PER_MILLI);
        for until in [Time::NEVER, last + std::time::Duration::from_nanos(1)] {
            assert_eq!(Word::CLOSED.then_open(until).state(), State::Open { until: last });
        }
    }
}
