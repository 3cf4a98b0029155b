use crate::{Error, Status};
use std::time::Duration;

/// What is common to the managers of any backend: what an admin page or a supervisor holds, as
/// `Vec<Arc<dyn Managed>>`.
pub trait Managed: Send + Sync {
    /// The name of the manager.
    fn name(&self) -> &str;

    /// The manager at this moment. Walks every pool: for probes and pages, not for hot paths.
    fn status(&self) -> Status;

    /// Changes one field of the configuration while running.
    ///
    /// # Errors
    /// An unknown field, or a value that is not acceptable: nothing has changed, and the message
    /// says what would be accepted.
    fn apply(&self, field: &str, value: &str) -> Result<(), Error>;

    /// Refuses new calls, waits until every connection has come back, interrupts what still runs
    /// after `patience`, and closes everything. Calling it again is harmless.
    ///
    /// # Errors
    /// Connections that have not come back: the message names how many, of which database.
    fn close(&self, patience: Duration) -> Result<(), Error>;
}
