//! What runs on the connection that a call has found: one job per verb.
//!
//! Programs meet these types only as the last parameter of [`Call`](crate::Call), for instance to keep
//! a call in a field.

pub use crate::{
    travel::Awaitable,
    unit_of_work::job::{Unit, UnitOnce},
};

use crate::travel::Travel;
use crate::unit_of_work::under_way::{Place, UnderWay};
use ecm_core::{Analysis, Backend, CallKind, Connection, Durability, Error, Failure, Loan, Transact};
use std::{marker::PhantomData, sync::Arc};

/// The work of a call: what runs on the connection that the route has found.
///
/// Implemented by the crate for every verb; programs only name it through
/// [`Call::wait`](crate::Call::wait).
pub trait Job<B: Backend>: sealed::Work<B> {}

impl<B: Backend, J: sealed::Work<B>> Job<B> for J {}

pub(crate) mod sealed {
    use super::{Arc, Backend, CallKind, Failure, Way};
    use crate::cache_mode::CacheMode;
    use crate::{
        known_statement::KnownStatement,
        shelf::Shelf,
        start::Start,
        unit_of_work::{hooks::Ended, under_way::Place},
    };
    use ecm_core::{Entry, Error, Key, Rows, TableVersion, Transact, Value};
    use ecm_pool::{Lane, Terms, Transacted};
    use std::{any::Any, pin::Pin, time::Duration};

    /// An answer from the cache.
    #[derive(Debug)]
    #[expect(unnameable_types, reason = "sealed: only this crate asks for it")]
    pub struct Stored<T> {
        pub(crate) result: Result<T, Failure>,
        pub(crate) age: Duration,
        pub(crate) current: bool,
        /// Where it comes from, if it was picked to be compared with what the database answers.
        pub(crate) compare: Option<Arc<Entry>>,
    }

    /// A write on its way through the lane.
    pub(crate) type Sent<'l, T> = Pin<Box<dyn Future<Output = Result<Transacted<T>, Error>> + Send + 'l>>;

    /// Who has a write run that others can run.
    #[derive(Clone, Copy, Debug)]
    #[expect(unnameable_types, reason = "sealed: only this crate sends")]
    pub enum Sending {
        /// Its caller, on a thread that may wait, or whoever has the writer.
        ByCaller,
        /// The lane, or whoever has the writer.
        ByLane,
    }

    impl Sending {
        /// Sends a job on its way.
        pub(crate) fn send<'l, B, T, J>(self, lane: &'l Arc<Lane<B>>, terms: &'l Terms, job: J) -> Sent<'l, T>
        where
            B: Backend<Connection: Transact>,
            T: Send + 'static,
            J: FnMut(&mut B::Connection) -> Result<T, Failure> + Send + 'static,
        {
            match self {
                Self::ByCaller => Box::pin(lane.send(terms, job)),
                Self::ByLane => Box::pin(lane.post(terms, job)),
            }
        }
    }

    /// Sealed, so that what a route asks of a job can grow.
    #[expect(unnameable_types, reason = "sealed: only this crate implements it")]
    pub trait Work<B: Backend> {
        type Output;

        fn kind(&self) -> CallKind;

        /// Known only after the statement has been analysed.
        fn way(&self) -> Way;

        /// Whether it may run again after a database has failed.
        fn repeats(&self) -> bool;

        fn sql(&self) -> Option<&str> {
            None
        }

        /// The text of a statement that is still to be prepared.
        fn unprepared(&self) -> Option<&str> {
            None
        }

        /// The statement of [`unprepared`](Work::unprepared), before the first run.
        fn prepared(&mut self, _statement: Arc<KnownStatement>) -> Result<(), ecm_core::Error> {
            Ok(())
        }

        /// Forgets the statement: it has to be prepared again.
        fn forget_prepared(&mut self) {}

        /// Where it will run.
        fn goes_to(&mut self, _place: impl FnOnce() -> Place) {}

        fn run(&mut self, connection: &mut B::Connection) -> Result<Self::Output, Failure>;

        /// Does what is to be done when it is known how the call has ended; answers a panic of that.
        fn ended(&mut self, _ended: Ended) -> Option<Box<dyn Any + Send>> {
            None
        }

        /// Whether it may share a transaction with other writes.
        fn shares(&self) -> bool {
            self.repeats()
        }

        /// The same job with everything it needs, sent to the lane for whoever holds the writer to
        /// run; `None` if only its own thread can run it.
        #[expect(private_interfaces, reason = "sealed: only this crate calls it")]
        fn send<'l>(
            &self,
            _: &'l Arc<Lane<B>>,
            _: &'l Terms,
            _: &Arc<Start>,
            _: Sending,
        ) -> Option<Sent<'l, Self::Output>>
        where
            B::Connection: Transact,
        {
            None
        }

        /// What is wanted of the cache; `None` where it is not used.
        fn cache_mode(&self) -> Option<CacheMode> {
            None
        }

        /// Whether what is known about statements may not hold after it.
        fn changes_schema(&self) -> bool {
            false
        }

        /// What an answer has to be kept with that is read after this; `None` if none may be kept.
        fn capture(&mut self, _shelf: &Shelf<'_>) -> Option<Box<[TableVersion]>> {
            None
        }

        /// The answer from the cache, if one is stored that is current, or not older than `or_old`; with its age, and
        /// whether it is current.
        fn stored(&mut self, _: &Shelf<'_>, _or_old: Option<Duration>) -> Option<Stored<Self::Output>> {
            None
        }

        /// The number of its statement.
        fn statement(&self) -> Option<u32> {
            None
        }

        /// Under which key the answer is kept.
        fn key(&self, _group: u32) -> Option<Key> {
            None
        }

        /// The hash of that key.
        fn key_hash(&self, _group: u32) -> Option<u64> {
            None
        }

        /// The statement and its parameters, for another thread.
        fn owned(&self) -> Option<(Arc<KnownStatement>, Box<[Value]>)> {
            None
        }

        /// Whether [`run`](Work::run) is to leave the rows that it reads to [`take_rows`](Work::take_rows).
        fn leave_rows(&mut self, _leave: bool) {}

        /// What [`run`](Work::run) has read.
        fn take_rows(&mut self) -> Option<Arc<Rows>> {
            None
        }

        /// The answer that these rows make.
        fn answer_from(&self, _rows: &Arc<Rows>) -> Option<Result<Self::Output, Failure>> {
            None
        }
    }
}

pub(crate) use sealed::{Sending, Sent, Stored, Work};

/// How a job reaches a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// On a connection for reading.
    Read(Loan),
    /// In a transaction on the primary's writer.
    Write(Durability),
}

type Db<B> = <<B as Backend>::Connection as Connection>::Db;
type Tx<B> = <<B as Backend>::Connection as Connection>::Tx;

/// A closure that reads: the job of [`read`](crate::ConnectionManager::read).
#[derive(Debug)]
pub struct Read<F, T> {
    /// `None` while it is on another thread.
    closure: Option<F>,
    output: PhantomData<fn() -> T>,
}

/// A closure that reads once: the job of [`read_once`](crate::ConnectionManager::read_once).
#[derive(Debug)]
pub struct ReadOnce<F, T> {
    closure: Option<F>,
    output: PhantomData<fn() -> T>,
}

/// A closure that writes: the job of [`write`](crate::ConnectionManager::write).
#[derive(Debug)]
pub struct Write<F, T> {
    /// `None` while it is on another thread.
    closure: Option<F>,
    place: Option<Place>,
    pub(crate) durability: Durability,
    output: PhantomData<fn() -> T>,
}

/// A closure that writes once: the job of [`write_once`](crate::ConnectionManager::write_once).
#[derive(Debug)]
pub struct WriteOnce<F, T> {
    closure: Option<F>,
    place: Option<Place>,
    pub(crate) durability: Durability,
    output: PhantomData<fn() -> T>,
}

impl<F, T> Read<F, T> {
    pub(crate) fn new(closure: F) -> Self {
        Self { closure: Some(closure), output: PhantomData }
    }
}

impl<F, T> ReadOnce<F, T> {
    pub(crate) fn new(closure: F) -> Self {
        Self { closure: Some(closure), output: PhantomData }
    }
}

impl<F, T> Write<F, T> {
    pub(crate) fn new(closure: F) -> Self {
        Self { closure: Some(closure), place: None, durability: Durability::Configured, output: PhantomData }
    }
}

impl<F, T> WriteOnce<F, T> {
    pub(crate) fn new(closure: F) -> Self {
        Self { closure: Some(closure), place: None, durability: Durability::Configured, output: PhantomData }
    }
}

pub(crate) const AT_HOME: &str = "a closure that was sent to another thread has come back before it runs again";
pub(crate) const RAN_ALREADY: &str = "a job that does not repeat is run once";

impl<B: Backend, T, F: FnMut(&Db<B>) -> Result<T, Failure>> Work<B> for Read<F, T> {
    type Output = T;

    fn kind(&self) -> CallKind {
        CallKind::Read
    }

    fn way(&self) -> Way {
        Way::Read(Loan::Read)
    }

    fn repeats(&self) -> bool {
        true
    }

    fn run(&mut self, connection: &mut B::Connection) -> Result<T, Failure> {
        self.closure.as_mut().expect(AT_HOME)(connection.db())
    }
}

impl<B: Backend, T, F: FnOnce(&Db<B>) -> Result<T, Failure>> Work<B> for ReadOnce<F, T> {
    type Output = T;

    fn kind(&self) -> CallKind {
        CallKind::Read
    }

    fn way(&self) -> Way {
        Way::Read(Loan::Read)
    }

    fn repeats(&self) -> bool {
        false
    }

    fn run(&mut self, connection: &mut B::Connection) -> Result<T, Failure> {
        self.closure.take().expect(RAN_ALREADY)(connection.db())
    }
}

impl<B: Backend<Connection: Transact>, T, F: FnMut(&Tx<B>) -> Result<T, Failure>> Work<B> for Write<F, T> {
    type Output = T;

    fn kind(&self) -> CallKind {
        CallKind::Write
    }

    fn way(&self) -> Way {
        Way::Write(self.durability)
    }

    fn repeats(&self) -> bool {
        true
    }

    fn goes_to(&mut self, place: impl FnOnce() -> Place) {
        self.place = Some(place());
    }

    fn run(&mut self, connection: &mut B::Connection) -> Result<T, Failure> {
        let _under_way = self.place.clone().map(UnderWay::at);
        self.closure.as_mut().expect(AT_HOME)(connection.tx())
    }
}

impl<B: Backend<Connection: Transact>, T, F: FnOnce(&Tx<B>) -> Result<T, Failure>> Work<B> for WriteOnce<F, T> {
    type Output = T;

    fn kind(&self) -> CallKind {
        CallKind::Write
    }

    fn way(&self) -> Way {
        Way::Write(self.durability)
    }

    fn repeats(&self) -> bool {
        false
    }

    fn goes_to(&mut self, place: impl FnOnce() -> Place) {
        self.place = Some(place());
    }

    fn run(&mut self, connection: &mut B::Connection) -> Result<T, Failure> {
        let _under_way = self.place.clone().map(UnderWay::at);
        self.closure.take().expect(RAN_ALREADY)(connection.tx())
    }
}

impl<B, T, F> Travel<B> for Read<F, T>
where
    B: Backend<Connection: Transact>,
    T: Send + 'static,
    F: FnMut(&Db<B>) -> Result<T, Failure> + Send + 'static,
{
    type Parcel = Self;
    type Brought = T;

    fn pack(&mut self) -> Result<Self, Error> {
        Ok(Self { closure: self.closure.take(), output: PhantomData })
    }

    fn run_away(job: &mut Self, connection: &mut B::Connection) -> Result<T, Failure> {
        Work::<B>::run(job, connection)
    }

    fn unpack(&mut self, job: Self) {
        *self = job;
    }

    fn bring(&mut self, brought: T) -> Result<T, Failure> {
        Ok(brought)
    }
}

impl<B, T, F> Travel<B> for ReadOnce<F, T>
where
    B: Backend<Connection: Transact>,
    T: Send + 'static,
    F: FnOnce(&Db<B>) -> Result<T, Failure> + Send + 'static,
{
    type Parcel = Self;
    type Brought = T;

    fn pack(&mut self) -> Result<Self, Error> {
        Ok(Self { closure: self.closure.take(), output: PhantomData })
    }

    fn run_away(job: &mut Self, connection: &mut B::Connection) -> Result<T, Failure> {
        Work::<B>::run(job, connection)
    }

    fn unpack(&mut self, job: Self) {
        *self = job;
    }

    fn bring(&mut self, brought: T) -> Result<T, Failure> {
        Ok(brought)
    }
}

impl<B, T, F> Travel<B> for Write<F, T>
where
    B: Backend<Connection: Transact>,
    T: Send + 'static,
    F: FnMut(&Tx<B>) -> Result<T, Failure> + Send + 'static,
{
    type Parcel = Self;
    type Brought = T;

    fn pack(&mut self) -> Result<Self, Error> {
        Ok(Self { closure: self.closure.take(), place: self.place.take(), ..*self })
    }

    fn run_away(job: &mut Self, connection: &mut B::Connection) -> Result<T, Failure> {
        Work::<B>::run(job, connection)
    }

    fn unpack(&mut self, job: Self) {
        *self = job;
    }

    fn bring(&mut self, brought: T) -> Result<T, Failure> {
        Ok(brought)
    }
}

impl<B, T, F> Travel<B> for WriteOnce<F, T>
where
    B: Backend<Connection: Transact>,
    T: Send + 'static,
    F: FnOnce(&Tx<B>) -> Result<T, Failure> + Send + 'static,
{
    type Parcel = Self;
    type Brought = T;

    fn pack(&mut self) -> Result<Self, Error> {
        Ok(Self { closure: self.closure.take(), place: self.place.take(), ..*self })
    }

    fn run_away(job: &mut Self, connection: &mut B::Connection) -> Result<T, Failure> {
        Work::<B>::run(job, connection)
    }

    fn unpack(&mut self, job: Self) {
        *self = job;
    }

    fn bring(&mut self, brought: T) -> Result<T, Failure> {
        Ok(brought)
    }
}

/// Asks a database what it says about a statement that is not known yet.
pub(crate) struct Analyse(pub(crate) Arc<str>);

impl<B: Backend> Work<B> for Analyse {
    type Output = Analysis;

    fn kind(&self) -> CallKind {
        CallKind::Query
    }

    fn way(&self) -> Way {
        Way::Read(Loan::Statement)
    }

    fn repeats(&self) -> bool {
        true
    }

    fn run(&mut self, connection: &mut B::Connection) -> Result<Analysis, Failure> {
        connection.analyse(&self.0)
    }
}

impl<B: Backend<Connection: Transact>> Travel<B> for Analyse {
    type Parcel = Arc<str>;
    type Brought = Analysis;

    fn pack(&mut self) -> Result<Arc<str>, Error> {
        Ok(Arc::clone(&self.0))
    }

    fn run_away(sql: &mut Arc<str>, connection: &mut B::Connection) -> Result<Analysis, Failure> {
        connection.analyse(sql)
    }

    fn unpack(&mut self, _: Arc<str>) {}

    fn bring(&mut self, analysis: Analysis) -> Result<Analysis, Failure> {
        Ok(analysis)
    }
}
