//! How a judge of the cache asks, and how it knows that an answer came from there.

use ecm::{
    ConnectionManager, Error,
    core::{Backend, Event, Interest, Observer, Rows, Transact, Value},
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Asks for an answer that may come from the cache: the only place where a judge says so.
pub(crate) fn ask<B: Backend<Connection: Transact>>(
    manager: &ConnectionManager<B>,
    sql: &str,
    parameters: &[Value],
) -> Result<Arc<Rows>, Error> {
    manager.query(sql).bind_all(parameters.iter().map(Value::borrow)).wait()
}

/// The values of an answer, row by row.
pub(crate) fn values(rows: &Rows) -> Vec<Vec<Value>> {
    (0..rows.len()).filter_map(|row| rows.get(row)).map(<[Value]>::to_vec).collect()
}

/// An observer that counts the answers that came from the cache.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hits(Arc<AtomicU64>);

impl Hits {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Observer for Hits {
    fn interest(&self) -> Interest {
        Interest::CALLS
    }

    fn event(&self, event: &Event<'_>) {
        if let Event::Call(report) = event {
            self.0.fetch_add(report.cached.into(), Relaxed);
        }
    }
}
