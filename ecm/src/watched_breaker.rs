use crate::{report::Observers, turnstile::Turnstile};
use ecm_core::{Access, Admission, Breaker, BreakerState, Event, Interest, Observer, Rejected, Time};
use std::sync::{Mutex, PoisonError};

/// The breaker of a database for its reads, or for its writes, with who watches what it does.
#[derive(Debug)]
pub(crate) struct WatchedBreaker {
    breaker: Box<dyn Breaker>,
    access: Access,
    /// The state that observers were told last.
    told: Mutex<BreakerState>,
    /// Who waits until it admits them.
    pub(crate) waiting: Turnstile,
}

impl WatchedBreaker {
    pub(crate) fn new(breaker: Box<dyn Breaker>, access: Access) -> Self {
        Self { breaker, access, told: Mutex::default(), waiting: Turnstile::new() }
    }

    #[inline]
    pub(crate) fn ask(&self, now: Time) -> Result<Admission<'_>, Rejected> {
        Admission::ask(&*self.breaker, now)
    }

    pub(crate) fn state(&self) -> BreakerState {
        self.breaker.state()
    }

    /// Has the database tried at once, if it is left alone.
    pub(crate) fn try_again(&self, now: Time) {
        if self.breaker.state() == BreakerState::Open {
            self.breaker.resume(BreakerState::HalfOpen, now);
            self.waiting.next_turn();
        }
    }

    /// Tells observers of a new state.
    #[inline]
    pub(crate) fn tell(&self, database: &str, observers: &Observers) {
        if observers.wants(Interest::BREAKERS) {
            self.tell_if_moved(database, observers);
        }
    }

    fn tell_if_moved(&self, database: &str, observers: &Observers) {
        let state = self.breaker.state();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = std::mem::replace(&mut *told, state) != state;
        drop(told);
        if moved {
            observers.event(&Event::Breaker { database, access: self.access, state });
        }
    }
}
