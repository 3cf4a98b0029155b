use crate::{
    DatabaseInfo, ManagerConfig,
    costs::Costs,
    currency::Currency,
    following::Following,
    health::{Checker, Record},
    job::Way,
    loads::Loads,
    promotion::Succession,
    reader_threads::ReaderThreads,
    registry::Registry,
    report::Observers,
    rereads::{Background, Sampling},
    retry_budget::RetryBudget,
    watched_breaker::WatchedBreaker,
};
use ecm_core::{Backend, Balancer, Cache, Error, Kind, Mask, Node, PerThread, Position, Transact};
use ecm_pool::{Lane, Pool};
use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// One version of what a manager serves: immutable, and kept until the manager goes.
#[derive(Debug)]
pub(crate) struct Topology<B: Backend<Connection: Transact>> {
    pub(crate) config: ManagerConfig,
    /// Where answers are kept.
    pub(crate) cache: Arc<dyn Cache>,
    /// Which hits are compared with what the database answers, by the configuration.
    pub(crate) compares: Sampling,
    pub(crate) groups: Vec<Group<B>>,
}

/// A group in one version. What must outlive the version is behind `shared` and `members`.
#[derive(Debug)]
pub(crate) struct Group<B: Backend<Connection: Transact>> {
    pub(crate) shared: Arc<GroupShared>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) members: Vec<Arc<Member<B>>>,
    /// Moves when a database joins or leaves: what was cached before may have come from other data.
    /// Part of the version, so that a call stores under the epoch of the databases that it saw.
    pub(crate) epoch: u64,
    /// Whether a database is, or has been, kept a copy of another one, so that some may be unfit for every call.
    pub(crate) follows: bool,
    /// Those whose place another one has taken: they serve nothing.
    pub(crate) superseded: Mask,
    /// What became of each primary whose place another one has taken.
    pub(crate) successions: Arc<[Succession]>,
}

#[derive(Debug)]
pub(crate) struct GroupShared {
    pub(crate) name: Arc<str>,
    pub(crate) id: u32,
    pub(crate) balancer: Box<dyn Balancer>,
    pub(crate) retries: RetryBudget,
    /// Whether a database of it is not ready, with the lock of whoever finds out.
    pub(crate) unwell: (AtomicBool, Mutex<()>),
    pub(crate) statements: Registry,
    pub(crate) costs: Costs,
    /// Queries that are read for whoever asks for the same meanwhile.
    pub(crate) loads: Loads,
    /// Where answers are read again for nobody in particular.
    pub(crate) background: Background,
}

/// A database with everything that belongs to it.
#[derive(Debug)]
pub(crate) struct Member<B: Backend<Connection: Transact>> {
    pub(crate) info: DatabaseInfo,
    pub(crate) backend: Arc<B>,
    pub(crate) observers: Arc<Observers>,
    pub(crate) readers: Pool<B>,
    /// None for a database that is only read, unless it is promoted.
    pub(crate) writer: OnceLock<Arc<Lane<B>>>,
    /// Where it works for those who await.
    pub(crate) threads: ReaderThreads,
    /// Keeps it a copy of the primary.
    pub(crate) following: Option<Arc<Following>>,
    /// Whether it cannot be known if what it commits from now on is there: another one has taken its place unasked.
    pub(crate) lost: AtomicBool,
    /// What cached results of its group are judged by, where they come from here.
    pub(crate) currency: Arc<Currency>,
    pub(crate) breaker: WatchedBreaker,
    /// Apart from that of the readers: a storage that takes no more writes can still be read.
    pub(crate) write_breaker: WatchedBreaker,
    pub(crate) record: Record,
    /// Set once the manager is complete, if the database is to be checked.
    pub(crate) checker: OnceLock<Arc<Checker<B>>>,
    pub(crate) answers: PerThread<Answers>,
}

/// How calls to a database ended, as one stripe of its threads has counted.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) calls: AtomicU64,
    pub(crate) failures: AtomicU64,
}

/// Whom a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'m> {
    Default,
    Group(&'m str),
    Database(&'m str),
}

impl<B: Backend<Connection: Transact>> Topology<B> {
    pub(crate) fn new(config: ManagerConfig, cache: Arc<dyn Cache>, groups: Vec<Group<B>>) -> Self {
        Self { compares: Sampling::of(config.cache_self_check), config, cache, groups }
    }

    pub(crate) fn group(&self, name: &str) -> Option<&Group<B>> {
        self.groups.iter().find(|group| *group.shared.name == *name)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Arc<Member<B>>> {
        self.groups.iter().flat_map(|group| &group.members)
    }

    /// The group and the databases of it that a call is for.
    #[inline]
    pub(crate) fn resolve(&self, target: Target<'_>) -> Result<(&Group<B>, Mask), Error> {
        match target {
            Target::Default => {
                let group = &self.groups[0];
                Ok((group, Mask::first(group.members.len())))
            }
            Target::Group(name) => {
                let group = self.group(name).ok_or_else(|| self.no_such("group", name))?;
                Ok((group, Mask::first(group.members.len())))
            }
            Target::Database(name) => {
                let found = self.groups.iter().find_map(|group| {
                    let index = group.members.iter().position(|member| *member.info.name == *name)?;
                    Some((group, Mask::NONE.with(index)))
                });
                found.ok_or_else(|| self.no_such("database", name))
            }
        }
    }

    fn no_such(&self, what: &str, name: &str) -> Error {
        let names: Vec<&str> = if what == "group" {
            self.groups.iter().map(|group| &*group.shared.name).collect()
        } else {
            self.members().map(|member| &*member.info.name).collect()
        };
        let known =
            if names.is_empty() { "none is registered".to_owned() } else { format!("there is {}", names.join(", ")) };
        Error::new(Kind::NotFound, format_args!("there is no {what} {name:?}: {known}"))
    }

    /// The same with another configuration, and the cache that it asks for.
    pub(crate) fn with_config(&self, config: ManagerConfig, cache: Arc<dyn Cache>) -> Self {
        Self::new(config, cache, self.groups.iter().map(Group::copy).collect())
    }

    fn copy(&self) -> Self {
        self.with_config(self.config.clone(), Arc::clone(&self.cache))
    }

    /// The same with one more database.
    pub(crate) fn with(
        &self,
        member: Arc<Member<B>>,
        new_group: impl FnOnce(u32) -> Arc<GroupShared>,
    ) -> Result<Self, Error> {
        let info = &member.info;
        if self.members().any(|other| other.info.name == info.name) {
            let message =
                format_args!("a database {:?} is registered already: choose another name, or unregister it", info.name);
            return Err(Error::new(Kind::Exists, message));
        }
        let mut next = self.copy();
        let index = next.groups.iter().position(|group| group.shared.name == info.group).unwrap_or_else(|| {
            let id = u32::try_from(next.groups.len()).unwrap_or(u32::MAX);
            next.groups.push(Group::new(new_group(id)));
            next.groups.len() - 1
        });
        let group = &mut next.groups[index];
        if group.members.len() == Mask::CAPACITY {
            let message = format_args!("group {:?} is full: {} databases at most", info.group, Mask::CAPACITY);
            return Err(Error::new(Kind::Invalid, message));
        }
        if let Some(primary) = group.primary()
            && !info.read_only
        {
            let primary = &group.members[primary].info.name;
            let message = format_args!(
                "group {:?} has a primary already, {primary:?}: register {:?} as read_only(true) or in another group",
                info.group, info.name
            );
            return Err(Error::new(Kind::Exists, message));
        }
        group.epoch += 1;
        group.follows |= member.following.is_some();
        group.nodes.push(info.node());
        group.members.push(member);
        Ok(next)
    }

    /// The same without one database, and that database.
    pub(crate) fn without(&self, name: &str) -> Result<(Self, Arc<Member<B>>), Error> {
        let mut next = self.copy();
        for group in &mut next.groups {
            if let Some(index) = group.members.iter().position(|member| *member.info.name == *name) {
                group.epoch += 1;
                group.nodes.remove(index);
                let member = group.members.remove(index);
                // Those behind it move up.
                let moved = |other: usize| if other > index { other - 1 } else { other };
                group.superseded = group.superseded.without(index).iter().map(moved).collect();
                return Ok((next, member));
            }
        }
        Err(self.no_such("database", name))
    }
}

impl<B: Backend<Connection: Transact>> Group<B> {
    /// A group without databases.
    pub(crate) fn new(shared: Arc<GroupShared>) -> Self {
        Self {
            shared,
            nodes: Vec::new(),
            members: Vec::new(),
            epoch: 0,
            follows: false,
            superseded: Mask::NONE,
            successions: Arc::new([]),
        }
    }

    /// Those that may be read at all.
    #[inline]
    pub(crate) fn readable(&self) -> Mask {
        let unfit = |(index, member): (usize, &Arc<Member<B>>)| match &member.following {
            Some(following) if !self.nodes[index].writable => (!following.is_readable()).then_some(index),
            _ => None,
        };
        let without_copy: Mask = self.members.iter().enumerate().filter_map(unfit).collect();
        Mask::first(self.members.len()).minus(self.superseded).minus(without_copy)
    }

    /// Which primary it has: how often a copy has taken over.
    pub(crate) fn term(&self) -> u64 {
        self.successions.last().map_or(0, |succession| succession.since.epoch)
    }

    /// Finds out whether a database of the group is not ready.
    pub(crate) fn look_for_unwell(&self) {
        let (unwell, lock) = &self.shared.unwell;
        let _only_one = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let any = self.members.iter().any(|member| !member.record.is_ready());
        unwell.store(any, Ordering::Relaxed);
    }

    /// Whether a database of the group is not ready.
    #[inline]
    pub(crate) fn is_unwell(&self) -> bool {
        self.shared.unwell.0.load(Ordering::Relaxed)
    }

    /// The databases that are known to be well.
    #[cold]
    pub(crate) fn ready(&self) -> Mask {
        self.those(|member| member.record.is_ready())
    }

    /// The databases of which nothing is known to be damaged.
    #[cold]
    pub(crate) fn undamaged(&self) -> Mask {
        self.those(|member| !member.record.is_damaged())
    }

    fn those(&self, which: impl Fn(&Member<B>) -> bool) -> Mask {
        self.members.iter().enumerate().filter(|(_, member)| which(member)).map(|(index, _)| index).collect()
    }

    /// How many attempts have succeeded in its databases.
    pub(crate) fn successes(&self) -> u64 {
        self.members.iter().map(|member| member.successes()).sum()
    }

    /// The index of the database that may be written.
    pub(crate) fn primary(&self) -> Option<usize> {
        self.nodes.iter().position(|node| node.writable)
    }

    /// The index of the database that answers may be kept of: the primary, or the only one.
    #[inline]
    pub(crate) fn source(&self) -> Option<usize> {
        self.primary().or_else(|| (self.nodes.len() == 1).then_some(0))
    }

    fn copy(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            nodes: self.nodes.clone(),
            members: self.members.clone(),
            epoch: self.epoch,
            follows: self.follows,
            superseded: self.superseded,
            successions: Arc::clone(&self.successions),
        }
    }
}

impl<B: Backend<Connection: Transact>> Group<B> {
    /// How many calls were sent to a database of this group and have not ended: counted for the balancer where there is
    /// another one, otherwise those that have or wait for one of its connections.
    pub(crate) fn pending(&self, member: &Member<B>, node: &Node) -> u32 {
        let counted = node.load.pending();
        if self.nodes.len() > 1 {
            return counted;
        }
        let of = |pool: &Pool<B>| pool.status().lent + pool.status().waiting;
        member.pools().map(of).sum::<u32>().max(counted)
    }
}

impl<B: Backend<Connection: Transact>> Drop for Member<B> {
    fn drop(&mut self) {
        self.stop_checks();
        // Before the pools, so that the last connection is one that can empty the log.
        self.currency.close();
        if let Some(following) = &self.following {
            following.stop();
        }
    }
}

impl<B: Backend<Connection: Transact>> Member<B> {
    /// Where its last commit by this manager stands.
    pub(crate) fn position(&self) -> Position {
        self.writer.get().map(|lane| lane.position()).unwrap_or_default()
    }

    /// Who decides whether a call may go this way.
    #[inline]
    pub(crate) fn breaker_for(&self, way: Way) -> &WatchedBreaker {
        match way {
            Way::Read(_) => &self.breaker,
            Way::Write(_) => &self.write_breaker,
        }
    }

    fn successes(&self) -> u64 {
        let count = |answers: &Answers| {
            let failures = answers.failures.load(Ordering::Relaxed);
            answers.calls.load(Ordering::Relaxed).saturating_sub(failures)
        };
        self.answers.iter().map(count).sum()
    }

    fn stop_checks(&self) {
        if let Some(checker) = self.checker.get() {
            checker.stop();
        }
    }

    pub(crate) fn close(&self) {
        self.stop_checks();
        self.write_breaker.waiting.next_turn();
        // Before the pools, for the same reason.
        if let Some(following) = &self.following {
            following.stop();
        }
        self.currency.close();
        self.readers.close();
        if let Some(writer) = self.writer.get() {
            writer.close();
        }
    }

    pub(crate) fn pools(&self) -> impl Iterator<Item = &Pool<B>> {
        std::iter::once(&self.readers).chain(self.writer.get().map(|lane| lane.pool()))
    }

    #[inline]
    pub(crate) fn answered(&self, failed: bool) {
        let mine = self.answers.mine();
        mine.add(|answers| &answers.calls, 1);
        if failed {
            mine.add(|answers| &answers.failures, 1);
        }
    }
}
