use super::*;
use crate::testing::conformance::promise::each_is_caught_by_name;
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    thread::{self, ThreadId},
};

/// Remembers the databases that there are, but is wrong in the promise that it breaks.
#[derive(Debug)]
struct Bent {
    breaks: &'static str,
    made_by: ThreadId,
    known: Mutex<BTreeSet<String>>,
}

impl Bent {
    fn new(breaks: &'static str) -> Self {
        Self { breaks, made_by: thread::current().id(), known: Mutex::default() }
    }
}

impl Observer for Bent {
    fn interest(&self) -> Interest {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if self.breaks == CONSTANT && !known.is_empty() { Interest::CALLS } else { Interest::ALL }
    }

    fn event(&self, event: &Event<'_>) {
        assert!(self.breaks != THREADS || self.made_by == thread::current().id(), "not my thread");
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Call(report) => {
                assert!(self.breaks != TAKES || report.error.is_none(), "a failed call");
                assert!(self.breaks != ODD || u64::try_from(report.took.as_nanos()).is_ok(), "too long");
            }
            Event::Registered { database } => drop(known.insert((*database).into())),
            Event::Unregistered { database } if self.breaks == CONSTANT => _ = database,
            Event::Unregistered { database } => {
                let gone = known.remove(*database);
                assert!(self.breaks != UNKNOWN || gone, "never heard of");
            }
            _ => {}
        }
    }
}

#[test]
fn each_promise_catches_the_observer_that_breaks_it() {
    each_is_caught_by_name(PROMISES, |breaks| observer(|| Bent::new(breaks)));
}

#[test]
fn an_observer_that_breaks_none_passes() {
    observer(|| Bent::new("none"));
    observer(|| crate::NoObserver);
}
