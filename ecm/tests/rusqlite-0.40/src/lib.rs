//! rusqlite 0.41 under the number 0.40: see `Cargo.toml`.

pub use actual::*;
