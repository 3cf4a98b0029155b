use std::{any::Any, fmt, sync::Arc};

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum CallKind {
    /// A closure that reads.
    Read,
    /// A closure that writes.
    Write,
    /// A unit of work.
    UnitOfWork,
    /// A statement that answers rows.
    Query,
    /// A statement that writes.
    Execute,
    /// The loan of a whole connection.
    Connection,
}

impl CallKind {
    /// Whether it needs a database that may be written.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::UnitOfWork | Self::Execute | Self::Connection)
    }
}

/// Something of the caller's that travels with a call, unread: a tracing span, a request number.
///
/// Balancers see it in their [`Intent`](crate::Intent), observers in the
/// [`CallReport`](crate::CallReport). Empty by default, and then free.
///
/// ```
/// use ecm_core::Context;
///
/// let context = Context::new(String::from("request 7"));
/// assert_eq!(context.get::<String>().map(String::as_str), Some("request 7"));
/// assert!(context.get::<u32>().is_none());
/// ```
#[derive(Clone, Default)]
pub struct Context(Option<Arc<dyn Any + Send + Sync>>);

impl Context {
    /// No context.
    pub const NONE: Self = Self(None);

    /// This value as a context.
    #[must_use]
    pub fn new<T: Any + Send + Sync>(value: T) -> Self {
        Self(Some(Arc::new(value)))
    }

    /// The value, if it is a `T`.
    #[must_use]
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.as_deref()?.downcast_ref()
    }
}

impl fmt::Debug for Context {
    /// By hand: what is inside is not known to be printable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Context(set)" } else { "Context(none)" })
    }
}
