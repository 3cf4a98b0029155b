use super::{BackendScript, OPENS};
use crate::{
    Access, Backend, Changes, CheckIn, Clock, Commit, Connection, Durability, Error, Failure, FaultKind, Flow, Loan,
    Position, Prepared, Transact, Value, ValueRef, testing::TestClock,
};
use std::sync::Arc;

/// A fresh database with the tables of the script, and a clock that stands still unless it is moved.
pub(super) struct Stand<'s, B> {
    pub(super) backend: B,
    pub(super) script: &'s BackendScript,
    pub(super) test_clock: TestClock,
    clock: Arc<dyn Clock>,
}

impl<'s, B: Backend<Connection: Transact>> Stand<'s, B> {
    pub(super) fn new(backend: B, script: &'s BackendScript) -> Self {
        let test_clock = TestClock::new();
        test_clock.advance(std::time::Duration::from_secs(100));
        let clock: Arc<dyn Clock> = Arc::new(test_clock.clone());
        let stand = Self { backend, script, test_clock, clock };
        let mut writer = stand.writer();
        for sql in script.setup {
            kept(stand.write(&mut writer, sql, &[]), OPENS, sql);
        }
        stand
    }

    pub(super) fn connect(&self, access: Access) -> Result<B::Connection, Failure> {
        self.backend.connect(access, &self.clock)
    }

    pub(super) fn writer(&self) -> B::Connection {
        kept(self.connect(Access::Write), OPENS, "a connection for writing")
    }

    pub(super) fn reader(&self) -> B::Connection {
        kept(self.connect(Access::Read), OPENS, "a connection for reading")
    }

    /// A connection as the next borrower gets it: the same one, mended, or a new one.
    pub(super) fn next(&self, mut connection: B::Connection, access: Access) -> Result<B::Connection, Failure> {
        match connection.check_in() {
            CheckIn::Clean => Ok(connection),
            CheckIn::Reset if connection.reset().is_ok() => Ok(connection),
            CheckIn::Reset | CheckIn::Discard => {
                drop(connection);
                self.connect(access)
            }
        }
    }

    /// A whole write of one statement, committed.
    pub(super) fn write(
        &self,
        writer: &mut B::Connection,
        sql: &str,
        parameters: &[ValueRef<'_>],
    ) -> Result<Position, Failure> {
        begin(writer)?;
        execute(writer, sql, parameters)?;
        let position = commit(writer)?;
        match writer.check_in() {
            CheckIn::Clean => Ok(position),
            CheckIn::Reset => writer.reset().map(|()| position),
            CheckIn::Discard => self.connect(Access::Write).map(|fresh| *writer = fresh).map(|()| position),
        }
    }

    pub(super) fn set(&self, writer: &mut B::Connection, number: i64) -> Result<Position, Failure> {
        self.write(writer, self.script.set, &[ValueRef::Integer(number)])
    }

    /// What another connection, opened for this, finds in the first place.
    pub(super) fn seen_by_another(&self) -> Result<Option<i64>, Failure> {
        self.seen(self.script.get)
    }

    pub(super) fn seen(&self, sql: &str) -> Result<Option<i64>, Failure> {
        let mut reader = self.connect(Access::Read)?;
        reader.check_out(Loan::Statement)?;
        let number = number(&mut reader, sql)?;
        reader.check_in();
        Ok(number)
    }

    /// Whether somebody else was in the way.
    pub(super) fn is_busy(&self, failure: &Failure) -> bool {
        let causes = std::iter::successors(Some(failure.as_error()), |error| error.source());
        causes.filter_map(|error| self.backend.classify(error)).any(|fault| fault.kind == FaultKind::Busy)
    }

    /// Whether an error, seen by the manager, would count against the database or pass for the closure's.
    pub(super) fn blames_the_database(&self, failure: Failure) -> Option<String> {
        let error = Error::from_failure(failure, &self.backend);
        let blamed = match error.fault() {
            Some(fault) => fault.is_of_database(),
            None => error.kind() == crate::Kind::Closure,
        };
        blamed.then(|| format!("{error:?}"))
    }
}

pub(super) fn begin<C: Transact>(writer: &mut C) -> Result<(), Failure> {
    writer.check_out(Loan::Write)?;
    writer.begin(Durability::Configured)
}

pub(super) fn commit<C: Transact>(writer: &mut C) -> Result<Position, Failure> {
    match writer.commit() {
        Commit::Done(position) => Ok(position),
        Commit::RolledBack(failure) | Commit::Unknown(failure) => Err(failure),
    }
}

pub(super) fn prepare<C: Connection>(connection: &mut C, sql: &str) -> Result<Prepared, Failure> {
    Ok(Prepared { id: 1, sql: sql.into(), analysis: connection.analyse(sql)? })
}

pub(super) fn execute<C: Connection>(
    connection: &mut C,
    sql: &str,
    parameters: &[ValueRef<'_>],
) -> Result<Changes, Failure> {
    let prepared = prepare(connection, sql)?;
    connection.execute(&prepared, parameters)
}

/// The first value of the first row; `None` if there is no row.
pub(super) fn answer<C: Connection>(
    connection: &mut C,
    sql: &str,
    parameters: &[ValueRef<'_>],
) -> Result<Option<Value>, Failure> {
    let prepared = prepare(connection, sql)?;
    let mut first = None;
    connection.query(&prepared, parameters, &mut |row| {
        if first.is_none() {
            first = Some(row.value(0)?.to_value());
        }
        Ok(Flow::Continue)
    })?;
    Ok(first)
}

/// The number in a place; `None` for NULL and for no row.
pub(super) fn number<C: Connection>(connection: &mut C, sql: &str) -> Result<Option<i64>, Failure> {
    match answer(connection, sql, &[])? {
        Some(Value::Integer(number)) => Ok(Some(number)),
        None | Some(Value::Null) => Ok(None),
        Some(other) => Err(Failure::msg(format_args!("{other:?} is no number"))),
    }
}

/// What was needed to look at a promise at all.
pub(super) fn kept<T>(result: Result<T, Failure>, promise: &str, what: &str) -> T {
    result.unwrap_or_else(|failure| panic!("{promise}: {what}: {failure}"))
}
