//! Writers that are polled by hand.

use crate::support::parts;
use ecm_core::{
    Clock, Connection, Durability, Error, Failure, Loan, Time, block_on,
    testing::{Fake, FakeConnection, TestClock},
};
use ecm_pool::{Lane, Lent, PoolConfig, Terms, Transacted};
use std::{
    future::Future,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// A lane over a fake, whose clock stands still.
pub(crate) struct Writers {
    pub(crate) fake: Fake,
    pub(crate) clock: TestClock,
    pub(crate) lane: Lane<Fake>,
}

pub(crate) type Outcome<T> = Result<Transacted<T>, Error>;
pub(crate) type Writing<'l, T> = Pin<Box<dyn Future<Output = Outcome<T>> + 'l>>;

impl Writers {
    pub(crate) fn new() -> Self {
        Self::configured(PoolConfig::untended())
    }

    pub(crate) fn configured(config: PoolConfig) -> Self {
        let (fake, clock) = (Fake::new(), TestClock::new());
        let lane = Lane::new(Arc::new(fake.clone()), config, parts(&clock));
        Self { fake, clock, lane }
    }

    /// Somebody borrows the writer, so that everybody waits until this is dropped.
    pub(crate) fn held(&self) -> Lent<'_, Fake> {
        block_on(self.lane.pool().lend(Loan::Raw, self.clock.now(), Time::NEVER)).unwrap()
    }

    pub(crate) fn terms(&self) -> Terms {
        Terms {
            durability: Durability::Configured,
            shares: true,
            asked: self.clock.now(),
            deadline: Time::NEVER,
            from: Location::caller(),
        }
    }

    pub(crate) fn writes<'l, T: 'l>(
        &'l self,
        run: impl FnMut(&mut FakeConnection) -> Result<T, Failure> + 'l,
    ) -> Writing<'l, T> {
        self.writes_on(self.terms(), run)
    }

    /// A write that has asked for its turn.
    pub(crate) fn writes_on<'l, T: 'l>(
        &'l self,
        terms: Terms,
        run: impl FnMut(&mut FakeConnection) -> Result<T, Failure> + 'l,
    ) -> Writing<'l, T> {
        let mut writing: Writing<'l, T> = Box::pin(async move { self.lane.write(&terms, run).await });
        assert!(poll(&mut writing).is_pending(), "it waits");
        writing
    }

    pub(crate) fn sends<'l, T: Send + 'static>(
        &'l self,
        run: impl FnMut(&mut FakeConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Writing<'l, T> {
        let terms = self.terms();
        let mut writing: Writing<'l, T> = Box::pin(async move { self.lane.send(&terms, run).await });
        assert!(poll(&mut writing).is_pending(), "it waits");
        writing
    }

    /// Begins, commits, roll backs so far.
    pub(crate) fn transactions(&self) -> (u64, u64, u64) {
        let counts = self.fake.counts();
        (counts.begins, counts.commits, counts.roll_backs)
    }

    pub(crate) fn is_at_rest(&self) {
        let status = self.lane.status();
        assert_eq!((status.lent, status.waiting, status.opening), (0, 0, 0), "{status:?}");
        let terms = self.terms();
        assert!(self.lane.write_now(&terms, |_| Ok(())).is_some() || status.idle == 0, "nobody has the turn");
    }
}

pub(crate) fn poll<T>(writing: &mut Writing<'_, T>) -> Poll<Outcome<T>> {
    writing.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls all of them in order, again and again, until each has ended.
pub(crate) fn run_all<T>(writings: &mut [Writing<'_, T>]) -> Vec<Outcome<T>> {
    let mut outcomes: Vec<Option<Outcome<T>>> = writings.iter().map(|_| None).collect();
    for _ in 0..1_000 {
        for (writing, outcome) in writings.iter_mut().zip(&mut outcomes) {
            if outcome.is_none()
                && let Poll::Ready(ended) = poll(writing)
            {
                *outcome = Some(ended);
            }
        }
        if outcomes.iter().all(Option::is_some) {
            return outcomes.into_iter().flatten().collect();
        }
    }
    panic!("somebody waits for ever");
}

pub(crate) fn position<T>(outcome: &Outcome<T>) -> Option<u64> {
    match outcome {
        Ok(Transacted::Committed(_, position)) => Some(position.commit),
        _ => None,
    }
}

pub(crate) fn set(name: &str, number: i64) -> impl FnMut(&mut FakeConnection) -> Result<i64, Failure> + Send + use<> {
    let name = name.to_owned();
    move |connection| {
        connection.tx().set(&name, number)?;
        Ok(number)
    }
}

pub(crate) fn add_one(connection: &mut FakeConnection) -> Result<i64, Failure> {
    let sum = connection.tx().get("sum")?.unwrap_or(0) + 1;
    connection.tx().set("sum", sum)?;
    Ok(sum)
}

pub(crate) fn fails(connection: &mut FakeConnection) -> Result<i64, Failure> {
    connection.tx().set("failed", 1)?;
    Err(Failure::msg("no"))
}
