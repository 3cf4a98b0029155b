use crate::{
    Borrowed, Call,
    job::Way,
    manager::Shared,
    repeats::RepeatTerms,
    route::{Progress, Route},
    threads::block_on,
    topology::Target,
};
use ecm_core::{Backend, CallKind, Context, Durability, Error, Transact};
use std::{panic::Location, time::Duration};

/// The call for a whole connection: see [`ConnectionManager::connection`](crate::ConnectionManager::connection).
#[must_use = "a call does nothing until `.wait()`"]
#[derive(Debug)]
pub struct Connecting<'m, B: Backend<Connection: Transact>>(Call<'m, B, ()>);

impl<'m, B: Backend<Connection: Transact>> Connecting<'m, B> {
    pub(crate) fn new(manager: &'m Shared<B>, target: Target<'m>, location: &'static Location<'static>) -> Self {
        Self(Call::new(manager, target, (), location))
    }

    /// How long to wait for the connection. *Default:* the pool's `connection_timeout`.
    pub fn within(self, time: Duration) -> Self {
        Self(self.0.within(time))
    }

    /// Sends something along, unread, for balancers and observers.
    pub fn context(self, context: Context) -> Self {
        Self(self.0.context(context))
    }

    /// Waits for the connection, on this thread.
    ///
    /// # Errors
    /// See [`Kind`](ecm_core::Kind): no database may be written, or its connection did not become
    /// free in time.
    pub fn wait(self) -> Result<Borrowed<'m, B>, Error> {
        let Self(call) = self;
        let began = call.manager.clock.now();
        let topology = call.manager.topologies.current();
        let way = Way::Write(Durability::Configured);
        let mut progress = Progress::default();
        let result = call.manager.check_open().and_then(|()| {
            let mut route = Route::new(
                call.manager,
                topology,
                topology.resolve(call.target)?,
                way,
                CallKind::Connection,
                call.location,
                began,
                call.deadline(began),
                RepeatTerms::default(),
            )?;
            let borrowed = block_on(route.borrow(&call.context));
            progress = std::mem::take(&mut route.progress);
            let (attempt, lent) = borrowed?;
            Ok(Borrowed::new(call.manager, route.group(), attempt, lent))
        });
        call.report(topology, began, CallKind::Connection, None, &progress, result)
    }
}
