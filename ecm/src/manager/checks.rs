//! How databases do.

use super::{ConnectionManager, Shared};
use crate::{
    health::{self, Checker},
    topology::{Member, Target},
};
use ecm_core::{Backend, Error, Explanation, Health, Transact};
use std::sync::Arc;

impl<B: Backend<Connection: Transact>> ConnectionManager<B> {
    /// How each database does, as checks have found: by its name, in the order of registration.
    ///
    /// They are made every [`health_check_interval`](crate::PoolConfig::health_check_interval), and told to observers
    /// as [`Event::Health`](ecm_core::Event::Health).
    ///
    /// ```
    /// # #[cfg(feature = "standard")] {
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = ecm::ConnectionManager::open(":memory:")?;
    /// assert!(manager.health().iter().all(|(_, health)| health.ready));
    /// # Ok(()) }
    /// # main().unwrap();
    /// # }
    /// ```
    #[must_use]
    pub fn health(&self) -> Vec<(Arc<str>, Health)> {
        let members = self.0.topologies.current().members();
        members.map(|member| (Arc::clone(&member.info.name), member.record.health())).collect()
    }

    /// Why the balancer of a group has picked what it has picked last: by which strategy, what it has changed its mind
    /// about, some picks with the scores that were compared.
    ///
    /// A balancer may begin to write down its picks when it is asked for the first time, and stop when nobody has come
    /// back for some; those of `ecm::balancer` keep the last 32 of the next 1,000.
    ///
    /// ```
    /// # #[cfg(feature = "standard")] {
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = ecm::ConnectionManager::open(":memory:")?;
    /// assert_eq!(manager.explain_balancing("default")?.strategy, "performance");
    /// manager.apply("load_balance_strategy", "round_robin")?;
    /// assert_eq!(manager.explain_balancing("default")?.strategy, "round_robin");
    /// # Ok(()) }
    /// # main().unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Kind::NotFound`](ecm_core::Kind::NotFound): no database of that group has ever been registered.
    pub fn explain_balancing(&self, group: &str) -> Result<Explanation, Error> {
        let topology = self.0.topologies.current();
        let (group, _) = topology.resolve(Target::Group(group))?;
        Ok(if topology.config.enable_load_balancing {
            group.shared.balancer.explain()
        } else {
            Explanation::new("off: the highest priority that is fit")
        })
    }

    /// Takes a database back into use that was found damaged, and has its breakers try it, whatever they have counted.
    ///
    /// Nothing else does so: that a later check passes does not say that what was damaged is whole. Harmless for a
    /// database that is in use.
    ///
    /// # Errors
    /// [`Kind::NotFound`](ecm_core::Kind::NotFound): no database of that name is registered.
    pub fn reinstate(&self, name: &str) -> Result<(), Error> {
        let topology = self.0.topologies.current();
        let (group, found) = topology.resolve(Target::Database(name))?;
        if let Some(index) = found.lowest() {
            self.0.reinstate(&group.members[index]);
        }
        Ok(())
    }
}

impl<B: Backend<Connection: Transact>> Shared<B> {
    pub(super) fn begin_checks(self: &Arc<Self>) {
        let unchecked = |member: &&Arc<Member<B>>| member.checker.get().is_none();
        self.topologies.current().members().filter(unchecked).for_each(|member| Checker::begin(self, member));
    }

    fn reinstate(&self, member: &Member<B>) {
        health::note(self, member, |health| {
            health.damaged = false;
            health.failure = None;
        });
        let now = self.clock.now();
        for breaker in [&member.breaker, &member.write_breaker] {
            breaker.try_again(now);
            breaker.tell(&member.info.name, &self.observers);
        }
    }
}
