/// Whether a breaker acts on what it counts. Set by people, while it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Mode {
    /// It counts, and refuses what it should.
    #[default]
    Enforcing,
    /// It counts, and refuses nobody: what it would do is told by `would_be` and `withheld`.
    Observing,
    /// It refuses everybody, until that is changed: the database is being worked on.
    ForcedOpen,
    /// It refuses nobody and counts nothing.
    Disabled,
}

impl Mode {
    pub(crate) const ENFORCING: u64 = 0;

    pub(crate) fn from_word(word: u64) -> Self {
        match word {
            Self::ENFORCING => Self::Enforcing,
            1 => Self::Observing,
            2 => Self::ForcedOpen,
            _ => Self::Disabled,
        }
    }

    pub(crate) fn word(self) -> u64 {
        match self {
            Self::Enforcing => Self::ENFORCING,
            Self::Observing => 1,
            Self::ForcedOpen => 2,
            Self::Disabled => 3,
        }
    }
}
