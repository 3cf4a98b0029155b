use crate::{Analysis, Changes, Failure, Flow, Prepared, Row, Time, ValueRef};
use std::{fmt, sync::Arc};

/// An open handle to a database, as a backend implements it.
///
/// It is used by one thread at a time, and moves between threads. The manager calls it in this
/// order, again and again: [`check_out`](Connection::check_out), [`limit`](Connection::limit), the
/// work, [`stopped`](Connection::stopped), [`check_in`](Connection::check_in).
pub trait Connection: Send + fmt::Debug + 'static {
    /// What a closure that reads is given.
    type Db: ?Sized;
    /// What a closure that writes is given.
    type Tx: ?Sized;
    /// What a borrower of the whole connection is given: the driver's own connection.
    type Raw: ?Sized;

    /// What a closure that reads is given. Called after `check_out(Loan::Read)`.
    fn db(&mut self) -> &Self::Db;

    /// What a closure that writes is given. Called inside [`Transact::begin`](crate::Transact).
    fn tx(&mut self) -> &Self::Tx;

    /// The driver's own connection. Called after `check_out(Loan::Raw)`; such a connection is
    /// expected to answer [`CheckIn::Discard`] afterwards, since nobody knows what was done to it.
    fn raw(&mut self) -> &mut Self::Raw;

    /// Prepares for a loan of this kind: a read must see one stable state of the database from its
    /// start to its end, a raw loan must begin in autocommit mode.
    ///
    /// # Errors
    /// A connection that cannot serve this loan; it is closed, and the call goes to another one.
    fn check_out(&mut self, loan: Loan) -> Result<(), Failure>;

    /// Ends a loan: whatever the borrower left behind must not reach the next one. Called also
    /// after a panic of the borrower. Must not wait.
    fn check_in(&mut self) -> CheckIn;

    /// Bounds what runs from now on, until the next call or the check-in. Statements that the
    /// manager itself issues around a loan are never stopped.
    fn limit(&mut self, limit: Limit);

    /// Whether a limit has stopped something during this loan. Then the result is thrown away,
    /// whatever the borrower made of the error.
    fn stopped(&self) -> bool;

    /// Puts the connection back into the state of a fresh one; may take a while.
    ///
    /// # Errors
    /// A connection that cannot be mended; it is closed.
    fn reset(&mut self) -> Result<(), Failure>;

    /// Lets go of what the connection keeps between loans, if it has kept it long enough, and answers
    /// when to be called again; `None` for not before the next loan. Must not wait.
    ///
    /// A backend may keep something that makes the next loan cheaper and that is in somebody's way:
    /// a snapshot holds back checkpoints. It may do so only after this was called once on any
    /// connection of the database: whoever calls it promises to call it every few milliseconds on
    /// each connection that was not lent meanwhile, and now and then between two loans on each that
    /// was. Called only where [`Backend::keeps`](crate::Backend::keeps) says so.
    fn idle(&mut self, _now: Time) -> Option<Time> {
        None
    }

    /// Asks the database whether the connection still works.
    ///
    /// # Errors
    /// One that does not; it is closed.
    fn ping(&mut self) -> Result<(), Failure>;

    /// A handle by which another thread stops what runs here.
    fn interrupter(&self) -> Arc<dyn Interrupt>;

    /// What the database says about a statement, without running it.
    ///
    /// # Errors
    /// A statement that is wrong or that is not allowed.
    fn analyse(&mut self, sql: &str) -> Result<Analysis, Failure>;

    /// Runs a statement that answers no rows.
    ///
    /// # Errors
    /// Whatever the database says, and parameters that do not fit in number.
    fn execute(&mut self, statement: &Prepared, parameters: &[ValueRef<'_>]) -> Result<Changes, Failure>;

    /// Runs a statement and shows each row to the sink until it has enough.
    ///
    /// # Errors
    /// Whatever the database or the sink says, and parameters that do not fit in number.
    fn query(
        &mut self,
        statement: &Prepared,
        parameters: &[ValueRef<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<Flow, Failure>,
    ) -> Result<(), Failure>;
}

/// Stops what runs on a connection, from another thread.
pub trait Interrupt: Send + Sync + fmt::Debug {
    /// Stops the statement that runs now, if one does. Must be safe after the connection is closed.
    fn interrupt(&self);
}

/// What a connection is lent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loan {
    /// One statement of the manager's own that reads.
    Statement,
    /// As [`Statement`](Self::Statement), on a thread that must not wait, such as one that polls the tasks of an
    /// async program. Where it would wait, for a lock or for whoever goes first, the statement fails and
    /// [`stopped`](Connection::stopped) tells so, as of a limit: it is to be run where waiting is allowed.
    InPlace,
    /// A closure that reads: one stable state from start to end.
    Read,
    /// A transaction that writes.
    Write,
    /// A borrower who gets the whole connection, in autocommit mode.
    Raw,
    /// The manager's own housekeeping.
    Upkeep,
}

/// What to do with a connection that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckIn {
    /// Lend it again.
    Clean,
    /// Call [`Connection::reset`], then lend it again.
    Reset,
    /// Close it.
    Discard,
}

/// How far what runs may go before it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Limit {
    /// To its end.
    #[default]
    None,
    /// About so many steps of the backend's own counting (for SQLite: instructions of its virtual
    /// machine), rounded up to the backend's granularity.
    Steps(u64),
    /// Until this moment.
    Until(Time),
}
