//! What observers are told, as lines of text.

use ecm::core::{Access, Event, Interest, Observer};
use std::sync::{Arc, Mutex};

/// An observer that keeps a line for each event it is told.
#[derive(Clone, Debug)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>, Interest);

impl Lines {
    pub(crate) fn about(interest: Interest) -> Self {
        Self(Arc::default(), interest)
    }

    /// The lines so far, which are forgotten here.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Observer for Lines {
    fn interest(&self) -> Interest {
        self.1
    }

    fn event(&self, event: &Event<'_>) {
        let line = match event {
            Event::Call(report) => format!(
                "{:?} {}/{} sql={} attempts={} cached={} slow={} ok={} commit={:?} context={:?}",
                report.kind,
                report.group,
                report.database.unwrap_or("-"),
                report.sql.unwrap_or("-"),
                report.attempts,
                report.cached,
                report.slow,
                report.error.is_none(),
                report.position.map(|position| position.commit),
                report.context.get::<&str>(),
            ),
            Event::Opened { database, .. } => format!("opened {database}"),
            Event::Closed { database, why, .. } => format!("closed {database}: {why}"),
            Event::Breaker { database, access, state } if *access == Access::Read => {
                format!("breaker of {database}: {state:?}")
            }
            Event::Breaker { database, state, .. } => format!("breaker of {database} for writes: {state:?}"),
            Event::Registered { database } => format!("registered {database}"),
            Event::Unregistered { database } => format!("unregistered {database}"),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(line);
    }
}
