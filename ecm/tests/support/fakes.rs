//! Managers over databases that do as they are told.

use ecm::{Builder, ConnectionManager, Database, PoolConfig, core::testing::Fake};

/// A builder with one fake database called `main`.
pub(crate) fn builder(fake: &Fake) -> Builder<Fake> {
    ConnectionManager::<Fake>::builder_for().database(Database::new("main", fake.clone()).pool(PoolConfig::untended()))
}
