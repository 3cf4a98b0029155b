use super::{counts::count, same_answer::same_answer};
use crate::{
    CacheMode, Call,
    job::{Job, Way},
    known_statement::KnownStatement,
    manager::Shared,
    place::Here,
    repeats::RepeatTerms,
    route::{Progress, Route},
    statement::{AllRows, Query},
    topology::{Group, Target},
};
use ecm_core::{Backend, CallKind, Context, Entry, Event, Interest, Loan, Mask, Observer, Transact, Value};
use std::{
    panic::Location,
    sync::{Arc, Weak},
    time::Duration,
};

/// A query that is to be run again.
struct Again<B: Backend<Connection: Transact>> {
    /// Whoever goes is not held back by what only waits.
    manager: Weak<Shared<B>>,
    group: Arc<str>,
    statement: Arc<KnownStatement>,
    values: Box<[Value]>,
    location: &'static Location<'static>,
}

/// What became of a hit that was to be compared.
enum Compared {
    Same,
    Different,
    /// Nothing can be said.
    Not,
}

/// How much longer than the first time a comparison may run, and how long at least. What is worth more is not known
/// to be wrong sooner.
const PATIENCE: (u32, Duration) = (10, Duration::from_secs(1));

impl<'m, B: Backend<Connection: Transact>, J: Job<B>> Call<'m, B, J> {
    /// What follows from having been served from the cache: this hit is to be compared, or an old answer to be read
    /// anew. In the background, once.
    #[cold]
    pub(crate) fn read_again(&self, group: &'m Group<B>, compare: Option<Arc<Entry>>, mode: CacheMode) {
        let (shared, counts) = (&group.shared, &self.manager.rereads);
        match (compare, mode) {
            (Some(entry), _) => {
                let asked = self
                    .again(group)
                    .is_some_and(|again| shared.background.ask(None, Box::new(move || again.compare_and_tell(&entry))));
                if !asked {
                    count(&counts.skipped);
                }
            }
            (None, CacheMode::StaleWhileRevalidate(_)) => {
                let Some(number) = self.job.key_hash(shared.id).filter(|&number| !shared.background.has(number)) else {
                    return;
                };
                let asked = self
                    .again(group)
                    .is_some_and(|again| shared.background.ask(Some(number), Box::new(move || again.refresh())));
                if !asked {
                    count(&counts.refreshes_failed);
                }
            }
            (None, _) => {}
        }
    }

    fn again(&self, group: &Group<B>) -> Option<Again<B>> {
        let (statement, values) = self.job.owned()?;
        let (manager, group) = (Weak::clone(&self.manager.me), Arc::clone(&group.shared.name));
        Some(Again { manager, group, statement, values, location: self.location })
    }
}

impl<B: Backend<Connection: Transact>> Again<B> {
    /// Whatever was decided about the text: it is to be read.
    fn job(&self) -> Query<'_, AllRows> {
        let mut job = Query::new(&self.statement.sql);
        job.mode = Some(CacheMode::Current);
        self.values.iter().for_each(|value| job.bound.bind(value.borrow().into()));
        job
    }

    fn compare_and_tell(&self, entry: &Entry) {
        let Some(manager) = self.manager.upgrade() else { return };
        let counts = &manager.rereads;
        match self.compare(&manager, entry) {
            Compared::Not => count(&counts.skipped),
            Compared::Same => count(&counts.compared),
            Compared::Different => {
                count(&counts.compared);
                count(&counts.mismatches);
                self.tell(&manager);
            }
        }
    }

    /// Whether the database answers what was kept. Reads only if that needs no waiting, so that nobody waits for a
    /// connection because of it.
    fn compare(&self, manager: &Shared<B>, entry: &Entry) -> Compared {
        let topology = manager.topologies.current();
        let Some((group, source)) = topology.group(&self.group).and_then(|group| Some((group, group.source()?))) else {
            return Compared::Not;
        };
        // By what a fill is accepted: where this holds before and after, the database stood still for the statement.
        let is_current = || {
            manager.is_open()
                && group.epoch == entry.epoch
                && group.members[source].currency.is_current(&entry.versions)
        };
        let is_known =
            || group.shared.statements.get(&self.statement.sql).is_some_and(|known| known.id == self.statement.id);
        if !is_current() || !is_known() {
            return Compared::Not;
        }
        let mut job = self.job();
        if job.bound.prepared(Arc::clone(&self.statement)).is_err() {
            return Compared::Not;
        }
        let now = manager.clock.now();
        let (times, least) = PATIENCE;
        let deadline = now + (entry.took * times).max(least);
        let (found, way) = ((group, Mask::NONE.with(source)), Way::Read(Loan::Statement));
        let (kind, terms) = (CallKind::Query, RepeatTerms::default());
        let route = Route::new(manager, topology, found, way, kind, self.location, now, deadline, terms);
        let Some(Ok(rows)) = route.ok().and_then(|mut route| route.now(&mut job, &Context::NONE, &Here)) else {
            return Compared::Not;
        };
        if !is_current() || !is_known() {
            return Compared::Not;
        }
        if same_answer(&entry.rows, &rows) { Compared::Same } else { Compared::Different }
    }

    /// Nothing is kept of the statement from now on, and who wants to know is told.
    fn tell(&self, manager: &Shared<B>) {
        let topology = manager.topologies.current();
        let Some((group, source)) = topology.group(&self.group).and_then(|group| Some((group, group.source()?))) else {
            return;
        };
        if group.shared.statements.quarantine(&self.statement) && manager.observers.wants(Interest::CACHES) {
            let database = &*group.members[source].info.name;
            manager.observers.event(&Event::CacheMismatch { group: &self.group, database, sql: &self.statement.sql });
        }
    }

    /// Reads the answer anew, of the database that answers are kept of, unless somebody has done so meanwhile.
    fn refresh(&self) {
        let Some(manager) = self.manager.upgrade() else { return };
        let topology = manager.topologies.current();
        let Some((group, source)) = topology.group(&self.group).and_then(|group| Some((group, group.source()?))) else {
            return;
        };
        let target = Target::Database(&group.members[source].info.name);
        let mut call = Call::new(&*manager, target, self.job(), self.location);
        let (began, mut progress) = (manager.clock.now(), Progress::default());
        let counts = &manager.rereads;
        match call.run_here(topology, began, &mut progress) {
            Ok(_) => count(&counts.refreshed),
            Err(_) => count(&counts.refreshes_failed),
        }
    }
}
