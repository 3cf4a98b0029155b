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
/// Each has a type that implements [`Sizing`], for whoever wants to give it other figures, and that says
/// when to use it.
///
/// What they make of a load that rises from 20 to 400 calls a second, bursts to 2,000 for five seconds and
/// falls again, where a call holds a connection for 20 ms and opening one takes 5 ms (simulated on a
/// clock that is moved, `cargo run --release -p ecm-pool --example strategies`; drawn in
/// `docs/strategies.svg` of the repository):
///
/// | strategy | connections on average | opened | mean wait | longest wait |
/// |---|---|---|---|---|
/// | fixed | 13.3 | 52 | 0.04 ms | 6 ms |
/// | balanced | 34.9 | 50 | 0.04 ms | 6 ms |
/// | performance | 14.1 | 56 | 0.04 ms | 6 ms |
/// | resource conserving | 8.6 | 41 | 3.92 ms | 47 ms |
/// | adaptive | 13.4 | 51 | 0.04 ms | 6 ms |
///
/// Fixed does as well as any where opening is as cheap as this; use it where the load is known, with
/// `min_connections` and `max_connections` that fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
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
