use crate::{Lent, Pool, asking::describe, place::Vacancy, state::Unsettled};
use ecm_core::{Backend, Connection, Error, Event, Failure, Interest, Loan, Stage, Time};
use std::panic::Location;

/// A place that is reserved for a connection about to be opened; dropped, it goes to the next.
pub(crate) struct Opening<'p, B: Backend> {
    pool: &'p Pool<B>,
    stand: Stand,
}

enum Stand {
    Reserved(Vacancy),
    /// The number of the opening.
    Begun(u64),
    Over,
}

/// What the connection is opened for.
pub(crate) struct Purpose {
    pub(crate) loan: Loan,
    pub(crate) from: &'static Location<'static>,
    pub(crate) asked: Time,
    pub(crate) deadline: Time,
}

impl<'p, B: Backend> Opening<'p, B> {
    pub(crate) fn new(pool: &'p Pool<B>, vacancy: Vacancy) -> Self {
        Self { pool, stand: Stand::Reserved(vacancy) }
    }

    /// Opens a connection and begins a loan of it; `None` if that took so long that the place has gone to
    /// others, and there is no room for one more: then the caller has to ask again.
    pub(crate) fn open(mut self, purpose: &Purpose) -> Option<Result<Lent<'p, B>, Error>> {
        let pool = self.pool;
        let shared = pool.shared();
        let begun = shared.clock.now();
        let Stand::Reserved(vacancy) = std::mem::replace(&mut self.stand, Stand::Over) else {
            unreachable!("an opening begins once")
        };
        let number = shared.locked(|state, after| state.begin(vacancy, begun, false, after));
        self.stand = Stand::Begun(number);
        let connection = match shared.backend.connect(shared.access, &shared.clock) {
            Ok(connection) => Box::new(connection),
            Err(failure) => return Some(Err(self.failed(failure, purpose))),
        };
        let opened = shared.clock.now();
        let interrupter = connection.interrupter();
        let took = opened.since(begun);
        self.stand = Stand::Over;
        let settled = shared.locked(|state, after| state.settle(number, connection, interrupter, opened, took, after));
        let loaned = match settled {
            Ok(loaned) => loaned,
            Err(Unsettled::Closed) => return Some(Err(shared.closed())),
            Err(Unsettled::TooLate) => return None,
        };
        pool.front().stamp(&loaned, opened, purpose.from);
        let mut lent = Lent::of(pool, loaned);
        shared.tell(Interest::CONNECTIONS, |database| Event::Opened { database, connection: number, took });
        Some(match lent.start(purpose.loan) {
            Ok(()) => Ok(lent),
            Err(failure) => Err(self.failed(failure, purpose)),
        })
    }

    fn failed(&self, failure: Failure, purpose: &Purpose) -> Error {
        let shared = self.pool.shared();
        let message = failure.to_string().into();
        let shortage = shared.locked(|state, _| state.failed(message));
        let now = shared.clock.now();
        let error = if now >= purpose.deadline {
            Error::timeout(Stage::Open, now.since(purpose.asked), describe(&shortage)).caused_by(failure)
        } else {
            Error::from_failure(failure, &*shared.backend)
        };
        error.in_database(&shared.name)
    }
}

impl<B: Backend> Drop for Opening<'_, B> {
    fn drop(&mut self) {
        let shared = self.pool.shared();
        match std::mem::replace(&mut self.stand, Stand::Over) {
            Stand::Reserved(vacancy) => shared.locked(|state, after| state.vacate(vacancy, after)),
            Stand::Begun(number) => drop(shared.locked(|state, after| state.give_up(number, after))),
            Stand::Over => {}
        }
    }
}
