use crate::{
    Lane, Owned, Terms,
    common_cause::CommonCause,
    errand::Errand,
    seat::{End, News, Turn, Waiting},
};
use ecm_core::{Backend, Commit, Connection, Durability, Failure, Member, Time, Transact};
use std::{
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    task::Waker,
    time::Duration,
};

/// How many writes share a transaction at most.
const MOST_MEMBERS: usize = 64;

/// How long a transaction takes in more writes: bounds how long the first one waits for its commit.
pub(crate) const SPAN: Duration = Duration::from_millis(2);

/// An open transaction that several writes share, with the writer.
pub(crate) struct Batch<B: Backend<Connection: Transact>> {
    writer: Owned<B>,
    durability: Durability,
    until: Time,
    /// The earliest deadline of a member: nobody makes it wait for longer.
    deadline: Time,
    /// Those that have run, in this order.
    members: Vec<Ran<B>>,
    /// Whether the database has failed in it, so that the writer is closed afterwards.
    damaged: bool,
}

/// A write that has run in a transaction that is open.
struct Ran<B: Backend<Connection: Transact>> {
    waiting: Waiting<B>,
    /// Why nothing of it is in the transaction; it holds only if the transaction does.
    failure: Option<Failure>,
}

/// Whoever has the open transaction: runs writes in it, then passes it on or ends it.
///
/// Dropped without either, which only a panic of the backend does, it ends it as well as it can.
pub(crate) struct Holder<'l, B: Backend<Connection: Transact>> {
    lane: &'l Lane<B>,
    /// `None` once it is passed on or ended.
    batch: Option<Batch<B>>,
    condition: Condition,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Open,
    /// It goes on, but takes in nobody else.
    Full,
    /// The database has rolled it back.
    Lost,
    /// The backend has panicked in it.
    Broken,
    /// It is being committed.
    Committing,
}

/// Where a write stands after it has run in a transaction that others share.
pub(crate) enum Stand<T> {
    /// It is part of the transaction, with this answer.
    Part(Option<T>),
    /// It will run again.
    Again,
    Ended(End),
}

const OPEN: &str = "the transaction is there until it is passed on or ended";

impl<'l, B: Backend<Connection: Transact>> Holder<'l, B> {
    /// A transaction that has begun.
    pub(crate) fn new(lane: &'l Lane<B>, writer: Owned<B>, durability: Durability, now: Time) -> Self {
        let batch =
            Batch { writer, durability, until: now + SPAN, deadline: Time::NEVER, members: Vec::new(), damaged: false };
        Self::of(lane, batch)
    }

    /// One that somebody else has passed on.
    pub(crate) fn of(lane: &'l Lane<B>, batch: Batch<B>) -> Self {
        Self { lane, batch: Some(batch), condition: Condition::Open }
    }

    /// Runs the holder's own write, then does what is next for the transaction.
    pub(crate) fn run_own<T>(
        mut self,
        me: Waiting<B>,
        run: &mut impl FnMut(&mut B::Connection) -> Result<T, Failure>,
    ) -> Stand<T> {
        let stand = self.run(me, run);
        self.proceed();
        stand
    }

    /// Runs what is next in the queue: owned jobs here, others on their own threads, to which it is
    /// passed on; ends the transaction when nothing is next or it has lasted long enough.
    pub(crate) fn proceed(mut self) {
        while self.condition == Condition::Open {
            let batch = self.batch.as_ref().expect(OPEN);
            let now = self.lane.now();
            if batch.members.len() >= MOST_MEMBERS || now >= batch.until {
                break;
            }
            let durability = batch.durability;
            let Some(next) = self.lane.line().next_if(|waiting| waiting.shares(durability, now, SPAN)) else { break };
            match &next.errand {
                Some(errand) => {
                    let errand = Arc::clone(errand);
                    self.run_errand(next, &*errand);
                }
                None => match self.pass_to(next) {
                    Some(back) => self = back,
                    None => return,
                },
            }
        }
        self.end();
    }

    fn run_errand(&mut self, waiting: Waiting<B>, errand: &dyn Errand<B::Connection>) {
        let seat = Arc::clone(&waiting.seat);
        // Caught, because whoever has sent it would never hear of it.
        let stand = panic::catch_unwind(AssertUnwindSafe(|| self.run(waiting, &mut |writer| errand.run(writer))));
        let stand = stand.unwrap_or_else(|panic| {
            self.condition = Condition::Broken;
            Stand::Ended(End::Panicked(panic))
        });
        if let Stand::Ended(end) = stand
            && let Ok(Some(waker)) = seat.tell(News::Ended(end))
        {
            waker.wake();
        }
    }

    /// Passes the transaction on; `None` if it was, itself if the next one has gone away.
    fn pass_to(mut self, me: Waiting<B>) -> Option<Self> {
        let seat = Arc::clone(&me.seat);
        match seat.tell(News::Turn(Box::new(Turn { me, batch: self.batch.take(), quick: false }))) {
            Ok(waker) => {
                waker.into_iter().for_each(Waker::wake);
                None
            }
            Err(News::Turn(turn)) => {
                self.batch = turn.batch;
                Some(self)
            }
            Err(News::Ended(_)) => unreachable!("what comes back is what was told"),
        }
    }

    /// Runs one write between the marks of a member.
    fn run<T>(
        &mut self,
        waiting: Waiting<B>,
        run: &mut impl FnMut(&mut B::Connection) -> Result<T, Failure>,
    ) -> Stand<T> {
        let batch = self.batch.as_mut().expect(OPEN);
        let writer = &mut *batch.writer;
        let own = waiting.terms.deadline;
        let others = batch.deadline;
        batch.deadline = own.min(others);
        writer.limit(Terms { deadline: batch.deadline, ..waiting.terms }.limit());
        if writer.enter().is_err() {
            self.condition = Condition::Lost;
            batch.members.push(Ran { waiting, failure: None });
            return Stand::Again;
        }
        // Caught, because the others have no part in it.
        let ran = panic::catch_unwind(AssertUnwindSafe(|| run(writer)));
        let stopped = writer.stopped();
        let left = writer.leave(matches!(ran, Ok(Ok(_))) && !stopped);
        if matches!(left, Member::BatchLost) {
            self.condition = Condition::Lost;
        } else if stopped {
            // What was stopped stays so until the writer has been given back.
            self.condition = Condition::Full;
        }
        let answer = match ran {
            Err(panic) => return Stand::Ended(End::Panicked(panic)),
            // Stopped for the sake of the others, it may take its time alone.
            Ok(_) if stopped && others < own && self.lane.now() < own => {
                let waiting = waiting.alone();
                match self.condition {
                    Condition::Lost => batch.members.push(Ran { waiting, failure: None }),
                    _ => self.lane.line().come_back(vec![waiting]),
                }
                return Stand::Again;
            }
            Ok(_) if stopped => return Stand::Ended(End::Stopped),
            Ok(answer) => answer,
        };
        batch.damaged |= answer.as_ref().err().is_some_and(|failure| self.lane.tells_of_damage(failure));
        match (answer, left) {
            (Ok(answer), Member::Kept) => {
                batch.members.push(Ran { waiting, failure: None });
                Stand::Part(Some(answer))
            }
            (Err(failure), Member::BatchLost) => Stand::Ended(End::Undone(failure)),
            // It did not say that it has failed. Alone it hears from the commit what was wrong.
            (Ok(_), Member::BatchLost | Member::Undone) => {
                self.condition = Condition::Lost;
                batch.members.push(Ran { waiting: waiting.alone(), failure: None });
                Stand::Again
            }
            (Ok(_), Member::Refused(failure)) | (Err(failure), _) => {
                batch.members.push(Ran { waiting, failure: Some(failure) });
                Stand::Part(None)
            }
        }
    }

    /// Ends the transaction, tells everybody, and passes the turn on.
    fn end(mut self) {
        let batch = self.batch.as_mut().expect(OPEN);
        let any_kept = batch.members.iter().any(|member| member.failure.is_none());
        match self.condition {
            Condition::Broken => return self.repeat(false, Waiting::lost),
            Condition::Lost => {
                let fit = batch.writer.roll_back().is_ok();
                return self.repeat(fit, Waiting::lost);
            }
            _ if any_kept => {}
            _ => {
                let fit = batch.writer.roll_back().is_ok();
                return self.acknowledge(fit, None, &mut |_| unreachable!("nobody has anything in it"));
            }
        }
        self.condition = Condition::Committing;
        let began = self.lane.now();
        match self.lane.commit(&mut batch.writer) {
            Commit::Done(position) => self.acknowledge(true, Some(began), &mut |_| End::Committed(position)),
            // Who has made it fail is not known; alone, each hears it of its own.
            Commit::RolledBack(_) => self.repeat(true, Waiting::alone),
            Commit::Unknown(failure) => {
                let cause = CommonCause::new(failure);
                self.acknowledge(false, None, &mut |_| End::Unknown(cause.clone().into()));
            }
        }
    }

    /// Has every member run again, before everybody who waits.
    fn repeat(mut self, fit: bool, again: impl Fn(Waiting<B>) -> Waiting<B>) {
        let Batch { writer, members, damaged, .. } = self.batch.take().expect(OPEN);
        self.lane.line().come_back(members.into_iter().map(|member| again(member.waiting)).collect());
        self.lane.give_back(writer, fit && !damaged);
        self.lane.line().pass();
    }

    /// Tells each member how it has ended, all of them in one sweep, and then passes the turn on: those
    /// who come back at once share the next transaction.
    fn acknowledge(mut self, fit: bool, committing: Option<Time>, kept: &mut dyn FnMut(&Waiting<B>) -> End) {
        let Batch { writer, members, damaged, .. } = self.batch.take().expect(OPEN);
        let tell = |Ran { waiting, failure }: Ran<B>| {
            let end = failure.map_or_else(|| kept(&waiting), End::Undone);
            waiting.end(end)
        };
        let wakers: Vec<Waker> = members.into_iter().filter_map(tell).collect();
        wakers.into_iter().for_each(Waker::wake);
        self.lane.give_back(writer, fit && !damaged);
        self.lane.end_turn(committing);
    }
}

impl<B: Backend<Connection: Transact>> Drop for Holder<'_, B> {
    fn drop(&mut self) {
        let Some(Batch { writer, members, .. }) = self.batch.take() else { return };
        writer.discard();
        if self.condition == Condition::Committing {
            let unknown = || End::Unknown(Failure::msg("the backend panicked while it committed"));
            members.into_iter().filter_map(|member| member.waiting.end(unknown())).for_each(Waker::wake);
        } else {
            self.lane.line().come_back(members.into_iter().map(|member| member.waiting.lost()).collect());
        }
        self.lane.line().pass();
    }
}
