#[cfg(feature = "sqlite")]
use ecm_sqlite::Sqlite;

use crate::{
    BuildError, ConnectionManager, Database, DatabaseInfo, GroupInfo, ManagerConfig,
    costs::Costs,
    database::DEFAULT_GROUP,
    loads::Loads,
    manager::Shared,
    registry::Registry,
    report::Observers,
    rereads::{self, Background},
    retry_budget::RetryBudget,
    supplied::Supplied,
    threads::thread_for_work,
    topology::{Group, GroupShared, Topology},
};
use ecm_core::{
    Backend, Balancer, Breaker, Cache, Clock, FirstFit, InvalidConfig, NeverOpen, NoCache, Observer, Sizing,
    SystemClock, Transact, Versions,
};
use std::{
    fmt,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64},
    },
};

pub(crate) type Recipe<I, S> = Box<dyn Fn(&I) -> Box<S> + Send + Sync>;

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
    cache: Option<Arc<dyn Cache>>,
    observers: Vec<Arc<dyn Observer>>,
    clock: Arc<dyn Clock>,
}

/// How a manager makes the strategies of what is registered later.
pub(crate) struct Recipes {
    balancer: Recipe<GroupInfo, dyn Balancer>,
    /// Whether spreading is possible: a balancer was given, or there is one to supply.
    balances: bool,
    pub(crate) supplied: Supplied,
    pub(crate) breaker: Recipe<DatabaseInfo, dyn Breaker>,
    /// `None` for what the configuration of each pool names.
    pub(crate) sizing: Option<Recipe<DatabaseInfo, dyn Sizing>>,
    /// Whether a cache was given, whose bounds are its own.
    cache_given: bool,
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
            cache: None,
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

    /// How each group spreads its calls, instead of as `load_balance_strategy` says; switches
    /// `enable_load_balancing` on.
    pub fn balancer<S: Balancer + 'static>(mut self, recipe: impl Fn(&GroupInfo) -> S + Send + Sync + 'static) -> Self {
        self.balancer = Some(Box::new(move |group| Box::new(recipe(group))));
        self.config.enable_load_balancing = true;
        self
    }

    /// How each database decides whether it may be used: asked once for those who read and once for those who write,
    /// since a storage that takes no more writes can still be read. *Default:* always.
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

    /// Where answers of queries are kept; switches `enable_query_cache` on. Its bounds are its own: `cache_max_size`
    /// and `cache_ttl` do not act on it.
    pub fn cache(mut self, cache: impl Cache + 'static) -> Self {
        self.cache = Some(Arc::new(cache));
        self.config.enable_query_cache = true;
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
            (None, true) => {
                let supplied = Supplied::new(&self.config).recipe(&self.clock);
                supplied.map_or_else(|| "none".into(), |recipe| format!("{:?}", recipe(&group)))
            }
            (_, false) => format!("{FirstFit:?}"),
        };
        let database = DatabaseInfo::new("main".into());
        let sizing = match &self.sizing {
            Some(recipe) => type_name(&format!("{:?}", recipe(&database))),
            None => "as each pool says".into(),
        };
        let cache = match (&self.cache, self.config.enable_query_cache) {
            (Some(cache), true) => format!("{cache:?}"),
            (None, true) => supplied_cache(&self.config).map_or_else(
                |_| "none".into(),
                |made| made.map_or_else(|| "none".into(), |cache| format!("{cache:?}")),
            ),
            (_, false) => format!("{NoCache:?}"),
        };
        let observers = if self.observers.is_empty() { "none".into() } else { format!("{:?}", self.observers) };
        vec![
            ("balancer", type_name(&balancer)),
            ("breaker", type_name(&format!("{:?}", (self.breaker)(&database)))),
            ("sizing", sizing),
            ("cache", type_name(&cache)),
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
        let supplied = Supplied::new(&self.config);
        let balancer = self.balancer.or_else(|| supplied.recipe(&self.clock));
        let recipes = Recipes {
            balances: balancer.is_some(),
            balancer: balancer.unwrap_or_else(|| Box::new(|_| Box::new(FirstFit))),
            supplied,
            breaker: self.breaker,
            sizing: self.sizing,
            cache_given: self.cache.is_some(),
        };
        recipes.check(&self.config)?;
        let cache = match self.cache {
            Some(cache) => cache,
            None => recipes.cache(&self.config)?.unwrap_or_else(|| Arc::new(NoCache)),
        };
        let default_group = Group::new(recipes.group(&DEFAULT_GROUP.into(), 0, &self.clock));
        let shared = Arc::new_cyclic(|me| Shared {
            me: Weak::clone(me),
            #[cfg(feature = "metrics")]
            metrics: ecm_metrics::Metrics::new().for_manager(&self.name),
            name: self.name,
            clock: self.clock,
            observers: Arc::new(Observers::new(self.observers)),
            stale: AtomicU64::new(0),
            rereads: rereads::Counts::default(),
            topologies: Versions::new(Topology::new(self.config, cache, vec![default_group])),
            recipes,
            closed: AtomicBool::new(false),
            promoting: Mutex::default(),
        });
        self.databases.into_iter().try_for_each(|database| shared.register(database))?;
        Ok(ConnectionManager::new(shared))
    }
}

/// The cache that `enable_query_cache` means where none was given; none without the feature.
fn supplied_cache(config: &ManagerConfig) -> Result<Option<Arc<dyn Cache>>, InvalidConfig> {
    #[cfg(feature = "cache-quick")]
    {
        let default = ecm_cache::QuickConfig::default();
        let quick = ecm_cache::QuickConfig {
            max_entries: config.cache_max_size,
            max_bytes: default.max_bytes.max(config.cache_max_size.saturating_mul(BYTES_A_RESULT)),
            ttl: config.cache_ttl,
            ..default
        };
        Ok(Some(Arc::new(ecm_cache::Quick::new(&quick)?)))
    }
    #[cfg(not(feature = "cache-quick"))]
    {
        let _nothing_is_made = config;
        Ok(None)
    }
}

/// How many bytes a cache may take for each of its results, where that is more than it may take anyway.
#[cfg(feature = "cache-quick")]
const BYTES_A_RESULT: u64 = 1024;

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
        if config.enable_query_cache && !self.cache_given && cfg!(not(feature = "cache-quick")) {
            let (field, value) = ("enable_query_cache", "true".into());
            return Err(BuildError::FeatureOff { field, value, feature: "cache-quick" });
        }
        if config.enable_metrics && cfg!(not(feature = "metrics")) {
            let (field, value) = ("enable_metrics", "true".into());
            return Err(BuildError::FeatureOff { field, value, feature: "metrics" });
        }
        Ok(())
    }

    /// A cache as the configuration asks for it; none where one was given, or none is wanted.
    pub(crate) fn cache(&self, config: &ManagerConfig) -> Result<Option<Arc<dyn Cache>>, InvalidConfig> {
        if self.cache_given || !config.enable_query_cache { Ok(None) } else { supplied_cache(config) }
    }

    /// Whether a change of what a cache is bounded by would act.
    pub(crate) fn bounds_cache(&self) -> bool {
        !self.cache_given
    }

    pub(crate) fn group(&self, name: &Arc<str>, id: u32, clock: &Arc<dyn Clock>) -> Arc<GroupShared> {
        Arc::new(GroupShared {
            name: Arc::clone(name),
            id,
            balancer: (self.balancer)(&GroupInfo::new(Arc::clone(name))),
            retries: RetryBudget::default(),
            unwell: std::default::Default::default(),
            statements: Registry::default(),
            costs: Costs::default(),
            loads: Loads::new(Arc::clone(clock)),
            background: Background::new(thread_for_work("ecm-cache")),
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
