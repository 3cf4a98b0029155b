//! Queries whose answers are kept.

use crate::{
    Answer, CacheMode, Call, Explanation, Source,
    call::Outset,
    currency::Reads,
    job::{Analyse, Job, Work},
    loads::{Duty, Loaded},
    place::{Here, Place},
    route::Progress,
    shelf::Shelf,
    single_flight::{Joined, Waited},
    statement::{Query, Sink},
    threads::block_on,
    topology::Group,
};
use ecm_core::{Backend, Error, Kind, Stage, Stamp, TableVersion, Transact};

impl<'m, B: Backend<Connection: Transact>, J: Job<B>> Call<'m, B, J> {
    /// Reads what is not in the cache, for this call and for those who ask for the same meanwhile, and keeps it.
    pub(crate) async fn miss<P: Place<'m, B, J> + Place<'m, B, Analyse>>(
        &mut self,
        place: &P,
        outset: Outset<'m, B>,
        mut shelf: Shelf<'m>,
        mode: CacheMode,
        progress: &mut Progress<'m>,
    ) -> Result<J::Output, Error> {
        let (group, _) = outset.found;
        shelf.begin(group);
        let captured = self.capture(place, &shelf, &outset, progress).await?;
        // For another one only before it reads: what has been read when they ask may be out of date for them.
        let result = match self.join(&shelf, mode, &outset, progress).await {
            Turn::Answered(answer) => answer,
            Turn::Reads(duty) => self.read_and_keep(place, &outset, &shelf, captured, duty, progress).await,
        };
        match (result, mode) {
            (Err(error), CacheMode::OrIfFailing(oldest)) if self.floor.is_none() && is_of_database(&error) => {
                let Some(old) = self.job.stored(&shelf, Some(oldest)) else { return Err(error) };
                progress.cached = Some((old.age, old.current));
                old.result.map_err(|failure| Error::from_failure(failure, &*group.members[0].backend))
            }
            (result, _) => result,
        }
    }

    /// Reads, keeps what may be kept, and tells those who wait.
    async fn read_and_keep<P: Place<'m, B, J>>(
        &mut self,
        place: &P,
        outset: &Outset<'m, B>,
        shelf: &Shelf<'m>,
        (versions, clears): Captured,
        duty: Option<Duty<'m>>,
        progress: &mut Progress<'m>,
    ) -> Result<J::Output, Error> {
        let (group, _) = outset.found;
        self.job.leave_rows(versions.is_some() || duty.is_some());
        let result = self.run(place, outset, progress).await;
        let rows = self.job.take_rows();
        let source = progress.database.and_then(|name| group.nodes.iter().position(|node| *node.name == *name));
        if let Some(ended) = progress.ended {
            shelf.took(self.job.statement(), ended.since(outset.began));
        }
        // A copy may lag behind the version that the primary is at, and a statement may read something else by now.
        if let (Ok(_), Some(versions), Some(rows)) = (&result, versions, &rows)
            && source == group.source()
            && group.shared.statements.clears() == clears
            && let Some(key) = self.job.key(group.shared.id)
        {
            shelf.put(key, rows.clone(), versions);
            if duty.is_some() {
                shelf.has_kept();
            }
        }
        if let Some(duty) = duty {
            let loaded = match (rows, source, &result) {
                (Some(rows), Some(source), _) => Loaded::Rows(rows, group.nodes[source].name.clone()),
                (_, _, Err(error)) => Loaded::failed(error),
                _ => Loaded::Alone,
            };
            duty.finish(loaded);
        }
        result
    }

    /// What an answer has to be kept with that is read after this, and after how many clears of what is known of
    /// statements it holds.
    async fn capture<P: Place<'m, B, Analyse>>(
        &mut self,
        place: &P,
        shelf: &Shelf<'m>,
        outset: &Outset<'m, B>,
        progress: &mut Progress<'m>,
    ) -> Result<Captured, Error> {
        let versions = self.job.capture(shelf);
        let now = outset.found.0.shared.statements.clears();
        if now == outset.clears {
            return Ok((versions, now));
        }
        // What the statement reads may be something else by now.
        self.job.forget_prepared();
        self.prepare(place, outset, progress).await?;
        let versions = if self.job.cache_mode().is_some() { self.job.capture(shelf) } else { None };
        Ok((versions, now))
    }

    /// Waits for another call that reads the same, or takes on the duty to read for others, where that pays.
    async fn join(
        &mut self,
        shelf: &Shelf<'m>,
        mode: CacheMode,
        outset: &Outset<'m, B>,
        progress: &mut Progress<'m>,
    ) -> Turn<'m, J::Output> {
        let (group, deadline) = (outset.found.0, outset.deadline);
        let alone = Turn::Reads(None);
        // What another call reads may come from a copy that does not show what this one has to see.
        if self.job.cache_mode().is_none() || !self.floor.is_none() {
            return alone;
        }
        if !shelf.is_worth_waiting_for(self.job.statement()) {
            return alone;
        }
        let (Some(stand), Some(key)) = (shelf.stand(), self.job.key(group.shared.id)) else { return alone };
        let wait = match group.shared.loads.join(key, &stand, deadline) {
            Joined::Loads(duty) => return self.take_on(duty, stand, (shelf, mode), group, progress),
            Joined::Waits(wait) => wait,
        };
        let loaded = match wait.await {
            Waited::Done(loaded) => loaded,
            Waited::Loads(duty) => {
                // It passes to this call, which reads from where the database stands by now.
                let Some(stand) = shelf.stand() else { return alone };
                return self.take_on(duty, stand, (shelf, mode), group, progress);
            }
            Waited::TimedOut => {
                let waited = self.manager.clock.now().since(outset.began);
                let what = "another call reads the same, and had not ended";
                return Turn::Answered(Err(Error::timeout(Stage::Run, waited, what)));
            }
        };
        match &*loaded {
            Loaded::Alone => alone,
            Loaded::Failed(failed) => Turn::Answered(Err(failed.error())),
            Loaded::Rows(rows, name) => {
                progress.database = group.nodes.iter().find(|node| node.name == *name).map(|node| &*node.name);
                let Some(answer) = self.job.answer_from(rows) else { return alone };
                Turn::Answered(answer.map_err(|failure| Error::from_failure(failure, &*group.members[0].backend)))
            }
        }
    }
}

impl<'m, B: Backend<Connection: Transact>, J: Job<B>> Call<'m, B, J> {
    /// Takes on the duty to read for others, unless the one before has kept its answer since this call looked for one:
    /// then the duty passes on to somebody who will find that too.
    fn take_on(
        &mut self,
        duty: Duty<'m>,
        stand: Stamp,
        (shelf, mode): (&Shelf<'m>, CacheMode),
        group: &'m Group<B>,
        progress: &mut Progress<'m>,
    ) -> Turn<'m, J::Output> {
        if mode != CacheMode::Refresh
            && shelf.may_be_kept_by_now()
            && let Some(found) = self.job.stored(shelf, None)
        {
            progress.cached = Some((found.age, found.current));
            return Turn::Answered(
                found.result.map_err(|failure| Error::from_failure(failure, &*group.members[0].backend)),
            );
        }
        duty.reads_from(stand);
        Turn::Reads(Some(duty))
    }
}

/// What an answer is kept with, if it may be, and after how many clears that holds.
type Captured = (Option<Box<[TableVersion]>>, u64);

/// How a call that found nothing in the cache goes on.
enum Turn<'f, T> {
    /// Somebody else has read for it.
    Answered(Result<T, Error>),
    /// It reads, perhaps for others too.
    Reads(Option<Duty<'f>>),
}

/// Whether no database has answered: then an old answer is better than none, for whoever says so.
fn is_of_database(error: &Error) -> bool {
    match error.kind() {
        Kind::Fault(fault) => fault.is_of_database(),
        Kind::Rejected | Kind::Unavailable | Kind::Timeout(Stage::Open) => true,
        _ => false,
    }
}

impl<'m, B: Backend<Connection: Transact>, S: Sink> Call<'m, B, Query<'m, S>> {
    /// Runs the call on this thread, as [`wait`](Call::wait) does, and answers where the answer comes from, too.
    ///
    /// # Errors
    /// As of [`wait`](Call::wait).
    pub fn answer(self) -> Result<Answer<S::Output>, Error> {
        let (value, progress) = self.wait_with_progress();
        let value = value?;
        let source = match (progress.cached, progress.database) {
            (Some((age, current)), _) => Source::Cache { age, current },
            (None, name) => Source::Database(name.unwrap_or_default().into()),
        };
        Ok(Answer::new(value, source))
    }

    /// What is known about the query, without running it: where it would run, what it reads, whether its answers are
    /// kept, or why they are not.
    ///
    /// ```
    /// # #[cfg(feature = "standard")] {
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = ecm::ConnectionManager::open(":memory:")?;
    /// manager.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT)").wait()?;
    /// let by_key = manager.query("SELECT title FROM note WHERE id = ?1").bind(7).explain()?;
    /// assert!(by_key.by_rows && by_key.not_cached.is_none());
    /// let any = manager.query("SELECT title, random() FROM note").explain()?;
    /// assert_eq!(any.not_cached.unwrap(), "it calls random(), whose answer may differ from one call to the next");
    /// # Ok(()) }
    /// # main().unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the database says about a statement that it does not accept; a wrong number of parameters.
    pub fn explain(mut self) -> Result<Explanation, Error> {
        let began = self.manager.clock.now();
        let topology = self.manager.topologies.current();
        self.manager.check_open()?;
        let (group, _) = topology.resolve(self.target)?;
        let deadline = self.deadline(began);
        let (found, clears) = (topology.resolve(self.target)?, group.shared.statements.clears());
        let outset = Outset { topology, found, began, deadline, clears };
        block_on(self.prepare(&Here, &outset, &mut Progress::default()))?;
        let shelf = Shelf::new(self.manager, topology, group, began);
        if let Some(shelf) = &shelf {
            // Only then is it known whether the database tells who writes it.
            drop(shelf.capture(&Reads { tables: &[], rows: None }));
        }
        let analysis = &self.job.bound.statement().analysis;
        let mode = self.job.mode.unwrap_or_else(|| self.job.bound.statement().mode);
        let strings = |names: &[Box<str>]| names.iter().map(|name| name.to_string()).collect();
        let not_cached = match (&analysis.uncacheable, &shelf) {
            (Some(why), _) => Some(why.to_string()),
            (None, _) if !analysis.cacheable => Some("the backend does not say that they may be".into()),
            (None, _) if !topology.config.enable_query_cache => Some("enable_query_cache is off".into()),
            (None, _) if mode == CacheMode::Bypass => Some("its cache mode is Bypass".into()),
            (None, _) if !self.may_share_answers(group) => Some("a copy was asked for by its name".into()),
            (None, None) => Some("the group has several databases and none that is written".into()),
            (None, Some(shelf)) if !shelf.sees_writes() => {
                Some("the database does not tell who writes it: SQLite does so with a write-ahead log".into())
            }
            (None, Some(_)) => None,
        };
        let not_in_place = if !analysis.read_only {
            Some("it does not only read")
        } else if !analysis.deterministic {
            Some("running it twice may answer differently, or have effects")
        } else if topology.config.inline_budget == 0 {
            Some("inline_budget is 0")
        } else if !group.shared.costs.is_short(self.job.bound.statement().id) {
            Some("it has not shown of late that it is short")
        } else {
            None
        };
        let explanation = Explanation {
            read_only: analysis.read_only,
            reads: strings(&analysis.reads),
            writes: strings(&analysis.writes),
            by_rows: analysis.rows.is_some(),
            cache_mode: mode,
            not_cached,
            not_in_place: not_in_place.map(str::to_owned),
            kept: None,
        };
        let old = std::time::Duration::MAX;
        let kept = shelf.and_then(|shelf| Work::<B>::stored(&mut self.job, &shelf, Some(old)));
        Ok(Explanation { kept: kept.map(|kept| (kept.age, kept.current)), ..explanation })
    }
}
