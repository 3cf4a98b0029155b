//! One execution for all who ask at the same time.

use ecm::{
    Failure, Kind,
    core::{Clock, Time, block_on, testing::TestClock},
    single_flight::{Joined, SingleFlight, Waited},
};
#[path = "support/fakes.rs"]
mod fakes;

use ecm::core::testing::Fake;
use fakes::builder;
use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    thread,
    time::Duration,
};

const FAR: Time = Time::from_nanos(1_000_000_000_000);

fn flights<T>() -> (SingleFlight<&'static str, T, u32>, TestClock) {
    let clock = TestClock::new();
    (SingleFlight::new(Arc::new(clock.clone())), clock)
}

#[test]
fn a_loader_that_fails_does_not_make_64_who_wait_try_one_by_one() {
    const CALLERS: usize = 64;
    let fake = Fake::new();
    let manager = builder(&fake).build().unwrap();
    let (flights, clock) = flights();
    let held = fake.hold_statements();
    let statements = fake.counts().statements;
    let ask = || {
        flights.share("get a", &1, FAR, |_| {
            let answer = manager
                .read(|db| db.get("a").map_err(Failure::from).and_then(|_| Err::<(), _>(Failure::msg("broken"))));
            answer.wait()
        })
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let loading = scope.spawn(ask);
        fake.wait_for_hanging(1);
        let waiting: Vec<_> = (1..CALLERS).map(|_| scope.spawn(ask)).collect();
        clock.wait_for_alarms(CALLERS - 1);
        drop(held);
        std::iter::once(loading).chain(waiting).map(|caller| caller.join().unwrap().unwrap()).collect()
    });
    assert_eq!(fake.counts().statements, statements + 1);
    for outcome in &outcomes {
        assert!(Arc::ptr_eq(outcome, &outcomes[0]), "all of them are told the same failure");
    }
    assert_eq!(outcomes[0].as_ref().as_ref().unwrap_err().kind(), Kind::Closure);
    assert_eq!((flights.under_way(), clock.alarms()), (0, 0));
}

#[test]
fn who_waits_leaves_at_its_deadline_and_the_load_goes_on() {
    let (flights, clock) = flights::<u32>();
    let Joined::Loads(load) = flights.join("a", &1, Time::NEVER) else { panic!("nobody loads yet") };
    let deadline = clock.now() + Duration::from_secs(5);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| flights.share("a", &1, deadline, |_| panic!("somebody else loads")));
        clock.wait_for_alarms(1);
        clock.advance(Duration::from_secs(4));
        assert!(!waiting.is_finished());
        clock.advance(Duration::from_secs(1));
        assert_eq!(waiting.join().unwrap(), None);
    });
    assert_eq!(flights.share("a", &1, deadline, |_| panic!("somebody else loads")), None, "it is over already");
    assert_eq!(*load.finish(7), 7);
    assert_eq!(*flights.share("a", &1, deadline, |_| 8).unwrap(), 8, "nothing is kept");
    assert_eq!((flights.under_way(), clock.alarms()), (0, 0));
}

#[test]
fn a_loader_that_panics_passes_the_load_on_to_one_alone() {
    let (flights, clock) = flights();
    let loads = AtomicUsize::new(0);
    let ask = || {
        flights.share("a", &1, FAR, |_| {
            let number = loads.fetch_add(1, Ordering::Relaxed);
            if number == 0 {
                clock.wait_for_alarms(5);
                panic!("the first load");
            }
            number
        })
    };
    let answers: Vec<_> = thread::scope(|scope| {
        let callers: Vec<_> =
            (0..6).map(|_| scope.spawn(|| catch_unwind(AssertUnwindSafe(ask)).ok().flatten())).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    let told: Vec<_> = answers.iter().flatten().collect();
    assert_eq!((told.len(), answers.len()), (5, 6), "who panics is told nothing");
    // Those who looked only after the second load was over have loaded for themselves.
    assert!(told.iter().all(|answer| ***answer > 0));
    assert_eq!((flights.under_way(), clock.alarms()), (0, 0));
}

#[test]
fn a_load_that_reads_from_an_older_state_is_not_joined() {
    let (flights, _clock) = flights::<&str>();
    let Joined::Loads(old) = flights.join("a", &1, Time::NEVER) else { panic!("nobody loads yet") };
    let Joined::Waits(early) = flights.join("a", &2, Time::NEVER) else { panic!("it has no snapshot yet") };
    old.reads_from(2);
    let Joined::Waits(same) = flights.join("a", &2, Time::NEVER) else { panic!("nothing has changed") };
    let Joined::Loads(new) = flights.join("a", &3, Time::NEVER) else { panic!("its snapshot is older") };
    new.reads_from(3);
    let Joined::Waits(late) = flights.join("a", &3, Time::NEVER) else { panic!("the new one can be joined") };
    old.finish("old");
    assert_eq!(flights.under_way(), 1, "the end of the old one is not that of the new one");
    new.finish("new");
    for (wait, expected) in [(early, "old"), (same, "old"), (late, "new")] {
        let Waited::Done(outcome) = block_on(wait) else { panic!("both have ended") };
        assert_eq!(*outcome, expected);
    }
    assert_eq!(flights.under_way(), 0);
}

#[test]
fn a_load_that_nobody_wants_any_more_is_forgotten() {
    let (flights, clock) = flights::<u32>();
    let Joined::Loads(load) = flights.join("a", &1, Time::NEVER) else { panic!("nobody loads yet") };
    let Joined::Waits(wait) = flights.join("a", &1, FAR) else { panic!("somebody loads") };
    let mut wait = Box::pin(wait);
    assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(load);
    assert_eq!(flights.under_way(), 1, "one waits for it");
    drop(wait);
    assert_eq!((flights.under_way(), clock.alarms()), (0, 0));
}

#[test]
fn one_who_is_not_polled_any_more_does_not_keep_the_load_from_others() {
    let (flights, _clock) = flights::<u32>();
    let Joined::Loads(load) = flights.join("a", &1, Time::NEVER) else { panic!("nobody loads yet") };
    let Joined::Waits(neglected) = flights.join("a", &1, Time::NEVER) else { panic!("somebody loads") };
    let mut neglected = pin!(neglected);
    let mut context = Context::from_waker(Waker::noop());
    assert!(neglected.as_mut().poll(&mut context).is_pending());
    drop(load);
    let Joined::Loads(load) = flights.join("a", &1, Time::NEVER) else { panic!("it is there to be taken") };
    load.finish(1);
    assert!(neglected.as_mut().poll(&mut context).is_ready());
}
