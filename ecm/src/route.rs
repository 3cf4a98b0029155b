mod going_on;

use crate::{
    job::{Sending, Way, Work},
    manager::Shared,
    place::Place,
    ran::Ran,
    repeats::{RepeatTerms, Repeats},
    start::Start,
    topology::{Group, Member, Topology},
    unit_of_work::{hooks::Ended, under_way},
    watched_breaker::WatchedBreaker,
};
use ecm_core::{
    Admission, Backend, Balancer, CallKind, Connection, Context, Durability, Error, Executed, FaultKind, Intent, Kind,
    Limit, Load, Loan, Mask, Node, Position, Sample, Stage, Time, Transact,
};
use ecm_pool::{Lane, Lent, Pool, Terms, Transacted};
use std::{
    future::Future,
    panic::Location,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// The way of one call through the manager: the only copy of picking, breaking, failing over.
///
/// Its decisions, [`pick`](Route::pick) and [`settle`](Route::settle), are plain functions that
/// never wait. [`now`](Route::now) is the loop over them that serves what can be served at once;
/// [`later`](Route::later) is the same loop with a wait in it. Whatever waits is a future; a
/// blocking call is one that its own thread polls.
pub(crate) struct Route<'m, B: Backend<Connection: Transact>> {
    pub(crate) manager: &'m Shared<B>,
    topology: &'m Topology<B>,
    pub(crate) group: &'m Group<B>,
    /// The databases that this call may still try.
    fit: Mask,
    /// Those that it may try at all.
    asked: Mask,
    /// The one among them to try first, whatever the balancer says.
    first: Option<usize>,
    way: Way,
    kind: CallKind,
    /// Where the call was made: named by its pool when a loan lasts too long.
    pub(crate) location: &'static Location<'static>,
    began: Time,
    pub(crate) deadline: Time,
    /// Databases that have failed since the call was made, or repeated.
    tried: u32,
    repeats: Repeats<'m>,
    /// A database that was picked but not reached without waiting: its turn is not lost.
    picked: Option<Attempt<'m, B>>,
    /// The number of the statement that ran where it was polled, in the attempt that is not settled yet.
    pub(crate) in_place: Option<u32>,
    /// What the first database failed with: the reason to tell where every other fails as well.
    first_failure: Option<Error>,
    pub(crate) progress: Progress<'m>,
}

/// What is known about a call for its report.
#[derive(Debug, Default)]
pub(crate) struct Progress<'m> {
    pub(crate) database: Option<&'m str>,
    pub(crate) attempts: u32,
    pub(crate) waited: Duration,
    pub(crate) position: Option<Position>,
    /// Whether it cannot be known if what it wrote is there.
    in_doubt: bool,
    /// How old an answer from the cache was, and whether it was current.
    pub(crate) cached: Option<(Duration, bool)>,
    /// Whether it ran where it was polled.
    pub(crate) in_place: bool,
    /// When the last attempt ended: the clock is not read again for the report.
    pub(crate) ended: Option<Time>,
}

impl Progress<'_> {
    /// How a transaction of the call has ended.
    pub(crate) fn ending(&self) -> Ended {
        match self.position {
            Some(position) => Ended::Committed(position),
            None if self.in_doubt => Ended::Unknown,
            None => Ended::RolledBack,
        }
    }
}

/// One database that was picked and has admitted the call.
#[derive(Debug)]
pub(crate) struct Attempt<'m, B: Backend<Connection: Transact>> {
    index: usize,
    pub(crate) member: &'m Arc<Member<B>>,
    admission: Admission<'m>,
    pending: Pending<'m>,
    breaker: &'m WatchedBreaker,
    began: Time,
}

/// A call that counts as pending on a node until this is dropped; not where the group has no other one, and nobody
/// chooses: two atomic additions would be a twentieth of a short read.
#[derive(Debug)]
struct Pending<'m>(Option<&'m Load>);

impl<'m> Pending<'m> {
    fn among(nodes: &'m [Node], index: usize) -> Self {
        let load = (nodes.len() > 1).then(|| &*nodes[index].load);
        if let Some(load) = load {
            load.started();
        }
        Self(load)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(load) = self.0 {
            load.ended();
        }
    }
}

enum Verdict<T> {
    Done(Result<T, Error>),
    /// After what there is to be waited for.
    Again,
}

/// Why there is no next database.
pub(crate) enum Hindered {
    /// There is something to be waited for before.
    Waits,
    Fails(Error),
}

/// A breaker that refuses.
struct Refused<'m> {
    breaker: &'m WatchedBreaker,
    turn: u64,
    until: Time,
}

impl<'m, B: Backend<Connection: Transact>> Route<'m, B> {
    /// To the databases of a group that a call is for, which `found` says.
    // Inlined with its callers, so that it is made where it stays.
    #[inline(always)]
    pub(crate) fn new(
        manager: &'m Shared<B>,
        topology: &'m Topology<B>,
        found: (&'m Group<B>, Mask),
        way: Way,
        kind: CallKind,
        location: &'static Location<'static>,
        began: Time,
        deadline: Time,
        terms: RepeatTerms,
    ) -> Result<Self, Error> {
        let (group, asked) = found;
        let mut fit = fit_for(way, found);
        if group.is_unwell() {
            fit = going_on::undamaged(group, fit)?;
        }
        if fit.is_empty() {
            return Err(going_on::nothing_fit(group, asked, way));
        }
        if matches!(way, Way::Write(_)) {
            under_way::check(manager, &group.shared, kind)?;
        }
        let progress = Progress::default();
        Ok(Self {
            manager,
            topology,
            group,
            fit,
            asked: fit,
            first: None,
            way,
            kind,
            location,
            began,
            deadline,
            tried: 0,
            repeats: Repeats::on(terms),
            picked: None,
            in_place: None,
            first_failure: None,
            progress,
        })
    }

    /// The same, trying the primary first if it is fit: a copy may not have its newest tables yet.
    pub(crate) fn primary_first(mut self) -> Self {
        self.first = self.group.primary();
        self
    }

    pub(crate) fn group(&self) -> &'m Group<B> {
        self.group
    }

    /// The next database for this call, admitted by its breaker.
    // An attempt is moved otherwise, and so it is where it ends.
    #[inline(always)]
    pub(crate) fn pick(&mut self, now: Time, context: &Context) -> Result<Attempt<'m, B>, Hindered> {
        if let Some(attempt) = self.picked.take() {
            return Ok(attempt);
        }
        let mut refused: Option<Refused<'m>> = None;
        while let Some(index) = self.choose(context) {
            self.fit = self.fit.without(index);
            let member = &self.group.members[index];
            let breaker = member.breaker_for(self.way);
            // Before it is asked, so that no change afterwards is missed.
            let turn = breaker.waiting.turn();
            match breaker.ask(now) {
                Ok(admission) => {
                    self.breaker_moved(member, breaker);
                    let pending = Pending::among(&self.group.nodes, index);
                    return Ok(Attempt { index, member, admission, pending, breaker, began: now });
                }
                Err(refusal) => {
                    self.breaker_moved(member, breaker);
                    let until = refusal.until;
                    if refused.as_ref().is_none_or(|earlier| until < earlier.until) {
                        refused = Some(Refused { breaker, turn, until });
                    }
                }
            }
        }
        Err(self.none_admits(refused, now))
    }

    #[inline]
    fn choose(&self, context: &Context) -> Option<usize> {
        if self.fit.len() == 1 {
            return self.fit.lowest();
        }
        if self.fit.is_empty() {
            return None;
        }
        if self.first.is_some_and(|first| self.fit.contains(first)) {
            return self.first;
        }
        let intent = Intent::new(self.kind, context).attempt(self.tried);
        let nodes = &self.group.nodes;
        let balancer: &dyn Balancer =
            if self.topology.config.enable_load_balancing { &*self.group.shared.balancer } else { &ecm_core::FirstFit };
        let picked = if self.group.is_unwell() {
            balancer.choose(nodes, self.fit, self.group.ready(), &intent)
        } else {
            balancer.pick(nodes, self.fit, &intent)
        };
        picked.filter(|&index| self.fit.contains(index))
    }

    /// What the end of an attempt means, for its database and for the call.
    #[inline(always)]
    fn settle<T>(&mut self, attempt: Attempt<'m, B>, result: Result<T, Error>, repeats: bool) -> Verdict<T> {
        let now = self.manager.clock.now();
        self.tried += 1;
        self.progress.attempts += 1;
        self.progress.ended = Some(now);
        self.progress.database = Some(&attempt.member.info.name);
        if let Some(statement) = self.in_place.take() {
            self.progress.in_place = true;
            self.group.shared.costs.ran(statement, now.since(attempt.began));
        }
        match result {
            Ok(value) => {
                self.answered(attempt, false, now);
                Verdict::Done(Ok(value))
            }
            Err(error) => match self.settle_failed(attempt, error, repeats, now) {
                Some(error) => Verdict::Done(Err(error)),
                None => Verdict::Again,
            },
        }
    }

    /// The database of an attempt has answered, be it that it has failed.
    #[inline(always)]
    fn answered(&self, attempt: Attempt<'m, B>, failed: bool, now: Time) {
        let Attempt { index, member, admission, pending, breaker, began } = attempt;
        let probe = admission.permit().probe;
        drop(pending);
        if failed {
            admission.failed(now);
        } else {
            admission.succeeded(now);
        }
        member.answered(failed);
        if self.group.nodes.len() > 1 {
            let sample = Sample::new(now.since(began), failed).at(self.progress.position).ended(now);
            self.group.shared.balancer.settled(&self.group.nodes, index, &sample);
        }
        if probe {
            breaker.waiting.next_turn();
        }
        self.breaker_moved(member, breaker);
    }

    /// As [`settle`](Self::settle), of an error: what the call ends with, or nothing if another database is to be
    /// tried.
    #[cold]
    fn settle_failed(&mut self, attempt: Attempt<'m, B>, error: Error, repeats: bool, now: Time) -> Option<Error> {
        let (failed, reached) = match error.kind() {
            // An error that has a place already is that of another call, made inside the closure.
            _ if error.location().is_some() => (false, true),
            Kind::Fault(fault) => (fault.is_of_database(), true),
            Kind::Timeout(Stage::Open) => (true, true),
            Kind::Timeout(Stage::Wait) | Kind::QueueFull | Kind::Closed => (false, false),
            _ => (false, true),
        };
        let member = attempt.member;
        if reached {
            self.answered(attempt, failed, now);
        } else {
            let (breaker, probe) = (attempt.breaker, attempt.admission.permit().probe);
            drop(attempt);
            if probe {
                breaker.waiting.next_turn();
            }
            self.breaker_moved(member, breaker);
        }
        if failed && let Some(checker) = member.checker.get() {
            checker.hasten(error.fault().is_some_and(|fault| fault.kind == FaultKind::Corrupt));
        }
        if self.runs_again(member, &error, failed, repeats, now) {
            self.first_failure.get_or_insert_with(|| error.in_database(&member.info.name));
            return None;
        }
        // Every database failed: the first one's reason is the one to mend.
        let first = self.first_failure.take_if(|_| failed);
        Some(self.in_all(first.unwrap_or_else(|| error.in_database(&member.info.name))))
    }

    #[inline]
    fn breaker_moved(&self, member: &Member<B>, breaker: &WatchedBreaker) {
        breaker.tell(&member.info.name, &self.manager.observers);
    }

    /// Serves the job if that needs no waiting; `None` if it does, and then [`later`](Self::later) goes on from there.
    #[inline]
    pub(crate) fn now<J: Work<B>>(
        &mut self,
        job: &mut J,
        context: &Context,
        place: &impl Place<'m, B, J>,
    ) -> Option<Result<J::Output, Error>> {
        let mut now = self.began;
        loop {
            let attempt = match self.pick(now, context) {
                Ok(attempt) => attempt,
                Err(Hindered::Fails(error)) => return Some(Err(error)),
                Err(Hindered::Waits) => return None,
            };
            let member = attempt.member;
            let result = match (self.way, member.writer.get()) {
                (Way::Write(durability), Some(lane)) => place.write_now(self, (member, lane), durability, job, now),
                (Way::Write(_), None) => unreachable!("{HAS_WRITER}"),
                (Way::Read(loan), _) => place.read_now(self, member, loan, job, now),
            };
            let Some(result) = result else {
                self.picked = Some(attempt);
                return None;
            };
            match self.settle(attempt, result, job.repeats()) {
                Verdict::Done(result) => return Some(result),
                Verdict::Again if self.repeats.is_resting() => return None,
                Verdict::Again => now = self.manager.clock.now(),
            }
        }
    }

    /// Serves the job, waiting where it must.
    pub(crate) async fn later<J: Work<B>>(
        &mut self,
        job: &mut J,
        context: &Context,
        place: &impl Place<'m, B, J>,
    ) -> Result<J::Output, Error> {
        loop {
            let (attempt, now) = self.pick_later(context).await?;
            let member = attempt.member;
            let result = match (self.way, member.writer.get()) {
                (Way::Write(durability), Some(lane)) => {
                    match place.write_away(self, (member, lane), durability, job, now) {
                        Ok(going) => going.await,
                        Err((route, job)) => route.write(member, lane, durability, job, now).await,
                    }
                }
                (Way::Write(_), None) => unreachable!("{HAS_WRITER}"),
                (Way::Read(loan), _) => match place.read_away(self, member, loan, job, now) {
                    Ok(going) => going.await,
                    Err((route, job)) => {
                        let lent = route.lend(&member.readers, loan, now).await;
                        lent.and_then(|lent| route.read(member, lent, job))
                    }
                },
            };
            match self.settle(attempt, result, job.repeats()) {
                Verdict::Done(result) => return result,
                Verdict::Again => {}
            }
        }
    }

    /// As [`pick`](Self::pick), waiting where it must; with the moment of the pick.
    async fn pick_later(&mut self, context: &Context) -> Result<(Attempt<'m, B>, Time), Error> {
        loop {
            if self.repeats.rest(&*self.manager.clock).await {
                self.manager.check_open().map_err(|error| self.in_all(error))?;
            }
            let now = self.manager.clock.now();
            match self.pick(now, context) {
                Ok(attempt) => {
                    self.repeats.admitted();
                    return Ok((attempt, now));
                }
                Err(Hindered::Fails(error)) => return Err(error),
                Err(Hindered::Waits) => {}
            }
        }
    }

    /// Writes alone, on this thread, if nobody else does.
    #[inline]
    pub(crate) fn write_now<J: Work<B>>(
        &mut self,
        member: &'m Member<B>,
        lane: &'m Lane<B>,
        durability: Durability,
        job: &mut J,
        now: Time,
    ) -> Option<Result<J::Output, Error>> {
        let terms = self.terms(durability, job.shares(), now);
        let mut schema = false;
        let transacted = lane.write_now(&terms, |connection| {
            let ran = job.run(connection);
            schema = connection.changes_schema();
            ran
        });
        self.forget_statements(schema);
        transacted.map(|transacted| self.transacted(member, transacted))
    }

    /// A connection of the picked database, for a borrower who gets it whole.
    pub(crate) async fn borrow(&mut self, context: &Context) -> Result<(Attempt<'m, B>, Lent<'m, B>), Error> {
        let (attempt, now) = self.pick_later(context).await?;
        let pool = attempt.member.writer.get().map(|lane| lane.pool()).expect(HAS_WRITER);
        match self.lend(pool, Loan::Raw, now).await {
            Ok(lent) => {
                self.progress.attempts = 1;
                self.progress.database = Some(&attempt.member.info.name);
                Ok((attempt, lent))
            }
            Err(error) => match self.settle(attempt, Err(error), false) {
                Verdict::Done(result) => result,
                Verdict::Again => unreachable!("a loan is not repeated"),
            },
        }
    }

    fn lend<'s>(
        &'s mut self,
        pool: &'m Pool<B>,
        loan: Loan,
        now: Time,
    ) -> impl Future<Output = Result<Lent<'m, B>, Error>> + use<'s, 'm, B> {
        let lending = pool.lend_from(loan, now, self.deadline, self.location);
        async move {
            let lent = lending.await;
            self.progress.waited += self.manager.clock.now().since(now);
            lent
        }
    }

    pub(crate) fn terms(&self, durability: Durability, shares: bool, asked: Time) -> Terms {
        Terms { durability, shares, asked, deadline: self.deadline, from: self.location }
    }

    /// Writes, alone or together with others who wait.
    async fn write<J: Work<B>>(
        &mut self,
        member: &'m Member<B>,
        lane: &'m Arc<Lane<B>>,
        durability: Durability,
        job: &mut J,
        now: Time,
    ) -> Result<J::Output, Error> {
        let terms = self.terms(durability, job.shares(), now);
        let start = Arc::new(Start::new(&self.manager.clock));
        let mut schema = false;
        let transacted = match job.send(lane, &terms, &start, Sending::ByCaller) {
            Some(sent) => sent.await,
            None => {
                let run = |connection: &mut B::Connection| {
                    start.runs();
                    let ran = job.run(connection);
                    schema |= connection.changes_schema();
                    ran
                };
                lane.write(&terms, run).await
            }
        };
        self.forget_statements(schema);
        let ran_at = start.at().unwrap_or_else(|| self.manager.clock.now());
        self.progress.waited += ran_at.since(now);
        self.transacted(member, transacted?)
    }

    /// What is known of statements does not hold any more after a change of the schema, be it undone.
    pub(crate) fn forget_statements(&self, schema: bool) {
        if schema {
            self.group.shared.statements.clear();
        }
    }

    pub(crate) fn transacted<T>(&mut self, member: &Member<B>, transacted: Transacted<T>) -> Result<T, Error> {
        match transacted {
            Transacted::Committed(..) if member.lost.load(Ordering::SeqCst) => {
                self.progress.in_doubt = true;
                let message = "another database was promoted while this was committed, and may not have it";
                Err(Error::new(Kind::Unavailable, message).with_executed(Executed::Unknown))
            }
            Transacted::Committed(value, position) => {
                self.progress.position = Some(position);
                Ok(value)
            }
            Transacted::NotBegun(failure) | Transacted::Undone(failure) => Err(self.failed(member, failure)),
            Transacted::Unknown(failure) => {
                self.progress.in_doubt = true;
                Err(self.failed(member, failure).with_executed(Executed::Unknown))
            }
            Transacted::Stopped => Err(self.stopped("the transaction was stopped and rolled back")),
        }
    }

    #[inline]
    pub(crate) fn read<J: Work<B>>(
        &self,
        member: &Member<B>,
        mut lent: Lent<'m, B>,
        job: &mut J,
    ) -> Result<J::Output, Error> {
        if self.deadline != Time::NEVER {
            lent.limit(Limit::Until(self.deadline));
        }
        let result = job.run(&mut lent);
        self.came_to(Ran::of(member, lent, result))
    }

    /// What a read has come to, for the call.
    #[inline]
    pub(crate) fn came_to<T>(&self, ran: Ran<T>) -> Result<T, Error> {
        match ran {
            Ran::Answered(value) => Ok(value),
            Ran::Failed(error) => Err(self.unless_closed(error)),
            Ran::Stopped => Err(self.stopped("it was stopped")),
        }
    }

    pub(crate) fn failed(&self, member: &Member<B>, failure: ecm_core::Failure) -> Error {
        self.unless_closed(Error::from_failure(failure, &*member.backend))
    }

    fn unless_closed(&self, error: Error) -> Error {
        match error.fault() {
            // An interrupt while the manager closes is its own doing.
            Some(fault) if fault.kind == FaultKind::Interrupted && !self.manager.is_open() => {
                Error::new(Kind::Closed, "the manager is closed, which has stopped this call")
                    .with_executed(error.executed())
            }
            _ => error,
        }
    }

    fn stopped(&self, what: &str) -> Error {
        Error::timeout(Stage::Run, self.manager.clock.now().since(self.began), what)
    }
}

/// The databases of a group that may serve a call, of those that it is for.
#[inline]
fn fit_for<B: Backend<Connection: Transact>>(way: Way, (group, asked): (&Group<B>, Mask)) -> Mask {
    match way {
        Way::Read(_) if group.follows => asked.and(group.readable()),
        Way::Read(_) => asked,
        Way::Write(_) => asked.and(group.primary().map_or(Mask::NONE, |primary| Mask::NONE.with(primary))),
    }
}

impl<B: Backend<Connection: Transact>> Attempt<'_, B> {
    /// Ends the attempt of a borrower: the database has answered.
    pub(crate) fn ended(self, now: Time) {
        self.member.answered(false);
        self.admission.succeeded(now);
    }
}

const HAS_WRITER: &str = "only a database that has a writer is fit for a write";
