//! Calls that tell where they stand, and that ask for a state that is not older than another one.

use crate::{Call, job::Job};
use ecm_core::{Backend, Error, Position, Transact};

impl<'m, B: Backend<Connection: Transact>, J> Call<'m, B, J> {
    /// Reads from a state that has this commit in it: a copy that is not known to have reached it is unfit for the
    /// call, which no need overrides. Writes go to the primary anyway.
    ///
    /// The position of a write comes from [`wait_with_position`](Call::wait_with_position), from the hook
    /// [`after_commit`](crate::UnitOfWork::after_commit), or from [`Session::position`](crate::Session::position). The
    /// call fails with [`Kind::Unavailable`](ecm_core::Kind::Unavailable) where no database has come so far: ask
    /// again later, or for less. It does not wait.
    pub fn at_least(mut self, position: Position) -> Self {
        self.floor.position = position.max(self.floor.position);
        self
    }
}

impl<'m, B: Backend<Connection: Transact>, J: Job<B>> Call<'m, B, J> {
    /// As [`wait`](Call::wait), and answers where the commit stands; `None` for a call that has only read.
    ///
    /// ```
    /// # #[cfg(feature = "standard")] {
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = ecm::ConnectionManager::open(":memory:")?;
    /// let (_, made) = manager.execute("CREATE TABLE note (title TEXT)").wait_with_position()?;
    /// let (_, added) = manager.execute("INSERT INTO note VALUES ('bread')").wait_with_position()?;
    /// assert!(made < added);
    /// let seen: i64 = manager.query("SELECT count(*) FROM note").at_least(added.unwrap()).one().wait()?;
    /// assert_eq!(seen, 1);
    /// # Ok(()) }
    /// # main().unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    /// As of [`wait`](Call::wait).
    pub fn wait_with_position(self) -> Result<(J::Output, Option<Position>), Error> {
        let (result, progress) = self.wait_with_progress();
        Ok((result?, progress.position))
    }
}
