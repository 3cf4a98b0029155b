use crate::UnitOfWork;
use ecm_core::{Backend, Failure, Position};
use std::{
    any::Any,
    fmt,
    panic::{self, AssertUnwindSafe},
};

type BeforeCommit<B> = Box<dyn FnOnce(UnitOfWork<'_, B>) -> Result<(), Failure> + Send>;

/// What one run of a unit wants done around its end, in the order in which it was registered.
pub(crate) struct Hooks<B: Backend> {
    before: Vec<BeforeCommit<B>>,
    after: Vec<After>,
}

enum After {
    Commit(Box<dyn FnOnce(Position) + Send>),
    Rollback {
        hook: Box<dyn FnOnce() + Send>,
        /// Whether it belongs to a part that was undone, so that it runs however the unit ends.
        undone: bool,
    },
}

/// Which hooks there were at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    before: usize,
    after: usize,
}

/// How a unit has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(unnameable_types, reason = "sealed: only jobs of this crate are told")]
pub enum Ended {
    /// It is committed, at this position.
    Committed(Position),
    /// Nothing of it is there.
    RolledBack,
    /// It cannot be known whether it is there.
    Unknown,
}

impl<B: Backend> Hooks<B> {
    pub(super) fn before_commit<F>(&mut self, hook: F)
    where
        F: FnOnce(UnitOfWork<'_, B>) -> Result<(), Failure> + Send + 'static,
    {
        self.before.push(Box::new(hook));
    }

    pub(super) fn after_commit(&mut self, hook: impl FnOnce(Position) + Send + 'static) {
        self.after.push(After::Commit(Box::new(hook)));
    }

    pub(super) fn after_rollback(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.after.push(After::Rollback { hook: Box::new(hook), undone: false });
    }

    pub(super) fn take_before_commit(&mut self) -> Vec<BeforeCommit<B>> {
        std::mem::take(&mut self.before)
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { before: self.before.len(), after: self.after.len() }
    }

    /// What was done since `mark` is undone; answers the hooks that go with it, to be dropped without a borrow.
    pub(super) fn undo(&mut self, mark: Mark) -> Self {
        let before = self.before.split_off(mark.before.min(self.before.len()));
        let mut gone = Vec::new();
        for after in self.after.split_off(mark.after.min(self.after.len())) {
            match after {
                After::Commit(_) => gone.push(after),
                After::Rollback { hook, .. } => self.after.push(After::Rollback { hook, undone: true }),
            }
        }
        Self { before, after: gone }
    }

    /// Runs what is to run after such an end; answers the first panic.
    pub(super) fn run_after(self, ended: Ended) -> Option<Box<dyn Any + Send>> {
        let mut first = None;
        for after in self.after {
            let ran = panic::catch_unwind(AssertUnwindSafe(|| match (after, ended) {
                (After::Commit(hook), Ended::Committed(position)) => hook(position),
                (After::Rollback { hook, .. }, Ended::RolledBack) | (After::Rollback { hook, undone: true }, _) => {
                    hook()
                }
                _ => {}
            }));
            first = first.or_else(|| ran.err());
        }
        first
    }
}

impl<B: Backend> Default for Hooks<B> {
    /// By hand: a derive would ask the backend for a default.
    fn default() -> Self {
        Self { before: Vec::new(), after: Vec::new() }
    }
}

impl<B: Backend> fmt::Debug for Hooks<B> {
    /// By hand: closures do not print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").field("before", &self.before.len()).field("after", &self.after.len()).finish()
    }
}
