use crate::{currency::Unwatched, manager::Shared, route::Attempt, topology::Group};
use ecm_core::{Backend, Connection, Transact};
use ecm_pool::Lent;

/// A whole connection, lent: the primary's writer, in autocommit mode, until this is dropped.
///
/// For what the other verbs do not offer: migrations, `VACUUM`, `ATTACH`, backups, pragmas. While it
/// is lent, every other write of the group waits; so keep it no longer than needed. Afterwards the
/// connection is closed, since nobody knows what was done to it, and a fresh one takes its place.
#[derive(Debug)]
pub struct Borrowed<'m, B: Backend<Connection: Transact>> {
    // The order matters: the connection is given back before its write counts as ended.
    lent: Lent<'m, B>,
    _mark: Unwatched,
    manager: &'m Shared<B>,
    group: &'m Group<B>,
    attempt: Option<Attempt<'m, B>>,
}

impl<'m, B: Backend<Connection: Transact>> Borrowed<'m, B> {
    pub(crate) fn new(manager: &'m Shared<B>, group: &'m Group<B>, attempt: Attempt<'m, B>, lent: Lent<'m, B>) -> Self {
        Self { lent, _mark: attempt.member.currency.begin_unwatched(), manager, group, attempt: Some(attempt) }
    }

    /// The driver's own connection: for SQLite a `rusqlite::Connection`.
    pub fn raw(&mut self) -> &mut <B::Connection as Connection>::Raw {
        self.lent.raw()
    }

    /// The name of its database.
    #[must_use]
    pub fn database(&self) -> &str {
        self.attempt.as_ref().map_or("", |attempt| &attempt.member.info.name)
    }
}

impl<B: Backend<Connection: Transact>> Drop for Borrowed<'_, B> {
    fn drop(&mut self) {
        // The borrower may have changed the schema.
        self.group.shared.statements.clear();
        if let Some(attempt) = self.attempt.take() {
            attempt.ended(self.manager.clock.now());
        }
    }
}
