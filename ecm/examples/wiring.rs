//! What `builder()` wires: the same in every feature set. `cargo xtask features` compares them.

use ecm::{ConnectionManager, core::testing::Fake};
use std::io::{Result, Write, stdout};

fn main() -> Result<()> {
    let mut out = stdout().lock();
    for (strategy, name) in ConnectionManager::<Fake>::builder_for().wiring() {
        writeln!(out, "{strategy} = {name}")?;
    }
    writeln!(out, "standard = {}", if cfg!(feature = "standard") { "available" } else { "off" })
}
