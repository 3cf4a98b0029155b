use crate::{
    rough::{Moment, Rough},
    support::{SECOND, parts},
};
use ecm_core::{
    Access, Backend, Clock, Connection, Durability, Failure, FaultKind, Kind, Limit, Loan, Position, Stage, Time,
    Transact, block_on,
    testing::{Fake, FakeConnection, FakeError, TestClock},
};
use ecm_pool::{Lane, Lent, PoolConfig, Terms, Transacted};
use std::{
    future::Future,
    panic::{AssertUnwindSafe, Location, catch_unwind},
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
};

struct Writing<B: Backend>
where
    B::Connection: Transact,
{
    clock: TestClock,
    lane: Lane<B>,
}

impl<B: Backend> Writing<B>
where
    B::Connection: Transact,
{
    fn to(backend: B) -> Self {
        let clock = TestClock::new();
        let config = PoolConfig { max_connections: 9, ..PoolConfig::untended() };
        let lane = Lane::new(Arc::new(backend), config, parts(&clock));
        Self { clock, lane }
    }

    fn lends(&self) -> Lent<'_, B> {
        block_on(self.lane.pool().lend(Loan::Write, self.clock.now(), Time::NEVER)).unwrap()
    }

    fn transacts<T>(&self, run: impl FnOnce(&mut B::Connection) -> Result<T, Failure>) -> Transacted<T> {
        self.lane.transact(self.lends(), Durability::Configured, run)
    }
}

fn set(number: i64) -> impl FnOnce(&mut FakeConnection) -> Result<(), Failure> {
    move |connection| Ok(connection.tx().set("a", number)?)
}

fn at(commit: u64) -> Position {
    Position { epoch: 0, commit }
}

#[test]
fn there_is_never_a_second_writer() {
    let writing = Writing::to(Fake::new());
    let mut writer = writing.lends();
    assert_eq!(writer.db().access(), Access::Write);
    let waited = block_on(writing.lane.pool().lend(Loan::Write, Time::START, Time::START));
    assert_eq!(waited.unwrap_err().kind(), Kind::Timeout(Stage::Wait));
    writing.lane.pool().reconfigure(PoolConfig::untended()).unwrap();
    assert_eq!(writing.lane.pool().status().max_connections, 1);
    let waited = block_on(writing.lane.pool().lend(Loan::Write, Time::START, Time::START));
    assert_eq!(waited.unwrap_err().kind(), Kind::Timeout(Stage::Wait));
}

#[test]
fn what_is_committed_is_there_and_moves_the_position() {
    let fake = Fake::new();
    let writing = Writing::to(fake.clone());
    assert_eq!(writing.lane.position(), Position::default());
    for number in 1..=3 {
        match writing.transacts(set(number)) {
            Transacted::Committed((), position) => assert_eq!(position.commit, number.unsigned_abs()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((fake.committed("a"), writing.lane.position()), (Some(3), at(3)));
    let counts = fake.counts();
    assert_eq!((counts.connects, counts.begins, counts.commits, counts.resets), (1, 3, 3, 0));
}

#[test]
fn a_closure_that_fails_leaves_nothing() {
    let fake = Fake::new();
    let writing = Writing::to(fake.clone());
    let outcome = writing.transacts(|connection| {
        connection.tx().set("a", 1)?;
        Err::<(), _>(Failure::msg("no"))
    });
    assert!(matches!(outcome, Transacted::Undone(failure) if failure.to_string() == "no"));
    assert_eq!((fake.committed("a"), fake.counts().roll_backs, writing.lane.position()), (None, 1, at(0)));
    assert_eq!(writing.lane.pool().status().idle, 1, "the writer is kept");
}

#[test]
fn a_commit_that_fails_leaves_nothing() {
    let fake = Fake::new();
    let writing = Writing::to(fake.clone());
    fake.fail_commits(FaultKind::Full, 1);
    let outcome = writing.transacts(set(1));
    let expected = FakeError::new(FaultKind::Full);
    assert!(matches!(outcome, Transacted::Undone(failure) if failure.downcast_ref() == Some(&expected)));
    assert_eq!((fake.committed("a"), writing.lane.position()), (None, at(0)));
    assert!(matches!(writing.transacts(set(2)), Transacted::Committed((), _)));
}

#[test]
fn a_commit_of_unknown_outcome_is_called_so_and_costs_the_writer() {
    let fake = Fake::new();
    let writing = Writing::to(fake.clone());
    assert!(matches!(writing.transacts(set(1)), Transacted::Committed((), _)));
    fake.lose_commits(1);
    assert!(matches!(writing.transacts(set(2)), Transacted::Unknown(_)));
    assert_eq!(writing.lane.position(), at(1), "only what is known counts");
    assert_eq!(fake.counts().open(), 0);
    assert!(matches!(writing.transacts(set(3)), Transacted::Committed((), position) if position == at(3)));
    assert_eq!(fake.counts().connects, 2);
}

#[test]
fn what_cannot_begin_is_not_run() {
    let fake = Fake::new();
    let writing = Writing::to(fake.clone());
    fake.set_read_only(true);
    let outcome = writing.transacts(|_| -> Result<(), Failure> { panic!("it is run") });
    assert!(matches!(outcome, Transacted::NotBegun(_)));
    assert_eq!((fake.counts().roll_backs, writing.lane.pool().status().idle), (0, 1));
}

#[test]
fn a_limit_that_was_hit_wins_over_what_the_closure_returned() {
    let fake = Fake::new();
    let writing = Writing::to(fake.clone());
    assert!(matches!(writing.transacts(set(1)), Transacted::Committed((), _)));
    for swallow in [true, false] {
        let _hold = fake.hold_statements();
        let outcome = thread::scope(|scope| {
            let running = scope.spawn(|| {
                writing.transacts(|connection| {
                    connection.limit(Limit::Until(writing.clock.now() + SECOND));
                    let stopped = connection.tx().set("a", 2);
                    if swallow { Ok(()) } else { Ok(stopped?) }
                })
            });
            fake.wait_for_hanging(1);
            writing.clock.advance(SECOND);
            running.join().unwrap()
        });
        assert!(matches!(outcome, Transacted::Stopped), "{outcome:?}");
    }
    assert_eq!((fake.committed("a"), fake.counts().roll_backs), (Some(1), 2));
    assert!(matches!(writing.transacts(set(3)), Transacted::Committed((), _)), "the limit does not stay");
}

#[test]
fn a_closure_that_panics_leaves_nothing_and_the_writer_goes_on() {
    let fake = Fake::new();
    let writing = Writing::to(fake.clone());
    let lost = catch_unwind(AssertUnwindSafe(|| {
        writing.transacts(|connection| -> Result<(), Failure> {
            connection.tx().set("a", 1)?;
            panic!("the closure panics");
        })
    }));
    assert!(lost.is_err());
    assert_eq!((fake.committed("a"), fake.counts().resets), (None, 1));
    assert!(matches!(writing.transacts(set(2)), Transacted::Committed((), _)));
    assert_eq!((fake.committed("a"), fake.counts().connects), (Some(2), 1));
}

#[test]
fn a_roll_back_that_fails_costs_the_writer() {
    let rough = Rough::default();
    let writing = Writing::to(rough.clone());
    rough.fails_at(&[Moment::RollBack]);
    let outcome = writing.transacts(|_| Err::<(), _>(Failure::msg("no")));
    assert!(matches!(outcome, Transacted::Undone(failure) if failure.to_string() == "no"));
    assert_eq!((rough.is_through(), rough.fake.counts().open()), (true, 0));
}

#[test]
fn upkeep_comes_after_the_first_transaction_and_then_when_it_said() {
    let fake = Fake::new();
    let writing = Writing::to(fake.clone());
    let upkeeps = |number| {
        assert!(matches!(writing.transacts(set(number)), Transacted::Committed((), _)));
        fake.counts().upkeeps
    };
    assert_eq!((upkeeps(1), upkeeps(2)), (1, 1));
    writing.clock.advance(SECOND);
    assert_eq!((upkeeps(3), upkeeps(4)), (2, 2));
    writing.clock.advance(SECOND);
    assert!(matches!(writing.transacts(|_| Err::<(), _>(Failure::msg("no"))), Transacted::Undone(_)));
    assert_eq!(fake.counts().upkeeps, 3, "an undone transaction leaves the writer free as well");
}

#[test]
fn upkeep_that_said_never_does_not_come_again() {
    let rough = Rough::default();
    let writing = Writing::to(rough.clone());
    for _ in 0..3 {
        assert!(matches!(writing.transacts(|_| Ok(())), Transacted::Committed((), _)));
        writing.clock.advance(3600 * SECOND);
    }
    assert_eq!(rough.fake.counts().upkeeps, 1);
}

#[test]
fn upkeep_that_panics_does_not_take_back_a_commit() {
    let rough = Rough::default();
    let writing = Writing::to(rough.clone());
    rough.fails_at(&[Moment::Upkeep]);
    let outcome = writing.transacts(|connection| Ok(connection.tx().set("a", 1)?));
    assert!(matches!(outcome, Transacted::Committed((), position) if position == at(1)));
    assert_eq!((rough.fake.committed("a"), rough.fake.counts().open()), (Some(1), 0));
    assert!(matches!(writing.transacts(|_| Ok(())), Transacted::Committed((), _)));
    assert_eq!(rough.fake.counts().upkeeps, 1, "it is tried again");
}

/// Three jobs that share a transaction, of which the second calls this: how each of them has ended.
fn sent_together(rough: &Rough, writing: &Writing<Rough>, second: fn(&Rough)) -> Vec<&'static str> {
    let held = writing.lends();
    let terms = Terms {
        durability: Durability::Configured,
        shares: true,
        asked: Time::START,
        deadline: Time::NEVER,
        from: Location::caller(),
    };
    let mut jobs: Vec<_> = (0..3)
        .map(|number| {
            let (rough, mut runs) = (rough.clone(), 0);
            let job = move |connection: &mut <Rough as Backend>::Connection| {
                runs += 1;
                if number == 1 && runs == 1 {
                    second(&rough);
                }
                Ok(connection.tx().set(["first", "second", "third"][number], 1)?)
            };
            let mut sent = Box::pin(writing.lane.send(&terms, job));
            assert!(sent.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            (sent, "waits")
        })
        .collect();
    drop(held);
    for _ in 0..10 {
        for (sent, how) in jobs.iter_mut().filter(|(_, how)| *how == "waits") {
            let polled = catch_unwind(AssertUnwindSafe(|| sent.as_mut().poll(&mut Context::from_waker(Waker::noop()))));
            *how = match polled {
                Err(_) => "panicked",
                Ok(Poll::Pending) => "waits",
                Ok(Poll::Ready(Ok(Transacted::Committed((), _)))) => "committed",
                Ok(Poll::Ready(Ok(Transacted::Unknown(_)))) => "unknown",
                Ok(Poll::Ready(other)) => panic!("{other:?}"),
            };
        }
    }
    jobs.into_iter().map(|(_, how)| how).collect()
}

/// What the second job does, and how the three end.
type Story = (fn(&Rough), [&'static str; 3]);

#[test]
fn a_backend_that_panics_in_a_transaction_leaves_nobody_waiting() {
    let stories: [Story; 4] = [
        (|rough| rough.fails_at(&[Moment::Leave]), ["committed", "panicked", "committed"]),
        (|rough| rough.fails_at(&[Moment::Enter]), ["committed", "committed", "panicked"]),
        // The first one has the writer, so that the panic goes on there.
        (|rough| rough.fails_at(&[Moment::Commit]), ["panicked", "unknown", "unknown"]),
        (|rough| rough.fails_at(&[Moment::Leave, Moment::Begin]), ["panicked", "panicked", "committed"]),
    ];
    for (second, expected) in stories {
        let rough = Rough::default();
        let writing = Writing::to(rough.clone());
        assert_eq!(sent_together(&rough, &writing, second), expected);
        assert!(rough.is_through());
        for (name, how) in ["first", "second", "third"].into_iter().zip(expected) {
            assert_eq!(rough.fake.committed(name), (how == "committed").then_some(1), "{name}, {expected:?}");
        }
        assert!(matches!(writing.transacts(|_| Ok(())), Transacted::Committed((), _)));
        assert_eq!((writing.lane.status().waiting, writing.lane.status().lent), (0, 0));
    }
}

#[test]
fn writers_commit_in_the_order_of_their_arrival() {
    let fake = Fake::new();
    let writing = Writing::to(fake.clone());
    let held = writing.lends();
    thread::scope(|scope| {
        let writers: Vec<_> = (1..=8_i64)
            .map(|number| {
                let (writing, fake) = (&writing, &fake);
                let writer = scope.spawn(move || {
                    let before = number - 1;
                    let outcome = writing.transacts(|connection| {
                        assert_eq!(fake.committed("a"), (before > 0).then_some(before));
                        Ok(connection.tx().set("a", number)?)
                    });
                    matches!(outcome, Transacted::Committed((), position) if position.commit == number.unsigned_abs())
                });
                while i64::from(writing.lane.pool().status().waiting) < number {
                    thread::yield_now();
                }
                writer
            })
            .collect();
        drop(held);
        assert!(writers.into_iter().all(|writer| writer.join().unwrap()));
    });
    assert_eq!(fake.committed("a"), Some(8));
}

#[test]
fn a_writer_whose_database_has_failed_is_closed_and_one_whose_member_erred_is_not() {
    let fake = Fake::new();
    let writing = Writing::to(fake.clone());
    let fails = |kind| {
        fake.fail_statements(kind, 1);
        let Transacted::Undone(failure) = writing.transacts(set(1)) else { panic!("it was told to fail") };
        assert_eq!(fake.classify(failure.as_error()).unwrap().kind, kind);
    };
    fails(FaultKind::Constraint);
    assert_eq!(fake.counts().closes, 0);
    fails(FaultKind::Corrupt);
    assert_eq!(fake.counts().closes, 1);
    assert!(matches!(writing.transacts(set(2)), Transacted::Committed((), _)), "its successor is sound");
    assert_eq!(fake.counts().connects, 2);
}
