//! Whether what was read of a database is still what stands there.

mod known;
mod mark;
mod marks;
mod source;

pub(crate) use marks::Reads;
pub(crate) use source::{Currency, Unwatched};
