use crate::{Lent, Pool, place::Vacancy};
use ecm_core::{Backend, Connection, Error, Event, Failure, Loan, Stage, Time};
use std::panic::Location;

/// A place that is reserved for a connection about to be opened; dropped, it goes to the next.
pub(crate) struct Opening<'p, B: Backend> {
    pool: &'p Pool<B>,
    vacancy: Option<Vacancy>,
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
        Self { pool, vacancy: Some(vacancy) }
    }

    pub(crate) fn open(mut self, purpose: &Purpose) -> Result<Lent<'p, B>, Error> {
        let pool = self.pool;
        let shared = pool.shared();
        let begun = shared.clock.now();
        let connection = match shared.backend.connect(shared.access, &shared.clock) {
            Ok(connection) => Box::new(connection),
            Err(failure) => return Err(self.failed(failure, purpose)),
        };
        let opened = shared.clock.now();
        let interrupter = connection.interrupter();
        let took = opened.since(begun);
        let Some(vacancy) = self.vacancy.take() else { return Err(shared.closed()) };
        let settled = shared.locked(|state, after| state.settle(vacancy, connection, interrupter, opened, took, after));
        let Some(loaned) = settled else { return Err(shared.closed()) };
        pool.front().stamp(&loaned, opened, purpose.from);
        let mut lent = Lent::of(pool, loaned);
        shared.tell(|database| Event::Opened { database, took });
        match lent.start(purpose.loan) {
            Ok(()) => Ok(lent),
            Err(failure) => Err(self.failed(failure, purpose)),
        }
    }

    fn failed(&self, failure: Failure, purpose: &Purpose) -> Error {
        let shared = self.pool.shared();
        let message = failure.to_string().into();
        shared.locked(|state, _| state.failed(message));
        let now = shared.clock.now();
        let error = if now >= purpose.deadline {
            Error::timeout(Stage::Open, now.since(purpose.asked), &failure).caused_by(failure)
        } else {
            Error::from_failure(failure, &*shared.backend)
        };
        error.in_database(&shared.name)
    }
}

impl<B: Backend> Drop for Opening<'_, B> {
    fn drop(&mut self) {
        if let Some(vacancy) = self.vacancy.take() {
            self.pool.shared().locked(|state, after| state.vacate(vacancy, after));
        }
    }
}
