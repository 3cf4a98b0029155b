use crate::{
    calls::Calls,
    exposition, label,
    scrape::{DatabaseLabels, PoolLabels, Scrape},
    sync::{Mutex, lock},
};
use ecm_core::{DatabaseStatus, Event, Interest, Managed, Observer, Status};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
};

/// Counts the calls of managers, and answers scrapes.
///
/// Clones are the same metrics: one goes to the builder of a manager, another one to whatever serves the
/// scrape. Each is the observer of one manager, which it does not learn from the events, so it has to be
/// told: [`new`](Self::new) is for a manager of the name that the builder gives by default, and
/// [`for_manager`](Self::for_manager) for any further one. Databases of the same name in two managers are
/// thus told apart; managers of the same name are counted together.
///
/// A call is counted by a few atomic additions, without a lock and without allocating, once its database
/// is known. Everything else is pulled at the scrape.
///
/// # Cardinality
/// A manager shows at most 128 databases by their names, and the rest as `other`. A database that is not
/// in the status of its manager any more is shown at one further scrape, so that its last calls are seen,
/// and then forgotten. A manager whose observers are all gone is forgotten at once. Where a manager is
/// not among those that are scraped, its databases are kept, up to the limit.
#[derive(Clone)]
pub struct Metrics {
    managers: Arc<Managers>,
    calls: Arc<Calls>,
}

struct Managers {
    limit: usize,
    /// Held by the observers of each.
    calls: Mutex<BTreeMap<Box<str>, Weak<Calls>>>,
}

/// How many databases a manager shows by name, unless something else is wanted. A database is 30 series,
/// so that these are about 3,900 in all.
const DATABASES: usize = 128;

/// Nobody scrapes more series than these make.
const MOST_DATABASES: usize = 100_000;

impl Metrics {
    /// The content type of what [`encode`](Self::encode) answers, for the header of the response.
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Metrics of which nothing is counted yet, as the observer of a manager called `ecm`.
    #[must_use]
    pub fn new() -> Self {
        Self::limited_to(DATABASES)
    }

    /// As [`new`](Self::new), for managers that show at most so many databases by their names; never more
    /// than 100,000.
    ///
    /// Takes 64 to 128 bytes for each, and so does every manager, also while there are fewer databases; each
    /// database that is called takes 256 bytes more for every thread that the machine runs at the same time.
    #[must_use]
    pub fn limited_to(databases: usize) -> Self {
        let databases = databases.min(MOST_DATABASES);
        let calls = Arc::new(Calls::new(databases));
        let known = BTreeMap::from([("ecm".into(), Arc::downgrade(&calls))]);
        Self { managers: Arc::new(Managers { limit: databases, calls: Mutex::new(known) }), calls }
    }

    /// The observer of a manager of this name, which is part of the same scrape.
    ///
    /// ```
    /// use ecm_metrics::Metrics;
    ///
    /// let metrics = Metrics::new();
    /// let observer = metrics.for_manager("notes");
    /// // Given to `builder().name("notes").observer(observer)`.
    /// # drop(observer);
    /// ```
    #[must_use]
    pub fn for_manager(&self, name: &str) -> Self {
        let name = label::cut(name);
        let mut known = lock(&self.managers.calls);
        let calls = known.get(name).and_then(Weak::upgrade).unwrap_or_else(|| {
            let calls = Arc::new(Calls::new(self.managers.limit));
            known.retain(|_, calls| calls.strong_count() > 0);
            known.insert(name.into(), Arc::downgrade(&calls));
            calls
        });
        drop(known);
        Self { managers: Arc::clone(&self.managers), calls }
    }

    /// Everything that was counted and the figures of these managers at this moment, in OpenMetrics text
    /// of the type [`CONTENT_TYPE`](Self::CONTENT_TYPE).
    ///
    /// Asks each manager for its status, which walks its pools, and formats 30 lines a database:
    /// for a scrape every few seconds. Families of which there is nothing have their description alone.
    #[must_use]
    pub fn encode(&self, managers: &[&dyn Managed]) -> String {
        let statuses: Vec<Status> = managers.iter().map(|manager| manager.status()).collect();
        let observed = self.observed();
        let mut scrape = Scrape::default();
        forget(&statuses, &observed);
        for status in &statuses {
            pull(
                &mut scrape,
                status,
                observed.get(label::cut(&status.name)).map(|calls| &**calls),
                self.managers.limit,
            );
        }
        for (manager, calls) in observed {
            for (database, counted) in calls.counted() {
                scrape.calls.insert(DatabaseLabels { manager: manager.clone(), database }, counted);
            }
        }
        exposition::encode(scrape)
    }

    fn observed(&self) -> BTreeMap<Box<str>, Arc<Calls>> {
        let known = lock(&self.managers.calls);
        known.iter().filter_map(|(name, calls)| Some((name.clone(), calls.upgrade()?))).collect()
    }
}

/// Databases that are in no status of their manager any more are forgotten.
fn forget(statuses: &[Status], observed: &BTreeMap<Box<str>, Arc<Calls>>) {
    for (manager, calls) in observed {
        let mut mine = statuses.iter().filter(|status| label::cut(&status.name) == &**manager).peekable();
        if mine.peek().is_some() {
            calls.keep(&mine.flat_map(databases).map(|database| label::cut(&database.name)).collect());
        }
    }
}

/// The figures of a manager, whose databases are called as the calls to them are.
fn pull(scrape: &mut Scrape, status: &Status, calls: Option<&Calls>, limit: usize) {
    let manager: Box<str> = label::cut(&status.name).into();
    scrape.caches.entry(manager.clone()).or_default().add(&status.cache, &status.cache_rereads);
    for (number, database) in databases(status).enumerate() {
        let name = match calls {
            Some(calls) => calls.label(&database.name),
            None if number < limit => label::cut(&database.name),
            None => label::OTHER,
        };
        if let Some(log) = &database.log {
            let labels = DatabaseLabels { manager: manager.clone(), database: name.into() };
            scrape.logs.entry(labels).or_default().add(log);
        }
        let pools = [("readers", Some(&database.readers)), ("writer", database.writer.as_ref())];
        for (pool, status) in pools.into_iter().filter_map(|(pool, status)| Some((pool, status?))) {
            let labels = PoolLabels { manager: manager.clone(), database: name.into(), pool };
            scrape.pools.entry(labels).or_default().add(status);
        }
    }
}

fn databases(status: &Status) -> impl Iterator<Item = &DatabaseStatus> {
    status.groups.iter().flat_map(|group| &group.databases)
}

impl Observer for Metrics {
    fn interest(&self) -> Interest {
        Interest::CALLS
    }

    fn event(&self, event: &Event<'_>) {
        if let Event::Call(report) = event {
            self.calls.count(report.database, report.took, report.slow);
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    /// By hand: what is counted is for scrapes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
