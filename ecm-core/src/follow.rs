use crate::{Failure, Position};
use std::fmt;

/// Keeps one database a copy of another one of its backend, made by [`Backend::follow`](crate::Backend::follow); and
/// puts the copy in the place of the other.
///
/// The other is the *source*. What becomes of both is remembered inside of them, so that it outlives the process.
/// Whatever fails, the copy still holds a complete state of the source: the new one or the one before.
///
/// # Concurrency
/// Used by one thread at a time; the source is read and written by others meanwhile, and the copy is read.
pub trait Follow: Send + fmt::Debug {
    /// How the copy stands to the source. Changes neither.
    ///
    /// # Errors
    /// One of both cannot be read.
    fn relation(&mut self) -> Result<Relation, FollowError>;

    /// Has the source remember that it is copied, so that its [position](crate::Backend::position) goes on
    /// from a higher number when it is opened again. Harmless where it does already.
    ///
    /// # Errors
    /// The source cannot be written, or cannot be copied at all.
    fn begin(&mut self) -> Result<(), FollowError>;

    /// Whether the source may hold something that the last complete copy does not. Cheap, and false only if the copy
    /// shows all that was visible when this was called. True at first.
    ///
    /// # Errors
    /// The source cannot be read.
    fn is_behind(&mut self) -> Result<bool, FollowError>;

    /// Makes the copy show one state of the source: all at once, when this returns.
    ///
    /// `between` is told how far it is: first when it is decided which state that is, which shows everything that
    /// was visible when this was called; then after about every `pages` pages. It may wait, to leave the storage
    /// to others. Where it answers false the copy stays as it was.
    ///
    /// # Errors
    /// The copy is as it was. A copy that is not [`Relation::Empty`] or [`Relation::Behind`] is never written.
    fn copy(&mut self, pages: u32, between: &mut dyn FnMut(Copied) -> bool) -> Result<Copied, FollowError>;

    /// Makes the source refuse writes from now on, whoever has opened it with this backend, in whatever process:
    /// another database takes its place. What was committed before this returned can be copied.
    ///
    /// # Errors
    /// The source cannot be written; it is not known whether it will refuse.
    fn fence(&mut self) -> Result<(), FollowError>;

    /// Takes [`fence`](Self::fence) back, if nothing has taken the place of the source.
    ///
    /// # Errors
    /// The source cannot be written.
    fn lift_fence(&mut self) -> Result<(), FollowError>;

    /// Makes the copy a primary of the next epoch: from now on it is not written by [`copy`](Self::copy) any more.
    /// `reached` is the position that the copy is known to have, which is remembered with it. Answers where it stands
    /// now.
    ///
    /// # Errors
    /// The copy cannot be written, or is none.
    fn take_over(&mut self, reached: Position) -> Result<Position, FollowError>;
}

/// How a copy stands to its source.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Relation {
    /// It holds nothing yet.
    Empty,
    /// It holds a state that the source has, or has had.
    Behind,
    /// It has taken the place of the source.
    TookOver {
        /// Where it began to take writes.
        since: Position,
        /// The position that it had of the source by then; what the source has committed later is not in it.
        reached: Position,
    },
    /// It is a copy of another database, which has taken the place of the source: that one has to be copied. Why.
    Ahead(String),
    /// It holds something else, which must not be overwritten: why.
    Foreign(String),
}

/// How far a copy has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Copied {
    /// How many pages have been copied.
    pub pages: u64,
    /// How many there are.
    pub of: u64,
}

/// Why a database could not be made a copy of another one, or could not take its place.
#[derive(Debug)]
pub enum FollowError {
    /// The source has failed.
    Source(Failure),
    /// The copy has failed.
    Copy(Failure),
    /// It was asked to stop.
    Stopped,
}

impl FollowError {
    /// What has failed; `None` if nothing has.
    #[must_use]
    pub fn into_failure(self) -> Option<Failure> {
        match self {
            Self::Source(failure) | Self::Copy(failure) => Some(failure),
            Self::Stopped => None,
        }
    }
}

impl fmt::Display for FollowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(failure) => write!(f, "the source has failed: {failure}"),
            Self::Copy(failure) => write!(f, "the copy has failed: {failure}"),
            Self::Stopped => f.write_str("copying was stopped"),
        }
    }
}
