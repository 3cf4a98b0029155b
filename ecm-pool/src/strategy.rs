mod adaptive;
mod balanced;
mod conserving;
mod performance;

pub use adaptive::Adaptive;
pub use balanced::Balanced;
pub use conserving::ResourceConserving;
pub use performance::Performance;

use ecm_core::{FixedSize, Sizing};

/// How many connections a pool keeps between its fewest and its most, by name.
///
/// Each has a type that implements [`Sizing`], for whoever wants to give it other figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum PoolStrategy {
    /// As many as are needed, kept as configured: [`FixedSize`].
    Fixed,
    /// All connections are used alike: [`Balanced`].
    Balanced,
    /// Grows ahead of need and shrinks late: [`Performance`].
    Performance,
    /// As few as will do: [`ResourceConserving`].
    ResourceConserving,
    /// As many as the load needs, learned from it: [`Adaptive`].
    #[default]
    Adaptive,
}

impl PoolStrategy {
    /// A sizing of this name, that has learned nothing yet.
    #[must_use]
    pub fn sizing(self) -> Box<dyn Sizing> {
        match self {
            Self::Fixed => Box::new(FixedSize),
            Self::Balanced => Box::new(Balanced),
            Self::Performance => Box::new(Performance),
            Self::ResourceConserving => Box::new(ResourceConserving),
            Self::Adaptive => Box::new(Adaptive::default()),
        }
    }
}
