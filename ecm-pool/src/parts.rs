use ecm_core::{Access, Clock, FixedSize, NoObserver, Observer, Sizing};
use std::sync::Arc;

/// What a pool needs besides its backend and its configuration.
#[derive(Debug)]
pub struct PoolParts {
    /// The name of the database, for errors and events.
    pub name: Arc<str>,
    /// How connections are opened. A [`Lane`](crate::Lane) opens for writing whatever this says.
    pub access: Access,
    /// How many connections the pool may hold, within the configured maximum.
    pub sizing: Box<dyn Sizing>,
    /// Where deadlines and ages come from.
    pub clock: Arc<dyn Clock>,
    /// Is told of every connection that is opened or closed, if it wants to know.
    pub observer: Arc<dyn Observer>,
}

impl PoolParts {
    /// The parts of a pool of this database for reading, with [`FixedSize`] and [`NoObserver`].
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, clock: Arc<dyn Clock>) -> Self {
        Self {
            name: name.into(),
            access: Access::Read,
            sizing: Box::new(FixedSize),
            clock,
            observer: Arc::new(NoObserver),
        }
    }
}
