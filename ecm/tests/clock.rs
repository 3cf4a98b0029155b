//! How often a call asks what time it is.

#[path = "support/fakes.rs"]
mod fakes;

use ecm::core::{
    Alarm, Clock, Event, Observer, Time,
    testing::{Fake, TestClock},
};
use fakes::builder;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::Waker,
};

/// A clock that counts how often it is read.
#[derive(Clone, Debug, Default)]
struct Counting(TestClock, Arc<AtomicU32>);

impl Clock for Counting {
    fn now(&self) -> Time {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.now()
    }

    fn wake_at(&self, at: Time, waker: &Waker) -> Alarm {
        self.0.wake_at(at, waker)
    }
}

/// Wants to know of everything, and how long it took.
#[derive(Debug)]
struct Listener;

impl Observer for Listener {
    fn event(&self, event: &Event<'_>) {
        assert!(!matches!(event, Event::Call(report) if report.error.is_some()));
    }
}

#[test]
fn a_read_that_need_not_wait_reads_the_clock_at_its_start_and_at_its_end() {
    let clock = Counting::default();
    let manager = builder(&Fake::new()).clock(clock.clone()).observer(Listener).build().unwrap();
    let read = || manager.read(|_| Ok(())).wait().unwrap();
    read();
    let before = clock.1.load(Ordering::Relaxed);
    (0..100).for_each(|_| read());
    let readings = clock.1.load(Ordering::Relaxed) - before;
    assert!((200..=202).contains(&readings), "{readings} readings of 100 calls; the pool samples few loans");
}
