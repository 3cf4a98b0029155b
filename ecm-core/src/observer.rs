use crate::{Access, BreakerState, CallKind, Context, Error, Health, Position};
use std::{fmt::Debug, ops, panic::Location, time::Duration};

/// Is told what happens. One report per call, at its end; everything else is rare.
///
/// Figures that can be counted at leisure (connections, entries) are not pushed here: they are
/// pulled from [`Managed::status`](crate::Managed::status).
///
/// # Concurrency
/// Called by the thread to which it happened, without any lock of the manager held. A panic inside
/// is the caller's panic.
pub trait Observer: Send + Sync + Debug {
    /// What it wants to be told, asked once when the manager is built: what nobody wants is not
    /// even put together.
    fn interest(&self) -> Interest {
        Interest::ALL
    }

    /// Something has happened. Sent only for what [`interest`](Observer::interest) names.
    fn event(&self, event: &Event<'_>);
}

/// A set of kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Interest(u32);

impl Interest {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// [`Event::Call`].
    pub const CALLS: Self = Self(1);
    /// [`Event::Opened`], [`Event::Closed`], [`Event::Demoted`] and [`Event::Overdue`].
    pub const CONNECTIONS: Self = Self(2);
    /// [`Event::Breaker`].
    pub const BREAKERS: Self = Self(4);
    /// [`Event::Registered`] and [`Event::Unregistered`].
    pub const DATABASES: Self = Self(8);
    /// [`Event::LogPinned`] and [`Event::CheckpointFailed`].
    pub const LOGS: Self = Self(16);
    /// [`Event::Lent`], [`Event::NotLent`] and [`Event::Returned`]: two for each loan, so that they are for looking
    /// closely, not for counting.
    pub const LOANS: Self = Self(32);
    /// [`Event::CacheMismatch`].
    pub const CACHES: Self = Self(64);
    /// [`Event::Health`].
    pub const HEALTH: Self = Self(128);
    /// [`Event::Copied`], [`Event::CopyFailed`] and [`Event::Promoted`].
    pub const REPLICAS: Self = Self(256);
    /// Everything, now and in later versions.
    pub const ALL: Self = Self(u32::MAX);

    /// Whether any of `other` is in it.
    #[must_use]
    pub const fn wants(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl ops::BitOr for Interest {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Something that has happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A call has ended.
    Call(&'a CallReport<'a>),
    /// A connection was lent: the caller has it a moment later.
    Lent {
        /// The database.
        database: &'a str,
        /// Which one of its pool's: the number that it was opened under, from 1.
        connection: u64,
        /// Where in the caller's code the loan was made; `None` if that is not known.
        location: Option<&'static Location<'static>>,
    },
    /// A caller was lent nothing: its time was over, the queue full, the pool closed, or a connection could not be opened.
    NotLent {
        /// The database.
        database: &'a str,
        /// Why.
        error: &'a Error,
        /// Where in the caller's code the loan was asked for.
        location: &'static Location<'static>,
    },
    /// A connection came back, and its loan is over; if it is not fit to be lent again, [`Event::Closed`] follows.
    Returned {
        /// The database.
        database: &'a str,
        /// Which one of its pool's.
        connection: u64,
    },
    /// A connection was opened.
    Opened {
        /// The database.
        database: &'a str,
        /// Which one of its pool's: the number that it is known by from now on.
        connection: u64,
        /// How long opening took.
        took: Duration,
    },
    /// A connection was closed.
    Closed {
        /// The database.
        database: &'a str,
        /// Which one of its pool's.
        connection: u64,
        /// Why.
        why: &'a str,
    },
    /// A connection does worse than the others of its pool: from now on they are lent first.
    Demoted {
        /// The database.
        database: &'a str,
        /// Why.
        why: &'a str,
    },
    /// A connection has been lent for longer than it should: told once a loan.
    Overdue {
        /// The database.
        database: &'a str,
        /// Where in the caller's code the loan was made; `None` if that is not known.
        location: Option<&'static Location<'static>>,
        /// How long it has lasted.
        age: Duration,
    },
    /// The log of a database cannot be emptied, and has not been for a while, so that it grows with every
    /// commit: told once, until it could be emptied again.
    LogPinned {
        /// The database.
        database: &'a str,
        /// Where in the caller's code the loan was made that has lasted for longest; `None` if no loan is
        /// old enough, so that it is another process, or the place is not known.
        location: Option<&'static Location<'static>>,
        /// How long that loan has lasted; without one, for how long the log could not be emptied.
        age: Duration,
        /// How long the log is by now, in frames.
        frames: u64,
    },
    /// What is in the log could not be moved into the file. Nothing is lost, and callers are not affected.
    CheckpointFailed {
        /// The database.
        database: &'a str,
        /// Why.
        error: &'a str,
        /// After how long it is tried again.
        pause: Duration,
    },
    /// An answer that was served from the cache as current was read again, from the same state of the database, which
    /// gives another one: an error of the cache, of what judges it, or of the backend. Of this statement nothing is
    /// kept any more until what is known of statements is forgotten, by a change of the schema for one.
    CacheMismatch {
        /// The group that was asked.
        group: &'a str,
        /// The database that was read.
        database: &'a str,
        /// The statement.
        sql: &'a str,
    },
    /// A breaker has changed its state.
    Breaker {
        /// The database.
        database: &'a str,
        /// Whether it admits those who read, or those who write: each database has one for each.
        access: Access,
        /// What it does now.
        state: BreakerState,
    },
    /// A check has found that a database can be used again, or not any more, or something else than before of which
    /// people should know.
    Health {
        /// The database.
        database: &'a str,
        /// What is known now.
        health: &'a Health,
    },
    /// A database was made a copy of the primary of its group as that is now. Not told where nothing had changed.
    Copied {
        /// The copy.
        database: &'a str,
        /// How long copying took.
        took: Duration,
        /// A commit of the primary's that it is known to show, with all before it.
        position: Position,
    },
    /// A database could not be made a copy of the primary of its group, or that could not be looked at. The former copy
    /// stays in service.
    CopyFailed {
        /// The copy.
        database: &'a str,
        /// Why.
        error: &'a str,
    },
    /// A copy has become the primary of its group.
    Promoted {
        /// The copy.
        database: &'a str,
        /// The primary before.
        instead_of: &'a str,
        /// How many commits of that are lost; `None` if that is not known.
        lost: Option<u64>,
    },
    /// A database was registered.
    Registered {
        /// The database.
        database: &'a str,
    },
    /// A database was unregistered.
    Unregistered {
        /// The database.
        database: &'a str,
    },
}

impl Event<'_> {
    /// The kind of this event.
    #[must_use]
    pub const fn kind(&self) -> Interest {
        match self {
            Self::Call(_) => Interest::CALLS,
            Self::Opened { .. } | Self::Closed { .. } | Self::Demoted { .. } | Self::Overdue { .. } => {
                Interest::CONNECTIONS
            }
            Self::Lent { .. } | Self::NotLent { .. } | Self::Returned { .. } => Interest::LOANS,
            Self::LogPinned { .. } | Self::CheckpointFailed { .. } => Interest::LOGS,
            Self::CacheMismatch { .. } => Interest::CACHES,
            Self::Copied { .. } | Self::CopyFailed { .. } | Self::Promoted { .. } => Interest::REPLICAS,
            Self::Breaker { .. } => Interest::BREAKERS,
            Self::Health { .. } => Interest::HEALTH,
            Self::Registered { .. } | Self::Unregistered { .. } => Interest::DATABASES,
        }
    }
}

/// How a call went, told once at its end.
#[derive(Debug)]
#[non_exhaustive]
pub struct CallReport<'a> {
    /// What was asked for.
    pub kind: CallKind,
    /// The group that was asked.
    pub group: &'a str,
    /// The database that gave the answer; `None` if none was reached.
    pub database: Option<&'a str>,
    /// The SQL; `None` for closures.
    pub sql: Option<&'a str>,
    /// From the start of the call to its end.
    pub took: Duration,
    /// The part of it that was spent waiting for a connection.
    pub waited: Duration,
    /// Databases that were tried; 0 if none was reached, or a cached result was served.
    pub attempts: u32,
    /// Whether a cached result was served.
    pub cached: bool,
    /// Whether that was not what the database would have answered: only where the call accepted it.
    pub stale: bool,
    /// Whether it was awaited, and its statement has run inside a poll.
    pub in_place: bool,
    /// Whether it took longer than the configured threshold.
    pub slow: bool,
    /// Why it failed; `None` if it did not.
    pub error: Option<&'a Error>,
    /// Where the commit stands, if there was one.
    pub position: Option<Position>,
    /// The place of the call in the caller's code.
    pub location: &'static Location<'static>,
    /// What the caller has sent along.
    pub context: &'a Context,
}

impl<'a> CallReport<'a> {
    /// A call that has just begun: everything that is not known yet is empty or zero.
    #[must_use]
    #[inline]
    pub const fn new(
        kind: CallKind,
        group: &'a str,
        location: &'static Location<'static>,
        context: &'a Context,
    ) -> Self {
        Self {
            kind,
            group,
            database: None,
            sql: None,
            took: Duration::ZERO,
            waited: Duration::ZERO,
            attempts: 0,
            cached: false,
            in_place: false,
            stale: false,
            slow: false,
            error: None,
            position: None,
            location,
            context,
        }
    }
}

/// The null observer: wants nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn interest(&self) -> Interest {
        Interest::NONE
    }

    fn event(&self, _event: &Event<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn every_event_belongs_to_one_interest() {
        let context = Context::NONE;
        let report = CallReport::new(CallKind::Read, "default", Location::caller(), &context);
        let database = "main";
        let error = Error::new(Kind::Closed, "the pool is closed");
        let events = [
            (Event::Call(&report), Interest::CALLS),
            (Event::Lent { database, connection: 1, location: None }, Interest::LOANS),
            (Event::NotLent { database, error: &error, location: Location::caller() }, Interest::LOANS),
            (Event::Returned { database, connection: 1 }, Interest::LOANS),
            (Event::Opened { database, connection: 1, took: Duration::ZERO }, Interest::CONNECTIONS),
            (Event::Closed { database, connection: 1, why: "idle" }, Interest::CONNECTIONS),
            (Event::Demoted { database, why: "slow" }, Interest::CONNECTIONS),
            (Event::Overdue { database, location: None, age: Duration::ZERO }, Interest::CONNECTIONS),
            (Event::LogPinned { database, location: None, age: Duration::ZERO, frames: 7 }, Interest::LOGS),
            (Event::CheckpointFailed { database, error: "full", pause: Duration::ZERO }, Interest::LOGS),
            (Event::CacheMismatch { group: "default", database, sql: "select 1" }, Interest::CACHES),
            (Event::Breaker { database, access: Access::Read, state: BreakerState::Open }, Interest::BREAKERS),
            (Event::Health { database, health: &Health::new() }, Interest::HEALTH),
            (Event::Copied { database, took: Duration::ZERO, position: Position::default() }, Interest::REPLICAS),
            (Event::CopyFailed { database, error: "gone" }, Interest::REPLICAS),
            (Event::Promoted { database, instead_of: "old", lost: None }, Interest::REPLICAS),
            (Event::Registered { database }, Interest::DATABASES),
            (Event::Unregistered { database }, Interest::DATABASES),
        ];
        for (event, kind) in events {
            assert_eq!(event.kind(), kind);
            assert!(Interest::ALL.wants(kind) && !Interest::NONE.wants(kind));
            assert!((kind | Interest::CALLS).wants(kind));
        }
        assert!(!Interest::CALLS.wants(Interest::BREAKERS | Interest::DATABASES));
    }
}
