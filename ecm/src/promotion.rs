use crate::{
    ConnectionManager, DatabaseInfo,
    following::{Following, Promoter, Reached, Stand, Work},
    manager::Shared,
    topology::{Group, Member, Target},
};
use ecm_core::{
    Backend, Error, Event, FaultKind, FollowError, Interest, Kind, Observer, Position, Relation, Time, Transact,
    block_on,
};
use std::{
    sync::{Arc, PoisonError, Weak, atomic::Ordering},
    time::Duration,
};

/// A copy has become the primary of its group: see [`ConnectionManager::promote`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Promotion {
    /// The primary now.
    pub database: Arc<str>,
    /// The primary before.
    pub instead_of: Arc<str>,
    /// Where the primary stands now: the first position of its epoch.
    pub position: Position,
    /// A commit of the former primary that it is known to have, with all before it.
    pub reached: Position,
    /// How many commits that this manager has made on the former primary it does not have; `None` if that is not known.
    pub lost: Option<u64>,
    /// Whether it has everything that anybody has committed on the former primary, also other processes.
    pub complete: bool,
    /// Whether the former primary could be told, so that nobody writes it any more, in whatever process.
    pub fenced: bool,
}

/// What became of a primary whose place another one has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Succession {
    /// Where the other one began.
    pub(crate) since: Position,
    /// What that had of it: what was committed later is gone.
    pub(crate) reached: Position,
    /// Everything is there that was visible before this; [`Time::NEVER`] if nothing at all is lost.
    pub(crate) complete_until: Time,
    /// Which copy it was: what was seen of that is there.
    pub(crate) copy: Option<u64>,
}

/// How long what is being written by the former primary may take to end, where it cannot be told otherwise.
const DRAINING: Duration = Duration::from_secs(1);

/// What is known of a copy that took over before this process began.
pub(crate) type TookOver = (Position, Position);

impl<B: Backend<Connection: Transact>> ConnectionManager<B> {
    /// Makes a copy show everything that is visible in the primary now, and answers the position up to which it does.
    /// Costs microseconds where it does already; otherwise it is copied as a whole, without pauses, while this waits.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Invalid`] for a database that is no [`Replica`](crate::Replica), or what has failed:
    /// the former copy stays in service then.
    pub fn catch_up(&self, name: &str) -> Result<Position, Error> {
        self.shared().check_open()?;
        let (_, member) = self.shared().replica(name)?;
        Ok(following(&member)?.catch_up()?.position)
    }

    /// Makes a copy the primary of its group: it takes the writes from now on, and the former one serves nothing
    /// any more.
    ///
    /// While the former primary can be reached nothing is lost: it is told first, in its own file, so that nobody
    /// writes it from then on, also in other processes; then the rest is copied; writes of this manager wait
    /// meanwhile. If the copy fails then, the former primary goes on, and this fails. Where the former primary
    /// cannot be read or told, the copy takes over as it is: [`Promotion::lost`] says how many commits it lacks,
    /// and whoever asks for one of them by [`at_least`](crate::Call::at_least), or by a session that may have seen it, is
    /// told so. A write that it is committing at that moment is reported as unknown.
    ///
    /// If the process dies in the middle, the former primary may refuse writes although the copy has not taken over:
    /// promote it again.
    ///
    /// It is remembered in both files: when they are opened again, in the same roles as before, the copy is the
    /// primary, and the former one is refused. The other copies of the group follow the new primary; they serve
    /// again once they have copied it. Answers in the cache, and what is known of statements, are forgotten. To have the
    /// former primary back, unregister it, delete its file if nothing in it is needed, and register it as a
    /// [`Replica`](crate::Replica) of the new one.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Invalid`] for a database that is no replica, [`Kind::Unavailable`] for one without a
    /// complete copy, or what has failed: nothing has changed then.
    pub fn promote(&self, name: &str) -> Result<Promotion, Error> {
        self.shared().promote(name)
    }
}

impl<B: Backend<Connection: Transact>> Promoter for Shared<B> {
    fn promote_unasked(&self, name: &Arc<str>) {
        let is_best = self.replica(name).is_ok_and(|(group, member)| {
            let reached = |member: &Member<B>| {
                let following = member.following.as_ref()?;
                following.config.promote_after.and_then(|_| following.reached())
            };
            let mine = reached(&member);
            group.members.iter().all(|other| reached(other) <= mine)
        });
        if is_best && self.is_open() {
            // It is tried again at the next look, and the failures of those are told.
            let _tried = self.promote(name);
        }
    }
}

impl PartialOrd for Reached {
    /// By what is in it.
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some((self.position, self.as_of).cmp(&(other.position, other.as_of)))
    }
}

impl<B: Backend<Connection: Transact>> Shared<B> {
    /// What keeps a database a copy of the primary of its group; `None` if nobody is to.
    pub(crate) fn following(
        self: &Arc<Self>,
        info: &DatabaseInfo,
        backend: &Arc<B>,
    ) -> Result<Option<Arc<Following>>, Error> {
        let Some(replica) = &info.replica else { return Ok(None) };
        let topology = self.topologies.current();
        let group = topology.group(&info.group);
        let known = group.is_some_and(|group| group.members.iter().any(|member| member.info.name == replica.of));
        let primary = group.and_then(|group| group.primary().map(|index| &group.members[index]));
        let (true, Some(primary)) = (known, primary) else {
            let message = format_args!(
                "it is to be a copy of {:?}, which is no database of the group {:?} with a primary: register that one \
                 before",
                replica.of, info.group
            );
            return Err(Error::new(Kind::NotFound, message).in_database(&info.name));
        };
        let work = self.work(primary, backend).map_err(|error| error.in_database(&info.name))?;
        let promoter: Weak<dyn Promoter> = Arc::<Self>::downgrade(self) as Weak<dyn Promoter>;
        let (name, clock) = (Arc::clone(&info.name), Arc::clone(&self.clock));
        Ok(Some(Following::new(name, replica.clone(), work, clock, Arc::clone(&self.observers), promoter)))
    }

    /// What copies `source` into another database.
    fn work(&self, source: &Member<B>, copy: &B) -> Result<Work, Error> {
        let follow = copy.follow(&source.backend, &self.clock);
        let follow = follow.map_err(|failure| Error::from_failure(failure, copy))?;
        let backend = Arc::clone(&source.backend);
        let stand: Stand = Box::new(move || backend.position().unwrap_or_default());
        Ok(Work::new(follow, stand))
    }

    /// Sees that a replica has a complete copy; answers if it is no copy any more, since it took over in an earlier
    /// process.
    pub(crate) fn first_copy(&self, member: &Member<B>) -> Result<Option<TookOver>, Error> {
        let Some(following) = &member.following else { return Ok(None) };
        let mut work = following.take()?;
        let relation = work.follow.relation();
        let done = match relation {
            Ok(Relation::Empty) => following.copy_now(&mut work).map(|_| None),
            Ok(Relation::Behind) => {
                following.found_copy();
                Ok(None)
            }
            Ok(Relation::TookOver { since, reached }) => Ok(Some((since, reached))),
            Ok(Relation::Foreign(why)) => {
                following.give(work);
                return Err(Error::new(Kind::Exists, why).in_database(&member.info.name));
            }
            // It serves once the one is registered that it is a copy of.
            Ok(_) => Ok(None),
            Err(error) => Err(error),
        };
        following.give(work);
        done.map_err(|error| following.error(error))
    }

    /// The group and the replica of this name.
    fn replica(&self, name: &str) -> Result<(&Group<B>, Arc<Member<B>>), Error> {
        let (group, index) = self.topologies.current().resolve(Target::Database(name))?;
        let member = &group.members[index.lowest().unwrap_or_default()];
        following(member)?;
        Ok((group, Arc::clone(member)))
    }

    fn promote(&self, name: &str) -> Result<Promotion, Error> {
        let _one_at_a_time = self.promoting.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_open()?;
        let (group, copy) = self.replica(name)?;
        let following = following(&copy)?;
        let primary = group.primary().map(|index| Arc::clone(&group.members[index]));
        let Some(primary) = primary.filter(|primary| !Arc::ptr_eq(primary, &copy)) else {
            let message = "it is the primary of its group already, or that has none: there is nothing to take over";
            return Err(Error::new(Kind::Invalid, message).in_database(&copy.info.name));
        };
        if !following.is_readable() {
            let message = "it holds no complete copy: promote another one, or wait until it does";
            return Err(Error::new(Kind::Unavailable, message).in_database(&copy.info.name));
        }
        let mut work = following.take()?;
        match self.hand_over(&primary, &copy, &mut work) {
            Ok(promotion) => {
                drop(work);
                following.is_over();
                self.succeeds(&primary, &copy, &promotion);
                Ok(promotion)
            }
            Err(error) => {
                following.give(work);
                following.start();
                Err(following.error(error))
            }
        }
    }

    /// Has a copy take over in the files: nothing has changed where that fails.
    fn hand_over(&self, primary: &Member<B>, copy: &Member<B>, work: &mut Work) -> Result<Promotion, FollowError> {
        let following = copy.following.as_ref().ok_or(FollowError::Stopped)?;
        let lane = primary.writer.get().map(|lane| lane.pool());
        lane.into_iter().for_each(ecm_pool::Pool::suspend);
        let resume = || lane.into_iter().for_each(ecm_pool::Pool::resume);
        // Of an earlier promotion that has failed.
        let left = std::mem::take(&mut work.lift_fence);
        let fenced = match work.follow.fence() {
            Ok(()) => true,
            // It works, and somebody is writing it: nothing has to be lost.
            Err(busy) if is_busy(&busy) => {
                work.lift_fence = left;
                resume();
                return Err(busy);
            }
            Err(_) => false,
        };
        let go_on = |work: &mut Work| {
            primary.lost.store(false, Ordering::SeqCst);
            // Where that fails it is tried again before the next copy; until then writes are refused, loudly.
            work.lift_fence = (fenced || left) && work.follow.lift_fence().is_err();
            resume();
        };
        if !fenced {
            // In this order: what is acknowledged before is copied, or counted below.
            primary.lost.store(true, Ordering::SeqCst);
        }
        let caught_up = match following.copy_now(work) {
            Ok(_) => true,
            Err(FollowError::Source(_)) => {
                primary.lost.store(true, Ordering::SeqCst);
                false
            }
            Err(error) => {
                go_on(work);
                return Err(error);
            }
        };
        let reached = following.reached().map(|reached| reached.position).unwrap_or_default();
        let complete = fenced && caught_up;
        let lost = if complete { Some(0) } else { lost((work.stand)(), reached) };
        match work.follow.take_over(reached) {
            Ok(position) => Ok(Promotion {
                database: Arc::clone(&copy.info.name),
                instead_of: Arc::clone(&primary.info.name),
                position,
                reached,
                lost,
                complete,
                fenced,
            }),
            Err(error) => {
                go_on(work);
                Err(error)
            }
        }
    }

    /// Has a copy take over in the manager.
    fn succeeds(&self, primary: &Arc<Member<B>>, copy: &Arc<Member<B>>, promotion: &Promotion) {
        copy.writer.get_or_init(|| self.lane(&copy.info, &copy.backend, &copy.currency));
        // Only then is it known where it stands. What cannot be opened now, the first write tells.
        let _opened = self.open_one(copy);
        let by = copy.following.as_ref().map(|following| following.id);
        let as_of = copy.following.as_ref().and_then(|following| following.reached()?.as_of);
        let complete_until = if promotion.complete { Time::NEVER } else { as_of.unwrap_or(Time::START) };
        let succession = Succession { since: promotion.position, reached: promotion.reached, complete_until, copy: by };
        let changed = self.topologies.change(|current| {
            let mut next = current.with_config(current.config.clone(), Arc::clone(&current.cache));
            for group in &mut next.groups {
                group.succeed(primary, copy, succession);
            }
            Ok::<_, Error>((next, ()))
        });
        debug_assert!(changed.is_ok(), "nothing of it fails");
        let topology = self.topologies.current();
        let group = topology.groups.iter().find(|group| group.members.iter().any(|member| Arc::ptr_eq(member, copy)));
        if let Some(group) = group {
            group.shared.statements.clear();
            for other in group.members.iter().filter(|other| !Arc::ptr_eq(other, copy)) {
                if let Some(following) = &other.following
                    && let Ok(work) = self.work(copy, &other.backend)
                {
                    following.follows_another(work);
                }
            }
        }
        primary.close();
        // So that what it commits at this moment has its answer before anybody asks the other.
        let drained = primary.pools().all(|pool| block_on(pool.drained(self.clock.now() + DRAINING)));
        if !drained {
            for pool in primary.pools() {
                pool.interrupt();
            }
        }
        self.look_for_writes();
        if self.observers.wants(Interest::REPLICAS) {
            let (database, instead_of) = (&promotion.database, &promotion.instead_of);
            self.observers.event(&Event::Promoted { database, instead_of, lost: promotion.lost });
        }
    }

    /// A database that was registered as a copy took over in an earlier process. Nobody is promoted meanwhile.
    pub(crate) fn takes_its_place_again(&self, name: &Arc<str>, (since, reached): TookOver) -> Result<(), Error> {
        let (group, copy) = self.replica(name)?;
        let Some(primary) = group.primary().map(|index| Arc::clone(&group.members[index])) else { return Ok(()) };
        let following = following(&copy)?;
        let mut work = following.take()?;
        // It may not have been told, if it could not be reached then.
        let fenced = work.follow.fence().is_ok();
        drop(work);
        following.is_over();
        let promotion = Promotion {
            database: Arc::clone(name),
            instead_of: Arc::clone(&primary.info.name),
            position: since,
            reached,
            lost: None,
            complete: false,
            fenced,
        };
        self.succeeds(&primary, &copy, &promotion);
        Ok(())
    }
}

impl<B: Backend<Connection: Transact>> Group<B> {
    /// Makes one database the primary instead of another, if both are in the group.
    fn succeed(&mut self, primary: &Arc<Member<B>>, copy: &Arc<Member<B>>, succession: Succession) {
        let index = |of: &Arc<Member<B>>| self.members.iter().position(|member| Arc::ptr_eq(member, of));
        let Some(new) = index(copy) else { return };
        if let Some(old) = index(primary) {
            self.nodes[old].writable = false;
            self.superseded = self.superseded.with(old);
        }
        self.nodes[new].writable = true;
        self.epoch += 1;
        self.successions = self.successions.iter().copied().chain([succession]).collect();
    }
}

fn following<B: Backend<Connection: Transact>>(member: &Member<B>) -> Result<&Arc<Following>, Error> {
    member.following.as_ref().ok_or_else(|| {
        let message = "nobody keeps it a copy of another database: register it with replica(..)";
        Error::new(Kind::Invalid, message).in_database(&member.info.name)
    })
}

/// Whether the source works, and somebody else has its lock.
fn is_busy(error: &FollowError) -> bool {
    let FollowError::Source(failure) = error else { return false };
    let fault = failure.downcast_ref::<Error>().and_then(Error::fault);
    fault.is_some_and(|fault| fault.kind == FaultKind::Busy)
}

/// How many commits lie between the two; `None` where they were not counted by the same process.
fn lost(stands: Position, reached: Position) -> Option<u64> {
    const SAME_RUN: u64 = 1 << 40;
    let same = stands.epoch == reached.epoch && reached != Position::default();
    stands.commit.checked_sub(reached.commit).filter(|lost| same && *lost < SAME_RUN)
}
