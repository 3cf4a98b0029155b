use crate::{
    CacheMode, Parameter,
    batch::Batch,
    floor::Floor,
    job::{Analyse, Job, Way, Write, WriteOnce},
    known_statement::KnownStatement,
    manager::Shared,
    place::{Here, Place},
    repeats::RepeatTerms,
    route::{Progress, Route},
    shelf::Shelf,
    statement::{All, Execute, One, Optional, Query},
    threads::block_on,
    topology::{Group, Target, Topology},
    unit_of_work::under_way,
};
use ecm_core::{
    Backend, CallKind, CallReport, Context, Durability, Error, Event, Executed, Interest, Kind, Loan, Mask, Observer,
    Time, Transact,
};
use serde::de::DeserializeOwned;
use std::{
    panic::{Location, resume_unwind},
    sync::Arc,
    time::Duration,
};

/// A call as a value: what is asked for, how long it may take, what travels with it.
///
/// It does nothing until [`wait`](Call::wait), or until it is awaited: see [`Awaited`](crate::Awaited).
///
/// ```
/// # #[cfg(feature = "standard")] {
/// use ecm::ConnectionManager;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = ConnectionManager::open(":memory:")?;
/// let answer: i64 = manager.query("SELECT ?1 * ?2").bind(6).bind(7).within(Duration::from_secs(1)).one().wait()?;
/// assert_eq!(answer, 42);
/// # Ok(()) }
/// # main().unwrap();
/// # }
/// ```
#[must_use = "a call does nothing until `.wait()` or `.await`"]
#[derive(Debug)]
pub struct Call<'m, B: Backend<Connection: Transact>, J> {
    pub(crate) manager: &'m Shared<B>,
    pub(crate) target: Target<'m>,
    pub(crate) job: J,
    within: Option<Duration>,
    pub(crate) floor: Floor<'m>,
    pub(crate) idempotent: bool,
    pub(crate) context: Context,
    pub(crate) location: &'static Location<'static>,
}

impl<'m, B: Backend<Connection: Transact>, J> Call<'m, B, J> {
    // A call is some 170 bytes, and each step that makes one moves it, unless it is inlined: 25 ns of a hit in the cache.
    #[inline(always)]
    pub(crate) fn new(
        manager: &'m Shared<B>,
        target: Target<'m>,
        job: J,
        location: &'static Location<'static>,
    ) -> Self {
        let (floor, context) = (Floor::default(), Context::NONE);
        Self { manager, target, job, within: None, floor, idempotent: false, context, location }
    }

    /// How long the call may take in all: waiting for a connection, running, trying elsewhere. What
    /// runs is stopped when the time is over, and then the call fails, whatever a closure made of
    /// it. *Default:* waiting is bounded by the pool's `connection_timeout`, running is not.
    pub fn within(mut self, time: Duration) -> Self {
        self.within = Some(time);
        self
    }

    /// Sends something along, unread, for balancers and observers.
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    #[inline(always)]
    fn with_job<K>(self, change: impl FnOnce(J) -> K) -> Call<'m, B, K> {
        let Self { manager, target, job, within, floor, idempotent, context, location } = self;
        Call { manager, target, job: change(job), within, floor, idempotent, context, location }
    }

    pub(crate) fn deadline(&self, began: Time) -> Time {
        self.within.map_or(Time::NEVER, |time| began + time)
    }

    /// Ends the call: completes the error, tells the observers.
    #[inline]
    pub(crate) fn report<T>(
        &self,
        topology: &'m Topology<B>,
        began: Time,
        kind: CallKind,
        sql: Option<&str>,
        progress: &Progress<'m>,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        let result = result.map_err(|error| {
            let error = error.called_at(self.location);
            match sql {
                Some(sql) => error.with_sql(sql),
                None => error,
            }
        });
        let observers = &self.manager.observers;
        let counts = cfg!(feature = "metrics") && topology.config.enable_metrics;
        if counts || observers.wants(Interest::CALLS) {
            let group = topology.resolve(self.target).map_or("", |(group, _)| &group.shared.name);
            let mut report = CallReport::new(kind, group, self.location, &self.context);
            report.database = progress.database;
            report.sql = sql;
            // How long an answer from the cache takes, far less than a microsecond, is only looked at for who asks.
            let at_once = progress.cached.is_some() && !observers.wants(Interest::CALLS);
            let ended = progress.ended.or_else(|| at_once.then_some(began));
            report.took = ended.unwrap_or_else(|| self.manager.clock.now()).since(began);
            report.waited = progress.waited;
            report.attempts = progress.attempts;
            report.cached = progress.cached.is_some();
            report.in_place = progress.in_place;
            report.stale = progress.cached.is_some_and(|(_, current)| !current);
            report.slow = report.took >= topology.config.slow_query_threshold;
            report.error = result.as_ref().err();
            report.position = progress.position;
            let event = Event::Call(&report);
            #[cfg(feature = "metrics")]
            if counts {
                self.manager.metrics.event(&event);
            }
            if !observers.is_empty() {
                observers.event(&event);
            }
        }
        result
    }
}

/// What a call goes by from its beginning on.
#[derive(Debug)]
pub(crate) struct Outset<'m, B: Backend<Connection: Transact>> {
    pub(crate) topology: &'m Topology<B>,
    pub(crate) found: (&'m Group<B>, Mask),
    pub(crate) began: Time,
    pub(crate) deadline: Time,
    /// How often what is known of statements had been cleared before any was looked up.
    pub(crate) clears: u64,
}

/// How far a call has come without any wait.
pub(crate) enum Course<'m, B: Backend<Connection: Transact>, T> {
    Ended(Result<T, Error>),
    /// One of its statements is not known yet.
    Unknown(Outset<'m, B>),
    /// Its answer is not in the cache.
    Missed(Outset<'m, B>, Shelf<'m>, CacheMode),
    /// A connection has to be waited for.
    Waits(Outset<'m, B>, Box<Route<'m, B>>),
}

impl<'m, B: Backend<Connection: Transact>, J: Job<B>> Call<'m, B, J> {
    /// Runs the call on this thread, to its end.
    ///
    /// # Errors
    /// See [`Kind`](ecm_core::Kind): each says what to do next. The error names the database, the SQL and the place
    /// of the call, and whether anything was executed.
    pub fn wait(self) -> Result<J::Output, Error> {
        self.wait_with_progress().0
    }

    /// As [`wait`](Self::wait), and how it went.
    #[inline]
    pub(crate) fn wait_with_progress(mut self) -> (Result<J::Output, Error>, Progress<'m>) {
        let began = self.manager.clock.now();
        let mut topology = self.manager.topologies.current();
        let mut progress = Progress::default();
        let mut result = self.run_here(topology, began, &mut progress);
        while let Err(error) = &result
            && let Some(next) = self.moved_on(topology, error)
        {
            topology = next;
            result = self.run_here(topology, began, &mut progress);
        }
        let result = self.finish(topology, began, &progress, result);
        (result, progress)
    }

    /// As [`wait`](Self::wait), without its end.
    #[inline]
    pub(crate) fn run_here(
        &mut self,
        topology: &'m Topology<B>,
        began: Time,
        progress: &mut Progress<'m>,
    ) -> Result<J::Output, Error> {
        match self.set_out(&Here, topology, began, progress)? {
            Course::Ended(result) => result,
            course => block_on(self.go_on(&Here, course, progress)),
        }
    }

    /// The present version, where the call found its database closed because another one has taken its place
    /// meanwhile: nothing of the call has run.
    #[cold]
    pub(crate) fn moved_on(&self, topology: &'m Topology<B>, error: &Error) -> Option<&'m Topology<B>> {
        let closed = error.kind() == Kind::Closed && error.executed() == Executed::No && error.location().is_none();
        let next = self.manager.topologies.current();
        let primary = |topology: &'m Topology<B>| {
            let (group, _) = topology.resolve(self.target).ok()?;
            Some((group.shared.id, group.term()))
        };
        (closed && self.manager.is_open() && primary(topology) != primary(next)).then_some(next)
    }

    /// Ends the call, when it is known what it has come to.
    #[inline]
    pub(crate) fn finish(
        &mut self,
        topology: &'m Topology<B>,
        began: Time,
        progress: &Progress<'m>,
        result: Result<J::Output, Error>,
    ) -> Result<J::Output, Error> {
        if self.floor.seen.is_some()
            && let Ok((group, _)) = topology.resolve(self.target)
        {
            self.floor.ended(self.manager, group, progress);
        }
        let panicked = self.job.ended(progress.ending());
        let sql = self.job.sql();
        let result = self.report(topology, began, self.job.kind(), sql, progress, result);
        match panicked {
            Some(panic) => resume_unwind(panic),
            None => result,
        }
    }

    /// Goes as far as no wait is needed: what follows is up to [`go_on`](Self::go_on).
    #[inline]
    pub(crate) fn set_out(
        &mut self,
        place: &impl Place<'m, B, J>,
        topology: &'m Topology<B>,
        began: Time,
        progress: &mut Progress<'m>,
    ) -> Result<Course<'m, B, J::Output>, Error> {
        self.manager.check_open()?;
        let found = topology.resolve(self.target)?;
        let (group, _) = found;
        if !self.floor.is_none() {
            self.floor.expect_nothing_lost(group)?;
        }
        let deadline = self.deadline(began);
        // Before a statement is looked up: what is known of it may be cleared meanwhile.
        let clears = group.shared.statements.clears();
        let outset = Outset { topology, found, began, deadline, clears };
        while let Some(sql) = self.job.unprepared() {
            match group.shared.statements.get(sql) {
                Some(prepared) => self.job.prepared(prepared)?,
                None => return Ok(Course::Unknown(outset)),
            }
        }
        self.depart(place, outset, progress)
    }

    /// As [`set_out`](Self::set_out), once all statements are known.
    #[inline]
    fn depart(
        &mut self,
        place: &impl Place<'m, B, J>,
        outset: Outset<'m, B>,
        progress: &mut Progress<'m>,
    ) -> Result<Course<'m, B, J::Output>, Error> {
        let (group, _) = outset.found;
        if let Some((shelf, mode)) = self.shelf(outset.topology, group, outset.began) {
            if mode != CacheMode::Refresh
                && let Some(found) = self.job.stored(&shelf, mode.oldest().filter(|_| self.floor.is_none()))
            {
                progress.cached = Some((found.age, found.current));
                if found.compare.is_some() || !found.current {
                    self.read_again(group, found.compare, mode);
                }
                let result = found.result.map_err(|failure| Error::from_failure(failure, &*group.members[0].backend));
                return Ok(Course::Ended(result));
            }
            return Ok(Course::Missed(outset, shelf, mode));
        }
        let mut route = self.route(&outset)?;
        match route.now(&mut self.job, &self.context, place) {
            Some(result) => {
                *progress = route.progress;
                self.forget_statements(group, &result);
                Ok(Course::Ended(result))
            }
            None => Ok(Course::Waits(outset, Box::new(route))),
        }
    }

    /// Goes on to the end, waiting where it must.
    pub(crate) async fn go_on<P: Place<'m, B, J> + Place<'m, B, Analyse>>(
        &mut self,
        place: &P,
        course: Course<'m, B, J::Output>,
        progress: &mut Progress<'m>,
    ) -> Result<J::Output, Error> {
        let course = match course {
            Course::Unknown(outset) => {
                self.prepare(place, &outset, progress).await?;
                self.depart(place, outset, progress)?
            }
            course => course,
        };
        match course {
            Course::Ended(result) => result,
            Course::Missed(outset, shelf, mode) => self.miss(place, outset, shelf, mode, progress).await,
            Course::Waits(outset, mut route) => {
                let result = route.later(&mut self.job, &self.context, place).await;
                *progress = route.progress;
                self.forget_statements(outset.found.0, &result);
                result
            }
            Course::Unknown(_) => unreachable!("every statement was prepared above"),
        }
    }

    /// Its way to the databases that it is for.
    // A route is hundreds of bytes, which are moved unless it is made where it stays.
    #[inline(always)]
    fn route(&mut self, outset: &Outset<'m, B>) -> Result<Route<'m, B>, Error> {
        let Outset { topology, found, began, deadline, .. } = *outset;
        let (way, kind) = (self.job.way(), self.job.kind());
        let (group, asked) = found;
        let reads = matches!(way, Way::Read(_));
        let found = if self.floor.is_none() || !reads { found } else { (group, self.floor.fit(group, asked)?) };
        // An old answer is better than waiting for a new one, for whoever says so.
        let at_once = matches!(self.job.cache_mode(), Some(CacheMode::OrIfFailing(_)));
        let terms = RepeatTerms { idempotent: self.idempotent, at_once };
        self.job.goes_to(|| under_way::Place::new(self.manager, &group.shared, kind));
        Route::new(self.manager, topology, found, way, kind, self.location, began, deadline, terms)
    }

    /// Sends the job along its route.
    pub(crate) async fn run<P: Place<'m, B, J>>(
        &mut self,
        place: &P,
        outset: &Outset<'m, B>,
        progress: &mut Progress<'m>,
    ) -> Result<J::Output, Error> {
        let mut route = self.route(outset)?;
        let result = match route.now(&mut self.job, &self.context, place) {
            Some(result) => result,
            None => route.later(&mut self.job, &self.context, place).await,
        };
        *progress = route.progress;
        result
    }

    #[inline]
    fn forget_statements(&self, group: &Group<B>, result: &Result<J::Output, Error>) {
        if result.is_ok() && self.job.changes_schema() {
            group.shared.statements.clear();
        }
    }

    /// Finds out what is known of the statements of the call.
    pub(crate) async fn prepare<P: Place<'m, B, Analyse>>(
        &mut self,
        place: &P,
        outset: &Outset<'m, B>,
        progress: &mut Progress<'m>,
    ) -> Result<(), Error> {
        let statements = &outset.found.0.shared.statements;
        while let Some(sql) = self.job.unprepared() {
            let prepared = match statements.get(sql) {
                Some(prepared) => prepared,
                None => {
                    let sql: Arc<str> = sql.into();
                    self.analyse(place, sql, outset, progress).await?
                }
            };
            self.job.prepared(prepared)?;
        }
        Ok(())
    }

    /// Where the answer may be, and may go to; and what is wanted of it.
    #[inline]
    fn shelf(&self, topology: &'m Topology<B>, group: &'m Group<B>, began: Time) -> Option<(Shelf<'m>, CacheMode)> {
        let mode = self.job.cache_mode().filter(|_| topology.config.enable_query_cache)?;
        let shelf = self.may_share_answers(group).then(|| Shelf::new(self.manager, topology, group, began));
        Some((shelf.flatten()?, mode))
    }

    /// Whether an answer of the group's is one for this call: not where one copy was asked for by its
    /// name, whose rows may differ from those of the others.
    pub(crate) fn may_share_answers(&self, group: &Group<B>) -> bool {
        let Target::Database(name) = self.target else { return true };
        group.members.len() == 1 || group.primary().is_some_and(|primary| *group.nodes[primary].name == *name)
    }

    /// What the primary of the group says about a new text, or another database where it cannot. The topology is
    /// the present one: what is kept must not come from a database that has left before.
    #[expect(clippy::needless_pass_by_ref_mut, reason = "a shared one can only be sent of a job that is `Sync`")]
    async fn analyse<P: Place<'m, B, Analyse>>(
        &mut self,
        place: &P,
        sql: Arc<str>,
        outset: &Outset<'m, B>,
        progress: &mut Progress<'m>,
    ) -> Result<Arc<KnownStatement>, Error> {
        let (began, deadline) = (outset.began, outset.deadline);
        let shared = Arc::clone(&self.manager.topologies.current().resolve(self.target)?.0.shared);
        let statements = &shared.statements;
        let clears = statements.clears();
        let topology = self.manager.topologies.current();
        let (group, _) = topology.resolve(self.target)?;
        // Also for a call to one copy: what is known is known for the group.
        let (found, way) = ((group, Mask::first(group.members.len())), Way::Read(Loan::Statement));
        let kind = CallKind::Query;
        let terms = RepeatTerms::default();
        let route = Route::new(self.manager, topology, found, way, kind, self.location, began, deadline, terms)?;
        let mut route = route.primary_first();
        let mut job = Analyse(Arc::clone(&sql));
        let analysis = match route.now(&mut job, &self.context, place) {
            Some(analysis) => analysis,
            None => route.later(&mut job, &self.context, place).await,
        };
        let mut analysis = match analysis {
            Ok(analysis) => analysis,
            Err(error) => {
                // It is all that the call has done.
                *progress = route.progress;
                return Err(error);
            }
        };
        let lags = group.primary().is_some_and(|primary| route.progress.database != Some(&group.nodes[primary].name));
        if lags {
            // By the schema of a copy, a view may read other tables than it does.
            analysis.cacheable = false;
            analysis.uncacheable = Some("a copy has told what it reads, since the primary did not answer".into());
            return Ok(statements.once(&sql, analysis));
        }
        Ok(statements.add(&sql, analysis, clears))
    }
}

impl<'m, B: Backend<Connection: Transact>, S> Call<'m, B, Query<'m, S>> {
    /// Binds the next parameter: the first call binds `?1`, and so on.
    #[inline(always)]
    pub fn bind(mut self, parameter: impl Into<Parameter<'m>>) -> Self {
        self.job.bound.bind(parameter.into());
        self
    }

    /// Binds the next parameters, in order.
    pub fn bind_all<P: Into<Parameter<'m>>>(mut self, parameters: impl IntoIterator<Item = P>) -> Self {
        parameters.into_iter().for_each(|parameter| self.job.bound.bind(parameter.into()));
        self
    }

    /// Every row, each decoded into a `T`: a struct by the names of the columns, a tuple by their
    /// order, anything else from the only column.
    #[inline(always)]
    pub fn all<T: DeserializeOwned>(self) -> Call<'m, B, Query<'m, All<T>>> {
        self.with_job(Query::into_sink)
    }

    /// Exactly one row, decoded into a `T` as by [`all`](Call::all); none and several are errors of
    /// [`Kind::Decode`](ecm_core::Kind::Decode).
    #[inline(always)]
    pub fn one<T: DeserializeOwned>(self) -> Call<'m, B, Query<'m, One<T>>> {
        self.with_job(Query::into_sink)
    }

    /// One row or none, decoded into a `T` as by [`all`](Call::all); several are an error of
    /// [`Kind::Decode`](ecm_core::Kind::Decode).
    #[inline(always)]
    pub fn optional<T: DeserializeOwned>(self) -> Call<'m, B, Query<'m, Optional<T>>> {
        self.with_job(Query::into_sink)
    }

    /// For a statement that writes (`INSERT .. RETURNING`): on the disk before this returns,
    /// whatever `synchronous` is configured.
    pub fn synced(mut self) -> Self {
        self.job.durability = Durability::Synced;
        self
    }

    /// What to accept from the cache, and what to leave there. *Default:* what
    /// [`set_cache_mode`](crate::ConnectionManager::set_cache_mode) has said of the statement, else [`CacheMode::Current`].
    pub fn cache_mode(mut self, mode: CacheMode) -> Self {
        self.job.mode = Some(mode);
        self
    }

    /// Asks the database, whatever is in the cache, and leaves that as it is: [`CacheMode::Bypass`].
    ///
    /// An answer from the cache is never out of date, so that this is for what must be seen to work: a probe, a
    /// measurement.
    pub fn bypass_cache(self) -> Self {
        self.cache_mode(CacheMode::Bypass)
    }
}

impl<'m, B: Backend<Connection: Transact>> Call<'m, B, Execute<'m>> {
    /// Binds the next parameter: the first call binds `?1`, and so on.
    #[inline(always)]
    pub fn bind(mut self, parameter: impl Into<Parameter<'m>>) -> Self {
        self.job.bound.bind(parameter.into());
        self
    }

    /// Binds the next parameters, in order.
    pub fn bind_all<P: Into<Parameter<'m>>>(mut self, parameters: impl IntoIterator<Item = P>) -> Self {
        parameters.into_iter().for_each(|parameter| self.job.bound.bind(parameter.into()));
        self
    }

    /// On the disk before this returns, whatever `synchronous` is configured.
    pub fn synced(mut self) -> Self {
        self.job.durability = Durability::Synced;
        self
    }
}

impl<'m, B: Backend<Connection: Transact>> Call<'m, B, Execute<'m>> {
    /// Runs another statement after it, in the same transaction: all of them take effect, or none. Answers
    /// what each one changed, in order.
    ///
    /// Every statement is judged before the first one runs, so that none can use a table that another one
    /// makes: do that in a closure, by [`write`](crate::ConnectionManager::write).
    ///
    /// ```
    /// # #[cfg(feature = "standard")] {
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = ecm::ConnectionManager::open(":memory:")?;
    /// manager.execute("CREATE TABLE account (name TEXT PRIMARY KEY, amount INTEGER)").wait()?;
    /// let pay = "UPDATE account SET amount = amount + ?2 WHERE name = ?1";
    /// manager.execute("INSERT INTO account VALUES ('a', 9), ('b', 0)").wait()?;
    /// let changes = manager.execute(pay).bind("a").bind(-5).then(pay).bind("b").bind(5).wait()?;
    /// assert_eq!((changes[0].rows, changes[1].rows), (1, 1));
    /// # Ok(()) }
    /// # main().unwrap();
    /// # }
    /// ```
    pub fn then(self, sql: &'m str) -> Call<'m, B, Batch<'m>> {
        self.with_job(Batch::after).then(sql)
    }
}

impl<'m, B: Backend<Connection: Transact>> Call<'m, B, Batch<'m>> {
    /// Runs another statement after the others.
    pub fn then(mut self, sql: &'m str) -> Self {
        self.job.push(sql);
        self
    }

    /// Binds the next parameter of the last statement: the first call binds its `?1`, and so on.
    pub fn bind(mut self, parameter: impl Into<Parameter<'m>>) -> Self {
        self.job.bind(parameter.into());
        self
    }

    /// Binds the next parameters of the last statement, in order.
    pub fn bind_all<P: Into<Parameter<'m>>>(mut self, parameters: impl IntoIterator<Item = P>) -> Self {
        parameters.into_iter().for_each(|parameter| self.job.bind(parameter.into()));
        self
    }

    /// On the disk before this returns, whatever `synchronous` is configured.
    pub fn synced(mut self) -> Self {
        self.job.durability = Durability::Synced;
        self
    }
}

impl<B: Backend<Connection: Transact>, F, T> Call<'_, B, Write<F, T>> {
    /// On the disk before this returns, whatever `synchronous` is configured.
    pub fn synced(mut self) -> Self {
        self.job.durability = Durability::Synced;
        self
    }
}

impl<B: Backend<Connection: Transact>, F, T> Call<'_, B, WriteOnce<F, T>> {
    /// On the disk before this returns, whatever `synchronous` is configured.
    pub fn synced(mut self) -> Self {
        self.job.durability = Durability::Synced;
        self
    }
}
