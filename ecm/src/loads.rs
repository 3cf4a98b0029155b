use crate::single_flight::{Load, SingleFlight};
use ecm_core::{Error, Executed, FaultKind, Key, Kind, Rows, Stamp};
use std::sync::Arc;

/// Queries that are being read for whoever asks for the same at the same time, by the stand of the database.
pub(crate) type Loads = SingleFlight<Key, Loaded, Stamp>;

/// The duty to read for others.
pub(crate) type Duty<'f> = Load<'f, Key, Loaded, Stamp>;

/// What became of it.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// These rows, and the database that gave them.
    Rows(Arc<Rows>, Arc<str>),
    /// The database has failed, for everybody.
    Failed(Failed),
    /// It ended for a reason of its own, such as its deadline: whoever has waited asks by itself.
    Alone,
}

/// An error that reaches several callers.
#[derive(Debug)]
pub(crate) struct Failed {
    kind: Kind,
    executed: Executed,
    message: Box<str>,
}

impl Loaded {
    pub(crate) fn failed(error: &Error) -> Self {
        let own = match error.kind() {
            Kind::Timeout(_) | Kind::QueueFull | Kind::Closed | Kind::Decode => true,
            Kind::Fault(fault) => fault.kind == FaultKind::Interrupted,
            _ => false,
        };
        if own {
            return Self::Alone;
        }
        Self::Failed(Failed {
            kind: error.kind(),
            executed: error.executed(),
            message: format!("another call that asked for the same at the same time has failed: {error}").into(),
        })
    }
}

impl Failed {
    pub(crate) fn error(&self) -> Error {
        Error::new(self.kind, &self.message).with_executed(self.executed)
    }
}
