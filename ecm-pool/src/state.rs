mod asking;
mod judging;
mod openings;
mod succession;
mod tending;
mod visiting;

use crate::{
    Fairness, PoolConfig,
    after::{After, Closing},
    caller::{Shortage, Standing},
    config::unless_zero,
    front::{Front, Shut},
    place::{Handed, Loaned, Place, Vacancy},
    queue::Queue,
    random::Random,
};
use ecm_core::{Clock, Interrupt, PoolLoad, PoolStatus, Sizing, Time};
use openings::Openings;
use std::{panic::Location, sync::Arc, task::Waker, time::Duration};
use succession::Succession;
use tending::Tending;
use visiting::Visiting;

pub(crate) use judging::Conduct;
pub(crate) use openings::{SLOW, Unsettled};
pub(crate) use tending::Chore;
pub(crate) use visiting::Rest;

/// Everything of a pool that is not done without its lock.
///
/// Between two operations it holds that nobody queues while a connection is idle, or while there is
/// room for one more: whoever frees something hands it to the head of the queue under the same
/// lock, or makes it idle and then looks at the gate, see [`Front`].
pub(crate) struct State<C> {
    front: Arc<Front<C>>,
    config: PoolConfig,
    /// What no configuration can exceed: 1 for a lane.
    cap: u32,
    sizing: Box<dyn Sizing>,
    /// Whether it is the one that the configuration names.
    by_name: bool,
    /// How often the sizing has to be asked.
    period: Option<Duration>,
    clock: Arc<dyn Clock>,
    random: Random,
    tending: Tending,
    visiting: Visiting,
    openings: Openings,
    succession: Option<Succession>,
    closed: bool,
    suspended: bool,
    epoch: u64,
    /// One for each slot.
    places: Vec<Place>,
    vacant: Vec<usize>,
    queue: Queue<C>,
    opening: u32,
    closing: usize,
    drainers: Vec<(u64, Waker)>,
    next_drainer: u64,
    last_failure: Option<Arc<str>>,
    waits: u64,
    timeouts: u64,
    failures: u64,
    opened: u64,
    closes: u64,
    replaced: u64,
}

impl<C> State<C> {
    pub(crate) fn new(
        front: Arc<Front<C>>,
        config: PoolConfig,
        cap: u32,
        sizing: Option<Box<dyn Sizing>>,
        keeps: bool,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Self {
        let by_name = sizing.is_none();
        let sizing = sizing.unwrap_or_else(|| config.strategy.sizing());
        front.lend_in(sizing.order());
        front.rob(config.fairness != Fairness::Strict);
        front.shut(Shut::Asleep, keeps);
        front.bypass(unless_zero(config.validation_bypass));
        Self {
            by_name,
            period: sizing.period(),
            random: Random::new(seed),
            tending: Tending::default(),
            visiting: Visiting::new(keeps),
            openings: Openings::default(),
            succession: None,
            front,
            config,
            cap,
            sizing,
            clock,
            closed: false,
            suspended: false,
            epoch: 0,
            places: Vec::new(),
            vacant: Vec::new(),
            queue: Queue::new(),
            opening: 0,
            closing: 0,
            drainers: Vec::new(),
            next_drainer: 0,
            last_failure: None,
            waits: 0,
            timeouts: 0,
            failures: 0,
            opened: 0,
            closes: 0,
            replaced: 0,
        }
    }

    pub(crate) fn config(&self) -> &PoolConfig {
        &self.config
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Lends an idle connection if nobody waits, or what somebody may be robbed of.
    pub(crate) fn take_idle(
        &mut self,
        now: Time,
        from: &'static Location<'static>,
        after: &mut After<C>,
    ) -> Option<Loaned<C>> {
        if self.closed || self.suspended {
            return None;
        }
        let idle = if self.queue.is_empty() { self.front.find() } else { None };
        let loaned = idle.or_else(|| self.rob(now))?;
        self.front.stamp(&loaned, now, from);
        self.wake(after);
        Some(loaned)
    }

    /// Gives up a place in which nothing was opened.
    pub(crate) fn vacate(&mut self, vacancy: Vacancy, after: &mut After<C>) {
        self.free(vacancy);
        self.serve(after);
    }

    /// A connection could not be opened, or could not serve its first loan; answers how the pool stands.
    pub(crate) fn failed(&mut self, message: Arc<str>) -> Shortage {
        self.last_failure = Some(message);
        self.failures += 1;
        self.shortage()
    }

    /// A loan is over, at `now`; `unfit` says why its connection cannot be lent again, if it cannot.
    #[inline]
    pub(crate) fn put_back(&mut self, loaned: Loaned<C>, unfit: Option<&'static str>, now: Time, after: &mut After<C>) {
        self.front.rests(&loaned);
        self.wake(after);
        let why = if self.closed {
            Some("the pool is closed")
        } else if let Some(why) = self.places[loaned.slot].leave {
            Some(why)
        } else if self.front.slots.at(loaned.slot).epoch() != self.epoch {
            Some("it is of an older epoch")
        } else if self.open() > self.most() {
            Some("there are more than the maximum")
        } else {
            unfit
        };
        match why {
            Some(why) => self.close_loaned(loaned, why, after),
            None if self.queue.is_empty() || self.suspended => self.front.give_anyway(loaned),
            None => self.queue.grant(Handed::Connection(loaned), now, after),
        }
        // Otherwise there is nothing else to hand out, and looking at every slot is dear.
        if why.is_some() || self.open() < self.most() {
            self.serve(after);
        } else {
            self.end_handing_out(after);
        }
    }

    /// A connection became idle in a slot that was recalled, or while the gate was shut.
    pub(crate) fn gave(&mut self, slot: usize, after: &mut After<C>) {
        match self.front.recalled(slot) {
            Some(loaned) => self.put_back(loaned, None, self.clock.now(), after),
            None => {
                self.wake(after);
                self.serve(after);
            }
        }
    }

    #[cfg(shuttle)]
    pub(crate) fn drain(&self) {
        self.front.drain();
    }

    /// Nobody has queued for a while.
    pub(crate) fn calm_down(&self) {
        if self.queue.is_empty() {
            self.front.calm_down();
        }
    }

    /// A loan could not begin: its connection is closed, its place kept for a new one.
    pub(crate) fn reopen(&mut self, loaned: Loaned<C>, why: &'static str, after: &mut After<C>) -> Vacancy {
        self.front.rests(&loaned);
        self.strip(loaned, why, after)
    }

    /// Closes what is idle, and tells everybody who waits.
    pub(crate) fn close(&mut self, after: &mut After<C>) {
        self.closed = true;
        self.front.shut(Shut::Closed, true);
        self.stop_tending(after);
        self.stop_visiting(after);
        self.watch_openings(after);
        for handed in self.queue.clear(after) {
            match handed {
                Handed::Connection(loaned) => self.close_loaned(loaned, "the pool is closed", after),
                Handed::Room(vacancy) => self.free(vacancy),
            }
        }
        self.close_idle("the pool is closed", after);
        self.serve(after);
    }

    /// Begins a new epoch and closes every connection of the old one that nobody uses.
    pub(crate) fn advance_epoch(&mut self, after: &mut After<C>) -> u64 {
        self.epoch += 1;
        self.clear_out("it is of an older epoch", after);
        self.epoch
    }

    /// Closes every connection: now if nobody uses it, else when it comes back.
    pub(crate) fn evict(&mut self, after: &mut After<C>) {
        const WHY: &str = "it was evicted";
        for place in &mut self.places {
            if place.interrupter.is_some() {
                place.leave.get_or_insert(WHY);
            }
        }
        self.clear_out(WHY, after);
    }

    pub(crate) fn reconfigure(&mut self, config: PoolConfig, after: &mut After<C>) {
        if self.by_name && config.strategy != self.config.strategy {
            self.sizing = config.strategy.sizing();
            self.period = self.sizing.period();
            self.front.lend_in(self.sizing.order());
        }
        self.front.rob(config.fairness != Fairness::Strict);
        self.config = config;
        while self.open() > self.most() {
            let Some(coldest) = self.front.coldest() else { break };
            if let Some(loaned) = self.front.take_from(coldest) {
                self.close_loaned(loaned, "there are more than the maximum", after);
            }
        }
        for slot in 0..self.places.len() {
            if self.open() > self.most()
                && let Some(loaned) = self.front.recall(slot)
            {
                self.close_loaned(loaned, "there are more than the maximum", after);
            }
        }
        self.serve(after);
        self.tend_anew(after);
    }

    /// Whether anything is lent from now on.
    pub(crate) fn suspend(&mut self, suspended: bool, after: &mut After<C>) {
        self.suspended = suspended;
        self.front.shut(Shut::Suspended, suspended);
        self.serve(after);
        // What has grown too old meanwhile goes now.
        if !suspended && !self.places.is_empty() {
            let now = self.clock.now();
            self.start_tending(now, after);
        }
    }

    /// The interrupters of all that is lent, each marked so that it is closed when it comes back.
    pub(crate) fn interrupt(&mut self) -> Vec<Arc<dyn Interrupt>> {
        let handed: Vec<usize> = self.queue.handed().map(Handed::slot).collect();
        let (front, visited) = (&self.front, self.visiting.under_way());
        let lent = self.places.iter_mut().enumerate().filter(|(slot, place)| {
            place.interrupter.is_some() && !handed.contains(slot) && visited != Some(*slot) && front.recall_taken(*slot)
        });
        lent.filter_map(|(_, place)| {
            // The interrupt may still be on its way and must not reach the next borrower.
            place.leave = Some("it was interrupted");
            place.interrupter.clone()
        })
        .collect()
    }

    /// So many connections that were taken out are really closed now.
    pub(crate) fn buried(&mut self, count: usize, after: &mut After<C>) {
        self.closing -= count;
        self.tell_drainers(after);
    }

    /// Answers nothing if nothing is lent, being opened or being closed; else a number, under which `waker`
    /// is woken when that is so. `known` is the number that it has, if it has one.
    pub(crate) fn await_quiet(&mut self, known: Option<u64>, waker: &Waker, after: &mut After<C>) -> Option<u64> {
        // Shut before looking, so that whoever gives back after the look tells.
        self.front.shut(Shut::Drained, true);
        let position = known.and_then(|number| self.drainers.iter().position(|(other, _)| *other == number));
        if self.is_quiet() {
            after.stale = position.map(|position| self.drainers.swap_remove(position).1);
            self.front.shut(Shut::Drained, !self.drainers.is_empty());
            return None;
        }
        if let Some(position) = position {
            let (number, known) = &mut self.drainers[position];
            if !known.will_wake(waker) {
                after.stale = Some(std::mem::replace(known, waker.clone()));
            }
            return Some(*number);
        }
        self.next_drainer += 1;
        self.drainers.push((self.next_drainer, waker.clone()));
        Some(self.next_drainer)
    }

    /// Whoever waited for quiet has given up.
    pub(crate) fn forget_drainer(&mut self, number: u64, after: &mut After<C>) {
        if let Some(position) = self.drainers.iter().position(|(other, _)| *other == number) {
            after.stale = Some(self.drainers.swap_remove(position).1);
        }
        self.front.shut(Shut::Drained, !self.drainers.is_empty());
    }

    pub(crate) fn status(&self) -> PoolStatus {
        let mut status = PoolStatus::default();
        status.max_connections = self.most();
        status.open = self.open();
        status.idle = self.idle();
        status.opening = self.opening;
        status.lent = status.open - status.idle - status.opening;
        status.waiting = self.queue.waiting();
        status.loans = self.front.slots.iter().map(|(_, slot)| slot.loans()).sum();
        status.waits = self.waits;
        status.timeouts = self.timeouts;
        status.failures = self.failures;
        status.opened = self.opened;
        status.closed = self.closes;
        status.stuck = self.openings.stuck();
        status.demoted = self.demoted();
        status.replaced = self.replaced;
        status.oldest_loan = self.oldest_loan().map(|(at, _)| self.clock.now().since(at));
        status.epoch = self.epoch;
        status
    }

    /// Hands what is free to those who wait, in their order.
    pub(crate) fn serve(&mut self, after: &mut After<C>) {
        self.hand_out(true, after);
    }

    /// As [`serve`](Self::serve). One who can wait is not given room while a connection is being
    /// visited: opening takes longer than a visit, and the pool would grow by it.
    fn hand_out(&mut self, can_wait: bool, after: &mut After<C>) {
        if !self.queue.is_empty() {
            // Shut before looking for what is idle, see `Front`.
            self.front.shut(Shut::Queued, true);
        }
        while !self.queue.is_empty() && !self.suspended {
            let handed = match self.front.find() {
                Some(loaned) => Handed::Connection(loaned),
                None if self.may_open(can_wait) && !self.ask_worker_to_open(after) => Handed::Room(self.occupy()),
                None => break,
            };
            let now = self.clock.now();
            self.queue.grant(handed, now, after);
        }
        self.end_handing_out(after);
    }

    #[inline]
    fn end_handing_out(&mut self, after: &mut After<C>) {
        self.front.shut(Shut::Queued, !self.queue.is_empty());
        self.queue.watch(after);
        self.watch_openings(after);
        self.refill(after);
        self.tell_drainers(after);
    }

    fn rob(&mut self, now: Time) -> Option<Loaned<C>> {
        match self.queue.rob(self.config.fairness, now)? {
            Handed::Connection(loaned) => Some(loaned),
            Handed::Room(_) => unreachable!("only connections are robbed"),
        }
    }

    /// A connection that is being visited is not lent, and back in a moment.
    fn idle(&self) -> u32 {
        count(self.front.idle()) + u32::from(self.visiting.under_way().is_some())
    }

    fn has_room(&self) -> bool {
        let (open, most) = (self.open(), self.most());
        if self.closed || self.suspended || open >= most {
            return false;
        }
        open < self.sizing.target(&self.load(), self.clock.now()).most.max(1)
    }

    fn may_open(&self, can_wait: bool) -> bool {
        let comes_back = can_wait && self.visiting.under_way().is_some() && self.queue.waiting() == 1;
        !comes_back && self.has_room()
    }

    fn load(&self) -> PoolLoad {
        let mut load = PoolLoad::new(self.most());
        load.min_connections = self.config.min_connections.min(self.most());
        load.open = self.open();
        load.lent = load.open - self.opening - self.idle();
        load.waiting = self.queue.waiting();
        (load.loans, load.held) = self.front.experience();
        load
    }

    fn occupy(&mut self) -> Vacancy {
        self.opening += 1;
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.places.push(Place::EMPTY);
            self.front.slots.grow()
        });
        let key = self.front.slots.at(slot).cell.seize().expect("what is listed as vacant is vacant");
        Vacancy { slot, epoch: self.epoch, key }
    }

    fn time_out(&mut self) -> Standing<C> {
        self.timeouts += 1;
        Standing::TimedOut(Box::new(self.shortage()))
    }

    /// Why a wait was in vain that did not happen in this queue; counted as a timeout if it is one.
    pub(crate) fn shortage_of(&mut self, timeout: bool) -> Box<Shortage> {
        self.timeouts += u64::from(timeout);
        Box::new(self.shortage())
    }

    fn shortage(&self) -> Shortage {
        Shortage {
            status: self.status(),
            oldest_loan_from: self.oldest_loan().and_then(|(_, from)| from),
            opening_for: self.openings.longest(self.clock.now()),
            last_failure: self.last_failure.clone(),
        }
    }

    pub(crate) fn oldest_loan(&self) -> Option<(Time, Option<&'static Location<'static>>)> {
        let lent = self.front.slots.iter().filter(|(_, slot)| slot.cell.is_taken());
        lent.filter_map(|(_, slot)| slot.loan()).min_by_key(|(at, _)| *at)
    }

    /// Closes whatever nobody uses, what is on its way to somebody included.
    fn clear_out(&mut self, why: &'static str, after: &mut After<C>) {
        self.close_idle(why, after);
        // Whoever was handed an old connection keeps the place, and opens a new one in it.
        let mut queue = std::mem::replace(&mut self.queue, Queue::new());
        queue.exchange_handed(|handed| match handed {
            Handed::Connection(loaned) => Handed::Room(self.strip(loaned, why, after)),
            room => room,
        });
        self.queue = queue;
        self.serve(after);
    }

    /// Closes what is idle, and has what is lent ask when it comes back.
    fn close_idle(&mut self, why: &'static str, after: &mut After<C>) {
        for slot in 0..self.places.len() {
            if let Some(loaned) = self.front.recall(slot) {
                self.close_loaned(loaned, why, after);
            }
        }
    }

    /// Closes a connection and frees its place.
    fn close_loaned(&mut self, loaned: Loaned<C>, why: &'static str, after: &mut After<C>) {
        let vacancy = self.strip(loaned, why, after);
        self.free(vacancy);
    }

    fn free(&mut self, vacancy: Vacancy) {
        self.opening -= 1;
        self.front.slots.at(vacancy.slot).cell.vacate(vacancy.key);
        self.vacant.push(vacancy.slot);
    }

    /// Has a connection closed; its place counts as being opened from then on.
    fn strip(&mut self, loaned: Loaned<C>, why: &'static str, after: &mut After<C>) -> Vacancy {
        let Loaned { slot, key, connection, .. } = loaned;
        let Place { interrupter, number, .. } = std::mem::replace(&mut self.places[slot], Place::EMPTY);
        after.closing.push(Closing { connection, number, interrupter, why });
        self.closing += 1;
        self.closes += 1;
        self.opening += 1;
        Vacancy { slot, epoch: self.epoch, key }
    }

    #[inline]
    fn tell_drainers(&mut self, after: &mut After<C>) {
        if !self.drainers.is_empty() && self.is_quiet() {
            after.wakers.extend(self.drainers.drain(..).map(|(_, waker)| waker));
            self.front.shut(Shut::Drained, false);
        }
    }

    fn is_quiet(&self) -> bool {
        self.open() == count(self.front.idle()) && self.closing == 0 && self.openings.stuck() == 0
    }

    fn open(&self) -> u32 {
        count(self.places.len() - self.vacant.len())
    }

    fn most(&self) -> u32 {
        self.config.max_connections.min(self.cap)
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).expect("places are limited to 10,000 by the configuration")
}
