#[cfg(feature = "sqlite")]
use ecm_sqlite::Sqlite;

mod checks;

use crate::{
    Call, Connecting, Database, DatabaseInfo, Handle, ManagerConfig, UnitOfWork,
    builder::Recipes,
    currency::Currency,
    health::Record,
    job::{Read, ReadOnce, Unit, UnitOnce, Write, WriteOnce},
    reader_threads::ReaderThreads,
    report::Observers,
    rereads,
    statement::{AllRows, Execute, Query},
    threads::block_on,
    topology::{GroupShared, Member, Target, Topology},
    watched_breaker::WatchedBreaker,
};
use ecm_core::{
    Access, Backend, Clock, Connection, Error, Event, Failure, Interest, InvalidConfig, Kind, Loan, LogObserver,
    Managed, Observer, PerThread, Stage, Status, Transact, Versions,
};
use ecm_pool::{CommitWatch, Lane, Pool, PoolParts};
use std::{
    fmt,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Gives a program access to its databases: decides which one serves a call, lends a connection,
/// keeps writes in order, routes around faults.
///
/// Cheap to clone (one reference count); all clones are the same manager. Made by `open(path)`,
/// `standard()` or `builder()`. Calls are values: see [`Call`].
///
/// # Concurrency
/// Every method may be called from any number of threads. Reads run side by side, writes of a group
/// one after the other in the order in which they came. A call made inside a closure of another call
/// needs a connection of its own; a write inside a write of the same group, which would wait for itself,
/// is refused as [`Kind::Misuse`](ecm_core::Kind::Misuse).
pub struct ConnectionManager<
    #[cfg(feature = "sqlite")] B: Backend<Connection: Transact> = Sqlite,
    #[cfg(not(feature = "sqlite"))] B: Backend<Connection: Transact>,
>(Arc<Shared<B>>);

/// What all clones of a manager share.
#[derive(Debug)]
pub(crate) struct Shared<B: Backend<Connection: Transact>> {
    /// Itself, for what outlives a call.
    pub(crate) me: Weak<Self>,
    pub(crate) name: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observers: Arc<Observers>,
    #[cfg(feature = "metrics")]
    pub(crate) metrics: ecm_metrics::Metrics,
    /// Cached results that were found and not served, since they were not current any more.
    pub(crate) stale: AtomicU64,
    pub(crate) rereads: rereads::Counts,
    pub(crate) topologies: Versions<Topology<B>>,
    pub(crate) recipes: Recipes,
    pub(crate) closed: AtomicBool,
    /// Held by whoever has one database take the place of another.
    pub(crate) promoting: Mutex<()>,
}

/// How long [`ConnectionManager::close`] waits for what it has interrupted: SQLite notices within
/// some thousand steps, a closure of the caller's may take longer and is then named in the error.
const AFTER_INTERRUPT: Duration = Duration::from_secs(1);

impl<B: Backend<Connection: Transact>> ConnectionManager<B> {
    pub(crate) fn new(shared: Arc<Shared<B>>) -> Self {
        shared.begin_checks();
        Self(shared)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<B>> {
        &self.0
    }

    /// Reads by a closure, on one connection, from one stable state of the database.
    ///
    /// The closure may run more than once: when a database fails, the read goes to another one. So
    /// keep effects outside the database out of it, or make them repeatable.
    ///
    /// ```
    /// # #[cfg(feature = "standard")] {
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = ecm::ConnectionManager::open(":memory:")?;
    /// let version: String = manager.read(|db| Ok(db.query_row("SELECT sqlite_version()", [], |row| row.get(0))?)).wait()?;
    /// assert!(version.starts_with('3'));
    /// # Ok(()) }
    /// # main().unwrap();
    /// # }
    /// ```
    #[track_caller]
    pub fn read<T, F>(&self, closure: F) -> Call<'_, B, Read<F, T>>
    where
        F: FnMut(&<B::Connection as Connection>::Db) -> Result<T, Failure>,
    {
        self.handle(Target::Default).read(closure)
    }

    /// Reads by a closure that runs once at most: no other database is tried when one fails.
    #[track_caller]
    pub fn read_once<T, F>(&self, closure: F) -> Call<'_, B, ReadOnce<F, T>>
    where
        F: FnOnce(&<B::Connection as Connection>::Db) -> Result<T, Failure>,
    {
        self.handle(Target::Default).read_once(closure)
    }

    /// Writes by a closure, in a transaction of the group's primary: committed if the closure
    /// succeeds, rolled back if it fails or panics.
    ///
    /// It runs on this thread, and may run more than once, always after what it did before has been
    /// rolled back. While others wait to write it shares a transaction with them, in which it is undone
    /// alone if it fails; its answer comes after their common commit.
    ///
    /// ```
    /// # #[cfg(feature = "standard")] {
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = ecm::ConnectionManager::open(":memory:")?;
    /// let id = manager.write(|tx| {
    ///     tx.execute_batch("CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT)")?;
    ///     tx.execute("INSERT INTO note (title) VALUES (?1)", ["bread"])?;
    ///     Ok(tx.last_insert_rowid())
    /// }).wait()?;
    /// assert_eq!(id, 1);
    /// # Ok(()) }
    /// # main().unwrap();
    /// # }
    /// ```
    #[track_caller]
    pub fn write<T, F>(&self, closure: F) -> Call<'_, B, Write<F, T>>
    where
        F: FnMut(&<B::Connection as Connection>::Tx) -> Result<T, Failure>,
    {
        self.handle(Target::Default).write(closure)
    }

    /// Writes by a closure that runs once at most, alone in its transaction.
    #[track_caller]
    pub fn write_once<T, F>(&self, closure: F) -> Call<'_, B, WriteOnce<F, T>>
    where
        F: FnOnce(&<B::Connection as Connection>::Tx) -> Result<T, Failure>,
    {
        self.handle(Target::Default).write_once(closure)
    }

    /// Writes by a closure, through stores that share one transaction of the group's primary: see
    /// [`UnitOfWork`]. Committed if the closure succeeds, rolled back if it fails or panics.
    ///
    /// As for [`write`](Self::write), it runs on this thread, and may run more than once, always after
    /// what it did before has been rolled back.
    ///
    /// ```
    /// # #[cfg(feature = "standard")] {
    /// use ecm::{ConnectionManager, Failure, Store, UnitOfWork};
    ///
    /// struct Notes<'u>(UnitOfWork<'u>);
    /// struct Tags<'u>(UnitOfWork<'u>);
    ///
    /// impl<'u> Store<'u> for Notes<'u> {
    ///     fn open(uow: UnitOfWork<'u>) -> Result<Self, Failure> { Ok(Self(uow)) }
    /// }
    /// impl<'u> Store<'u> for Tags<'u> {
    ///     fn open(uow: UnitOfWork<'u>) -> Result<Self, Failure> { Ok(Self(uow)) }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = ConnectionManager::open(":memory:")?;
    /// manager.write(|tx| Ok(tx.execute_batch("CREATE TABLE note (title); CREATE TABLE tag (name)")?)).wait()?;
    /// let saved = manager.unit_of_work(|uow| {
    ///     let (notes, tags) = (uow.store::<Notes>()?, uow.store::<Tags>()?);
    ///     notes.0.execute("INSERT INTO note VALUES (?1)", ["bread"])?;
    ///     tags.0.execute("INSERT INTO tag VALUES (?1)", ["food"])?;
    ///     Ok(())
    /// });
    /// saved.wait()?;
    /// # Ok(()) }
    /// # main().unwrap();
    /// # }
    /// ```
    #[track_caller]
    pub fn unit_of_work<T, F>(&self, closure: F) -> Call<'_, B, Unit<F, T, B>>
    where
        F: FnMut(UnitOfWork<'_, B>) -> Result<T, Failure>,
    {
        self.handle(Target::Default).unit_of_work(closure)
    }

    /// A [`unit_of_work`](Self::unit_of_work) that runs once at most, alone in its transaction.
    #[track_caller]
    pub fn unit_of_work_once<T, F>(&self, closure: F) -> Call<'_, B, UnitOnce<F, T, B>>
    where
        F: FnOnce(UnitOfWork<'_, B>) -> Result<T, Failure>,
    {
        self.handle(Target::Default).unit_of_work_once(closure)
    }

    /// Runs one statement that answers rows: [`bind`](Call::bind) its parameters, choose a form of
    /// answer ([`all`](Call::all), [`one`](Call::one), [`optional`](Call::optional); every row as it
    /// is without), then [`wait`](Call::wait).
    ///
    /// The database itself judges whether the statement writes; one that does runs in a transaction
    /// of the primary.
    ///
    /// ```
    /// # #[cfg(feature = "standard")] {
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// #[derive(serde::Deserialize)]
    /// struct Note { id: i64, title: String }
    ///
    /// let manager = ecm::ConnectionManager::open(":memory:")?;
    /// manager.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT)").wait()?;
    /// let id: i64 = manager.query("INSERT INTO note (title) VALUES (?1) RETURNING id").bind("bread").one().wait()?;
    /// let note: Note = manager.query("SELECT * FROM note WHERE id = ?1").bind(id).one().wait()?;
    /// assert_eq!((note.id, note.title.as_str()), (1, "bread"));
    /// let pairs: Vec<(i64, String)> = manager.query("SELECT id, title FROM note").all().wait()?;
    /// assert_eq!(pairs.len(), 1);
    /// # Ok(()) }
    /// # main().unwrap();
    /// # }
    /// ```
    #[track_caller]
    pub fn query<'m>(&'m self, sql: &'m str) -> Call<'m, B, Query<'m, AllRows>> {
        self.handle(Target::Default).query(sql)
    }

    /// Runs one statement that writes, in a transaction of the primary; answers what it changed.
    #[track_caller]
    pub fn execute<'m>(&'m self, sql: &'m str) -> Call<'m, B, Execute<'m>> {
        self.handle(Target::Default).execute(sql)
    }

    /// Lends a whole connection, the primary's writer, in autocommit mode: for migrations, `VACUUM`,
    /// `ATTACH`, backups and pragmas.
    ///
    /// ```
    /// # #[cfg(feature = "standard")] {
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = ecm::ConnectionManager::open(":memory:")?;
    /// let mut connection = manager.connection().wait()?;
    /// connection.raw().pragma_update(None, "user_version", 7)?;
    /// drop(connection);
    /// assert_eq!(manager.query("PRAGMA user_version").one::<i64>().wait()?, 7);
    /// # Ok(()) }
    /// # main().unwrap();
    /// # }
    /// ```
    #[track_caller]
    pub fn connection(&self) -> Connecting<'_, B> {
        self.handle(Target::Default).connection()
    }

    /// A handle for one group.
    ///
    /// # Errors
    /// [`Kind::NotFound`]: no database of that group has ever been registered.
    pub fn group<'m>(&'m self, name: &'m str) -> Result<Handle<'m, B>, Error> {
        self.handle_of(Target::Group(name))
    }

    /// A handle for one database: its reads go there alone, its writes only if it is a primary.
    ///
    /// # Errors
    /// [`Kind::NotFound`]: no database of that name is registered.
    pub fn database<'m>(&'m self, name: &'m str) -> Result<Handle<'m, B>, Error> {
        self.handle_of(Target::Database(name))
    }

    pub(crate) fn default_handle(&self) -> Handle<'_, B> {
        self.handle(Target::Default)
    }

    pub(crate) fn handle<'m>(&'m self, target: Target<'m>) -> Handle<'m, B> {
        Handle::new(&self.0, target)
    }

    fn handle_of<'m>(&'m self, target: Target<'m>) -> Result<Handle<'m, B>, Error> {
        self.0.topologies.current().resolve(target)?;
        Ok(self.handle(target))
    }

    /// Adds a database while running. One connection is opened at once, so that what cannot be opened
    /// is refused here: the writer's, or a reader's where the database is only read.
    ///
    /// # Errors
    /// A name that is taken, a second primary of a group, a configuration out of its limits, or a
    /// database that cannot be opened: nothing has changed then.
    pub fn register(&self, database: Database<B>) -> Result<(), Error> {
        self.0.register(database)?;
        self.0.begin_checks();
        Ok(())
    }

    /// Removes a database while running: new calls do not find it, waiting ones go elsewhere or fail
    /// with [`Kind::Closed`], and its connections are closed as they come back.
    ///
    /// # Errors
    /// [`Kind::NotFound`]: no database of that name is registered.
    pub fn unregister(&self, name: &str) -> Result<(), Error> {
        let member = self.0.topologies.change(|current| current.without(name))?;
        member.close();
        if let Some(group) = self.0.topologies.current().group(&member.info.group) {
            group.look_for_unwell();
        }
        if self.0.observers.wants(Interest::DATABASES) {
            self.0.observers.event(&Event::Unregistered { database: name });
        }
        Ok(())
    }

    /// The name of the manager.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The manager at this moment: configuration, databases with their pools, cache. Serialisable.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.status()
    }

    /// The page that a scrape is answered with: calls, pools and cache of this manager, in OpenMetrics
    /// text of the type [`Metrics::CONTENT_TYPE`](ecm_metrics::Metrics::CONTENT_TYPE). The families are
    /// listed in [`ecm::metrics`](ecm_metrics).
    ///
    /// For several managers on one page make a [`Metrics`](ecm_metrics::Metrics) of your own, give it to
    /// their builders by [`observer`](crate::Builder::observer), and switch `enable_metrics` off.
    ///
    /// ```
    /// # #[cfg(feature = "standard")] {
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = ecm::ConnectionManager::open(":memory:")?;
    /// manager.query("SELECT 1").one::<i64>().wait()?;
    /// let page = manager.metrics();
    /// assert!(page.contains("familyos_connection_pool_total_connections{"));
    /// assert!(page.contains("familyos_database_query_duration_seconds_count{"));
    /// # Ok(()) }
    /// # main().unwrap();
    /// # }
    /// ```
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn metrics(&self) -> String {
        self.0.metrics.encode(&[self])
    }

    /// Changes one field of [`ManagerConfig`] while running; calls that have begun are not affected.
    ///
    /// # Errors
    /// [`Kind::Invalid`]: an unknown field, or a value that is not acceptable. Nothing has changed.
    pub fn apply(&self, field: &str, value: &str) -> Result<(), Error> {
        let invalid = |invalid: InvalidConfig| Error::new(Kind::Invalid, invalid);
        self.0.topologies.change(|current| {
            let mut config = current.config.clone();
            config.set(field, value).map_err(invalid)?;
            self.0.recipes.check(&config).map_err(|error| Error::new(Kind::Invalid, error))?;
            let cache = self.0.cache_for(current, &config).map_err(invalid)?;
            self.0.recipes.supplied.select(&config);
            Ok((current.with_config(config, cache), ()))
        })?;
        self.0.look_for_writes();
        Ok(())
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> ManagerConfig {
        self.0.topologies.current().config.clone()
    }

    /// Refuses new calls, waits until every connection has come back, interrupts what still runs
    /// after `patience`, and closes everything. Calling it again is harmless.
    ///
    /// A manager that is dropped without it closes its connections as well, when the last clone and
    /// the last loan are gone.
    ///
    /// # Errors
    /// [`Kind::Timeout`] with [`Stage::Close`]: connections that have not come back a second after
    /// the interrupt; the message names how many, of which database. They are closed when they do.
    pub fn close(&self, patience: Duration) -> Result<(), Error> {
        self.0.close(patience)
    }
}

impl<B: Backend<Connection: Transact>> Shared<B> {
    pub(crate) fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.is_open() { Ok(()) } else { Err(Error::new(Kind::Closed, "the manager is closed")) }
    }

    pub(crate) fn register(self: &Arc<Self>, database: Database<B>) -> Result<(), Error> {
        self.check_open()?;
        let invalid = |invalid: InvalidConfig| Error::new(Kind::Invalid, invalid).in_database(&database.info.name);
        database.check().map_err(invalid)?;
        let name = Arc::clone(&database.info.name);
        // Whom it is to follow stays the primary until it does.
        let is_replica = database.info.replica.is_some();
        let _promotes_nobody = is_replica.then(|| self.promoting.lock().unwrap_or_else(PoisonError::into_inner));
        let member = Arc::new(self.member(database)?);
        let observer: Arc<dyn LogObserver> = Arc::<Member<B>>::clone(&member);
        member.backend.observe_log(Arc::downgrade(&observer));
        drop(observer);
        // Before the file is opened, so that a name that is taken creates no file.
        self.topologies.current().with(Arc::clone(&member), |id| self.new_group(&member, id))?;
        let took_over = self.first_copy(&member)?;
        self.open_one(&member)?;
        let group = Arc::clone(&member.info.group);
        let registered = self.topologies.change(|current| {
            let next = current.with(Arc::clone(&member), |id| self.new_group(&member, id))?;
            Ok::<_, Error>((next, ()))
        });
        if registered.is_err() || !self.is_open() {
            member.close();
        }
        registered?;
        self.check_open()?;
        // Another database under an old group may have another schema.
        if let Some(group) = self.topologies.current().group(&group) {
            group.shared.statements.clear();
        }
        if let Some(took_over) = took_over {
            self.takes_its_place_again(&name, took_over)?;
        } else if let Some(following) = &member.following {
            following.start();
        }
        self.look_for_writes();
        if self.observers.wants(Interest::DATABASES) {
            self.observers.event(&Event::Registered { database: &name });
        }
        Ok(())
    }

    fn member(self: &Arc<Self>, database: Database<B>) -> Result<Member<B>, Error> {
        let Database { info, backend } = database;
        let backend = Arc::new(backend);
        let currency = Arc::new(Currency::of(Arc::clone(&backend), Arc::clone(&self.clock)));
        let writer = OnceLock::new();
        if !info.read_only {
            writer.get_or_init(|| self.lane(&info, &backend, &currency));
        }
        let following = self.following(&info, &backend)?;
        let readers = Pool::new(Arc::clone(&backend), info.pool.clone(), self.parts(&info, Access::Read));
        Ok(Member {
            readers,
            writer,
            threads: ReaderThreads::default(),
            following,
            lost: AtomicBool::new(false),
            currency,
            breaker: WatchedBreaker::new((self.recipes.breaker)(&info), Access::Read),
            write_breaker: WatchedBreaker::new((self.recipes.breaker)(&info), Access::Write),
            record: Record::new(),
            checker: OnceLock::new(),
            backend,
            observers: Arc::clone(&self.observers),
            answers: PerThread::new(),
            info,
        })
    }

    /// What writes go through.
    pub(crate) fn lane(&self, info: &DatabaseInfo, backend: &Arc<B>, currency: &Arc<Currency>) -> Arc<Lane<B>> {
        let lane = Lane::new(Arc::clone(backend), info.pool.clone(), self.parts(info, Access::Write));
        Arc::new(lane.watched_by(Arc::clone(currency) as Arc<dyn CommitWatch>))
    }

    fn parts(&self, info: &DatabaseInfo, access: Access) -> PoolParts {
        PoolParts {
            access,
            sizing: self.recipes.sizing.as_ref().map(|recipe| recipe(info)),
            observer: Arc::clone(&self.observers) as Arc<dyn Observer>,
            ..PoolParts::new(Arc::clone(&info.name), Arc::clone(&self.clock))
        }
    }

    fn new_group(&self, member: &Member<B>, id: u32) -> Arc<GroupShared> {
        self.recipes.group(&member.info.group, id, &self.clock)
    }

    pub(crate) fn open_one(&self, member: &Member<B>) -> Result<(), Error> {
        let pool = member.writer.get().map_or(&member.readers, |lane| lane.pool());
        let opened = block_on(pool.lend(Loan::Upkeep, self.clock.now(), ecm_core::Time::NEVER));
        drop(opened.map_err(|error| error.in_database(&member.info.name))?);
        Ok(())
    }

    fn close(&self, patience: Duration) -> Result<(), Error> {
        // Under the lock of changes, so that no database joins unseen.
        let close = |current: &Topology<B>| {
            self.closed.store(true, Ordering::Relaxed);
            current.members().for_each(|member| member.close());
            Err::<(Topology<B>, ()), ()>(())
        };
        let _nothing_changes = self.topologies.change(close);
        // Also those that were unregistered: their loans are calls of this manager as well.
        let mut everybody: Vec<&Arc<Member<B>>> = Vec::new();
        for member in self.topologies.all().flat_map(Topology::members) {
            if !everybody.iter().any(|known| Arc::ptr_eq(known, member)) {
                everybody.push(member);
            }
        }
        let pools = || everybody.iter().flat_map(|member| member.pools());
        let drained = |patience: Duration| {
            let deadline = self.clock.now() + patience;
            pools().all(|pool| block_on(pool.drained(deadline)))
        };
        if drained(patience) {
            return Ok(());
        }
        pools().for_each(|pool| {
            pool.interrupt();
        });
        if drained(AFTER_INTERRUPT) {
            return Ok(());
        }
        let held: Vec<String> = everybody
            .iter()
            .filter_map(|member| {
                let lent: u32 = member.pools().map(|pool| pool.status().lent).sum();
                (lent > 0).then(|| format!("{lent} of {:?}", &*member.info.name))
            })
            .collect();
        let detail = format_args!("still lent: {}", held.join(", "));
        Err(Error::timeout(Stage::Close, patience + AFTER_INTERRUPT, detail))
    }
}

impl<B: Backend<Connection: Transact>> Clone for ConnectionManager<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A closure that panics leaves the manager whole: its connection is put into order or closed. What a
/// strategy does about its own state is the strategy's.
impl<B: Backend<Connection: Transact>> UnwindSafe for ConnectionManager<B> {}
impl<B: Backend<Connection: Transact>> RefUnwindSafe for ConnectionManager<B> {}

impl<B: Backend<Connection: Transact>> fmt::Debug for ConnectionManager<B> {
    /// By hand: a manager holds every version of its configuration, which nobody wants to read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topology = self.0.topologies.current();
        let databases: Vec<&str> = topology.members().map(|member| &*member.info.name).collect();
        f.debug_struct("ConnectionManager").field("name", &self.0.name).field("databases", &databases).finish()
    }
}

impl<B: Backend<Connection: Transact>> Managed for ConnectionManager<B> {
    fn name(&self) -> &str {
        Self::name(self)
    }

    fn status(&self) -> Status {
        Self::status(self)
    }

    fn apply(&self, field: &str, value: &str) -> Result<(), Error> {
        Self::apply(self, field, value)
    }

    fn close(&self, patience: Duration) -> Result<(), Error> {
        Self::close(self, patience)
    }
}
