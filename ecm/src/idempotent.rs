//! Writes that may be executed twice.

use crate::{
    Call,
    batch::Batch,
    job::{Unit, Write},
    statement::{Execute, Query},
};
use ecm_core::{Backend, Transact};

macro_rules! idempotent {
    ($($(#[$doc:meta])* impl<$($generic:tt),+> for $job:ty;)+) => {$(
        impl<$($generic),+, B: Backend<Connection: Transact>> Call<'_, B, $job> {
            $(#[$doc])*
            pub fn idempotent(mut self) -> Self {
                self.idempotent = true;
                self
            }
        }
    )+};
}

idempotent! {
    /// Says that executing the statement twice is as good as once, so that it is repeated also where it cannot be known
    /// whether it was executed: a commit of which the storage did not say whether it has succeeded.
    ///
    /// Otherwise such a write ends with [`Executed::Unknown`](crate::Executed::Unknown). How often it is repeated, and
    /// after which pauses, is said by [`max_retries`](crate::PoolConfig::max_retries).
    ///
    /// ```
    /// # #[cfg(feature = "standard")] {
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = ecm::ConnectionManager::open(":memory:")?;
    /// manager.execute("CREATE TABLE setting (name TEXT PRIMARY KEY, value)").wait()?;
    /// let set = "INSERT INTO setting VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
    /// assert_eq!(manager.execute(set).bind("theme").bind("dark").idempotent().wait()?.rows, 1);
    /// # Ok(()) }
    /// # main().unwrap();
    /// # }
    /// ```
    impl<'m> for Execute<'m>;
    /// Says that executing all the statements twice is as good as once: see
    /// [`idempotent`](Call#method.idempotent) of a single one.
    impl<'m> for Batch<'m>;
    /// Says that executing the statement twice is as good as once, where it writes: see
    /// [`idempotent`](Call#method.idempotent) of [`execute`](crate::ConnectionManager::execute).
    impl<'m, S> for Query<'m, S>;
    /// Says that running the closure, and committing what it writes, twice is as good as once: see
    /// [`idempotent`](Call#method.idempotent) of [`execute`](crate::ConnectionManager::execute).
    impl<F, T> for Write<F, T>;
}

impl<F, T, B: Backend<Connection: Transact>> Call<'_, B, Unit<F, T, B>> {
    /// Says that running the unit, and committing what it writes, twice is as good as once: see
    /// [`idempotent`](Call#method.idempotent) of [`execute`](crate::ConnectionManager::execute).
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }
}
