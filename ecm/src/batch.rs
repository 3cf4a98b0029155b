//! Several statements that write, as one job.
//!
//! Programs meet this type only as the last parameter of [`Call`](crate::Call), for instance to keep a
//! call in a field.

use crate::{
    job::{Sending, Sent, Way, Work},
    known_statement::KnownStatement,
    parameter::Parameter,
    start::Start,
    statement::{Bound, Execute, Values},
    travel::{NEVER_READS, Travel},
};
use ecm_core::{Backend, CallKind, Changes, Connection, Durability, Error, Failure, Transact, Value};
use ecm_pool::{Lane, Terms};
use smallvec::{SmallVec, smallvec};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Several statements that write, in one transaction: the job that [`then`](crate::Call::then) makes.
#[derive(Debug)]
pub struct Batch<'m> {
    /// Never empty.
    statements: SmallVec<[Bound<'m>; 4]>,
    pub(crate) durability: Durability,
    /// The one that was looked at last: whose text an error names.
    at: Arc<AtomicUsize>,
}

impl<'m> Batch<'m> {
    pub(crate) fn after(first: Execute<'m>) -> Self {
        Self { statements: smallvec![first.bound], durability: first.durability, at: Arc::default() }
    }

    pub(crate) fn push(&mut self, sql: &'m str) {
        self.statements.push(Bound::new(sql));
    }

    pub(crate) fn bind(&mut self, parameter: Parameter<'m>) {
        if let Some(last) = self.statements.last_mut() {
            last.bind(parameter);
        }
    }
}

impl<B: Backend> Work<B> for Batch<'_> {
    type Output = Vec<Changes>;

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
        self.statements.get(self.at.load(Ordering::Relaxed)).map(Bound::sql)
    }

    fn unprepared(&self) -> Option<&str> {
        let next = self.statements.iter().position(|statement| !statement.is_prepared())?;
        self.at.store(next, Ordering::Relaxed);
        Some(self.statements[next].sql())
    }

    fn prepared(&mut self, statement: Arc<KnownStatement>) -> Result<(), Error> {
        match self.statements.iter_mut().find(|statement| !statement.is_prepared()) {
            Some(next) => next.prepared(statement),
            None => Ok(()),
        }
    }

    fn changes_schema(&self) -> bool {
        self.statements.iter().any(Bound::changes_schema)
    }

    fn shares(&self) -> bool {
        !Work::<B>::changes_schema(self)
    }

    fn run(&mut self, connection: &mut B::Connection) -> Result<Vec<Changes>, Failure> {
        let mut all = Vec::with_capacity(self.statements.len());
        for (index, bound) in self.statements.iter().enumerate() {
            self.at.store(index, Ordering::Relaxed);
            all.push(connection.execute(bound.statement(), &bound.values()?)?);
        }
        Ok(all)
    }

    #[expect(private_interfaces, reason = "sealed: only this crate calls it")]
    fn send<'l>(
        &self,
        lane: &'l Arc<Lane<B>>,
        terms: &'l Terms,
        start: &Arc<Start>,
        by: Sending,
    ) -> Option<Sent<'l, Vec<Changes>>>
    where
        B::Connection: Transact,
    {
        let owned: Option<Vec<_>> = self.statements.iter().map(Bound::owned).collect();
        let (owned, start, at) = (owned?, Arc::clone(start), Arc::clone(&self.at));
        Some(by.send(lane, terms, move |connection: &mut B::Connection| {
            start.runs();
            let mut all = Vec::with_capacity(owned.len());
            for (index, (statement, values)) in owned.iter().enumerate() {
                at.store(index, Ordering::Relaxed);
                let values: Values<'_> = values.iter().map(Value::borrow).collect();
                all.push(connection.execute(statement, &values)?);
            }
            Ok(all)
        }))
    }
}

impl<B: Backend<Connection: Transact>> Travel<B> for Batch<'_> {
    type Parcel = ();
    type Brought = Vec<Changes>;

    fn pack(&mut self) -> Result<(), Error> {
        // What is wrong with a parameter, since nothing else keeps it from being sent.
        for (index, bound) in self.statements.iter().enumerate() {
            self.at.store(index, Ordering::Relaxed);
            bound.packed()?;
        }
        Ok(())
    }

    fn run_away((): &mut (), _: &mut B::Connection) -> Result<Vec<Changes>, Failure> {
        unreachable!("{NEVER_READS}")
    }

    fn unpack(&mut self, (): ()) {}

    fn bring(&mut self, changes: Vec<Changes>) -> Result<Vec<Changes>, Failure> {
        Ok(changes)
    }
}
