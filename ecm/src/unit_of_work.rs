pub(crate) mod hooks;
pub(crate) mod job;
mod part;
mod shared_state;
pub(crate) mod under_way;

#[cfg(feature = "sqlite")]
use ecm_sqlite::Sqlite;

use crate::Store;
use ecm_core::{Backend, Connection, Error, Failure, Kind, Position, Savepoints};
use hooks::Hooks;
use part::Part;
use shared_state::SharedState;
use std::{
    cell::{Cell, RefCell},
    fmt, ops,
};

type Tx<B> = <<B as Backend>::Connection as Connection>::Tx;

/// One transaction on a primary, seen by the stores that work in it: what the closure of
/// [`unit_of_work`](crate::ConnectionManager::unit_of_work) is given.
///
/// Everything of it is there afterwards, or nothing. It is committed if the closure succeeds, and rolled
/// back if the closure returns an error, panics, or is stopped by its deadline. It dereferences to what
/// [`write`](crate::ConnectionManager::write) gives its closure, here a [`Tx`](ecm_core::Connection::Tx),
/// and is copied freely: each copy is the same unit.
///
/// Reads of it see what it has written. Reads of the manager, made meanwhile, do not, since nothing
/// is committed yet; and a write of the manager to the same group is refused with
/// [`Kind::Misuse`] instead of waiting for the unit to end.
///
/// # One database
/// A unit is one transaction of one database. A second unit, begun by the same manager while one is under
/// way on the thread, is refused with [`Kind::Misuse`]: within the same group [`nested`](Self::nested)
/// is meant; another group would be another transaction, of which the one could be committed and the
/// other not. `ATTACH` is refused by the backend, for the same reason.
///
/// # It may run again
/// A unit shares its transaction with other writes where several wait. If the database rolls all
/// of it back, because of an error in one of them, the closures of the others run again, from a state
/// without anything of the first run, and with a new unit: without stores, hooks and shared state of the first. So
/// keep effects outside the database out of the closure, or leave them to
/// [`after_commit`](Self::after_commit). [`unit_of_work_once`](crate::ConnectionManager::unit_of_work_once)
/// runs once at most, alone in its transaction.
///
/// # Hooks
/// | hook | when it runs | its error, or its panic |
/// |---|---|---|
/// | [`before_commit`](Self::before_commit) | in the transaction, when the closure has succeeded | is that of the closure: everything is rolled back |
/// | [`after_commit`](Self::after_commit) | after the commit | a panic goes on from `wait`, when the other hooks have run |
/// | [`after_rollback`](Self::after_rollback) | after the unit has ended, if what was done beside the hook was rolled back | as above; one beside a panic of the closure is dropped |
///
/// They run on the thread that waits for the call, in the order in which they were registered. Those
/// that run afterwards do so when the writer has been given back, so they may use the manager, and before
/// `wait` returns. Where it cannot be known whether the commit has happened
/// ([`Executed::Unknown`](crate::Executed::Unknown)), neither kind runs, except for what a nested unit had undone
/// before.
///
/// ```
/// # #[cfg(feature = "standard")] {
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::mpsc;
///
/// let manager = ecm::ConnectionManager::open(":memory:")?;
/// manager.execute("CREATE TABLE note (title TEXT)").wait()?;
/// let (events, heard) = mpsc::channel();
/// let unit = manager.unit_of_work(|uow| {
///     uow.execute("INSERT INTO note VALUES ('bread')", [])?;
///     let events = events.clone();
///     uow.after_commit(move |position| drop(events.send(position)));
///     // Undone alone: the note about bread is kept.
///     let nested = uow.nested(|uow| {
///         uow.execute("INSERT INTO note VALUES ('milk')", [])?;
///         Err::<(), _>(ecm::Failure::msg("no milk today"))
///     });
///     assert!(nested.is_err());
///     Ok(uow.query_row("SELECT count(*) FROM note", [], |row| row.get::<_, i64>(0))?)
/// });
/// assert_eq!(unit.wait()?, 1);
/// assert_eq!(heard.try_recv()?.commit, 2, "the second commit of this database");
/// # Ok(()) }
/// # main().unwrap();
/// # }
/// ```
pub struct UnitOfWork<'u, #[cfg(feature = "sqlite")] B: Backend = Sqlite, #[cfg(not(feature = "sqlite"))] B: Backend>(
    &'u Unit<'u, B>,
);

/// One run of a unit.
struct Unit<'r, B: Backend> {
    tx: &'r Tx<B>,
    hooks: &'r RefCell<Hooks<B>>,
    shared: SharedState,
    /// Whether something has failed in a way that leaves nothing to be kept.
    lost: Cell<bool>,
}

impl<'r, B: Backend> Unit<'r, B> {
    fn new(tx: &'r Tx<B>, hooks: &'r RefCell<Hooks<B>>) -> Self {
        Self { tx, hooks, shared: SharedState::default(), lost: Cell::new(false) }
    }

    /// Runs the closure, then what was to run before the commit.
    fn run<T>(&self, closure: impl FnOnce(UnitOfWork<'_, B>) -> Result<T, Failure>) -> Result<T, Failure> {
        let value = closure(UnitOfWork(self))?;
        self.check_kept()?;
        loop {
            // Hooks may register hooks.
            let before = self.hooks.borrow_mut().take_before_commit();
            if before.is_empty() {
                break;
            }
            for hook in before {
                hook(UnitOfWork(self))?;
            }
        }
        self.check_kept()?;
        Ok(value)
    }

    fn check_kept(&self) -> Result<(), Failure> {
        if self.lost.get() { Err(lost()) } else { Ok(()) }
    }
}

fn lost() -> Failure {
    let message = "a nested unit of work could not be undone alone, so nothing of the whole unit can be kept: return \
                   the error of the nested unit";
    Error::new(Kind::Misuse, message).into()
}

impl<'u, B: Backend> UnitOfWork<'u, B> {
    /// A view of this unit.
    ///
    /// # Errors
    /// Whatever the store says when it is opened.
    pub fn store<S: Store<'u, B>>(self) -> Result<S, Failure> {
        S::open(self)
    }

    /// The state of this type that the stores of the unit share: made by the first who asks, the same for
    /// all, gone with the unit. A nested unit that is undone does not undo it.
    ///
    /// ```
    /// # #[cfg(feature = "standard")] {
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::cell::Cell;
    ///
    /// #[derive(Default)]
    /// struct Written(Cell<u32>);
    ///
    /// let manager = ecm::ConnectionManager::open(":memory:")?;
    /// let unit = manager.unit_of_work(|uow| {
    ///     uow.shared::<Written>().0.set(1);
    ///     Ok(uow.shared::<Written>().0.get())
    /// });
    /// assert_eq!(unit.wait()?, 1);
    /// # Ok(()) }
    /// # main().unwrap();
    /// # }
    /// ```
    pub fn shared<T: Default + 'static>(self) -> &'u T {
        self.0.shared.get()
    }

    /// The transaction itself, for as long as the unit lasts: for statements and rows that a store keeps.
    #[must_use]
    pub fn tx(self) -> &'u Tx<B> {
        self.0.tx
    }

    /// A part of this unit that is undone alone if the closure fails or panics; its answer is the
    /// closure's. Kept, it is there only if the whole unit is committed.
    ///
    /// Whatever is done meanwhile is part of it, be it by the unit that the closure is given, by another copy
    /// or by a store that was opened before. Undone, it takes its hooks with it, except that those
    /// of [`after_rollback`](Self::after_rollback) run when the whole unit has ended. A panic goes on from here,
    /// after the part was undone, and may be caught around this.
    ///
    /// For SQLite it is a savepoint. Deferred foreign keys are checked at the end of the whole unit only.
    ///
    /// # Errors
    /// What the closure returned; what keeps a part from beginning or from being kept, for instance a
    /// statement that still writes. If the part cannot be told from the rest of the unit any more, as when
    /// the database has rolled back everything, the unit is rolled back whatever its closure returns.
    pub fn nested<T>(self, closure: impl FnOnce(UnitOfWork<'_, B>) -> Result<T, Failure>) -> Result<T, Failure>
    where
        Tx<B>: Savepoints,
    {
        let part = Part::begin(self.0)?;
        let answer = closure(self);
        part.end(answer)
    }

    /// Registers what runs when the closure has succeeded, as the last thing in the transaction: checks
    /// over several stores, a journal of what was written.
    pub fn before_commit<F>(self, hook: F)
    where
        F: FnOnce(UnitOfWork<'_, B>) -> Result<(), Failure> + Send + 'static,
    {
        self.0.hooks.borrow_mut().before_commit(hook);
    }

    /// Registers what runs after the commit, of which it is told the position: events, messages, a cache.
    pub fn after_commit<F: FnOnce(Position) + Send + 'static>(self, hook: F) {
        self.0.hooks.borrow_mut().after_commit(hook);
    }

    /// Registers what runs after the unit has ended, if what it does around this call has been rolled back:
    /// to remove a file that was written beside it, say.
    ///
    /// It runs once, for the last run: a run that is repeated takes its hooks with it.
    pub fn after_rollback<F: FnOnce() + Send + 'static>(self, hook: F) {
        self.0.hooks.borrow_mut().after_rollback(hook);
    }
}

impl<B: Backend> Clone for UnitOfWork<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

/// By hand: a derive would ask the backend to be `Copy`.
impl<B: Backend> Copy for UnitOfWork<'_, B> {}

impl<B: Backend> ops::Deref for UnitOfWork<'_, B> {
    type Target = Tx<B>;

    fn deref(&self) -> &Tx<B> {
        self.0.tx
    }
}

impl<B: Backend> fmt::Debug for UnitOfWork<'_, B> {
    /// By hand: what the backend lends may not print, and closures do not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnitOfWork").field("lost", &self.0.lost).field("hooks", self.0.hooks).finish_non_exhaustive()
    }
}
