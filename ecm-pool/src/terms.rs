use ecm_core::{Durability, Limit, Time};
use std::panic::Location;

/// On what terms a write is asked for in a [`Lane`](crate::Lane).
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How durable its commit must be. Only writes that ask for the same share one.
    pub durability: Durability,
    /// Whether it may share a transaction with others, and therefore run more than once.
    pub shares: bool,
    /// When it was asked for.
    pub asked: Time,
    /// Until when it may wait and run. Once its work is part of a transaction that others share, it
    /// waits for that to end, in which nothing of the others runs for longer than this.
    pub deadline: Time,
    /// The place that is named where the writer is lent for too long.
    pub from: &'static Location<'static>,
}

impl Terms {
    pub(crate) fn limit(&self) -> Limit {
        if self.deadline == Time::NEVER { Limit::None } else { Limit::Until(self.deadline) }
    }
}
