use crate::{OwnThread, Workers};
use ecm_core::{Access, Clock, NoObserver, Observer, Sizing};
use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

/// What a pool needs besides its backend and its configuration.
#[derive(Debug)]
pub struct PoolParts {
    /// The name of the database, for errors and events.
    pub name: Arc<str>,
    /// How connections are opened. A [`Lane`](crate::Lane) opens for writing whatever this says.
    pub access: Access,
    /// How many connections the pool may hold, within the configured limits; `None` for what the
    /// configuration names, see [`PoolConfig::strategy`](crate::PoolConfig::strategy).
    pub sizing: Option<Box<dyn Sizing>>,
    /// Where deadlines and ages come from.
    pub clock: Arc<dyn Clock>,
    /// Is told of every connection that is opened or closed, if it wants to know.
    pub observer: Arc<dyn Observer>,
    /// Where connections are opened and checked that no caller opens itself.
    pub workers: Arc<dyn Workers>,
    /// What lifetimes and pauses are drawn from. The same seed draws the same.
    pub seed: u64,
}

impl PoolParts {
    /// The parts of a pool of this database for reading, with the configured sizing, [`NoObserver`],
    /// [`OwnThread`] and a random seed.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, clock: Arc<dyn Clock>) -> Self {
        Self {
            name: name.into(),
            access: Access::Read,
            sizing: None,
            clock,
            observer: Arc::new(NoObserver),
            workers: Arc::new(OwnThread::new()),
            seed: RandomState::new().hash_one(0_u8),
        }
    }
}
