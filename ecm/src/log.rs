use crate::topology::Member;
use ecm_core::{Backend, Event, Interest, LogObserver, Observer, OldestLoan, Pinned, Transact};
use std::time::Duration;

/// What a backend asks and tells about the log of a database.
impl<B: Backend<Connection: Transact>> LogObserver for Member<B> {
    fn oldest_loan(&self) -> Option<OldestLoan> {
        self.pools().filter_map(ecm_pool::Pool::oldest_loan).max_by_key(|loan| loan.age)
    }

    fn pinned(&self, by: &Pinned, frames: u64) {
        self.tell_of_log(&Event::LogPinned { database: &self.info.name, location: by.location, age: by.age, frames });
    }

    fn checkpoint_failed(&self, error: &str, pause: Duration) {
        self.tell_of_log(&Event::CheckpointFailed { database: &self.info.name, error, pause });
    }
}

impl<B: Backend<Connection: Transact>> Member<B> {
    fn tell_of_log(&self, event: &Event<'_>) {
        if self.observers.wants(Interest::LOGS) {
            self.observers.event(event);
        }
    }
}
