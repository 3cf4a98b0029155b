use crate::{
    CommitEnd, CommitWatch, Lent, Owned, Pool, PoolConfig, PoolParts, Terms, asking,
    batch::{Holder, SPAN, Stand},
    commit_watch::Committing,
    errand::Desk,
    line::{Claim, Joined, Line, Looks},
    posting::Clerk,
    seat::{End, News, Seat, Turn, Waiting},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
        lock,
    },
};
use ecm_core::{
    Access, Alarm, Backend, Commit, Connection, Durability, Error, Failure, Fault, Loan, PoolStatus, Position, Time,
    Transact, Written,
};
use std::{
    fmt,
    future::poll_fn,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    task::Poll,
    time::Duration,
};

/// The one writer of a database, those who wait for it, and what is known of its commits.
///
/// A [`Pool`] of exactly one connection, opened for writing, behind a queue of its own. Where nobody
/// waits, a write runs alone: begin, run, commit. Where several wait they share a transaction, each
/// between marks of its own, and one commit, after which all of them are told. Each runs in the order
/// of its arrival; one that fails, is stopped or panics is undone alone.
///
/// Waking a thread takes longer than a short write. So while turns are short, commit included, and the head
/// of the queue is a closure, one who runs already may write again before it, for 0.3 ms at most; then
/// the head has its turn, alone. Meanwhile it is awake and looks for the turn again and again, which takes
/// processor time of nobody but an idle core. Jobs that others can run are not overtaken: they share.
///
/// A closure given to [`write`](Lane::write) runs on the thread that polls its future: the writer
/// travels from one to the next inside the open transaction. A job given to [`send`](Lane::send) owns
/// what it needs, and is run by whoever has the writer, one batch at a time.
///
/// Where the database rolls back more than the one that failed, the others run again and do not
/// notice. A commit of unknown outcome is told to each of its members, and nothing is repeated.
pub struct Lane<B: Backend>
where
    B::Connection: Transact,
{
    pub(crate) pool: Arc<Pool<B>>,
    pub(crate) line: Line<B>,
    watch: Option<Arc<dyn CommitWatch>>,
    position: Mutex<Position>,
    upkeep: Mutex<Time>,
    /// Whether the last turn that others waited for was a long one.
    after_long: AtomicBool,
    /// Who uses the turns of what was posted.
    pub(crate) clerk: Mutex<Clerk<B>>,
}

/// How long a turn takes at most, to the end of its commit, after which somebody may go before those
/// who wait: about as long as waking them. Where commits take longer, sharing them gains more.
const SHORT: Duration = Duration::from_micros(25);

/// How many turns of a waiting loop are between two looks for the turn: some microseconds. One who writes
/// again at once is back by then.
const PAUSE: u32 = 400;

/// What became of a transaction in a [`Lane`].
#[derive(Debug)]
#[must_use = "only one of these means that the transaction is committed"]
pub enum Transacted<T> {
    /// It is committed, at this position; with what the closure returned.
    Committed(T, Position),
    /// It could not begin, and nothing was run.
    NotBegun(Failure),
    /// Nothing of it is there: the closure failed, or the commit did.
    Undone(Failure),
    /// A limit has stopped it, whatever the closure returned. Nothing of it is there.
    Stopped,
    /// It cannot be known whether it is there. Never to be run again unasked.
    Unknown(Failure),
}

impl<B: Backend> Lane<B>
where
    B::Connection: Transact,
{
    /// A lane without a writer yet: the first caller opens it.
    ///
    /// `max_connections` of the configuration is taken as 1, now and after every
    /// [`reconfigure`](Pool::reconfigure), and the access of the parts as [`Access::Write`].
    ///
    /// # Panics
    /// If [`PoolConfig::check`] refuses `config`.
    #[must_use]
    pub fn new(backend: Arc<B>, config: PoolConfig, parts: PoolParts) -> Self {
        let parts = PoolParts { access: Access::Write, ..parts };
        Self {
            pool: Arc::new(Pool::capped(backend, config, 1, parts)),
            line: Line::new(),
            watch: None,
            position: Mutex::new(Position::default()),
            upkeep: Mutex::new(Time::START),
            after_long: AtomicBool::new(false),
            clerk: Mutex::default(),
        }
    }

    /// Has every commit told to `watch`, before those whose writes are in it.
    #[must_use]
    pub fn watched_by(self, watch: Arc<dyn CommitWatch>) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// The pool that lends the writer.
    #[must_use]
    pub fn pool(&self) -> &Pool<B> {
        &self.pool
    }

    /// The greatest position that a commit of this lane has reached; the default before the first.
    #[must_use]
    pub fn position(&self) -> Position {
        *lock(&self.position)
    }

    /// Runs one transaction on the lent writer, then gives the writer back.
    ///
    /// `run` sees a transaction that has begun; what it returns decides between commit and roll
    /// back, unless a limit has stopped it. A panic of `run` goes on after the writer was given back,
    /// which undoes the transaction. After an unknown outcome, after a roll back that failed, and after
    /// a fault of the database the writer is closed.
    ///
    /// [`Backend::upkeep`] runs before this returns when it is due: after the first transaction,
    /// then as its answer says. If it panics, the writer is closed and the outcome stands.
    pub fn transact<T>(
        &self,
        mut writer: Lent<'_, B>,
        durability: Durability,
        run: impl FnOnce(&mut B::Connection) -> Result<T, Failure>,
    ) -> Transacted<T> {
        if let Err(failure) = writer.begin(durability) {
            if self.tells_of_damage(&failure) {
                writer.discard();
            }
            return Transacted::NotBegun(failure);
        }
        let ran = run(&mut writer);
        let (outcome, fit) = if writer.stopped() {
            (Transacted::Stopped, writer.roll_back().is_ok())
        } else {
            match ran {
                Err(failure) => {
                    let fit = writer.roll_back().is_ok() && !self.tells_of_damage(&failure);
                    (Transacted::Undone(failure), fit)
                }
                Ok(value) => match self.commit(&mut writer) {
                    Commit::Done(position) => (Transacted::Committed(value, position), true),
                    Commit::RolledBack(failure) => {
                        let fit = !self.tells_of_damage(&failure);
                        (Transacted::Undone(failure), fit)
                    }
                    Commit::Unknown(failure) => (Transacted::Unknown(failure), false),
                },
            }
        };
        if !(fit && self.keep_up(&mut writer)) {
            writer.discard();
        }
        outcome
    }

    /// The pool of the writer at this moment, with those who wait here.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        let mut status = self.pool.status();
        let (waiting, waits) = self.line.waiting();
        status.waiting = status.waiting.saturating_add(waiting);
        status.waits += waits;
        status
    }

    /// Ends all lending: whoever waits or asks from now on gets `Kind::Closed`; see [`Pool::close`].
    pub fn close(&self) {
        self.pool.close();
        self.line.close();
    }

    /// Runs a write alone, if nobody waits and the writer is idle. Otherwise nothing has happened.
    ///
    /// `run` runs at most once.
    pub fn write_now<T>(
        &self,
        terms: &Terms,
        run: impl FnOnce(&mut B::Connection) -> Result<T, Failure>,
    ) -> Option<Transacted<T>> {
        if !self.line.take_turn(terms.asked) {
            return None;
        }
        let _turn = Passing { lane: self, since: Some(terms.asked) };
        let writer = self.pool.lend_now_from(Loan::Write, terms.asked, terms.from)?;
        Some(self.alone(writer, terms, run))
    }

    /// Runs a write as soon as it has its turn, alone or in a transaction that others share.
    ///
    /// `run` runs inside a poll of this future, again if a transaction is lost with it that others
    /// have shared; at most once if the terms say that it does not share. A panic of it goes on
    /// from here. The future has to be polled soon when it was woken, since it may have the writer.
    /// Dropped before `run` has run it leaves the queue; dropped later it takes nothing back.
    ///
    /// # Errors
    /// As [`Pool::lend`], where the write had no turn.
    pub async fn write<T>(
        &self,
        terms: &Terms,
        mut run: impl FnMut(&mut B::Connection) -> Result<T, Failure>,
    ) -> Result<Transacted<T>, Error> {
        self.take_part(Waiting::new(terms, None), None, &mut run).await
    }

    /// As [`write`](Self::write), for a job that whoever has the writer may run, on any thread.
    ///
    /// The job is dropped before its end is told.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn send<T, J>(&self, terms: &Terms, job: J) -> Result<Transacted<T>, Error>
    where
        T: Send + 'static,
        J: FnMut(&mut B::Connection) -> Result<T, Failure> + Send + 'static,
    {
        let desk = Arc::new(Desk::new(job));
        let errand: Arc<dyn crate::errand::Errand<B::Connection>> = Arc::<Desk<J, T>>::clone(&desk);
        let mut own = |connection: &mut B::Connection| errand.run(connection);
        let me = Waiting::new(terms, Some(Arc::clone(&errand)));
        let ended = self.take_part(me, Some(()), &mut own).await;
        let answer = desk.clear();
        Ok(match ended? {
            Transacted::Committed((), position) => {
                Transacted::Committed(answer.expect("what was committed has answered"), position)
            }
            Transacted::NotBegun(failure) => Transacted::NotBegun(failure),
            Transacted::Undone(failure) => Transacted::Undone(failure),
            Transacted::Stopped => Transacted::Stopped,
            Transacted::Unknown(failure) => Transacted::Unknown(failure),
        })
    }

    /// Until when a write waits for its turn.
    pub(crate) fn patience(&self, terms: &Terms) -> Time {
        let most = self.pool.shared().locked(|state, _| state.config().connection_timeout);
        terms.deadline.min(terms.asked + most)
    }

    pub(crate) fn most_waiting(&self) -> u32 {
        self.pool.shared().locked(|state, _| state.config().max_waiting)
    }

    /// Queues, runs or waits for others to run, until the write has ended.
    async fn take_part<T>(
        &self,
        me: Waiting<B>,
        mut answer: Option<T>,
        run: &mut impl FnMut(&mut B::Connection) -> Result<T, Failure>,
    ) -> Result<Transacted<T>, Error> {
        let (seat, terms) = (Arc::clone(&me.seat), me.terms);
        let (until, most) = (self.patience(&terms), self.most_waiting());
        let mut news = match self.line.join(me, most) {
            Joined::Turn(me) => News::Turn(Box::new(Turn { me, batch: None, quick: false })),
            Joined::Queued => self.hear(&seat, &terms, until, true).await?,
            Joined::Full => return Err(asking::queue_full(&self.pool, &self.shortage(false))),
            Joined::Closed => return Err(self.pool.shared().closed()),
        };
        loop {
            let stand = match news {
                News::Ended(end) => Stand::Ended(end),
                News::Turn(turn) => match self.hold(*turn, until, run).await? {
                    Held::Alone(outcome) => return Ok(outcome),
                    Held::Shared(stand) => stand,
                },
            };
            match stand {
                Stand::Ended(End::Closed) => return Err(self.pool.shared().closed()),
                Stand::Ended(end) => return Ok(end.with(answer)),
                Stand::Part(Some(given)) => answer = Some(given),
                Stand::Part(None) | Stand::Again => {}
            }
            news = self.hear(&seat, &terms, until, true).await?;
        }
    }

    /// Waits for what is told to a seat; `claims` where it takes its turn itself when that was laid down.
    pub(crate) async fn hear(
        &self,
        seat: &Arc<Seat<B>>,
        terms: &Terms,
        until: Time,
        claims: bool,
    ) -> Result<News<B>, Error> {
        let mut listener = Listener { lane: self, seat, heard: false };
        let mut alarm = Alarm::none();
        let mut looks = Looks::default();
        let clock = &self.pool.shared().clock;
        poll_fn(|context| {
            if let Some(news) = seat.listen(context.waker()) {
                listener.heard = true;
                return Poll::Ready(Ok(news));
            }
            // After the waker is known, so that no call is missed.
            let claim = if claims { self.line.claim(seat, &mut looks) } else { Claim::Sleep };
            match claim {
                Claim::Turn(me) => {
                    listener.heard = true;
                    return Poll::Ready(Ok(News::Turn(Box::new(Turn { me, batch: None, quick: true }))));
                }
                Claim::LookAgain if clock.now() < until => {
                    pause();
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Claim::LookAgain | Claim::Sleep => {}
            }
            if clock.now() < until {
                alarm = clock.wake_at(until, context.waker());
            } else if self.line.leave(seat) {
                return Poll::Ready(Err(asking::too_late(&self.pool, terms.asked, &self.shortage(true))));
            }
            Poll::Pending
        })
        .await
    }

    /// Uses a turn: alone, or in a transaction that others share.
    pub(crate) async fn hold<T>(
        &self,
        Turn { me, batch, quick }: Turn<B>,
        until: Time,
        run: &mut impl FnMut(&mut B::Connection) -> Result<T, Failure>,
    ) -> Result<Held<T>, Error> {
        if let Some(batch) = batch {
            return Ok(Held::Shared(Holder::of(self, batch).run_own(me, run)));
        }
        let mut turn = Passing { lane: self, since: None };
        let mut writer = self.pool.lend_from(Loan::Write, self.now(), until, me.terms.from).await?;
        let (now, durability) = (self.now(), me.terms.durability);
        turn.since = Some(now);
        let shares = |waiting: &Waiting<B>| waiting.shares(durability, now, SPAN);
        let alone = quick && me.errand.is_none();
        if alone || !(shares(&me) && self.line.is_headed_by(shares)) {
            return Ok(Held::Alone(self.alone(writer, &me.terms, run)));
        }
        writer.limit(me.terms.limit());
        if let Err(failure) = writer.begin(durability) {
            if self.tells_of_damage(&failure) {
                writer.discard();
            }
            return Ok(Held::Alone(Transacted::NotBegun(failure)));
        }
        let holder = Holder::new(self, writer.owned_by(Arc::clone(&self.pool)), durability, now);
        turn.keep();
        Ok(Held::Shared(holder.run_own(me, run)))
    }

    fn alone<T>(
        &self,
        mut writer: Lent<'_, B>,
        terms: &Terms,
        run: impl FnOnce(&mut B::Connection) -> Result<T, Failure>,
    ) -> Transacted<T> {
        writer.limit(terms.limit());
        self.transact(writer, terms.durability, run)
    }

    /// Why a wait here was in vain; `late` if it was a wait at all.
    pub(crate) fn shortage(&self, late: bool) -> Box<crate::caller::Shortage> {
        let mut shortage = self.pool.shared().locked(|state, _| state.shortage_of(late));
        shortage.status.waiting = shortage.status.waiting.saturating_add(self.line.waiting().0);
        shortage
    }

    pub(crate) fn now(&self) -> Time {
        self.pool.shared().clock.now()
    }

    /// Ends a turn in which the writer was used since then, if that is known. Unless it is the second long
    /// one in a row somebody may go before the head of the queue.
    pub(crate) fn end_turn(&self, since: Option<Time>) {
        if self.line.rest() {
            return;
        }
        let now = self.now();
        let short = since.is_some_and(|since| now.since(since) < SHORT);
        // One long turn among short ones says nothing: a thread that was set aside for a moment.
        let after_long = self.after_long.swap(!short, Ordering::Relaxed);
        if since.is_some() && (short || !after_long) { self.line.lay_down(now) } else { self.line.pass() }
    }

    pub(crate) fn line(&self) -> &Line<B> {
        &self.line
    }

    /// Gives the writer back after a transaction that was shared.
    pub(crate) fn give_back(&self, mut writer: Owned<B>, fit: bool) {
        if !(fit && self.keep_up(&mut writer)) {
            writer.discard();
        }
    }

    /// Whether the database itself has failed: what the writer has read into its caches may be damaged,
    /// and outlive the damage.
    pub(crate) fn tells_of_damage(&self, failure: &Failure) -> bool {
        let chain = std::iter::successors(Some(failure.as_error()), |error| error.source());
        let mut faults = chain.filter_map(|error| self.pool.shared().backend.classify(error));
        faults.next().is_some_and(Fault::is_of_database)
    }

    /// Commits, and has it told to whoever watches.
    pub(crate) fn commit(&self, writer: &mut B::Connection) -> Commit {
        let committing = self.watch.as_ref().map(|watch| Committing::begin(&**watch, writer.writing()));
        let commit = writer.commit();
        if let Commit::Done(position) = commit {
            let mut greatest = lock(&self.position);
            *greatest = position.max(*greatest);
        }
        if let Some(committing) = committing {
            match &commit {
                Commit::Done(_) => {
                    let written = writer.written();
                    let own = if written == Written::Everything { writer.written_from() } else { None };
                    committing.end(CommitEnd::Committed(&written, writer.stamp(), own.as_ref()));
                }
                Commit::RolledBack(_) => committing.end(CommitEnd::RolledBack),
                Commit::Unknown(_) => committing.end(CommitEnd::Unknown),
            }
        }
        commit
    }

    /// Does the upkeep if it is due; answers whether the writer is still fit.
    fn keep_up(&self, writer: &mut B::Connection) -> bool {
        let due = *lock(&self.upkeep);
        if due == Time::NEVER {
            return true;
        }
        let shared = self.pool.shared();
        let now = shared.clock.now();
        if now < due {
            return true;
        }
        // Caught, because a commit that was done must be acknowledged.
        let next = panic::catch_unwind(AssertUnwindSafe(|| shared.backend.upkeep(writer, now)));
        if let Ok(next) = next {
            *lock(&self.upkeep) = next.unwrap_or(Time::NEVER);
        }
        next.is_ok()
    }
}

impl<B: Backend> fmt::Debug for Lane<B>
where
    B::Connection: Transact,
{
    /// By hand: deriving would ask for more than `B: Backend`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("pool", &self.pool).field("position", &self.position()).finish_non_exhaustive()
    }
}

/// Lets some time pass between two looks, about as much as a short write takes.
fn pause() {
    for _ in 0..PAUSE {
        std::hint::spin_loop();
    }
}

/// What has become of a turn.
pub(crate) enum Held<T> {
    Alone(Transacted<T>),
    Shared(Stand<T>),
}

/// Passes the turn on when it is dropped.
struct Passing<'l, B: Backend<Connection: Transact>> {
    lane: &'l Lane<B>,
    /// Since when the writer is used; `None` where that is not known.
    since: Option<Time>,
}

impl<B: Backend<Connection: Transact>> Passing<'_, B> {
    /// Somebody else passes it on.
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl<B: Backend<Connection: Transact>> Drop for Passing<'_, B> {
    fn drop(&mut self) {
        self.lane.end_turn(self.since);
    }
}

/// A caller who listens. Gone before it has heard anything, it leaves the queue, and what it was told
/// goes on without it.
struct Listener<'s, B: Backend<Connection: Transact>> {
    lane: &'s Lane<B>,
    seat: &'s Arc<Seat<B>>,
    heard: bool,
}

impl<B: Backend<Connection: Transact>> Drop for Listener<'_, B> {
    fn drop(&mut self) {
        if self.heard {
            return;
        }
        let unheard = self.seat.abandon();
        self.lane.line.leave(self.seat);
        if let Some(News::Turn(turn)) = unheard {
            match turn.batch {
                Some(batch) => Holder::of(self.lane, batch).proceed(),
                None => self.lane.line.pass(),
            }
        }
    }
}

impl End {
    pub(crate) fn with<T>(self, answer: Option<T>) -> Transacted<T> {
        match self {
            Self::Committed(position) => {
                Transacted::Committed(answer.expect("what was committed has answered"), position)
            }
            Self::Undone(failure) => Transacted::Undone(failure),
            Self::Stopped => Transacted::Stopped,
            Self::Unknown(failure) => Transacted::Unknown(failure),
            Self::Panicked(panic) => panic::resume_unwind(panic),
            Self::NotBegun(failure) => Transacted::NotBegun(failure),
            Self::Unlent(error) => Transacted::NotBegun(error.into()),
            Self::Closed => Transacted::NotBegun(Failure::msg("the writer is closed")),
        }
    }
}
