#[cfg(feature = "sqlite")]
use ecm_sqlite::Sqlite;

use crate::{
    BuildError, ConnectionManager, Database, DatabaseInfo, GroupInfo, ManagerConfig,
    database::DEFAULT_GROUP,
    manager::Shared,
    registry::Registry,
    report::Observers,
    topology::{Group, GroupShared, Topology},
    versions::Versions,
};
use ecm_core::{
    Backend, Balancer, Breaker, Cache, Clock, FirstFit, NeverOpen, NoCache, Observer, Sizing, SystemClock, Transact,
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
};

type Recipe<I, S> = Box<dyn Fn(&I) -> Box<S> + Send + Sync>;

/// Puts a manager together from databases and strategies.
///
/// It starts from null objects in every build: the first fit database, no breaker, no cache, no
/// observer, pools of a fixed size. Strategies are given as recipes, since each group has a balancer
/// of its own, each database a breaker, each pool a sizing.
///
/// ```
/// # #[cfg(feature = "sqlite")] {
/// use ecm::{ConnectionManager, Database, sqlite::Sqlite};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = ConnectionManager::builder()
///     .name("notes")
///     .database(Database::new("main", Sqlite::memory()))
///     .build()?;
/// assert_eq!(manager.query("SELECT 1 + 1").one::<i64>().wait()?, 2);
/// # Ok(()) }
/// # main().unwrap();
/// # }
/// ```
#[must_use = "a builder does nothing until `build()`"]
pub struct Builder<
    #[cfg(feature = "sqlite")] B: Backend<Connection: Transact> = Sqlite,
    #[cfg(not(feature = "sqlite"))] B: Backend<Connection: Transact>,
> {
    name: String,
    databases: Vec<Database<B>>,
    config: ManagerConfig,
    balancer: Option<Recipe<GroupInfo, dyn Balancer>>,
    breaker: Recipe<DatabaseInfo, dyn Breaker>,
    sizing: Option<Recipe<DatabaseInfo, dyn Sizing>>,
    cache: Box<dyn Cache>,
    observers: Vec<Arc<dyn Observer>>,
    clock: Arc<dyn Clock>,
}

/// How a manager makes the strategies of what is registered later.
pub(crate) struct Recipes {
    balancer: Recipe<GroupInfo, dyn Balancer>,
    /// Whether spreading is possible: a balancer was given, or there is one to supply.
    balances: bool,
    pub(crate) breaker: Recipe<DatabaseInfo, dyn Breaker>,
    /// `None` for what the configuration of each pool names.
    pub(crate) sizing: Option<Recipe<DatabaseInfo, dyn Sizing>>,
}

impl<B: Backend<Connection: Transact>> ConnectionManager<B> {
    /// A builder over any backend, with null objects for every strategy.
    pub fn builder_for() -> Builder<B> {
        Builder {
            name: "ecm".into(),
            databases: Vec::new(),
            config: ManagerConfig::off(),
            balancer: None,
            breaker: Box::new(|_| Box::new(NeverOpen)),
            sizing: None,
            cache: Box::new(NoCache),
            observers: Vec::new(),
            clock: Arc::new(SystemClock::new()),
        }
    }
}

impl<B: Backend<Connection: Transact>> Builder<B> {
    /// What the manager is called, for people. *Default:* `ecm`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Adds a database; more can be registered while running.
    pub fn database(mut self, database: Database<B>) -> Self {
        self.databases.push(database);
        self
    }

    /// Applies a configuration. What it asks for and no strategy was given for, the features supply.
    pub fn configure(mut self, config: &ManagerConfig) -> Self {
        self.config = config.clone();
        self
    }

    /// How each group spreads its calls; switches `enable_load_balancing` on.
    pub fn balancer<S: Balancer + 'static>(mut self, recipe: impl Fn(&GroupInfo) -> S + Send + Sync + 'static) -> Self {
        self.balancer = Some(Box::new(move |group| Box::new(recipe(group))));
        self.config.enable_load_balancing = true;
        self
    }

    /// How each database decides whether it may be used. *Default:* always.
    pub fn breaker<S: Breaker + 'static>(
        mut self,
        recipe: impl Fn(&DatabaseInfo) -> S + Send + Sync + 'static,
    ) -> Self {
        self.breaker = Box::new(move |database| Box::new(recipe(database)));
        self
    }

    /// How each pool decides how many connections it holds: asked once for the readers and once for
    /// the writer of a database. *Default:* what [`PoolConfig::strategy`](crate::PoolConfig::strategy) says.
    pub fn sizing<S: Sizing + 'static>(mut self, recipe: impl Fn(&DatabaseInfo) -> S + Send + Sync + 'static) -> Self {
        self.sizing = Some(Box::new(move |database| Box::new(recipe(database))));
        self
    }

    /// Where [`cached`](crate::Call::cached) answers are stored. *Default:* nowhere.
    pub fn cache(mut self, cache: impl Cache + 'static) -> Self {
        self.cache = Box::new(cache);
        self
    }

    /// Adds somebody who is told what happens.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Where time comes from. *Default:* the monotonic clock of the machine.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// What each strategy would be, as `strategy = TypeName`: what `build()` would wire.
    #[must_use]
    pub fn wiring(&self) -> Vec<(&'static str, String)> {
        let group = GroupInfo::new(DEFAULT_GROUP.into());
        let balancer = match (&self.balancer, self.config.enable_load_balancing) {
            (Some(recipe), true) => format!("{:?}", recipe(&group)),
            (None, true) => supplied_balancer().map_or_else(|| "none".into(), |recipe| format!("{:?}", recipe(&group))),
            (_, false) => format!("{FirstFit:?}"),
        };
        let database = DatabaseInfo::new("main".into());
        let sizing = match &self.sizing {
            Some(recipe) => type_name(&format!("{:?}", recipe(&database))),
            None => "as each pool says".into(),
        };
        let observers = if self.observers.is_empty() { "none".into() } else { format!("{:?}", self.observers) };
        vec![
            ("balancer", type_name(&balancer)),
            ("breaker", type_name(&format!("{:?}", (self.breaker)(&database)))),
            ("sizing", sizing),
            ("cache", type_name(&format!("{:?}", self.cache))),
            ("observers", observers),
            ("failover", if self.config.enable_failover { "on" } else { "off" }.into()),
            ("metrics", if self.config.enable_metrics { "on" } else { "off" }.into()),
        ]
    }

    /// Opens one connection to each database and starts.
    ///
    /// # Errors
    /// The first field, feature or database that does not fit; nothing stays open then.
    pub fn build(self) -> Result<ConnectionManager<B>, BuildError> {
        self.config.check()?;
        let balances = self.balancer.is_some() || supplied_balancer().is_some();
        let balancer = self.balancer.or_else(supplied_balancer).unwrap_or_else(|| Box::new(|_| Box::new(FirstFit)));
        let recipes = Recipes { balancer, balances, breaker: self.breaker, sizing: self.sizing };
        recipes.check(&self.config)?;
        let default_group = Group::new(recipes.group(&DEFAULT_GROUP.into(), 0));
        let shared = Shared {
            #[cfg(feature = "metrics")]
            metrics: ecm_metrics::Metrics::new().for_manager(&self.name),
            name: self.name,
            clock: self.clock,
            observers: Arc::new(Observers::new(self.observers)),
            cache: self.cache,
            stale: AtomicU64::new(0),
            topologies: Versions::new(Topology { config: self.config, groups: vec![default_group] }),
            recipes,
            closed: AtomicBool::new(false),
        };
        self.databases.into_iter().try_for_each(|database| shared.register(database))?;
        Ok(ConnectionManager::new(shared))
    }
}

/// The balancer that `enable_load_balancing` means where none was given.
fn supplied_balancer() -> Option<Recipe<GroupInfo, dyn Balancer>> {
    #[cfg(feature = "balancer")]
    {
        Some(Box::new(|_| Box::new(ecm_balancer::RoundRobin::new())))
    }
    #[cfg(not(feature = "balancer"))]
    {
        None
    }
}

fn type_name(debug: &str) -> String {
    debug.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

impl Recipes {
    /// Whether there is a strategy for everything that the configuration asks for.
    pub(crate) fn check(&self, config: &ManagerConfig) -> Result<(), BuildError> {
        if config.enable_load_balancing && !self.balances {
            let (field, value) = ("enable_load_balancing", "true".into());
            return Err(BuildError::FeatureOff { field, value, feature: "balancer" });
        }
        if config.enable_metrics && cfg!(not(feature = "metrics")) {
            let (field, value) = ("enable_metrics", "true".into());
            return Err(BuildError::FeatureOff { field, value, feature: "metrics" });
        }
        Ok(())
    }

    pub(crate) fn group(&self, name: &Arc<str>, id: u32) -> Arc<GroupShared> {
        Arc::new(GroupShared {
            name: Arc::clone(name),
            id,
            balancer: (self.balancer)(&GroupInfo::new(Arc::clone(name))),
            statements: Registry::default(),
        })
    }
}

impl fmt::Debug for Recipes {
    /// By hand: recipes are closures.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipes").finish_non_exhaustive()
    }
}

impl<B: Backend<Connection: Transact>> fmt::Debug for Builder<B> {
    /// By hand: recipes are closures; what they make is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut builder = f.debug_struct("Builder");
        builder.field("name", &self.name).field("databases", &self.databases);
        for (strategy, name) in self.wiring() {
            builder.field(strategy, &name);
        }
        builder.finish()
    }
}
