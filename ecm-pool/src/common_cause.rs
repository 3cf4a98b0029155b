use ecm_core::Failure;
use std::{error::Error as StdError, fmt, sync::Arc};

/// One failure that is told to several callers: reads like it, and has it as its source.
#[derive(Clone)]
pub(crate) struct CommonCause(Arc<Failure>);

impl CommonCause {
    pub(crate) fn new(failure: Failure) -> Self {
        Self(Arc::new(failure))
    }
}

impl fmt::Display for CommonCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for CommonCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl StdError for CommonCause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.0.as_error())
    }
}
