#[cfg(test)]
mod wrong;

use super::{at_once::at_once, promise::promises};
use crate::{
    Access, BreakerState, CallKind, CallReport, Context, Error, Event, Health, Interest, Kind, Observer, Position,
};
use std::{
    panic::{AssertUnwindSafe, Location, catch_unwind},
    time::Duration,
};

promises! {
    CONSTANT = "an observer is interested in the same as long as it lives";
    TAKES = "an observer takes every event of its interest without a panic";
    ODD = "an observer takes odd events: no names, strange and long ones, no time and all of it, none reached";
    UNKNOWN = "an observer takes events about databases that it has never heard of, and twice the same";
    THREADS = "an observer is told by several threads at the same time";
}

/// Holds an observer to the contract of [`Observer`].
///
/// `make` makes an observer that has seen nothing yet. It is called many times. Whatever the observer
/// writes or counts is its own: this tells it of everything that can happen, and looks for panics, which
/// would be the caller's.
///
/// ```
/// ecm_core::testing::conformance::observer(|| ecm_core::NoObserver);
/// ```
///
/// # Panics
/// With the first promise that is broken.
pub fn observer<O: Observer>(make: impl Fn() -> O) {
    let told = Told::new(make());
    told.tell(TAKES, &Event::Registered { database: "main" });
    told.of_calls(TAKES, "main", Duration::from_micros(40));
    told.of_a_life(TAKES, "main");
    told.tell(TAKES, &Event::Unregistered { database: "main" });
    told.assert_constant();

    let told = Told::new(make());
    let long = "long ".repeat(10_000);
    for name in ["", " ", "ma\"in\\\n{le=\"1\"} 7\r\n# EOF", "데이터베이스", "\u{0}", &long] {
        for took in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(86_400), Duration::MAX] {
            told.of_calls(ODD, name, took);
        }
        told.of_a_life(ODD, name);
    }
    told.assert_constant();

    let told = Told::new(make());
    for _twice in 0..2 {
        told.tell(UNKNOWN, &Event::Unregistered { database: "never" });
        told.of_a_life(UNKNOWN, "never");
    }
    for _twice in 0..2 {
        told.tell(UNKNOWN, &Event::Registered { database: "main" });
    }

    let told = Told::new(make());
    at_once(4, |number| {
        for round in 0..200 {
            let name = format!("database {}", (number + round) % 6);
            told.tell(THREADS, &Event::Registered { database: &name });
            told.of_calls(THREADS, &name, Duration::from_nanos(round * 977));
            told.tell(THREADS, &Event::Unregistered { database: &name });
        }
    });
    told.assert_constant();
}

/// An observer with the interest that it had at first.
struct Told<O> {
    observer: O,
    interest: Interest,
}

impl<O: Observer> Told<O> {
    fn new(observer: O) -> Self {
        let interest = observer.interest();
        Self { observer, interest }
    }

    fn tell(&self, promise: &str, event: &Event<'_>) {
        if self.interest.wants(event.kind()) {
            let told = catch_unwind(AssertUnwindSafe(|| self.observer.event(event)));
            assert!(told.is_ok(), "{promise}: it panicked over {:.200}", format!("{event:?}"));
        }
    }

    /// Calls of every kind: answered, cached, slow, failed, and one that reached no database.
    fn of_calls(&self, promise: &str, name: &str, took: Duration) {
        let error = Error::new(Kind::Unavailable, name).with_sql(name);
        let request = Context::new(7_u32);
        for kind in [CallKind::Read, CallKind::Write, CallKind::Query, CallKind::Execute, CallKind::Connection] {
            let report = || CallReport { took, ..CallReport::new(kind, name, Location::caller(), &Context::NONE) };
            let answered = CallReport { database: Some(name), sql: Some(name), attempts: 1, ..report() };
            let position = Some(Position { epoch: u64::MAX, commit: u64::MAX });
            let written = CallReport { database: Some(name), attempts: u32::MAX, slow: true, position, ..report() };
            let cached = CallReport { cached: true, context: &request, ..report() };
            let failed = CallReport { database: Some(name), waited: took, error: Some(&error), ..report() };
            for report in [answered, written, cached, failed, report()] {
                self.tell(promise, &Event::Call(&report));
            }
        }
    }

    /// What happens to a database beside calls.
    fn of_a_life(&self, promise: &str, database: &str) {
        for took in [Duration::ZERO, Duration::MAX] {
            self.tell(promise, &Event::Opened { database, connection: u64::MAX, took });
        }
        let (error, location) = (Error::new(Kind::QueueFull, database), Location::caller());
        self.tell(promise, &Event::Lent { database, connection: 1, location: Some(location) });
        self.tell(promise, &Event::NotLent { database, error: &error, location });
        self.tell(promise, &Event::Returned { database, connection: 1 });
        for state in [BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed] {
            self.tell(promise, &Event::Breaker { database, access: Access::Read, state });
            self.tell(promise, &Event::Breaker { database, access: Access::Write, state });
        }
        self.tell(promise, &Event::Health { database, health: &Health::new() });
        for lost in [None, Some(0), Some(u64::MAX)] {
            self.tell(promise, &Event::Promoted { database, instead_of: database, lost });
        }
        self.tell(promise, &Event::Copied { database, took: Duration::MAX, position: Position::default() });
        self.tell(promise, &Event::CopyFailed { database, error: database });
        for why in ["idle", database] {
            self.tell(promise, &Event::Demoted { database, why });
            self.tell(promise, &Event::Closed { database, connection: 1, why });
        }
    }

    fn assert_constant(&self) {
        let now = self.observer.interest();
        assert!(now == self.interest, "{CONSTANT}: first {:?}, then {now:?}", self.interest);
    }
}
