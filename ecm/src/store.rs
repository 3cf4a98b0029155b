#[cfg(feature = "sqlite")]
use ecm_sqlite::Sqlite;

use crate::UnitOfWork;
use ecm_core::{Backend, Failure};

/// A view of a [`UnitOfWork`]: what it reads and writes is part of the unit's transaction.
///
/// A store keeps the unit that it was opened with, which is a copy of one pointer, and gives its
/// operations names. Several stores of one unit are alive side by side, also several of one type, and
/// see what each other has written. They end with the unit.
///
/// ```
/// # #[cfg(feature = "standard")] {
/// use ecm::{Failure, Store, UnitOfWork};
///
/// struct Notes<'u>(UnitOfWork<'u>);
///
/// impl<'u> Store<'u> for Notes<'u> {
///     fn open(uow: UnitOfWork<'u>) -> Result<Self, Failure> {
///         Ok(Self(uow))
///     }
/// }
///
/// impl Notes<'_> {
///     fn add(&self, title: &str) -> Result<i64, Failure> {
///         self.0.execute("INSERT INTO note (title) VALUES (?1)", [title])?;
///         Ok(self.0.last_insert_rowid())
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = ecm::ConnectionManager::open(":memory:")?;
/// manager.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT)").wait()?;
/// let id = manager.unit_of_work(|uow| uow.store::<Notes>()?.add("bread")).wait()?;
/// assert_eq!(id, 1);
/// # Ok(()) }
/// # main().unwrap();
/// # }
/// ```
pub trait Store<'u, #[cfg(feature = "sqlite")] B: Backend = Sqlite, #[cfg(not(feature = "sqlite"))] B: Backend>:
    Sized
{
    /// Opens the store on a unit.
    ///
    /// # Errors
    /// Whatever keeps it from being used, for instance a table that is missing.
    fn open(uow: UnitOfWork<'u, B>) -> Result<Self, Failure>;
}
