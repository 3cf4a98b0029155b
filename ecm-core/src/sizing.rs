use crate::Time;
use std::fmt::Debug;

/// Decides how many connections a pool holds. One sizing strategy per pool.
///
/// # Concurrency
/// Asked with the pool's lock held whenever the answer matters: it must only compute.
pub trait Sizing: Send + Sync + Debug {
    /// How many connections the pool should hold under this load.
    fn target(&self, load: &PoolLoad, now: Time) -> Target;
}

/// What a pool carries at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PoolLoad {
    /// The most connections that the configuration allows.
    pub max_connections: u32,
    /// Connections that are open or being opened.
    pub open: u32,
    /// Connections that are lent.
    pub lent: u32,
    /// Callers who wait for one.
    pub waiting: u32,
}

impl PoolLoad {
    /// Nothing yet of so many connections at most.
    #[must_use]
    pub const fn new(max_connections: u32) -> Self {
        Self { max_connections, open: 0, lent: 0, waiting: 0 }
    }
}

/// How many connections a pool should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Not more than these: at least 1, and never above the configured maximum, whatever is said.
    pub most: u32,
}

/// The null sizing: up to the configured maximum, opened when needed.
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedSize;

impl Sizing for FixedSize {
    fn target(&self, load: &PoolLoad, _now: Time) -> Target {
        Target { most: load.max_connections }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_null_sizing_allows_what_is_configured() {
        let load = PoolLoad { open: 3, waiting: 9, ..PoolLoad::new(5) };
        assert_eq!(FixedSize.target(&load, Time::START), Target { most: 5 });
    }
}
