use crate::Time;
use std::{fmt::Debug, time::Duration};

/// Decides how many connections a pool holds. One sizing strategy per pool.
///
/// # Concurrency
/// Asked with the pool's lock held whenever the answer matters: it must only compute.
pub trait Sizing: Send + Sync + Debug {
    /// How many connections the pool should hold under this load.
    fn target(&self, load: &PoolLoad, now: Time) -> Target;

    /// Which idle connection is lent first. Asked once.
    fn order(&self) -> Order {
        Order::Recent
    }

    /// How often it has to be asked while the pool is used, to learn from what it sees; `None` for
    /// one that does not learn. Asked once.
    fn period(&self) -> Option<Duration> {
        None
    }
}

/// What a pool carries at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PoolLoad {
    /// The most connections that the configuration allows.
    pub max_connections: u32,
    /// The fewest that the configuration wants to be kept.
    pub min_connections: u32,
    /// Connections that are open or being opened.
    pub open: u32,
    /// Connections that are lent.
    pub lent: u32,
    /// Callers who wait for one.
    pub waiting: u32,
    /// Loans since the start.
    pub loans: u64,
    /// How long a loan lasts on average, from samples; zero before the first.
    pub held: Duration,
}

impl PoolLoad {
    /// Nothing yet of so many connections at most.
    #[must_use]
    pub const fn new(max_connections: u32) -> Self {
        Self { max_connections, min_connections: 0, open: 0, lent: 0, waiting: 0, loans: 0, held: Duration::ZERO }
    }
}

/// How many connections a pool should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// Not more than these: at least 1, and never above the configured maximum, whatever is said.
    pub most: u32,
    /// So many are kept open, and opened ahead of need: never above `most`, whatever is said.
    pub warm: u32,
    /// How long a connection above `warm` may lie unused before it is closed. The configuration may
    /// say less.
    pub linger: Duration,
}

impl Target {
    /// Up to so many, of which none is kept open ahead of need.
    #[must_use]
    pub const fn up_to(most: u32) -> Self {
        Self { most, warm: 0, linger: Duration::MAX }
    }

    /// With so many kept open.
    #[must_use]
    pub const fn warm(mut self, warm: u32) -> Self {
        self.warm = warm;
        self
    }

    /// With so much patience for those above them.
    #[must_use]
    pub const fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }
}

/// Which idle connection a pool lends first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// The one used last: a few stay warm, and the others can be closed.
    #[default]
    Recent,
    /// Each in its turn: all are used alike.
    Even,
}

/// The null sizing: up to the configured maximum, opened when needed, as many kept as configured.
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedSize;

impl Sizing for FixedSize {
    fn target(&self, load: &PoolLoad, _now: Time) -> Target {
        Target::up_to(load.max_connections).warm(load.min_connections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_null_sizing_allows_what_is_configured() {
        let load = PoolLoad { open: 3, waiting: 9, min_connections: 2, ..PoolLoad::new(5) };
        let target = FixedSize.target(&load, Time::START);
        assert_eq!(target, Target { most: 5, warm: 2, linger: Duration::MAX });
        assert_eq!((FixedSize.order(), FixedSize.period()), (Order::Recent, None));
    }
}
