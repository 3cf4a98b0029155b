//! Writes of callers whose threads neither wait nor run anybody's job: a thread of the lane uses their turns.

use crate::{
    support::{Later, SECOND, parts},
    writers::{Outcome, add_one, fails, position},
};
use ecm_core::{
    Clock, Durability, FaultKind, Kind, Loan, Stage, Time, Transact, block_on,
    testing::{Fake, FakeConnection, TestClock},
};
use ecm_pool::{Lane, Lent, PoolConfig, PoolParts, Terms, Transacted};
use std::{
    future::Future,
    panic::{AssertUnwindSafe, Location, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// A lane whose own work is done when the test says so.
struct Office {
    fake: Fake,
    clock: TestClock,
    lane: Arc<Lane<Fake>>,
    later: Later,
}

type Posting<'l> = Pin<Box<dyn Future<Output = Outcome<i64>> + Send + 'l>>;

impl Office {
    fn new() -> Self {
        let (fake, clock, later) = (Fake::new(), TestClock::new(), Later::default());
        let parts = PoolParts { workers: Arc::new(later.clone()), ..parts(&clock) };
        let lane = Arc::new(Lane::new(Arc::new(fake.clone()), PoolConfig::untended(), parts));
        Self { fake, clock, lane, later }
    }

    fn terms(&self) -> Terms {
        Terms {
            durability: Durability::Configured,
            shares: true,
            asked: self.clock.now(),
            deadline: Time::NEVER,
            from: Location::caller(),
        }
    }

    fn posts(
        &self,
        job: impl FnMut(&mut FakeConnection) -> Result<i64, ecm_core::Failure> + Send + 'static,
    ) -> Posting<'_> {
        self.posts_on(self.terms(), job)
    }

    fn posts_on(
        &self,
        terms: Terms,
        job: impl FnMut(&mut FakeConnection) -> Result<i64, ecm_core::Failure> + Send + 'static,
    ) -> Posting<'_> {
        let mut posting: Posting<'_> = Box::pin(async move { self.lane.post(&terms, job).await });
        assert!(poll(&mut posting).is_pending(), "nothing runs in a poll");
        posting
    }

    fn held(&self) -> Lent<'_, Fake> {
        block_on(self.lane.pool().lend(Loan::Raw, self.clock.now(), Time::NEVER)).unwrap()
    }

    /// The thread of the lane does what there is to do; how often it was started.
    fn works(&self) -> u32 {
        let mut started = 0;
        while let Some(work) = self.later.take() {
            work();
            started += 1;
        }
        started
    }

    fn is_at_rest(&self) {
        let status = self.lane.status();
        assert_eq!((status.lent, status.waiting, status.opening), (0, 0, 0), "{status:?}");
        assert!(self.lane.write_now(&self.terms(), |_| Ok(())).is_some() || status.idle == 0, "nobody has the turn");
    }
}

fn poll(posting: &mut Posting<'_>) -> Poll<Outcome<i64>> {
    posting.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn ended(posting: &mut Posting<'_>) -> Outcome<i64> {
    let Poll::Ready(outcome) = poll(posting) else { panic!("it still waits") };
    outcome
}

#[test]
fn those_who_post_share_one_commit_on_one_thread() {
    let office = Office::new();
    let mut all: Vec<_> = (0..5).map(|_| office.posts(add_one)).collect();
    assert_eq!((office.fake.counts().begins, office.lane.status().waiting), (0, 4), "one has the turn");
    assert_eq!(office.works(), 1);
    for (number, posting) in (1..).zip(&mut all) {
        let outcome = ended(posting);
        assert!(
            matches!(outcome, Ok(Transacted::Committed(sum, at)) if sum == number && at.commit == 1),
            "{outcome:?}"
        );
    }
    assert_eq!(office.fake.committed("sum"), Some(5));
    office.is_at_rest();
}

#[test]
fn one_that_comes_alone_shares_with_nobody() {
    let office = Office::new();
    for number in 1..4 {
        let mut posting = office.posts(add_one);
        assert_eq!(office.works(), 1);
        assert_eq!(position(&ended(&mut posting)), Some(number));
    }
    office.is_at_rest();
}

#[test]
fn a_turn_that_a_thread_passes_on_is_used_by_the_lane() {
    let office = Office::new();
    block_on(office.lane.write(&office.terms(), add_one)).map(drop).unwrap();
    let mut writing = Box::pin(async { office.lane.write(&office.terms(), add_one).await });
    let held = office.held();
    assert!(writing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let mut alone = office.posts_on(Terms { shares: false, ..office.terms() }, add_one);
    drop(held);
    let Poll::Ready(written) = writing.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("it has its turn")
    };
    assert_eq!(position(&written), Some(2));
    assert!(poll(&mut alone).is_pending());
    office.works();
    assert_eq!(position(&ended(&mut alone)), Some(3));
    office.is_at_rest();
}

#[test]
fn one_who_gives_up_is_not_run_and_those_behind_are() {
    let office = Office::new();
    let first = office.posts(add_one);
    let second = office.posts(add_one);
    let mut third = office.posts(add_one);
    drop((first, second));
    assert_eq!(office.lane.status().waiting, 1, "no ghost in the queue");
    office.works();
    assert!(matches!(ended(&mut third), Ok(Transacted::Committed(1, _))));
    office.is_at_rest();
}

#[test]
fn the_deadline_of_one_who_waits_is_kept_and_leaves_the_queue() {
    let office = Office::new();
    let held = office.held();
    let first = office.posts(add_one);
    let deadline = office.clock.now() + SECOND;
    let mut late = office.posts_on(Terms { deadline, ..office.terms() }, add_one);
    office.clock.advance(SECOND);
    let error = ended(&mut late).unwrap_err();
    assert_eq!((error.kind(), office.lane.status().waiting), (Kind::Timeout(Stage::Wait), 0));
    drop((held, first));
    office.works();
    office.is_at_rest();
}

#[test]
fn a_writer_that_cannot_be_opened_is_told_and_the_next_one_tries_again() {
    let office = Office::new();
    office.fake.fail_connects(FaultKind::Storage, 1);
    let mut first = office.posts(add_one);
    let mut second = office.posts(add_one);
    office.works();
    let error = ended(&mut first).unwrap_err();
    assert_eq!(error.fault().map(|fault| fault.kind), Some(FaultKind::Storage));
    assert!(matches!(ended(&mut second), Ok(Transacted::Committed(1, _))));
    office.is_at_rest();
}

#[test]
fn a_failure_and_a_panic_reach_whoever_has_posted_them_and_nobody_else() {
    let office = Office::new();
    let mut failing = office.posts(fails);
    let mut panicking = office.posts(|_| panic!("mine"));
    let mut kept = office.posts(add_one);
    office.works();
    assert!(matches!(ended(&mut failing), Ok(Transacted::Undone(_))));
    let panic = catch_unwind(AssertUnwindSafe(|| poll(&mut panicking))).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"mine"));
    assert!(matches!(ended(&mut kept), Ok(Transacted::Committed(1, _))));
    let mut alone = office.posts(|_| panic!("alone"));
    office.works();
    let panic = catch_unwind(AssertUnwindSafe(|| poll(&mut alone))).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"alone"));
    office.is_at_rest();
}

#[test]
fn those_whose_transaction_is_lost_run_again() {
    let office = Office::new();
    let mut first = office.posts(add_one);
    let mut loses = office.posts(|connection| {
        connection.roll_back()?;
        Err(ecm_core::Failure::msg("all is lost"))
    });
    let mut last = office.posts(add_one);
    while office.works() > 0 {}
    assert!(matches!(ended(&mut first), Ok(Transacted::Committed(1, _))));
    assert!(matches!(ended(&mut loses), Ok(Transacted::Undone(_))));
    assert!(matches!(ended(&mut last), Ok(Transacted::Committed(2, _))));
    office.is_at_rest();
}

#[test]
fn nobody_waits_on_when_the_lane_closes() {
    let office = Office::new();
    let mut first = office.posts(add_one);
    let mut second = office.posts(add_one);
    office.lane.close();
    office.works();
    for posting in [&mut first, &mut second] {
        assert_eq!(ended(posting).unwrap_err().kind(), Kind::Closed);
    }
    assert_eq!(office.fake.counts().open(), 0);
}
