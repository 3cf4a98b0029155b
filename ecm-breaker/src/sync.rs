//! The atomics of this crate: the standard library's, or those of the model checker.

#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(shuttle))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(not(shuttle))]
pub(crate) use ecm_core::Striped;

/// Two stripes, of which the model checker picks one each time.
#[cfg(shuttle)]
#[derive(Debug, Default)]
pub(crate) struct Striped<T>([T; 2]);

#[cfg(shuttle)]
impl<T> Striped<T> {
    pub(crate) fn mine(&self) -> &T {
        use shuttle::rand::Rng;
        &self.0[shuttle::rand::thread_rng().gen_range(0..2)]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}
