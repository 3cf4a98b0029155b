//! Writes that share a transaction in many schedules: each is told exactly when its commit is done,
//! and nobody is forgotten.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test -p ecm-pool --test shuttle_lane
//! ```
#![cfg(shuttle)]

use ecm_core::{
    Clock, Connection, Durability, Error, Failure, FaultKind, Kind, Time, Transact, Written,
    testing::{Fake, FakeConnection, TestClock},
};
use ecm_pool::{CommitEnd, CommitWatch, Lane, PoolConfig, PoolParts, Terms, Transacted, Workers};
use shuttle::{future::block_on, thread};
use std::{
    future::{Future, poll_fn},
    panic::Location,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

const ROUNDS: usize = 3_000;

#[derive(Clone)]
struct Bench {
    fake: Fake,
    clock: TestClock,
    lane: Arc<Lane<Fake>>,
    heard: Arc<Heard>,
}

/// Counts the commits of which it hears: not before they begin, and before anybody whose they are.
#[derive(Debug, Default)]
struct Heard {
    begun: AtomicU64,
    committed: AtomicU64,
}

impl CommitWatch for Heard {
    fn committing(&self, _: &Written) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    fn ended(&self, _: &Written, end: CommitEnd<'_>) {
        assert_eq!(self.begun.fetch_sub(1, Ordering::SeqCst), 1, "one commit at a time");
        if matches!(end, CommitEnd::Committed(..)) {
            self.committed.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A thread of the model for each piece of work.
#[derive(Debug)]
struct Threads;

impl Workers for Threads {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> bool {
        thread::spawn(work);
        true
    }
}

type Action = Box<dyn FnOnce(&Bench) + Send>;

impl Bench {
    fn new() -> Self {
        let (fake, clock) = (Fake::new(), TestClock::new());
        let parts = PoolParts { workers: Arc::new(Threads), ..PoolParts::new("main", Arc::new(clock.clone())) };
        let heard = Arc::<Heard>::default();
        let watch: Arc<dyn CommitWatch> = Arc::<Heard>::clone(&heard);
        let lane = Lane::new(Arc::new(fake.clone()), PoolConfig::untended(), parts);
        let lane = Arc::new(lane.watched_by(watch));
        Self { fake, clock, lane, heard }
    }

    fn threads(&self, actions: Vec<Action>) {
        let threads: Vec<_> = actions
            .into_iter()
            .map(|action| {
                let bench = self.clone();
                thread::spawn(move || action(&bench))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let status = self.lane.status();
        assert_eq!((status.lent, status.waiting, status.opening), (0, 0, 0), "{status:?}");
    }

    /// What was told is there, and what is there is told.
    fn check(&self, name: &str, outcome: Result<Transacted<()>, Error>) -> bool {
        match outcome {
            Ok(Transacted::Committed((), position)) => {
                assert_eq!(self.fake.committed(name), Some(1), "told before the commit");
                assert!(self.lane.position() >= position);
                assert!(self.heard.committed.load(Ordering::SeqCst) >= position.commit, "told before the watch");
                true
            }
            Ok(Transacted::Undone(_)) => {
                assert_eq!(self.fake.committed(name), None);
                false
            }
            Err(error) if error.kind() == Kind::Closed => {
                assert_eq!(self.fake.committed(name), None);
                false
            }
            other => panic!("{other:?}"),
        }
    }
}

fn terms() -> Terms {
    Terms {
        durability: Durability::Configured,
        shares: true,
        asked: Time::START,
        deadline: Time::NEVER,
        from: Location::caller(),
    }
}

fn adds(name: &'static str) -> impl FnMut(&mut FakeConnection) -> Result<(), Failure> + Send + 'static {
    move |connection| {
        let before = connection.tx().get(name)?.unwrap_or(0);
        Ok(connection.tx().set(name, before + 1)?)
    }
}

fn writes(name: &'static str) -> Action {
    Box::new(move |bench| {
        let outcome = block_on(bench.lane.write(&terms(), adds(name)));
        bench.check(name, outcome);
    })
}

/// Writes at once where that can be, twice; else as everybody.
fn comes_back(names: [&'static str; 2]) -> Action {
    Box::new(move |bench| {
        for name in names {
            let terms = Terms { asked: bench.clock.now(), ..terms() };
            let outcome = match bench.lane.write_now(&terms, adds(name)) {
                Some(transacted) => Ok(transacted),
                None => block_on(bench.lane.write(&terms, adds(name))),
            };
            bench.check(name, outcome);
        }
    })
}

/// Time goes on: whoever was overtaken has been so for long enough.
fn passes_time() -> Action {
    Box::new(|bench| bench.clock.advance(Duration::from_millis(1)))
}

fn sends(name: &'static str) -> Action {
    Box::new(move |bench| {
        let outcome = block_on(bench.lane.send(&terms(), adds(name)));
        bench.check(name, outcome);
    })
}

fn posts(name: &'static str) -> Action {
    Box::new(move |bench| {
        let outcome = block_on(bench.lane.post(&terms(), adds(name)));
        bench.check(name, outcome);
    })
}

/// As [`goes_away`], of one who has posted.
fn posts_and_goes_away(name: &'static str, polls: usize) -> Action {
    Box::new(move |bench| {
        let terms = terms();
        let mut posting = pin!(bench.lane.post(&terms, adds(name)));
        let mut left = polls;
        block_on(poll_fn(|context| {
            left -= 1;
            if posting.as_mut().poll(context).is_ready() || left == 0 {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }));
    })
}

/// Writes, waits at most `polls` polls for the end, and goes away.
fn goes_away(name: &'static str, polls: usize) -> Action {
    Box::new(move |bench| {
        let terms = terms();
        let mut writing = pin!(bench.lane.write(&terms, adds(name)));
        let mut left = polls;
        block_on(poll_fn(|context| {
            left -= 1;
            if writing.as_mut().poll(context).is_ready() || left == 0 {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }));
    })
}

fn all_are_there(bench: &Bench, names: &[&str]) {
    names.iter().for_each(|name| assert_eq!(bench.fake.committed(name), Some(1), "{name}"));
}

#[test]
fn each_is_told_after_its_commit_and_nobody_is_forgotten() {
    shuttle::check_random(
        || {
            let bench = Bench::new();
            bench.threads(vec![writes("a"), sends("b"), writes("c"), sends("d")]);
            all_are_there(&bench, &["a", "b", "c", "d"]);
        },
        ROUNDS,
    );
}

#[test]
fn nobody_is_forgotten_behind_those_who_come_back_at_once() {
    shuttle::check_random(
        || {
            let bench = Bench::new();
            bench.threads(vec![comes_back(["a", "b"]), comes_back(["c", "d"]), writes("e"), passes_time()]);
            all_are_there(&bench, &["a", "b", "c", "d", "e"]);
        },
        ROUNDS,
    );
}

#[test]
fn one_who_was_called_and_goes_away_leaves_nobody_asleep() {
    shuttle::check_random(
        || {
            let bench = Bench::new();
            bench.threads(vec![comes_back(["a", "b"]), goes_away("c", 2), writes("d"), goes_away("e", 1)]);
            all_are_there(&bench, &["a", "b", "d"]);
        },
        ROUNDS,
    );
}

#[test]
fn those_whose_commit_fails_run_again_and_are_told_of_their_own() {
    shuttle::check_random(
        || {
            let bench = Bench::new();
            bench.fake.fail_commits(FaultKind::Corrupt, 1);
            bench.threads(vec![writes("a"), sends("b"), writes("c"), sends("d")]);
            let there = ["a", "b", "c", "d"].iter().filter(|name| bench.fake.committed(name).is_some()).count();
            assert!(there >= 3, "one commit has failed, alone or with others that have run again");
        },
        ROUNDS,
    );
}

#[test]
fn one_who_loses_the_transaction_of_all_is_undone_alone() {
    shuttle::check_random(
        || {
            let bench = Bench::new();
            let loses: Action = Box::new(|bench| {
                let outcome = block_on(bench.lane.write(&terms(), |connection| {
                    connection.roll_back()?;
                    Err::<(), _>(Failure::msg("all is lost"))
                }));
                assert!(matches!(outcome, Ok(Transacted::Undone(_))), "{outcome:?}");
            });
            bench.threads(vec![writes("a"), sends("b"), loses, writes("c")]);
            all_are_there(&bench, &["a", "b", "c"]);
        },
        ROUNDS,
    );
}

#[test]
fn one_who_goes_away_takes_nothing_along() {
    shuttle::check_random(
        || {
            let bench = Bench::new();
            bench.threads(vec![writes("a"), goes_away("b", 1), goes_away("c", 2), sends("d")]);
            all_are_there(&bench, &["a", "d"]);
            let outcome = block_on(bench.lane.write(&terms(), adds("e")));
            assert!(bench.check("e", outcome), "the turn is not lost");
        },
        ROUNDS,
    );
}

#[test]
fn nobody_waits_on_when_the_lane_closes() {
    shuttle::check_random(
        || {
            let bench = Bench::new();
            bench.threads(vec![writes("a"), sends("b"), writes("c"), Box::new(|bench| bench.lane.close())]);
            assert_eq!(bench.fake.counts().open(), 0);
        },
        ROUNDS,
    );
}

#[test]
fn a_turn_reaches_the_thread_of_the_lane_from_whoever_has_it() {
    shuttle::check_random(
        || {
            let bench = Bench::new();
            bench.threads(vec![posts("a"), comes_back(["b", "c"]), posts("d"), writes("e"), sends("f")]);
            all_are_there(&bench, &["a", "b", "c", "d", "e", "f"]);
        },
        ROUNDS,
    );
}

#[test]
fn one_who_has_posted_and_goes_away_takes_nothing_along() {
    shuttle::check_random(
        || {
            let bench = Bench::new();
            bench.threads(vec![
                posts_and_goes_away("a", 1),
                posts("b"),
                writes("c"),
                posts_and_goes_away("d", 2),
                goes_away("e", 1),
            ]);
            all_are_there(&bench, &["b", "c"]);
            let outcome = block_on(bench.lane.post(&terms(), adds("f")));
            assert!(bench.check("f", outcome), "the turn is not lost");
        },
        ROUNDS,
    );
}
