use crate::{
    Lent, Pool, PoolConfig, PoolParts,
    sync::{Mutex, lock},
};
use ecm_core::{Access, Backend, Commit, Connection, Durability, Failure, Position, Time, Transact};
use std::{
    fmt,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
};

/// The queue before the one writer of a database, and what is known of its commits.
///
/// A [`Pool`] of exactly one connection, opened for writing. Whoever wants to write borrows it from
/// [`pool`](Lane::pool), in strict order of arrival, and runs [`transact`](Lane::transact) with it.
pub struct Lane<B: Backend>
where
    B::Connection: Transact,
{
    pool: Pool<B>,
    position: Mutex<Position>,
    upkeep: Mutex<Time>,
}

/// What became of a transaction in a [`Lane`].
#[derive(Debug)]
#[must_use = "only one of these means that the transaction is committed"]
pub enum Transacted<T> {
    /// It is committed, at this position; with what the closure returned.
    Committed(T, Position),
    /// It could not begin, and nothing was run.
    NotBegun(Failure),
    /// Nothing of it is there: the closure failed, or the commit did.
    Undone(Failure),
    /// A limit has stopped it, whatever the closure returned. Nothing of it is there.
    Stopped,
    /// It cannot be known whether it is there. Never to be run again unasked.
    Unknown(Failure),
}

impl<B: Backend> Lane<B>
where
    B::Connection: Transact,
{
    /// A lane without a writer yet: the first caller opens it.
    ///
    /// `max_connections` of the configuration is taken as 1, now and after every
    /// [`reconfigure`](Pool::reconfigure), and the access of the parts as [`Access::Write`].
    ///
    /// # Panics
    /// If [`PoolConfig::check`] refuses `config`.
    #[must_use]
    pub fn new(backend: Arc<B>, config: PoolConfig, parts: PoolParts) -> Self {
        let parts = PoolParts { access: Access::Write, ..parts };
        Self {
            pool: Pool::capped(backend, config, 1, parts),
            position: Mutex::new(Position::default()),
            upkeep: Mutex::new(Time::START),
        }
    }

    /// The pool that lends the writer.
    #[must_use]
    pub fn pool(&self) -> &Pool<B> {
        &self.pool
    }

    /// The greatest position that a commit of this lane has reached; the default before the first.
    #[must_use]
    pub fn position(&self) -> Position {
        *lock(&self.position)
    }

    /// Runs one transaction on the lent writer, then gives the writer back.
    ///
    /// `run` sees a transaction that has begun; what it returns decides between commit and roll
    /// back, unless a limit has stopped it. A panic of `run` goes on after the writer was given back,
    /// which undoes the transaction. After an unknown outcome, and after a roll back that failed,
    /// the writer is closed.
    ///
    /// [`Backend::upkeep`] runs before this returns when it is due: after the first transaction,
    /// then as its answer says. If it panics, the writer is closed and the outcome stands.
    pub fn transact<T>(
        &self,
        mut writer: Lent<'_, B>,
        durability: Durability,
        run: impl FnOnce(&mut B::Connection) -> Result<T, Failure>,
    ) -> Transacted<T> {
        if let Err(failure) = writer.begin(durability) {
            return Transacted::NotBegun(failure);
        }
        let ran = run(&mut writer);
        let (outcome, fit) = if writer.stopped() {
            (Transacted::Stopped, writer.roll_back().is_ok())
        } else {
            match ran {
                Err(failure) => (Transacted::Undone(failure), writer.roll_back().is_ok()),
                Ok(value) => match writer.commit() {
                    Commit::Done(position) => {
                        self.reached(position);
                        (Transacted::Committed(value, position), true)
                    }
                    Commit::RolledBack(failure) => (Transacted::Undone(failure), true),
                    Commit::Unknown(failure) => (Transacted::Unknown(failure), false),
                },
            }
        };
        if !(fit && self.keep_up(&mut writer)) {
            writer.discard();
        }
        outcome
    }

    fn reached(&self, position: Position) {
        let mut greatest = lock(&self.position);
        *greatest = position.max(*greatest);
    }

    /// Does the upkeep if it is due; answers whether the writer is still fit.
    fn keep_up(&self, writer: &mut B::Connection) -> bool {
        let due = *lock(&self.upkeep);
        if due == Time::NEVER {
            return true;
        }
        let shared = self.pool.shared();
        let now = shared.clock.now();
        if now < due {
            return true;
        }
        // Caught, because a commit that was done must be acknowledged.
        let next = panic::catch_unwind(AssertUnwindSafe(|| shared.backend.upkeep(writer, now)));
        if let Ok(next) = next {
            *lock(&self.upkeep) = next.unwrap_or(Time::NEVER);
        }
        next.is_ok()
    }
}

impl<B: Backend> fmt::Debug for Lane<B>
where
    B::Connection: Transact,
{
    /// By hand: deriving would ask for more than `B: Backend`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("pool", &self.pool).field("position", &self.position()).finish_non_exhaustive()
    }
}
