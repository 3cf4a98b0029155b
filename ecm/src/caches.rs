use crate::{ManagerConfig, currency::Reads, manager::Shared, topology::Topology};
use ecm_core::{Backend, Cache, CacheStats, InvalidConfig, Transact};
use std::sync::{Arc, atomic::Ordering};

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
