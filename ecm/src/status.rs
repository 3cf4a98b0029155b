use crate::{manager::Shared, topology::Member};
use ecm_core::{Backend, DatabaseStatus, GroupStatus, Node, Role, Status, Transact};
use std::sync::atomic::Ordering;

impl<B: Backend<Connection: Transact>> Shared<B> {
    /// The manager at this moment.
    pub(crate) fn status(&self) -> Status {
        let topology = self.topologies.current();
        let mut status = Status::new(&self.name);
        status.open = self.is_open();
        status.version = self.topologies.count();
        status.configuration = topology.config.fields();
        status.cache = self.cache_stats();
        status.cache_rereads = self.rereads.figures();
        status.groups = topology
            .groups
            .iter()
            .map(|group| {
                let members = group.members.iter().zip(&group.nodes);
                let statuses = members.map(|(member, node)| database_status(member, node, group.pending(member, node)));
                let mut databases: Vec<_> = statuses.collect();
                group.superseded.iter().for_each(|index| databases[index].role = Role::Superseded);
                let mut status = GroupStatus::new(&*group.shared.name, databases);
                status.waiting_for_loads = group.shared.loads.waiting();
                let retries = group.shared.retries.figures();
                (status.retries, status.retries_refused) = (retries.granted, retries.refused);
                status
            })
            .collect();
        status
    }
}

fn database_status<B: Backend<Connection: Transact>>(member: &Member<B>, node: &Node, pending: u32) -> DatabaseStatus {
    let mut status = DatabaseStatus::new(&*member.info.name, member.backend.describe());
    status.priority = member.info.priority;
    status.read_only = !node.writable;
    status.role = if node.writable { Role::Primary } else { Role::Reader };
    status.replica = member.following.as_ref().filter(|_| !node.writable).map(|following| following.status());
    status.tags = member.info.tags.iter().map(|tag| tag.to_string()).collect();
    status.health = member.record.health();
    status.breaker = member.breaker.state();
    status.write_breaker = member.writer.get().is_some().then(|| member.write_breaker.state());
    status.waiting_writes = member.write_breaker.waiting.places();
    status.calls = member.answers.iter().map(|answers| answers.calls.load(Ordering::Relaxed)).sum();
    status.failures = member.answers.iter().map(|answers| answers.failures.load(Ordering::Relaxed)).sum();
    status.pending = pending;
    status.readers = member.readers.status();
    status.writer = member.writer.get().map(|lane| lane.status());
    status.log = member.backend.log();
    status.position = member.position();
    status
}
