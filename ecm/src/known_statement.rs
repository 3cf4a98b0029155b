use crate::CacheMode;
use ecm_core::Prepared;
use std::ops::Deref;

/// A statement as a group knows it: what the database says about it, and what was decided about its text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(unnameable_types, reason = "named in the sealed trait of jobs")]
pub struct KnownStatement {
    pub(crate) prepared: Prepared,
    /// What it accepts from the cache where a call does not say.
    pub(crate) mode: CacheMode,
}

impl Deref for KnownStatement {
    type Target = Prepared;

    fn deref(&self) -> &Prepared {
        &self.prepared
    }
}
