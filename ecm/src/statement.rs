//! Statements with their parameters, and the forms that their answers take.
//!
//! Programs meet these types only as the last parameter of [`Call`](crate::Call), for instance to keep
//! a call in a field.

use crate::{
    Parameter,
    cache_mode::CacheMode,
    currency::Reads,
    decode::decode,
    job::{Sending, Sent, Stored, Way, Work},
    known_statement::KnownStatement,
    shelf::Shelf,
    start::Start,
    travel::{NEVER_READS, Travel},
};
use ecm_core::{
    Backend, CallKind, Changes, Columns, Connection, Durability, Error, Failure, Flow, Key, KeyRef, Kind, Loan,
    Prepared, Row, Rows, TableVersion, Transact, Value, ValueRef,
};
use ecm_pool::{Lane, Terms, Transacted};
use serde::de::DeserializeOwned;
use smallvec::SmallVec;
use std::{marker::PhantomData, sync::Arc, time::Duration};

/// A statement with its parameters.
#[derive(Debug)]
pub(crate) struct Bound<'m> {
    sql: &'m str,
    parameters: SmallVec<[Parameter<'m>; 4]>,
    prepared: Option<Arc<KnownStatement>>,
}

/// The parameters of a statement as a backend takes them.
pub(crate) type Values<'a> = SmallVec<[ValueRef<'a>; 8]>;

const PREPARED: &str = "the route prepares a statement before it runs it";

impl<'m> Bound<'m> {
    #[inline(always)]
    pub(crate) fn new(sql: &'m str) -> Self {
        Self { sql, parameters: SmallVec::new(), prepared: None }
    }

    #[inline(always)]
    pub(crate) fn bind(&mut self, parameter: Parameter<'m>) {
        self.parameters.push(parameter);
    }

    pub(crate) fn sql(&self) -> &str {
        self.sql
    }

    pub(crate) fn is_prepared(&self) -> bool {
        self.prepared.is_some()
    }

    pub(crate) fn statement(&self) -> &KnownStatement {
        self.prepared.as_deref().expect(PREPARED)
    }

    pub(crate) fn changes_schema(&self) -> bool {
        self.prepared
            .as_ref()
            .is_some_and(|statement| statement.analysis.writes.iter().any(|table| table.starts_with("sqlite_")))
    }

    pub(crate) fn values(&self) -> Result<Values<'_>, Error> {
        let mut values = Values::new();
        self.values_into(&mut values)?;
        Ok(values)
    }

    /// The same, where they lie already: a result that holds them is 200 bytes to move.
    #[inline]
    fn values_into<'a>(&'a self, values: &mut Values<'a>) -> Result<(), Error> {
        for (index, parameter) in self.parameters.iter().enumerate() {
            values.push(parameter.value(index + 1)?);
        }
        Ok(())
    }

    /// The same for another thread; `None` before it was prepared, and where a parameter is refused.
    pub(crate) fn owned(&self) -> Option<(Arc<KnownStatement>, Box<[Value]>)> {
        let statement = Arc::clone(self.prepared.as_ref()?);
        Some((statement, self.values().ok()?.iter().map(|value| value.to_value()).collect()))
    }

    /// As [`owned`](Self::owned), with the reason where a parameter is refused.
    pub(crate) fn packed(&self) -> Result<(Arc<KnownStatement>, Box<[Value]>), Error> {
        let statement = Arc::clone(self.prepared.as_ref().expect(PREPARED));
        Ok((statement, self.values()?.iter().map(|value| value.to_value()).collect()))
    }

    pub(crate) fn prepared(&mut self, statement: Arc<KnownStatement>) -> Result<(), Error> {
        let (takes, given) = (statement.analysis.parameters, self.parameters.len());
        if takes != given {
            let message = format_args!("the statement takes {takes} parameters, but {given} were bound");
            return Err(Error::new(Kind::Decode, message));
        }
        self.prepared = Some(statement);
        Ok(())
    }
}

/// A statement that answers rows: the job of [`query`](crate::ConnectionManager::query).
#[derive(Debug)]
pub struct Query<'m, S> {
    pub(crate) bound: Bound<'m>,
    pub(crate) durability: Durability,
    /// What the call says of it.
    pub(crate) mode: Option<CacheMode>,
    /// Whether the rows are left to others.
    leaves: bool,
    /// What was read for them.
    read: Option<Arc<Rows>>,
    sink: PhantomData<fn() -> S>,
}

/// A statement that writes: the job of [`execute`](crate::ConnectionManager::execute).
#[derive(Debug)]
pub struct Execute<'m> {
    pub(crate) bound: Bound<'m>,
    pub(crate) durability: Durability,
}

impl<'m> Query<'m, AllRows> {
    #[inline(always)]
    pub(crate) fn new(sql: &'m str) -> Self {
        Self {
            bound: Bound::new(sql),
            durability: Durability::Configured,
            mode: None,
            leaves: false,
            read: None,
            sink: PhantomData,
        }
    }
}

impl<'m, S> Query<'m, S> {
    #[inline(always)]
    pub(crate) fn into_sink<T>(self) -> Query<'m, T> {
        Query {
            bound: self.bound,
            durability: self.durability,
            mode: self.mode,
            leaves: false,
            read: None,
            sink: PhantomData,
        }
    }
}

impl<'m> Execute<'m> {
    pub(crate) fn new(sql: &'m str) -> Self {
        Self { bound: Bound::new(sql), durability: Durability::Configured }
    }
}

impl<B: Backend, S: Sink> Work<B> for Query<'_, S> {
    type Output = S::Output;

    fn kind(&self) -> CallKind {
        CallKind::Query
    }

    fn way(&self) -> Way {
        match &self.bound.prepared {
            Some(statement) if !statement.analysis.read_only => Way::Write(self.durability),
            _ => Way::Read(Loan::Statement),
        }
    }

    fn repeats(&self) -> bool {
        true
    }

    fn sql(&self) -> Option<&str> {
        Some(self.bound.sql)
    }

    fn unprepared(&self) -> Option<&str> {
        (!self.bound.is_prepared()).then_some(self.bound.sql)
    }

    fn prepared(&mut self, statement: Arc<KnownStatement>) -> Result<(), Error> {
        self.bound.prepared(statement)
    }

    fn forget_prepared(&mut self) {
        self.bound.prepared = None;
    }

    fn changes_schema(&self) -> bool {
        self.bound.changes_schema()
    }

    fn shares(&self) -> bool {
        !self.bound.changes_schema()
    }

    fn run(&mut self, connection: &mut B::Connection) -> Result<S::Output, Failure> {
        if self.leaves {
            let rows = collect::<B, AllRows>(self.bound.statement(), &self.bound.values()?, connection)?;
            self.read = Some(Arc::clone(&rows));
            return S::from_rows(&rows);
        }
        collect::<B, S>(self.bound.statement(), &self.bound.values()?, connection)
    }

    /// As the trait says. Its rows are decoded twice: where it runs, so that one whose rows do not fit is
    /// undone, and where they are wanted, so that what they become need not be sent.
    #[expect(private_interfaces, reason = "sealed: only this crate calls it")]
    fn send<'l>(
        &self,
        lane: &'l Arc<Lane<B>>,
        terms: &'l Terms,
        start: &Arc<Start>,
        by: Sending,
    ) -> Option<Sent<'l, S::Output>>
    where
        B::Connection: Transact,
    {
        let (statement, owned) = self.bound.owned()?;
        let start = Arc::clone(start);
        let sent = by.send(lane, terms, move |connection: &mut B::Connection| {
            start.runs();
            let values: Values<'_> = owned.iter().map(Value::borrow).collect();
            let rows = collect::<B, AllRows>(&statement, &values, connection)?;
            S::from_rows(&rows)?;
            Ok(rows)
        });
        Some(Box::pin(async move {
            Ok(match sent.await? {
                Transacted::Committed(rows, position) => match S::from_rows(&rows) {
                    Ok(output) => Transacted::Committed(output, position),
                    // They fitted before the commit: not to be told as if nothing were there.
                    Err(failure) => Transacted::Unknown(failure),
                },
                Transacted::NotBegun(failure) => Transacted::NotBegun(failure),
                Transacted::Undone(failure) => Transacted::Undone(failure),
                Transacted::Stopped => Transacted::Stopped,
                Transacted::Unknown(failure) => Transacted::Unknown(failure),
            })
        }))
    }

    fn cache_mode(&self) -> Option<CacheMode> {
        let statement = self.bound.prepared.as_ref().filter(|statement| statement.analysis.cacheable)?;
        let mode = self.mode.unwrap_or(statement.mode);
        (mode != CacheMode::Bypass).then_some(mode)
    }

    fn capture(&mut self, shelf: &Shelf<'_>) -> Option<Box<[TableVersion]>> {
        let values = self.bound.values().ok()?;
        let analysis = &self.bound.statement().analysis;
        let rows = analysis.rows.as_ref().map(|keys| (keys, &*values));
        if !shelf.is_wanted(KeyRef::new(shelf.group(), self.bound.statement().id, &values)) {
            return None;
        }
        shelf.capture(&Reads { tables: &analysis.reads, rows })
    }

    #[inline]
    fn stored(&mut self, shelf: &Shelf<'_>, or_old: Option<Duration>) -> Option<Stored<S::Output>> {
        let mut values = Values::new();
        self.bound.values_into(&mut values).ok()?;
        let found = shelf.get(KeyRef::new(shelf.group(), self.bound.statement().id, &values), or_old)?;
        let result = S::from_rows(&found.entry.rows);
        let compare = (found.current && shelf.compares()).then_some(found.entry);
        Some(Stored { result, age: found.age, current: found.current, compare })
    }

    fn statement(&self) -> Option<u32> {
        self.bound.prepared.as_ref().map(|statement| statement.id)
    }

    fn key(&self, group: u32) -> Option<Key> {
        Some(KeyRef::new(group, self.bound.statement().id, &self.bound.values().ok()?).to_key())
    }

    fn key_hash(&self, group: u32) -> Option<u64> {
        Some(KeyRef::new(group, self.bound.statement().id, &self.bound.values().ok()?).hash)
    }

    fn owned(&self) -> Option<(Arc<KnownStatement>, Box<[Value]>)> {
        self.bound.owned()
    }

    fn leave_rows(&mut self, leave: bool) {
        self.leaves = leave;
    }

    fn take_rows(&mut self) -> Option<Arc<Rows>> {
        self.read.take()
    }

    fn answer_from(&self, rows: &Arc<Rows>) -> Option<Result<S::Output, Failure>> {
        Some(S::from_rows(rows))
    }
}

fn collect<B: Backend, S: Sink>(
    statement: &Prepared,
    values: &[ValueRef<'_>],
    connection: &mut B::Connection,
) -> Result<S::Output, Failure> {
    let mut sink = S::default();
    sink.begin(&statement.analysis.columns);
    connection.query(statement, values, &mut |row| sink.row(row))?;
    sink.finish()
}

impl<B: Backend> Work<B> for Execute<'_> {
    type Output = Changes;

    fn kind(&self) -> CallKind {
        CallKind::Execute
    }

    fn way(&self) -> Way {
        Way::Write(self.durability)
    }

    fn repeats(&self) -> bool {
        true
    }

    fn sql(&self) -> Option<&str> {
        Some(self.bound.sql)
    }

    fn unprepared(&self) -> Option<&str> {
        (!self.bound.is_prepared()).then_some(self.bound.sql)
    }

    fn prepared(&mut self, statement: Arc<KnownStatement>) -> Result<(), Error> {
        self.bound.prepared(statement)
    }

    fn changes_schema(&self) -> bool {
        self.bound.changes_schema()
    }

    fn run(&mut self, connection: &mut B::Connection) -> Result<Changes, Failure> {
        let values = self.bound.values()?;
        connection.execute(self.bound.statement(), &values)
    }

    /// As the trait says: a change of the schema makes others prepare their statements anew.
    fn shares(&self) -> bool {
        !self.bound.changes_schema()
    }

    #[expect(private_interfaces, reason = "sealed: only this crate calls it")]
    fn send<'l>(
        &self,
        lane: &'l Arc<Lane<B>>,
        terms: &'l Terms,
        start: &Arc<Start>,
        by: Sending,
    ) -> Option<Sent<'l, Changes>>
    where
        B::Connection: Transact,
    {
        let (statement, owned) = self.bound.owned()?;
        let start = Arc::clone(start);
        Some(by.send(lane, terms, move |connection: &mut B::Connection| {
            start.runs();
            let values: Values<'_> = owned.iter().map(Value::borrow).collect();
            connection.execute(&statement, &values)
        }))
    }
}

/// As the trait says. Its rows are decoded when the statement has ended: until then it may have to run again.
impl<B, S> Travel<B> for Query<'_, S>
where
    B: Backend<Connection: Transact>,
    S: Sink<Output: Send>,
{
    type Parcel = (Arc<KnownStatement>, Box<[Value]>);
    type Brought = Arc<Rows>;

    fn runs_in_place(&mut self) -> Option<u32> {
        let statement = self.bound.prepared.as_ref()?;
        let analysis = &statement.analysis;
        let id = (analysis.read_only && analysis.deterministic).then_some(statement.id);
        self.leaves |= id.is_some();
        id
    }

    fn pack(&mut self) -> Result<Self::Parcel, Error> {
        self.bound.packed()
    }

    fn run_away((statement, values): &mut Self::Parcel, connection: &mut B::Connection) -> Result<Arc<Rows>, Failure> {
        let values: Values<'_> = values.iter().map(Value::borrow).collect();
        collect::<B, AllRows>(statement, &values, connection)
    }

    fn unpack(&mut self, _: Self::Parcel) {}

    fn bring(&mut self, rows: Arc<Rows>) -> Result<S::Output, Failure> {
        let output = S::from_rows(&rows);
        self.read = Some(rows);
        output
    }
}

impl<B: Backend<Connection: Transact>> Travel<B> for Execute<'_> {
    type Parcel = ();
    type Brought = Changes;

    fn pack(&mut self) -> Result<(), Error> {
        // What is wrong with a parameter, since nothing else keeps it from being sent.
        self.bound.packed().map(drop)
    }

    fn run_away((): &mut (), _: &mut B::Connection) -> Result<Changes, Failure> {
        unreachable!("{NEVER_READS}")
    }

    fn unpack(&mut self, (): ()) {}

    fn bring(&mut self, changes: Changes) -> Result<Changes, Failure> {
        Ok(changes)
    }
}

/// What the rows of a query become. Implemented by the crate for each form of answer.
pub trait Sink: sealed::Collect {}

impl<S: sealed::Collect> Sink for S {}

mod sealed {
    use super::{Arc, Columns, Failure, Flow, Row, Rows};

    #[expect(unnameable_types, reason = "sealed: only this crate implements it")]
    pub trait Collect: Default {
        type Output;

        /// What the columns are called, also where no row comes.
        fn begin(&mut self, _columns: &Arc<Columns>) {}

        fn row(&mut self, row: &dyn Row) -> Result<Flow, Failure>;
        fn finish(self) -> Result<Self::Output, Failure>;

        /// What rows that were read before become.
        fn from_rows(rows: &Arc<Rows>) -> Result<Self::Output, Failure> {
            let mut sink = Self::default();
            for row in rows.iter() {
                if sink.row(&row)? == Flow::Stop {
                    break;
                }
            }
            sink.finish()
        }
    }
}

pub(crate) use sealed::Collect;

/// Every row, as it is.
#[derive(Debug, Default)]
pub struct AllRows(Rows);

/// Every row, decoded.
#[derive(Debug)]
pub struct All<T>(Vec<T>);

/// Exactly one row, decoded.
#[derive(Debug)]
pub struct One<T>(Optional<T>);

/// One row or none, decoded.
#[derive(Debug)]
pub struct Optional<T>(Option<T>);

impl<T> Default for All<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Default for One<T> {
    fn default() -> Self {
        Self(Optional::default())
    }
}

impl<T> Default for Optional<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl Collect for AllRows {
    type Output = Arc<Rows>;

    fn begin(&mut self, columns: &Arc<Columns>) {
        self.0 = Rows::new(Arc::clone(columns));
    }

    fn row(&mut self, row: &dyn Row) -> Result<Flow, Failure> {
        self.0.push(row)?;
        Ok(Flow::Continue)
    }

    fn finish(self) -> Result<Arc<Rows>, Failure> {
        Ok(Arc::new(self.0))
    }

    fn from_rows(rows: &Arc<Rows>) -> Result<Arc<Rows>, Failure> {
        Ok(Arc::clone(rows))
    }
}

impl<T: DeserializeOwned> Collect for All<T> {
    type Output = Vec<T>;

    fn row(&mut self, row: &dyn Row) -> Result<Flow, Failure> {
        self.0.push(decode(row)?);
        Ok(Flow::Continue)
    }

    fn finish(self) -> Result<Vec<T>, Failure> {
        Ok(self.0)
    }
}

impl<T: DeserializeOwned> Collect for Optional<T> {
    type Output = Option<T>;

    fn row(&mut self, row: &dyn Row) -> Result<Flow, Failure> {
        if self.0.is_some() {
            return Err(
                Error::new(Kind::Decode, "the query answered more than one row (ask for all, or add LIMIT 1)").into()
            );
        }
        self.0 = Some(decode(row)?);
        Ok(Flow::Continue)
    }

    fn finish(self) -> Result<Option<T>, Failure> {
        Ok(self.0)
    }
}

impl<T: DeserializeOwned> Collect for One<T> {
    type Output = T;

    fn row(&mut self, row: &dyn Row) -> Result<Flow, Failure> {
        self.0.row(row)
    }

    fn finish(self) -> Result<T, Failure> {
        let missing =
            || Error::new(Kind::Decode, "the query answered no row where one was asked for (ask for optional)").into();
        self.0.0.ok_or_else(missing)
    }
}
