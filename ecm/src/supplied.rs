use crate::{GroupInfo, ManagerConfig, builder::Recipe};
use ecm_core::{Balancer, Clock};
use std::sync::Arc;

/// What `enable_load_balancing` means where no balancer was given: those that the feature `balancer` supplies, each
/// group its own, all by the strategy that the configuration names.
#[derive(Debug)]
#[cfg(feature = "balancer")]
pub(crate) struct Supplied(ecm_balancer::Selection);

/// Nothing, without the feature.
#[derive(Debug)]
#[cfg(not(feature = "balancer"))]
pub(crate) struct Supplied;

#[cfg(feature = "balancer")]
impl Supplied {
    pub(crate) fn new(config: &ManagerConfig) -> Self {
        Self(ecm_balancer::Selection::new(config.load_balance_strategy.into()))
    }

    /// How each group gets its balancer; nothing if none is supplied.
    pub(crate) fn recipe(&self, clock: &Arc<dyn Clock>) -> Option<Recipe<GroupInfo, dyn Balancer>> {
        let (selection, clock) = (self.0.clone(), Arc::clone(clock));
        Some(Box::new(move |_| Box::new(ecm_balancer::Named::new(selection.clone(), Arc::clone(&clock)))))
    }

    /// What this configuration names acts from now on.
    pub(crate) fn select(&self, config: &ManagerConfig) {
        self.0.select(config.load_balance_strategy.into());
    }
}

#[cfg(not(feature = "balancer"))]
impl Supplied {
    pub(crate) fn new(_config: &ManagerConfig) -> Self {
        Self
    }

    pub(crate) fn recipe(&self, _clock: &Arc<dyn Clock>) -> Option<Recipe<GroupInfo, dyn Balancer>> {
        None
    }

    pub(crate) fn select(&self, _config: &ManagerConfig) {}
}
