use crate::estimate::Tick;

/// What a database goes through, in one word:
///
/// ```text
/// | tick: 36 | kind: 2 |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has served for long, or nothing is known about it at all, which its estimate tells.
    Settled,
    /// It serves since then: it is new, or has healed, and gets less than its weight.
    Since(Tick),
    /// It has failed the last time that it was asked.
    Failing,
}

impl Phase {
    #[inline]
    pub(crate) fn from_word(word: u64) -> Self {
        match word & 3 {
            1 => Self::Since(Tick((word >> 2) & ((1 << 36) - 1))),
            2 => Self::Failing,
            _ => Self::Settled,
        }
    }

    pub(crate) fn word(self) -> u64 {
        match self {
            Self::Settled => 0,
            Self::Since(Tick(tick)) => tick << 2 | 1,
            Self::Failing => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_says_what_was_put_in_and_any_word_says_something() {
        for phase in [Phase::Settled, Phase::Failing, Phase::Since(Tick(0)), Phase::Since(Tick((1 << 36) - 1))] {
            assert_eq!(Phase::from_word(phase.word()), phase);
        }
        assert_eq!(Phase::from_word(3), Phase::Settled);
        assert_eq!(Phase::from_word(u64::MAX - 2), Phase::Since(Tick((1 << 36) - 1)));
    }
}
