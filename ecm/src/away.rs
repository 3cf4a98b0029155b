//! Where awaited calls run: in the poll if that is certain to be short, otherwise on a thread of the database.

use crate::{
    ManagerConfig,
    hand_off::HandOff,
    job::Sending,
    place::{Going, Place, Stays, Writer},
    ran::Ran,
    reader_threads::{ReaderThreads, Refused},
    route::Route,
    start::Start,
    threads::block_on,
    topology::Member,
    travel::Travel,
    unit_of_work::hooks::Ended,
};
use ecm_core::{
    Alarm, Backend, Clock, Connection, Durability, Error, Failure, Interrupt, Kind, Limit, Loan, Stage, Time, Transact,
};
use ecm_pool::{Lane, Lent, Terms, Transacted};
use std::{
    any::Any,
    cell::Cell,
    future::{Future, poll_fn},
    panic::{self, AssertUnwindSafe, Location, resume_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// Not on the thread that polls, unless that takes no longer than a glance.
pub(crate) struct Away {
    /// How many steps a statement may take in a poll.
    steps: u64,
    /// How many threads a database has at most.
    threads: u32,
}

impl Away {
    pub(crate) fn by(config: &ManagerConfig) -> Self {
        Self { steps: config.inline_budget, threads: config.reader_threads }
    }
}

impl<'m, B: Backend<Connection: Transact>, J: Travel<B>> Place<'m, B, J> for Away {
    #[inline]
    fn read_now(
        &self,
        route: &mut Route<'m, B>,
        member: &'m Arc<Member<B>>,
        _: Loan,
        job: &mut J,
        now: Time,
    ) -> Option<Result<J::Output, Error>> {
        if self.steps == 0 {
            return None;
        }
        let statement = job.runs_in_place()?;
        let costs = &route.group.shared.costs;
        if !costs.is_short(statement) {
            return None;
        }
        let mut lent = member.readers.lend_now_from(Loan::InPlace, now, route.location)?;
        lent.limit(Limit::Steps(self.steps));
        let result = job.run(&mut lent);
        if lent.stopped() {
            costs.was_stopped(statement);
            return None;
        }
        route.in_place = Some(statement);
        Some(route.came_to(Ran::of(member, lent, result)))
    }

    #[inline]
    fn write_now(
        &self,
        _: &mut Route<'m, B>,
        _: Writer<'m, B>,
        _: Durability,
        _: &mut J,
        _: Time,
    ) -> Option<Result<J::Output, Error>> {
        None
    }

    fn read_away<'s>(
        &'s self,
        route: &'s mut Route<'m, B>,
        member: &'m Arc<Member<B>>,
        loan: Loan,
        job: &'s mut J,
        now: Time,
    ) -> Result<Going<'s, J::Output>, Stays<'s, 'm, B, J>> {
        Ok(Box::pin(async move {
            let statement = job.runs_in_place();
            let (parcel, errand) = (job.pack()?, Errand::of(route, member, now));
            let work =
                move |parcel: &mut J::Parcel, hand_off: &Answer<B, J, _>| errand.read::<J>(loan, parcel, hand_off);
            let (home, began) = self.send(route, member, now, job, parcel, work).await?;
            let ran = route.came_to(home)?;
            if let Some(statement) = statement {
                route.group.shared.costs.ran(statement, route.manager.clock.now().since(began));
            }
            job.bring(ran).map_err(|failure| route.failed(member, failure))
        }))
    }

    fn write_away<'s>(
        &'s self,
        route: &'s mut Route<'m, B>,
        (member, lane): Writer<'m, B>,
        durability: Durability,
        job: &'s mut J,
        now: Time,
    ) -> Result<Going<'s, J::Output>, Stays<'s, 'm, B, J>> {
        Ok(Box::pin(async move {
            let terms = route.terms(durability, job.shares(), now);
            let start = Arc::new(Start::new(&route.manager.clock));
            if let Some(sent) = job.send(lane, &terms, &start, Sending::ByLane) {
                let transacted = sent.await;
                route.progress.waited += start.at().unwrap_or_else(|| route.manager.clock.now()).since(now);
                return route.transacted(member, transacted?);
            }
            let (parcel, errand, lane) = (job.pack()?, Errand::of(route, member, now), Arc::clone(lane));
            let work = move |parcel: &mut J::Parcel, hand_off: &Answer<B, J, _>| {
                errand.write::<J>(&lane, &terms, parcel, hand_off)
            };
            let ((transacted, schema), _) = self.send(route, member, now, job, parcel, work).await?;
            route.forget_statements(schema);
            let brought = route.transacted(member, transacted?)?;
            job.bring(brought).map_err(|failure| route.failed(member, failure))
        }))
    }
}

/// What comes back from a thread.
struct Home<P, T> {
    parcel: Option<P>,
    /// What it has come to, when it began to run; or its panic.
    outcome: Result<(T, Time), Box<dyn Any + Send>>,
}

type Answer<B, J, T> = HandOff<Home<<J as Travel<B>>::Parcel, T>>;

impl Away {
    /// Has `work` done by a thread of the database, and waits for what it comes to.
    async fn send<'m, B, J, T>(
        &self,
        route: &mut Route<'m, B>,
        member: &'m Member<B>,
        now: Time,
        job: &mut J,
        mut parcel: J::Parcel,
        work: impl FnOnce(&mut J::Parcel, &Answer<B, J, T>) -> (T, Time) + Send + 'static,
    ) -> Result<(T, Time), Error>
    where
        B: Backend<Connection: Transact>,
        J: Travel<B>,
        T: Send + 'static,
    {
        let pool = &member.info.pool;
        let until = route.deadline.min(now + pool.connection_timeout);
        let hand_off: Arc<Answer<B, J, T>> = Arc::new(HandOff::new());
        let taken = Arc::clone(&hand_off);
        let task = move || {
            if !taken.take() {
                return;
            }
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| work(&mut parcel, &taken)));
            // A closure that has panicked is not run again, and what it wants done then is done here.
            let parcel = if outcome.is_ok() { Some(parcel) } else { None };
            taken.answer(Home { parcel, outcome });
        };
        let number = member.threads.run(Box::new(task), self.threads, pool.max_waiting);
        let number = number.map_err(|refused| self.refused(member, refused))?;
        let clock = &*route.manager.clock;
        let waiting = Waiting { hand_off: &hand_off, threads: &member.threads, number, clock, until, alarm: None };
        let Some(home) = waiting.await else {
            let waited = clock.now().since(now);
            return Err(Error::timeout(Stage::Wait, waited, self.state_of(member)).in_database(&member.info.name));
        };
        let (outcome, began) = home.outcome.unwrap_or_else(|panic| resume_unwind(panic));
        home.parcel.into_iter().for_each(|parcel| job.unpack(parcel));
        route.progress.waited += began.since(now);
        Ok((outcome, began))
    }

    fn refused<B: Backend<Connection: Transact>>(&self, member: &Member<B>, refused: Refused) -> Error {
        let state = self.state_of(member);
        let error = match refused {
            Refused::Full => {
                Error::new(Kind::QueueFull, format_args!("as many awaited calls wait for a thread as may: {state}"))
            }
            Refused::NoThread => {
                let message = "the system gives no thread for what cannot run where it is awaited: allow the process \
                               more threads";
                Error::new(Kind::Unavailable, message)
            }
        };
        error.in_database(&member.info.name)
    }

    fn state_of<B: Backend<Connection: Transact>>(&self, member: &Member<B>) -> String {
        let (waiting, threads) = member.threads.status();
        format!("all of the {} reader_threads of the database are busy ({threads} run), {waiting} wait", self.threads)
    }
}

/// What a thread has to know of a call.
struct Errand<B: Backend<Connection: Transact>> {
    member: Arc<Member<B>>,
    clock: Arc<dyn Clock>,
    from: &'static Location<'static>,
    asked: Time,
    deadline: Time,
}

impl<B: Backend<Connection: Transact>> Errand<B> {
    fn of(route: &Route<'_, B>, member: &Arc<Member<B>>, asked: Time) -> Self {
        let (member, clock) = (Arc::clone(member), Arc::clone(&route.manager.clock));
        Self { member, clock, from: route.location, asked, deadline: route.deadline }
    }

    fn read<J: Travel<B>>(
        &self,
        loan: Loan,
        parcel: &mut J::Parcel,
        hand_off: &Answer<B, J, Ran<J::Brought>>,
    ) -> (Ran<J::Brought>, Time) {
        let lent = self.lend(loan, |waker| hand_off.is_given_up(waker));
        let began = self.clock.now();
        let mut lent = match lent {
            Some(Ok(lent)) => lent,
            Some(Err(error)) => return (Ran::Failed(error), began),
            None => return (Ran::Stopped, began),
        };
        if self.deadline != Time::NEVER {
            lent.limit(Limit::Until(self.deadline));
        }
        let result = {
            let Some(_interruptible) = Interruptible::by(hand_off, lent.interrupter()) else {
                return (Ran::Stopped, began);
            };
            J::run_away(parcel, &mut lent)
        };
        (Ran::of(&self.member, lent, result), began)
    }

    /// A connection, unless nobody wants it any more.
    fn lend(&self, loan: Loan, is_given_up: impl Fn(&Waker) -> bool) -> Option<Result<Lent<'_, B>, Error>> {
        let readers = &self.member.readers;
        if let Some(lent) = readers.lend_now_from(loan, self.clock.now(), self.from) {
            return Some(Ok(lent));
        }
        let mut lending = pin!(readers.lend_from(loan, self.asked, self.deadline, self.from));
        block_on(poll_fn(|context| match lending.as_mut().poll(context) {
            Poll::Ready(lent) => Poll::Ready(Some(lent)),
            Poll::Pending if is_given_up(context.waker()) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }))
    }

    /// Runs a closure in a transaction of the lane's, and what it wants done afterwards.
    fn write<J: Travel<B>>(
        &self,
        lane: &Lane<B>,
        terms: &Terms,
        parcel: &mut J::Parcel,
        hand_off: &Answer<B, J, Written<J::Brought>>,
    ) -> (Written<J::Brought>, Time) {
        let (mut began, mut schema, has_run) = (None, false, Cell::new(false));
        let mut run = |connection: &mut B::Connection| {
            let Some(_interruptible) = Interruptible::by(hand_off, connection.interrupter()) else {
                return Err(Failure::msg("whoever has awaited this write has gone away"));
            };
            has_run.set(true);
            began.get_or_insert_with(|| self.clock.now());
            let ran = J::run_away(parcel, connection);
            schema |= connection.changes_schema();
            ran
        };
        let transacted = match lane.write_now(terms, &mut run) {
            Some(transacted) => Some(Ok(transacted)),
            None => {
                let mut writing = pin!(lane.write(terms, &mut run));
                block_on(poll_fn(|context| match writing.as_mut().poll(context) {
                    Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                    // Once it has run the transaction decides what becomes of it, whoever still asks.
                    Poll::Pending if !has_run.get() && hand_off.is_given_up(context.waker()) => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                }))
            }
        };
        let transacted = transacted.unwrap_or_else(|| Ok(Transacted::Stopped));
        let ended = match &transacted {
            Ok(Transacted::Committed(_, position)) => Ended::Committed(*position),
            Ok(Transacted::Unknown(_)) => Ended::Unknown,
            _ => Ended::RolledBack,
        };
        if let Some(panic) = J::ended_away(parcel, ended) {
            resume_unwind(panic);
        }
        ((transacted, schema), began.unwrap_or_else(|| self.clock.now()))
    }
}

/// How a write has ended, and whether it may have changed the schema.
type Written<T> = (Result<Transacted<T>, Error>, bool);

/// What runs may be interrupted until this is dropped.
struct Interruptible<'h, T>(&'h HandOff<T>);

impl<'h, T> Interruptible<'h, T> {
    /// `None` if nobody wants it any more.
    fn by(hand_off: &'h HandOff<T>, interrupt: Arc<dyn Interrupt>) -> Option<Self> {
        hand_off.may_interrupt(interrupt).then_some(Self(hand_off))
    }
}

impl<T> Drop for Interruptible<'_, T> {
    fn drop(&mut self) {
        self.0.must_not_interrupt();
    }
}

/// The wait for a thread. Dropped, it takes back what was asked for.
struct Waiting<'w, T> {
    hand_off: &'w HandOff<T>,
    threads: &'w ReaderThreads,
    number: u64,
    clock: &'w dyn Clock,
    /// Until when a thread has to take it.
    until: Time,
    /// With the waker that it rings.
    alarm: Option<(Waker, Alarm)>,
}

impl<T> Future for Waiting<'_, T> {
    /// `None` if no thread has taken it in time.
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        let waker = context.waker();
        if let Poll::Ready(answer) = this.hand_off.poll(waker) {
            return Poll::Ready(Some(answer));
        }
        if this.until == Time::NEVER {
            return Poll::Pending;
        }
        if this.clock.now() >= this.until {
            this.until = Time::NEVER;
            this.alarm = None;
            if this.hand_off.withdraw() {
                this.threads.forget(this.number);
                return Poll::Ready(None);
            }
        } else if this.alarm.as_ref().is_none_or(|(known, _)| !known.will_wake(waker)) {
            this.alarm = Some((waker.clone(), this.clock.wake_at(this.until, waker)));
        }
        Poll::Pending
    }
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        if self.hand_off.give_up() {
            self.threads.forget(self.number);
        }
    }
}
