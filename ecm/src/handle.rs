use crate::{
    CacheMode, Call, Connecting, UnitOfWork,
    job::{Read, ReadOnce, Unit, UnitOnce, Write, WriteOnce},
    manager::Shared,
    seen::Seen,
    statement::{AllRows, Execute, Query},
    topology::Target,
};
use ecm_core::{Backend, Connection, Error, Failure, Transact};
use std::panic::Location;

/// One group, or one database, of a manager: the same verbs, for it alone.
///
/// Given by [`ConnectionManager::group`](crate::ConnectionManager::group) and
/// [`ConnectionManager::database`](crate::ConnectionManager::database). Cheap to copy. A database that
/// is unregistered while a handle to it lives answers [`Kind::NotFound`](ecm_core::Kind::NotFound).
#[derive(Debug)]
pub struct Handle<'m, B: Backend<Connection: Transact>> {
    manager: &'m Shared<B>,
    target: Target<'m>,
    seen: Option<&'m Seen>,
}

impl<B: Backend<Connection: Transact>> Clone for Handle<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

/// By hand: a derive would ask the backend to be `Copy`.
impl<B: Backend<Connection: Transact>> Copy for Handle<'_, B> {}

impl<'m, B: Backend<Connection: Transact>> Handle<'m, B> {
    pub(crate) fn new(manager: &'m Shared<B>, target: Target<'m>) -> Self {
        Self { manager, target, seen: None }
    }

    /// The same, for calls of a session.
    pub(crate) fn in_session(self, seen: &'m Seen) -> Self {
        Self { seen: Some(seen), ..self }
    }

    /// As [`ConnectionManager::read`](crate::ConnectionManager::read), here.
    #[track_caller]
    pub fn read<T, F>(self, closure: F) -> Call<'m, B, Read<F, T>>
    where
        F: FnMut(&<B::Connection as Connection>::Db) -> Result<T, Failure>,
    {
        self.call(Read::new(closure))
    }

    /// As [`ConnectionManager::read_once`](crate::ConnectionManager::read_once), here.
    #[track_caller]
    pub fn read_once<T, F>(self, closure: F) -> Call<'m, B, ReadOnce<F, T>>
    where
        F: FnOnce(&<B::Connection as Connection>::Db) -> Result<T, Failure>,
    {
        self.call(ReadOnce::new(closure))
    }

    /// As [`ConnectionManager::write`](crate::ConnectionManager::write), here.
    #[track_caller]
    pub fn write<T, F>(self, closure: F) -> Call<'m, B, Write<F, T>>
    where
        F: FnMut(&<B::Connection as Connection>::Tx) -> Result<T, Failure>,
    {
        self.call(Write::new(closure))
    }

    /// As [`ConnectionManager::write_once`](crate::ConnectionManager::write_once), here.
    #[track_caller]
    pub fn write_once<T, F>(self, closure: F) -> Call<'m, B, WriteOnce<F, T>>
    where
        F: FnOnce(&<B::Connection as Connection>::Tx) -> Result<T, Failure>,
    {
        self.call(WriteOnce::new(closure))
    }

    /// As [`ConnectionManager::unit_of_work`](crate::ConnectionManager::unit_of_work), here.
    #[track_caller]
    pub fn unit_of_work<T, F>(self, closure: F) -> Call<'m, B, Unit<F, T, B>>
    where
        F: FnMut(UnitOfWork<'_, B>) -> Result<T, Failure>,
    {
        self.call(Unit::new(closure))
    }

    /// As [`ConnectionManager::unit_of_work_once`](crate::ConnectionManager::unit_of_work_once), here.
    #[track_caller]
    pub fn unit_of_work_once<T, F>(self, closure: F) -> Call<'m, B, UnitOnce<F, T, B>>
    where
        F: FnOnce(UnitOfWork<'_, B>) -> Result<T, Failure>,
    {
        self.call(UnitOnce::new(closure))
    }

    /// As [`ConnectionManager::query`](crate::ConnectionManager::query), here.
    #[track_caller]
    pub fn query(self, sql: &'m str) -> Call<'m, B, Query<'m, AllRows>> {
        self.call(Query::new(sql))
    }

    /// As [`ConnectionManager::execute`](crate::ConnectionManager::execute), here.
    #[track_caller]
    pub fn execute(self, sql: &'m str) -> Call<'m, B, Execute<'m>> {
        self.call(Execute::new(sql))
    }

    /// As [`ConnectionManager::set_cache_mode`](crate::ConnectionManager::set_cache_mode), for the group; of one database,
    /// for the group that it is in.
    ///
    /// # Errors
    /// [`Kind::NotFound`](ecm_core::Kind::NotFound), if the database was unregistered; else as there.
    pub fn set_cache_mode(self, sql: &str, mode: CacheMode) -> Result<(), Error> {
        let (group, _) = self.manager.topologies.current().resolve(self.target)?;
        group.shared.statements.set_mode(sql, mode)
    }

    /// As [`ConnectionManager::connection`](crate::ConnectionManager::connection), here.
    #[track_caller]
    pub fn connection(self) -> Connecting<'m, B> {
        Connecting::new(self.manager, self.target, Location::caller())
    }

    #[track_caller]
    fn call<J>(self, job: J) -> Call<'m, B, J> {
        let mut call = Call::new(self.manager, self.target, job, Location::caller());
        call.floor.seen = self.seen;
        call
    }
}
