use ecm_core::{Stamp, Written};
use std::fmt;

/// Whoever keeps what was read of a database, and has to know what a [`Lane`](crate::Lane) commits to it.
///
/// # Concurrency
/// Called by the thread that commits, one commit at a time, and in the path of every write.
pub trait CommitWatch: Send + Sync + fmt::Debug {
    /// A transaction that writes this is about to be committed: from now on others may see it.
    fn committing(&self, writes: &Written);

    /// That commit has ended. None of those whose write it was has been told yet.
    fn ended(&self, writes: &Written, end: CommitEnd<'_>);
}

/// How a commit has ended.
#[derive(Clone, Copy, Debug)]
pub enum CommitEnd<'a> {
    /// It is there. This is what was written, with what others have written since the last one, and where the
    /// database stood right after it, if that is known. Where it is everything, also what the transaction itself has
    /// written, and where the database stood when that began, if those are known.
    Committed(&'a Written, Option<Stamp>, Option<&'a (Stamp, Written)>),
    /// Nothing of it is there, nor will be.
    RolledBack,
    /// Nobody knows whether it is there, or will be.
    Unknown,
}

/// A commit that is under way. Dropped before it has ended, by a panic, its outcome is unknown.
pub(crate) struct Committing<'w> {
    watch: &'w dyn CommitWatch,
    writes: Written,
    ended: bool,
}

impl<'w> Committing<'w> {
    pub(crate) fn begin(watch: &'w dyn CommitWatch, writes: Written) -> Self {
        watch.committing(&writes);
        Self { watch, writes, ended: false }
    }

    pub(crate) fn end(mut self, end: CommitEnd<'_>) {
        self.ended = true;
        self.watch.ended(&self.writes, end);
    }
}

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.watch.ended(&self.writes, CommitEnd::Unknown);
        }
    }
}
