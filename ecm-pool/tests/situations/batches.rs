//! Writes that share a transaction, each polled by hand in the order in which the story is told.

use crate::{
    support::SECOND,
    writers::{Writers, add_one, fails, poll, position, run_all, set},
};
use ecm_core::{
    Connection, Durability, Failure, FaultKind, Kind, Limit, Stage, Time, Transact, block_on,
    testing::{FakeConnection, FakeError},
};
use ecm_pool::{PoolConfig, Terms, Transacted};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// A waker that counts.
#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn those_who_wait_share_one_commit_in_the_order_of_their_arrival() {
    let writers = Writers::new();
    let held = writers.held();
    let mut all: Vec<_> = (0..5).map(|_| writers.writes(add_one)).collect();
    assert_eq!(writers.lane.status().waiting, 5);
    drop(held);
    for (number, outcome) in (1..).zip(run_all(&mut all)) {
        assert!(
            matches!(outcome, Ok(Transacted::Committed(sum, at)) if sum == number && at.commit == 1),
            "{outcome:?}"
        );
    }
    assert_eq!((writers.transactions(), writers.fake.committed("sum")), ((1, 1, 0), Some(5)));
    writers.is_at_rest();
}

#[test]
fn nobody_is_told_before_the_commit() {
    let writers = Writers::new();
    let held = writers.held();
    let mut first = writers.writes(add_one);
    let mut second = writers.writes(add_one);
    let mut last = writers.writes(add_one);
    drop(held);
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    assert!(poll(&mut first).is_pending(), "it has run, and is not committed");
    assert_eq!((writers.transactions().1, writers.fake.committed("sum")), (0, None));
    assert!(poll(&mut last).is_ready(), "nobody waits after it, so it commits");
    assert!(poll(&mut first).is_ready() && poll(&mut second).is_ready());
}

#[test]
fn jobs_that_were_sent_are_run_by_whoever_has_the_writer() {
    let writers = Writers::new();
    let held = writers.held();
    let mut first = writers.sends(add_one);
    let mut others: Vec<_> = (0..3).map(|_| writers.sends(add_one)).collect();
    drop(held);
    assert!(matches!(poll(&mut first), Poll::Ready(Ok(Transacted::Committed(1, _)))));
    assert_eq!((writers.transactions(), writers.fake.committed("sum")), ((1, 1, 0), Some(4)), "all have run");
    for (number, outcome) in (2..).zip(run_all(&mut others)) {
        assert!(
            matches!(outcome, Ok(Transacted::Committed(sum, at)) if sum == number && at.commit == 1),
            "{outcome:?}"
        );
    }
    writers.is_at_rest();
}

#[test]
fn one_that_fails_is_undone_alone_and_told_after_the_commit() {
    let writers = Writers::new();
    let held = writers.held();
    let mut all =
        vec![writers.writes(set("a", 1)), writers.writes(fails), writers.sends(fails), writers.sends(set("b", 2))];
    drop(held);
    let outcomes = run_all(&mut all);
    assert_eq!(outcomes.iter().map(position).collect::<Vec<_>>(), [Some(1), None, None, Some(1)]);
    for outcome in &outcomes[1..3] {
        assert!(matches!(outcome, Ok(Transacted::Undone(failure)) if failure.to_string() == "no"), "{outcome:?}");
    }
    let committed = |name| writers.fake.committed(name);
    assert_eq!((committed("a"), committed("failed"), committed("b")), (Some(1), None, Some(2)));
    assert_eq!(writers.transactions(), (1, 1, 0));
    writers.is_at_rest();
}

#[test]
fn a_transaction_of_which_nothing_is_left_is_rolled_back() {
    let writers = Writers::new();
    let held = writers.held();
    let mut all = vec![writers.writes(fails), writers.sends(fails)];
    drop(held);
    assert!(run_all(&mut all).iter().all(|outcome| matches!(outcome, Ok(Transacted::Undone(_)))));
    assert_eq!(writers.transactions(), (1, 0, 1));
    writers.is_at_rest();
}

#[test]
fn where_one_loses_the_transaction_the_others_run_again_and_do_not_notice() {
    let writers = Writers::new();
    let runs = Arc::new(AtomicU32::new(0));
    let held = writers.held();
    let counted = |runs: &Arc<AtomicU32>| {
        let runs = Arc::clone(runs);
        move |connection: &mut FakeConnection| {
            runs.fetch_add(1, Ordering::Relaxed);
            add_one(connection)
        }
    };
    let mut all = vec![
        writers.writes(counted(&runs)),
        writers.sends(counted(&runs)),
        writers.writes(|connection| {
            connection.roll_back()?;
            Err(Failure::msg("all is lost"))
        }),
        writers.sends(counted(&runs)),
    ];
    drop(held);
    let outcomes = run_all(&mut all);
    assert!(matches!(&outcomes[2], Ok(Transacted::Undone(failure)) if failure.to_string() == "all is lost"));
    assert_eq!(outcomes.iter().map(position).collect::<Vec<_>>(), [Some(1), Some(1), None, Some(1)]);
    assert_eq!((runs.load(Ordering::Relaxed), writers.fake.committed("sum")), (5, Some(3)), "two have run twice");
    writers.is_at_rest();
}

#[test]
fn one_that_loses_the_transaction_and_hides_it_runs_again_alone() {
    let writers = Writers::new();
    let held = writers.held();
    let mut hidden = 0;
    let mut all = vec![
        writers.writes(add_one),
        writers.writes(|connection| {
            hidden += 1;
            if hidden == 1 {
                connection.roll_back()?;
                return Ok(0);
            }
            add_one(connection)
        }),
        writers.writes(add_one),
    ];
    drop(held);
    let positions: Vec<_> = run_all(&mut all).iter().map(position).collect();
    assert_eq!(positions, [Some(1), Some(2), Some(3)], "the one before runs first, and finds nobody to share with");
    drop(all);
    assert_eq!((hidden, writers.fake.committed("sum")), (2, Some(3)));
    writers.is_at_rest();
}

#[test]
fn where_the_commit_fails_each_runs_again_alone() {
    let writers = Writers::new();
    let held = writers.held();
    let mut all = vec![writers.writes(add_one), writers.sends(add_one), writers.writes(fails), writers.writes(add_one)];
    drop(held);
    writers.fake.fail_commits(FaultKind::Corrupt, 2);
    let outcomes = run_all(&mut all);
    assert!(matches!(&outcomes[0], Ok(Transacted::Undone(_))), "its own commit fails as well");
    assert_eq!(outcomes.iter().map(position).collect::<Vec<_>>(), [None, Some(1), None, Some(2)]);
    assert_eq!(writers.fake.committed("sum"), Some(2));
    writers.is_at_rest();
}

#[test]
fn a_commit_of_unknown_outcome_is_told_to_each_and_nothing_runs_again() {
    let writers = Writers::new();
    let held = writers.held();
    let mut all = vec![writers.writes(add_one), writers.sends(add_one), writers.writes(fails)];
    drop(held);
    writers.fake.lose_commits(1);
    let outcomes = run_all(&mut all);
    for outcome in &outcomes[..2] {
        let Ok(Transacted::Unknown(failure)) = outcome else { panic!("{outcome:?}") };
        assert!(failure.to_string().contains("told to fail"), "{failure}");
        let source = failure.as_error().source().and_then(|source| source.downcast_ref());
        assert_eq!(source, Some(&FakeError::new(FaultKind::Storage)), "what the breaker counts");
    }
    assert!(matches!(&outcomes[2], Ok(Transacted::Undone(_))), "nothing of it can be there");
    assert_eq!((writers.fake.committed("sum"), writers.fake.counts().open()), (Some(2), 0));
    writers.is_at_rest();
}

#[test]
fn a_panic_is_undone_alone_and_goes_on_where_the_write_was_asked_for() {
    let writers = Writers::new();
    let held = writers.held();
    let panics = |connection: &mut FakeConnection| -> Result<i64, Failure> {
        connection.tx().set("panicked", 1)?;
        panic!("it panics")
    };
    let mut first = writers.writes(add_one);
    let mut closure = writers.writes(panics);
    let mut job = writers.sends(panics);
    let mut last = writers.sends(add_one);
    drop(held);
    assert!(poll(&mut first).is_pending());
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut closure))).is_err());
    assert!(poll(&mut first).is_ready(), "whoever panicked has still run the others and committed");
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut job))).is_err());
    assert!(poll(&mut last).is_ready());
    assert_eq!((writers.fake.committed("sum"), writers.fake.committed("panicked")), (Some(2), None));
    drop((closure, job));
    writers.is_at_rest();
}

#[test]
fn one_that_is_stopped_does_not_stop_the_others() {
    let writers = Writers::new();
    let held = writers.held();
    let stopped = |connection: &mut FakeConnection| -> Result<i64, Failure> {
        connection.limit(Limit::Steps(0));
        let _hidden = connection.tx().set("stopped", 1);
        Ok(0)
    };
    let mut all =
        vec![writers.writes(add_one), writers.writes(stopped), writers.sends(stopped), writers.sends(add_one)];
    drop(held);
    let outcomes = run_all(&mut all);
    assert!(outcomes[1..3].iter().all(|outcome| matches!(outcome, Ok(Transacted::Stopped))), "{outcomes:?}");
    assert!(position(&outcomes[0]).is_some() && position(&outcomes[3]).is_some());
    assert_eq!((writers.fake.committed("sum"), writers.fake.committed("stopped")), (Some(2), None));
    writers.is_at_rest();
}

#[test]
fn one_that_would_make_others_wait_beyond_their_deadline_runs_again_alone() {
    for sent in [false, true] {
        let writers = Writers::new();
        let held = writers.held();
        let clock = writers.clock.clone();
        let slow = move |connection: &mut FakeConnection| {
            clock.advance(2 * SECOND);
            add_one(connection)
        };
        let deadline = Time::START + SECOND;
        let mut all = vec![
            writers.writes_on(Terms { deadline, ..writers.terms() }, add_one),
            if sent { writers.sends(slow) } else { writers.writes(slow) },
            writers.writes(add_one),
        ];
        drop(held);
        let positions: Vec<_> = run_all(&mut all).iter().map(|outcome| position(outcome).unwrap()).collect();
        assert_eq!(positions, [1, 2, 3], "stopped, run alone to its end, still before the one after it");
        assert_eq!(writers.fake.committed("sum"), Some(3));
        writers.is_at_rest();
    }
}

#[test]
fn what_does_not_share_runs_alone_in_its_turn() {
    let writers = Writers::new();
    let held = writers.held();
    let long = |connection: &mut FakeConnection| {
        writers.clock.advance(SECOND / 20_000);
        add_one(connection)
    };
    let mut once = 0;
    let mut all = vec![
        writers.writes(add_one),
        writers.writes_on(Terms { shares: false, ..writers.terms() }, |connection| {
            once += 1;
            add_one(connection)
        }),
        // After short turns even those who would share do not.
        writers.writes_on(Terms { durability: Durability::Synced, ..writers.terms() }, long),
        writers.writes_on(Terms { deadline: Time::START + SECOND / 1_000, ..writers.terms() }, long),
        writers.writes(add_one),
        writers.writes(add_one),
    ];
    drop(held);
    let positions: Vec<_> = run_all(&mut all).iter().map(|outcome| position(outcome).unwrap()).collect();
    assert_eq!(positions, [1, 2, 3, 4, 5, 5]);
    drop(all);
    assert_eq!(once, 1);
    writers.is_at_rest();
}

#[test]
fn a_transaction_takes_in_so_many_and_the_next_one_the_others() {
    let writers = Writers::new();
    let held = writers.held();
    let mut all: Vec<_> = (0..100).map(|_| writers.sends(add_one)).collect();
    drop(held);
    let positions: Vec<_> = run_all(&mut all).iter().map(|outcome| position(outcome).unwrap()).collect();
    assert_eq!(positions.iter().filter(|&&commit| commit == 1).count(), 64);
    assert_eq!((writers.transactions().1, writers.fake.committed("sum")), (2, Some(100)));
}

#[test]
fn a_transaction_that_has_lasted_long_takes_in_nobody_else() {
    let writers = Writers::new();
    let held = writers.held();
    let clock = writers.clock.clone();
    let slow = move |connection: &mut FakeConnection| {
        clock.advance(SECOND);
        add_one(connection)
    };
    let mut all = vec![writers.sends(slow), writers.sends(add_one), writers.sends(add_one)];
    drop(held);
    let positions: Vec<_> = run_all(&mut all).iter().map(|outcome| position(outcome).unwrap()).collect();
    assert_eq!(positions, [1, 2, 2]);
}

#[test]
fn one_who_goes_away_leaves_the_others_their_turn() {
    let writers = Writers::new();
    // In the queue; with the turn told and not heard; with the transaction told and not heard; as part of it.
    for gone in 0..4 {
        let held = writers.held();
        let mut all: Vec<_> = (0..4).map(|_| writers.writes(add_one)).collect();
        let before = writers.fake.committed("sum").unwrap_or(0);
        let expected = match gone {
            0 => {
                drop(all.remove(2));
                drop(held);
                3
            }
            1 => {
                drop(held);
                drop(all.remove(0));
                3
            }
            2 => {
                drop(held);
                assert!(poll(&mut all[0]).is_pending());
                drop(all.remove(1));
                3
            }
            _ => {
                drop(held);
                assert!(poll(&mut all[0]).is_pending());
                drop(all.remove(0));
                4
            }
        };
        assert!(run_all(&mut all).iter().all(|outcome| position(outcome).is_some()));
        assert_eq!(writers.fake.committed("sum"), Some(before + expected), "gone at {gone}");
        writers.is_at_rest();
    }
}

#[test]
fn the_last_one_who_goes_away_with_the_transaction_commits_it() {
    let writers = Writers::new();
    let held = writers.held();
    let mut first = writers.writes(add_one);
    let last = writers.writes(add_one);
    drop(held);
    assert!(poll(&mut first).is_pending());
    drop(last);
    assert!(matches!(poll(&mut first), Poll::Ready(Ok(Transacted::Committed(1, _)))));
    writers.is_at_rest();
}

#[test]
fn a_wait_is_bounded_by_its_deadline_the_length_of_the_queue_and_the_close() {
    let writers = Writers::configured(PoolConfig { max_waiting: 3, ..PoolConfig::untended() });
    let held = writers.held();
    let mut first = writers.writes(add_one);
    let mut late = writers.writes_on(Terms { deadline: Time::START + SECOND, ..writers.terms() }, add_one);
    let mut sent = writers.sends(add_one);
    let mut closed = writers.writes(add_one);
    let terms = writers.terms();
    let full = block_on(writers.lane.write(&terms, add_one)).unwrap_err();
    assert_eq!(full.kind(), Kind::QueueFull);
    assert!(full.to_string().contains("4 waiting"), "{full}");
    writers.clock.advance(SECOND);
    let Poll::Ready(Err(error)) = poll(&mut late) else { panic!("its time is over") };
    assert_eq!(error.kind(), Kind::Timeout(Stage::Wait));
    assert!(error.to_string().contains("gave up after 1.0s"), "{error}");
    assert_eq!((writers.lane.status().timeouts, writers.lane.status().waiting), (1, 3));
    writers.lane.close();
    for writing in [&mut closed, &mut sent, &mut first] {
        let Poll::Ready(Err(error)) = poll(writing) else { panic!("nobody waits for what is closed") };
        assert_eq!(error.kind(), Kind::Closed);
    }
    drop(held);
    let after = block_on(writers.lane.write(&terms, add_one)).unwrap_err();
    assert_eq!((after.kind(), writers.lane.status().waiting), (Kind::Closed, 0));
}

#[test]
fn one_whose_transaction_is_lost_after_its_time_hears_so() {
    let writers = Writers::new();
    let held = writers.held();
    let mut first = writers.writes(add_one);
    let mut short = writers.writes_on(Terms { deadline: Time::START + SECOND, ..writers.terms() }, add_one);
    let mut last = writers.writes(|connection| {
        connection.roll_back()?;
        Err::<i64, _>(Failure::msg("all is lost"))
    });
    drop(held);
    assert!(poll(&mut first).is_pending() && poll(&mut short).is_pending());
    writers.clock.advance(2 * SECOND);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let pending = short.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
    assert!(pending && woken.0.load(Ordering::Relaxed) == 0, "it is part of a transaction");
    // The transaction is too old to take in anybody else, but was passed on before.
    assert!(matches!(poll(&mut last), Poll::Ready(Ok(Transacted::Undone(_)))));
    assert_eq!(woken.0.load(Ordering::Relaxed), 1, "no alarm would wake it");
    assert!(matches!(poll(&mut short), Poll::Ready(Err(error)) if error.kind() == Kind::Timeout(Stage::Wait)));
    assert!(poll(&mut first).is_ready());
    assert_eq!(writers.fake.committed("sum"), Some(1));
    writers.is_at_rest();
}

#[test]
fn a_writer_whose_database_has_failed_in_a_shared_transaction_is_closed_afterwards() {
    let writers = Writers::new();
    let held = writers.held();
    let mut all = vec![writers.writes(set("a", 1)), writers.writes(set("b", 2)), writers.sends(set("c", 3))];
    drop(held);
    let closes = writers.fake.counts().closes;
    writers.fake.fail_statements(ecm_core::FaultKind::Corrupt, 1);
    let outcomes = run_all(&mut all);
    assert_eq!(outcomes.iter().filter(|outcome| position(outcome).is_some()).count(), 2, "one alone is undone");
    assert_eq!(writers.fake.counts().closes, closes + 1);
}
