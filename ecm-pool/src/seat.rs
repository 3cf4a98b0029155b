use crate::{
    Terms,
    batch::Batch,
    errand::Errand,
    sync::{Mutex, lock},
};
use ecm_core::{Backend, Durability, Error, Failure, Position, Time, Transact};
use std::{any::Any, sync::Arc, task::Waker, time::Duration};

/// After how many lost transactions a write shares no other one.
const MOST_LOSSES: u32 = 3;

/// A write that waits: in the queue before the writer, or in a transaction for its commit.
pub(crate) struct Waiting<B: Backend<Connection: Transact>> {
    pub(crate) seat: Arc<Seat<B>>,
    /// What others run; `None` for what only its own thread can run.
    pub(crate) errand: Option<Arc<dyn Errand<B::Connection>>>,
    pub(crate) terms: Terms,
    /// Who uses its turn for it; `None` where its own thread does.
    pub(crate) host: Option<Arc<dyn Host<B>>>,
    losses: u32,
}

/// Whoever uses the turn of a write whose caller only waits for its end.
pub(crate) trait Host<B: Backend<Connection: Transact>>: Send + Sync {
    /// Uses the turn soon, on another thread. Called without any lock of the lane held.
    fn use_turn(self: Arc<Self>, turn: Turn<B>);
}

/// Where a caller hears how its write goes on.
pub(crate) struct Seat<B: Backend<Connection: Transact>>(Mutex<Hearing<B>>);

enum Hearing<B: Backend<Connection: Transact>> {
    /// Nothing yet; with whom to wake.
    Nothing(Option<Waker>),
    Told(News<B>),
    /// Nobody listens any more.
    Abandoned,
}

/// How a write goes on.
pub(crate) enum News<B: Backend<Connection: Transact>> {
    /// It has its turn.
    Turn(Box<Turn<B>>),
    /// It has ended.
    Ended(End),
}

/// The right to the writer: exists once.
pub(crate) struct Turn<B: Backend<Connection: Transact>> {
    /// Whose it is.
    pub(crate) me: Waiting<B>,
    /// The transaction that is open; `None` if the writer has to be borrowed first.
    pub(crate) batch: Option<Batch<B>>,
    /// Whether turns are so short that waking the next one to share a commit costs more than a commit.
    pub(crate) quick: bool,
}

/// How a write has ended.
pub(crate) enum End {
    Committed(Position),
    Undone(Failure),
    NotBegun(Failure),
    Stopped,
    Unknown(Failure),
    Panicked(Box<dyn Any + Send>),
    /// The writer could not be borrowed for it.
    Unlent(Error),
    Closed,
}

impl<B: Backend<Connection: Transact>> Waiting<B> {
    pub(crate) fn new(terms: &Terms, errand: Option<Arc<dyn Errand<B::Connection>>>) -> Self {
        let seat = Arc::new(Seat(Mutex::new(Hearing::Nothing(None))));
        Self { seat, errand, terms: *terms, host: None, losses: 0 }
    }

    /// Its turn is used by somebody else.
    pub(crate) fn hosted_by(self, host: Arc<dyn Host<B>>) -> Self {
        Self { host: Some(host), ..self }
    }

    /// Whether it may be part of a transaction that lasts about `span` from now on.
    pub(crate) fn shares(&self, durability: Durability, now: Time, span: Duration) -> bool {
        let Terms { shares, durability: wanted, deadline, .. } = self.terms;
        shares && self.losses < MOST_LOSSES && wanted == durability && now + span < deadline
    }

    /// A transaction that it was part of is lost.
    pub(crate) fn lost(self) -> Self {
        Self { losses: self.losses + 1, ..self }
    }

    /// It shares no transaction any more.
    pub(crate) fn alone(self) -> Self {
        Self { losses: MOST_LOSSES, ..self }
    }

    /// As [`Seat::tell`], where it does not matter whether somebody listens.
    pub(crate) fn end(self, end: End) -> Option<Waker> {
        self.seat.tell(News::Ended(end)).ok().flatten()
    }
}

impl<B: Backend<Connection: Transact>> Seat<B> {
    /// Tells the caller, and answers whom to wake.
    ///
    /// # Errors
    /// The news, if nobody listens any more.
    pub(crate) fn tell(&self, news: News<B>) -> Result<Option<Waker>, News<B>> {
        match &mut *lock(&self.0) {
            Hearing::Abandoned => Err(news),
            hearing => match std::mem::replace(hearing, Hearing::Told(news)) {
                Hearing::Nothing(waker) => Ok(waker),
                _ => unreachable!("what was told is heard before there is more to tell"),
            },
        }
    }

    /// The news, or none: then `waker` is woken when there are.
    pub(crate) fn listen(&self, waker: &Waker) -> Option<News<B>> {
        let mut hearing = lock(&self.0);
        let stale = match &mut *hearing {
            Hearing::Nothing(Some(known)) if known.will_wake(waker) => return None,
            Hearing::Nothing(known) => known.replace(waker.clone()),
            other => match std::mem::replace(other, Hearing::Nothing(None)) {
                Hearing::Told(news) => return Some(news),
                _ => unreachable!("a caller that has gone away does not listen"),
            },
        };
        drop(hearing);
        drop(stale);
        None
    }

    /// Whom to wake so that the caller looks again.
    pub(crate) fn nudge(&self) -> Option<Waker> {
        match &mut *lock(&self.0) {
            Hearing::Nothing(waker) => waker.take(),
            _ => None,
        }
    }

    /// Whether nobody listens any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(*lock(&self.0), Hearing::Abandoned)
    }

    /// Nobody listens from now on; answers what nobody has heard.
    pub(crate) fn abandon(&self) -> Option<News<B>> {
        match std::mem::replace(&mut *lock(&self.0), Hearing::Abandoned) {
            Hearing::Told(news) => Some(news),
            _ => None,
        }
    }
}
