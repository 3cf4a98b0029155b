use std::fmt;

/// How it is noticed that a database was written past the manager: by another process, or by a connection that is
/// not the manager's.
///
/// What is kept of a database, above all results of queries, is only current where this is known.
#[derive(Debug, Default)]
pub enum ForeignWrites {
    /// Nothing tells: nothing that was read may be kept.
    #[default]
    Unseen,
    /// There are none: every write comes through connections of the one manager that asked.
    None,
    /// Whoever looks at this sees each of them.
    Seen(Box<dyn DataVersion>),
}

/// Tells whether a database has been written, without a connection and in some nanoseconds.
///
/// # Concurrency
/// Looked at by every thread that asks for a kept result.
pub trait DataVersion: Send + Sync + fmt::Debug {
    /// Where the database stands now, at least as new as everything that the calling thread has learnt of it so
    /// far; `None` if it cannot be told, now or any more.
    fn now(&self) -> Option<Stamp>;

    /// A number that changes whenever the schema does, read after [`now`](Self::now) of the same thread; `None` if it
    /// cannot be told. May take microseconds.
    fn schema(&self) -> Option<u64>;

    /// Whether this will never tell anything again, since the database was exchanged for another one: a new one has to
    /// be asked for.
    fn is_over(&self) -> bool {
        false
    }
}

/// Where a database stands: two that are equal stand for the same content.
///
/// What its words mean is known to the backend alone. One that was read while it was being written equals no other
/// that stands for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(pub [u64; 6]);
