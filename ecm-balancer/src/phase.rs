use crate::estimate::Tick;

/// What a database goes through, in one word:
///
/// ```text
/// | tick: 36 | kind: 2 |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing is known.
    Unknown,
    /// It serves since then: it is new, or has healed.
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
            _ => Self::Unknown,
        }
    }

    pub(crate) fn word(self) -> u64 {
        match self {
            Self::Unknown => 0,
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
        for phase in [Phase::Unknown, Phase::Failing, Phase::Since(Tick(0)), Phase::Since(Tick((1 << 36) - 1))] {
            assert_eq!(Phase::from_word(phase.word()), phase);
        }
        assert_eq!(Phase::from_word(3), Phase::Unknown);
        assert_eq!(Phase::from_word(u64::MAX - 2), Phase::Since(Tick((1 << 36) - 1)));
    }
}
