/// Why a balancer has picked what it has picked last. Empty for one that does not tell.
#[derive(Clone, Debug, PartialEq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Explanation {
    /// By which strategy it picks at present; empty if it does not tell.
    pub strategy: String,
    /// What it has changed its mind about, each with the reason, the oldest first.
    pub changes: Vec<String>,
    /// Some of its last picks, the oldest first.
    pub decisions: Vec<Decision>,
}

/// One pick.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Decision {
    /// The name of the database that was picked.
    pub picked: String,
    /// Everybody who was compared, the picked one included; a balancer need not compare all that are fit.
    pub scores: Vec<Score>,
}

/// What a balancer has compared a database by.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Score {
    /// Its name.
    pub database: String,
    /// The lower, the better. What it stands for is the balancer's, such as expected seconds.
    pub score: f64,
}

impl Explanation {
    /// Of a balancer that picks by this strategy, of which nothing else is known yet.
    #[must_use]
    pub fn new(strategy: impl Into<String>) -> Self {
        Self { strategy: strategy.into(), ..Self::default() }
    }
}

impl Decision {
    /// This database was picked among those with these scores.
    #[must_use]
    pub fn new(picked: impl Into<String>, scores: Vec<Score>) -> Self {
        Self { picked: picked.into(), scores }
    }
}

impl Score {
    /// The score of this database.
    #[must_use]
    pub fn new(database: impl Into<String>, score: f64) -> Self {
        Self { database: database.into(), score }
    }
}
