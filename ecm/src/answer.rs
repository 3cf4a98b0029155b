use std::{sync::Arc, time::Duration};

/// What a query has answered, and where that comes from: see [`Call::answer`](crate::Call::answer).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer<T> {
    /// The answer.
    pub value: T,
    /// Where it comes from.
    pub source: Source,
}

/// Where an answer comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The database of this name has given it for this call, or for another one that asked for the same at the same time.
    Database(Arc<str>),
    /// It was kept.
    #[non_exhaustive]
    Cache {
        /// How long ago the read began that gave it.
        age: Duration,
        /// Whether it is what the database would answer now. Only a mode that accepts it is served anything else:
        /// see [`CacheMode`](crate::CacheMode).
        current: bool,
    },
}

impl<T> Answer<T> {
    pub(crate) fn new(value: T, source: Source) -> Self {
        Self { value, source }
    }
}
