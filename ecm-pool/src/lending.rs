use crate::{Lent, Owned, Pool, asking::Asking};
use ecm_core::{Backend, Error};
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// A loan that is being waited for: what [`Pool::lend`] answers.
///
/// It may be dropped at any moment: a caller who waits leaves the queue, and what was handed to it
/// already goes to the next. A hand-over that is not taken by a poll within a millisecond goes to
/// the next as well while somebody waits; the caller keeps its rank and is served first when it is
/// polled again.
///
/// A wait costs no allocation here besides growth of the queue. A connection is opened inside the
/// poll, which may take as long as the backend takes.
///
/// # Panics
/// Polling it after it has answered.
#[must_use = "nothing is lent until it is awaited"]
pub struct Lending<'p, B: Backend> {
    pool: &'p Pool<B>,
    asking: Asking,
}

/// A loan that is being waited for and keeps its pool alive: what [`Pool::lend_owned`] answers.
/// Otherwise as [`Lending`].
///
/// # Panics
/// Polling it after it has answered.
#[must_use = "nothing is lent until it is awaited"]
pub struct OwnedLending<B: Backend> {
    pool: Arc<Pool<B>>,
    asking: Asking,
}

impl<'p, B: Backend> Lending<'p, B> {
    pub(crate) fn new(pool: &'p Pool<B>, asking: Asking) -> Self {
        Self { pool, asking }
    }
}

impl<B: Backend> OwnedLending<B> {
    pub(crate) fn new(pool: Arc<Pool<B>>, asking: Asking) -> Self {
        Self { pool, asking }
    }
}

impl<'p, B: Backend> Future for Lending<'p, B> {
    type Output = Result<Lent<'p, B>, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.asking.poll(this.pool, context)
    }
}

impl<B: Backend> Future for OwnedLending<B> {
    type Output = Result<Owned<B>, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let answer = this.asking.poll(&this.pool, context);
        answer.map_ok(|lent| lent.owned_by(Arc::clone(&this.pool)))
    }
}

impl<B: Backend> Drop for Lending<'_, B> {
    fn drop(&mut self) {
        self.asking.leave(self.pool);
    }
}

impl<B: Backend> Drop for OwnedLending<B> {
    fn drop(&mut self) {
        self.asking.leave(&self.pool);
    }
}

impl<B: Backend> fmt::Debug for Lending<'_, B> {
    /// By hand: the pool would print itself, under its lock.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lending").field("asking", &self.asking).finish_non_exhaustive()
    }
}

impl<B: Backend> fmt::Debug for OwnedLending<B> {
    /// By hand: the pool would print itself, under its lock.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedLending").field("asking", &self.asking).finish_non_exhaustive()
    }
}
