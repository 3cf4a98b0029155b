#[cfg(feature = "sqlite")]
use ecm_sqlite::Sqlite;

use crate::{
    Call, ConnectionManager, Handle, UnitOfWork,
    job::{Read, Unit, Write},
    seen::Seen,
    statement::{AllRows, Execute, Query},
};
use ecm_core::{Backend, Connection, Error, Failure, Position, Transact};

/// Calls that belong together, such as those of one user: each sees what the ones before have seen or written.
///
/// A read goes to a copy only if that is known to show everything that the session has seen, in whatever database:
/// its own writes, what it has read from the primary, what it has read from another copy. Otherwise the primary
/// serves it, and where that is gone the call fails with [`Kind::Unavailable`](ecm_core::Kind::Unavailable) rather
/// than show an older state. Answers from the cache are current anyway; those that are not
/// ([`CacheMode`](crate::CacheMode)) are not accepted.
///
/// Made by [`ConnectionManager::session`]. It lives in memory, for the manager that made it; to take it elsewhere,
/// take [`position`](Self::position) along and ask by [`Call::at_least`].
///
/// ```
/// # #[cfg(feature = "standard")] {
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = ecm::ConnectionManager::open(":memory:")?;
/// let session = manager.session();
/// session.execute("CREATE TABLE note (title TEXT)").wait()?;
/// session.execute("INSERT INTO note VALUES ('bread')").wait()?;
/// assert_eq!(session.query("SELECT count(*) FROM note").one::<i64>().wait()?, 1);
/// assert_eq!(session.position().commit, 2);
/// # Ok(()) }
/// # main().unwrap();
/// # }
/// ```
///
/// # Concurrency
/// Calls of one session may run on several threads at once: one that begins after another has ended sees what that
/// one has seen.
#[derive(Debug)]
pub struct Session<
    #[cfg(feature = "sqlite")] B: Backend<Connection: Transact> = Sqlite,
    #[cfg(not(feature = "sqlite"))] B: Backend<Connection: Transact>,
> {
    manager: ConnectionManager<B>,
    seen: Seen,
}

impl<B: Backend<Connection: Transact>> ConnectionManager<B> {
    /// A session that has seen nothing yet.
    #[must_use]
    pub fn session(&self) -> Session<B> {
        Session { manager: self.clone(), seen: Seen::default() }
    }
}

impl<B: Backend<Connection: Transact>> Session<B> {
    /// Where the last commit stands that a call of this session has made in the group `default`; the default before
    /// the first.
    #[must_use]
    pub fn position(&self) -> Position {
        self.seen.in_group(0).map(|mark| mark.position).unwrap_or_default()
    }

    /// The verbs that have no method here, for the group `default`.
    #[must_use]
    pub fn handle(&self) -> Handle<'_, B> {
        self.manager.default_handle().in_session(&self.seen)
    }

    /// The same session in another group.
    ///
    /// # Errors
    /// As [`ConnectionManager::group`].
    pub fn group<'m>(&'m self, name: &'m str) -> Result<Handle<'m, B>, Error> {
        Ok(self.manager.group(name)?.in_session(&self.seen))
    }

    /// As [`ConnectionManager::read`], in this session.
    #[track_caller]
    pub fn read<T, F>(&self, closure: F) -> Call<'_, B, Read<F, T>>
    where
        F: FnMut(&<B::Connection as Connection>::Db) -> Result<T, Failure>,
    {
        self.handle().read(closure)
    }

    /// As [`ConnectionManager::write`], in this session.
    #[track_caller]
    pub fn write<T, F>(&self, closure: F) -> Call<'_, B, Write<F, T>>
    where
        F: FnMut(&<B::Connection as Connection>::Tx) -> Result<T, Failure>,
    {
        self.handle().write(closure)
    }

    /// As [`ConnectionManager::unit_of_work`], in this session.
    #[track_caller]
    pub fn unit_of_work<T, F>(&self, closure: F) -> Call<'_, B, Unit<F, T, B>>
    where
        F: FnMut(UnitOfWork<'_, B>) -> Result<T, Failure>,
    {
        self.handle().unit_of_work(closure)
    }

    /// As [`ConnectionManager::query`], in this session.
    #[track_caller]
    pub fn query<'m>(&'m self, sql: &'m str) -> Call<'m, B, Query<'m, AllRows>> {
        self.handle().query(sql)
    }

    /// As [`ConnectionManager::execute`], in this session.
    #[track_caller]
    pub fn execute<'m>(&'m self, sql: &'m str) -> Call<'m, B, Execute<'m>> {
        self.handle().execute(sql)
    }
}
