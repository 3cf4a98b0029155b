use crate::{
    CacheMode, ConnectionManager, ManagerConfig,
    currency::Reads,
    manager::Shared,
    topology::{Target, Topology},
};
use ecm_core::{Backend, Cache, CacheStats, Error, InvalidConfig, Transact};
use std::sync::{Arc, atomic::Ordering};

impl<B: Backend<Connection: Transact>> ConnectionManager<B> {
    /// Decides what queries of this text accept from the cache, and leave there, wherever in the program they are asked;
    /// a [`cache_mode`](crate::Call::cache_mode) of a call goes before it. Acts from the next call on;
    /// [`CacheMode::Current`] takes it back.
    ///
    /// For the default group; of others by [`Handle::set_cache_mode`](crate::Handle::set_cache_mode). The text is the whole statement, to the letter. It
    /// need not be known yet.
    ///
    /// ```
    /// # #[cfg(feature = "standard")] {
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use ecm::{CacheMode, ConnectionManager, Source};
    /// use std::time::Duration;
    ///
    /// const BOARD: &str = "SELECT name FROM player ORDER BY points DESC LIMIT 10";
    ///
    /// let manager = ConnectionManager::open(":memory:")?;
    /// manager.execute("CREATE TABLE player (name, points)").wait()?;
    /// // Ten seconds are soon enough for this one, whoever asks for it.
    /// manager.set_cache_mode(BOARD, CacheMode::NotOlderThan(Duration::from_secs(10)))?;
    /// assert!(manager.query(BOARD).all::<String>().wait()?.is_empty());
    /// manager.execute("INSERT INTO player VALUES ('ada', 7)").wait()?;
    /// let board = manager.query(BOARD).all::<String>().answer()?;
    /// assert!(board.value.is_empty() && matches!(board.source, Source::Cache { current: false, .. }));
    /// let board = manager.query(BOARD).cache_mode(CacheMode::Current).all::<String>().wait()?;
    /// assert_eq!(board, ["ada"]);
    /// # Ok(()) }
    /// # main().unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Kind::Invalid`](ecm_core::Kind::Invalid): a mode was set for 4,096 texts already.
    pub fn set_cache_mode(&self, sql: &str, mode: CacheMode) -> Result<(), Error> {
        self.handle(Target::Default).set_cache_mode(sql, mode)
    }
}

impl<B: Backend<Connection: Transact>> Shared<B> {
    /// The cache that a changed configuration asks for: the present one, unless what it was made with has changed.
    pub(crate) fn cache_for(
        &self,
        current: &Topology<B>,
        config: &ManagerConfig,
    ) -> Result<Arc<dyn Cache>, InvalidConfig> {
        let before = &current.config;
        let same = (before.cache_max_size, before.cache_ttl) == (config.cache_max_size, config.cache_ttl);
        if !same && !self.recipes.bounds_cache() {
            let (field, value) = if before.cache_max_size == config.cache_max_size {
                ("cache_ttl", format!("{:?}", config.cache_ttl))
            } else {
                ("cache_max_size", config.cache_max_size.to_string())
            };
            return Err(InvalidConfig::new(
                field,
                value,
                "no change: the cache was given to the builder, and has bounds of its own",
            ));
        }
        let wanted = config.enable_query_cache;
        if !wanted || (same && before.enable_query_cache) {
            return Ok(Arc::clone(&current.cache));
        }
        let Some(made) = self.recipes.cache(config)? else { return Ok(Arc::clone(&current.cache)) };
        // Kept until the manager goes, as every version: with what it has counted, and without what is in it.
        current.cache.clear();
        Ok(made)
    }

    /// Opens what tells of the writes of others, where answers are kept: now, since no call that asks for something else
    /// should wait for it.
    pub(crate) fn look_for_writes(&self) {
        let topology = self.topologies.current();
        if !topology.config.enable_query_cache {
            return;
        }
        for group in &topology.groups {
            if let Some(source) = group.source() {
                let nothing = Reads { tables: &[], rows: None };
                drop(group.members[source].currency.capture(&nothing, &group.shared.statements));
            }
        }
    }

    /// The figures of the present cache, with what all caches so far have counted.
    pub(crate) fn cache_stats(&self) -> CacheStats {
        let mut caches: Vec<&Arc<dyn Cache>> = self.topologies.all().map(|topology| &topology.cache).collect();
        // Versions that follow each other share one, until another one is asked for.
        caches.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let mut stats = caches.pop().map(|present| present.stats()).unwrap_or_default();
        for former in caches.into_iter().map(|former| former.stats()) {
            stats.hits += former.hits;
            stats.misses += former.misses;
            stats.inserted += former.inserted;
            stats.rejected += former.rejected;
            stats.evicted += former.evicted;
            stats.expired += former.expired;
        }
        let stale = self.stale.load(Ordering::Relaxed);
        stats.hits = stats.hits.saturating_sub(stale);
        stats.misses += stale;
        stats
    }
}
