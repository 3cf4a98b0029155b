use crate::{
    PoolConfig,
    after::{After, Closing},
    caller::{Caller, Shortage, Standing},
    place::{Loaned, Place, Vacancy},
    queue::Queue,
};
use ecm_core::{Clock, Interrupt, PoolLoad, PoolStatus, Sizing, Time};
use std::{sync::Arc, task::Waker};

/// Everything of a pool that changes, behind its one lock.
///
/// Between two operations it holds that nobody queues while a connection is idle, or while there is
/// room for one more: whoever frees something hands it to the head of the queue under the same
/// lock, so that nobody can get in between.
pub(crate) struct State<C> {
    config: PoolConfig,
    /// What no configuration can exceed: 1 for a lane.
    cap: u32,
    sizing: Box<dyn Sizing>,
    clock: Arc<dyn Clock>,
    closed: bool,
    epoch: u64,
    places: Vec<Place<C>>,
    vacant: Vec<usize>,
    /// A stack: what was used last is lent first, being the warmest. Its capacity covers all
    /// places, so that coming back never allocates.
    idle: Vec<usize>,
    queue: Queue,
    opening: u32,
    closing: usize,
    drainers: Vec<Waker>,
    last_failure: Option<Arc<str>>,
    ended: u64,
    waits: u64,
    timeouts: u64,
    failures: u64,
    opened: u64,
    closes: u64,
}

impl<C> State<C> {
    pub(crate) fn new(config: PoolConfig, cap: u32, sizing: Box<dyn Sizing>, clock: Arc<dyn Clock>) -> Self {
        Self {
            config,
            cap,
            sizing,
            clock,
            closed: false,
            epoch: 0,
            places: Vec::new(),
            vacant: Vec::new(),
            idle: Vec::new(),
            queue: Queue::default(),
            opening: 0,
            closing: 0,
            drainers: Vec::new(),
            last_failure: None,
            ended: 0,
            waits: 0,
            timeouts: 0,
            failures: 0,
            opened: 0,
            closes: 0,
        }
    }

    pub(crate) fn config(&self) -> &PoolConfig {
        &self.config
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Lends an idle connection if nobody waits.
    pub(crate) fn take_idle(&mut self, now: Time) -> Option<Loaned<C>> {
        if !self.queue.is_empty() {
            return None;
        }
        let place = self.idle.pop()?;
        Some(self.take(place, now))
    }

    /// A caller asks for the first time: gets a connection or room at once, or joins the queue.
    pub(crate) fn ask(&mut self, caller: &Caller<'_>, after: &mut After<C>) -> Standing<C> {
        if self.closed {
            return Standing::Closed;
        }
        if let Some(loaned) = self.take_idle(caller.now) {
            return Standing::Lend(loaned);
        }
        let ticket = self.queue.join();
        self.serve(after);
        match self.granted(ticket, caller.now) {
            Some(granted) => granted,
            None => {
                let standing = self.wait(ticket, caller, after);
                self.waits += u64::from(matches!(standing, Standing::Wait(_)));
                standing
            }
        }
    }

    /// A caller who has waited asks again.
    pub(crate) fn ask_again(&mut self, ticket: u64, caller: &Caller<'_>, after: &mut After<C>) -> Standing<C> {
        if self.closed {
            return Standing::Closed;
        }
        if self.queue.rejoin(ticket) {
            self.serve(after);
        }
        match self.granted(ticket, caller.now) {
            // An open is not begun for a caller whose time is over; a connection costs nothing.
            Some(Standing::Open(vacancy)) if caller.now >= caller.until => {
                let standing = self.time_out();
                self.vacate(vacancy.place, after);
                standing
            }
            Some(granted) => granted,
            None => self.wait(ticket, caller, after),
        }
    }

    /// A caller who has waited goes away.
    pub(crate) fn leave(&mut self, ticket: u64, after: &mut After<C>) {
        if self.closed {
            return;
        }
        match self.queue.take_grant(ticket) {
            Some(place) => self.pass_on(place, after),
            None => after.stale = self.queue.leave(ticket),
        }
    }

    /// Gives up a place in which nothing was opened.
    pub(crate) fn vacate(&mut self, place: usize, after: &mut After<C>) {
        self.opening -= 1;
        self.vacant.push(place);
        self.serve(after);
    }

    /// A connection was opened in a place: it is lent from now on, unless the pool was closed.
    pub(crate) fn settle(
        &mut self,
        vacancy: &Vacancy,
        connection: Box<C>,
        interrupter: Arc<dyn Interrupt>,
        now: Time,
        after: &mut After<C>,
    ) -> Option<Loaned<C>> {
        self.opened += 1;
        self.last_failure = None;
        let place = &mut self.places[vacancy.place];
        (place.connection, place.interrupter) = (Some(connection), Some(interrupter));
        place.epoch = vacancy.epoch;
        self.opening -= 1;
        if self.closed {
            self.close_place(vacancy.place, "the pool is closed", after);
            self.serve(after);
            return None;
        }
        Some(self.take(vacancy.place, now))
    }

    /// A connection could not be opened.
    pub(crate) fn failed(&mut self, message: Arc<str>) {
        self.last_failure = Some(message);
        self.failures += 1;
    }

    /// A loan is over; `unfit` says why its connection cannot be lent again, if it cannot.
    pub(crate) fn put_back(
        &mut self,
        loaned: Loaned<C>,
        unfit: Option<&'static str>,
        begun: bool,
        after: &mut After<C>,
    ) {
        self.ended += u64::from(begun);
        let index = loaned.place;
        let surplus = self.open() > self.most();
        let place = &mut self.places[index];
        place.connection = Some(loaned.connection);
        let why = if self.closed {
            Some("the pool is closed")
        } else if place.interrupted {
            // The interrupt may still be on its way and must not reach the next borrower.
            Some("it was interrupted")
        } else if place.epoch != self.epoch {
            Some("it is of an older epoch")
        } else if surplus {
            Some("there are more than the maximum")
        } else {
            unfit
        };
        match why {
            None => self.idle.push(index),
            Some(why) => self.close_place(index, why, after),
        }
        self.serve(after);
    }

    /// A loan could not begin: its connection is closed, its place kept for a new one.
    pub(crate) fn reopen(&mut self, loaned: Loaned<C>, why: &'static str, after: &mut After<C>) -> Vacancy {
        let place = loaned.place;
        self.places[place].connection = Some(loaned.connection);
        self.strip(place, why, after);
        self.places[place].epoch = self.epoch;
        Vacancy { place, epoch: self.epoch }
    }

    /// Closes what is idle, and tells everybody who waits.
    pub(crate) fn close(&mut self, after: &mut After<C>) {
        self.closed = true;
        let handed = self.queue.clear(after);
        for place in self.idle.drain(..).chain(handed).collect::<Vec<_>>() {
            self.close_place(place, "the pool is closed", after);
        }
        self.serve(after);
    }

    /// Begins a new epoch and closes every connection of the old one that nobody uses.
    pub(crate) fn advance_epoch(&mut self, after: &mut After<C>) -> u64 {
        self.epoch += 1;
        for place in std::mem::take(&mut self.idle) {
            self.close_place(place, "it is of an older epoch", after);
        }
        self.idle.reserve(self.places.len());
        // Whoever was handed an old connection keeps the place, and opens a new one in it.
        for place in self.queue.handed().collect::<Vec<_>>() {
            if self.places[place].connection.is_some() {
                self.strip(place, "it is of an older epoch", after);
            }
        }
        self.serve(after);
        self.epoch
    }

    pub(crate) fn reconfigure(&mut self, config: PoolConfig, after: &mut After<C>) {
        self.config = config;
        while self.open() > self.most() && !self.idle.is_empty() {
            // The bottom of the stack: what has not been used for longest.
            let place = self.idle.remove(0);
            self.close_place(place, "there are more than the maximum", after);
        }
        self.serve(after);
    }

    /// The interrupters of all that is lent, each marked so that it is closed when it comes back.
    pub(crate) fn interrupt(&mut self) -> Vec<Arc<dyn Interrupt>> {
        let lent = self.places.iter_mut().filter(|place| place.connection.is_none());
        lent.filter_map(|place| {
            let interrupter = place.interrupter.clone()?;
            place.interrupted = true;
            Some(interrupter)
        })
        .collect()
    }

    /// So many connections that were taken out are really closed now.
    pub(crate) fn buried(&mut self, count: usize, after: &mut After<C>) {
        self.closing -= count;
        self.tell_drainers(after);
    }

    /// Whether nothing is lent, being opened or being closed; else `waker` is woken when that is so.
    pub(crate) fn drained(&mut self, waker: &Waker) -> bool {
        if self.is_quiet() {
            return true;
        }
        if !self.drainers.iter().any(|known| known.will_wake(waker)) {
            self.drainers.push(waker.clone());
        }
        false
    }

    /// The time of a hand-over that was not taken is over.
    pub(crate) fn ring(&mut self, after: &mut After<C>) {
        let now = self.clock.now();
        self.queue.revoke(now, after);
    }

    pub(crate) fn status(&self) -> PoolStatus {
        let mut status = PoolStatus::default();
        let handed = self.queue.handed().filter(|&place| self.places[place].connection.is_some()).count();
        let lent = |place: &&Place<C>| place.interrupter.is_some() && place.connection.is_none();
        let oldest = self.places.iter().filter(lent).map(|place| place.lent_at).min();
        status.max_connections = self.most();
        status.open = self.open();
        status.idle = count(self.idle.len());
        status.lent = self.lent();
        status.opening = self.opening;
        status.waiting = self.queue.waiting();
        status.loans = self.ended + u64::from(status.lent - count(handed));
        status.waits = self.waits;
        status.timeouts = self.timeouts;
        status.failures = self.failures;
        status.opened = self.opened;
        status.closed = self.closes;
        status.oldest_loan = oldest.map(|at| self.clock.now().since(at));
        status.epoch = self.epoch;
        status
    }

    /// Hands what is free to those who wait, in their order.
    fn serve(&mut self, after: &mut After<C>) {
        while !self.queue.is_empty() {
            let place = match self.idle.pop() {
                Some(place) => place,
                None if self.has_room() => self.occupy(),
                None => break,
            };
            let now = self.clock.now();
            self.queue.grant(place, now, after);
        }
        self.queue.watch(after);
        self.tell_drainers(after);
    }

    fn has_room(&self) -> bool {
        let (open, most) = (self.open(), self.most());
        if self.closed || open >= most {
            return false;
        }
        let mut load = PoolLoad::new(most);
        load.open = open;
        load.lent = self.lent();
        load.waiting = self.queue.waiting();
        open < self.sizing.target(&load, self.clock.now()).most.max(1)
    }

    fn occupy(&mut self) -> usize {
        self.opening += 1;
        self.vacant.pop().unwrap_or_else(|| {
            self.places.push(Place {
                connection: None,
                interrupter: None,
                epoch: self.epoch,
                lent_at: Time::START,
                interrupted: false,
            });
            self.idle.reserve(self.places.len() - self.idle.len());
            self.places.len() - 1
        })
    }

    fn take(&mut self, index: usize, now: Time) -> Loaned<C> {
        let place = &mut self.places[index];
        let connection = place.connection.take().expect("what is idle or handed over has its connection in its place");
        (place.lent_at, place.interrupted) = (now, false);
        Loaned { place: index, epoch: place.epoch, connection }
    }

    fn granted(&mut self, ticket: u64, now: Time) -> Option<Standing<C>> {
        let place = self.queue.take_grant(ticket)?;
        Some(if self.places[place].connection.is_some() {
            Standing::Lend(self.take(place, now))
        } else {
            Standing::Open(Vacancy { place, epoch: self.epoch })
        })
    }

    fn wait(&mut self, ticket: u64, caller: &Caller<'_>, after: &mut After<C>) -> Standing<C> {
        if caller.now < caller.until {
            after.stale = self.queue.wake_by(ticket, caller.waker);
            return Standing::Wait(ticket);
        }
        let standing = self.time_out();
        after.stale = self.queue.leave(ticket);
        standing
    }

    fn time_out(&mut self) -> Standing<C> {
        self.timeouts += 1;
        Standing::TimedOut(Box::new(Shortage { status: self.status(), last_failure: self.last_failure.clone() }))
    }

    /// A place that was handed over and not taken.
    fn pass_on(&mut self, place: usize, after: &mut After<C>) {
        if self.places[place].connection.is_none() {
            self.vacate(place, after);
        } else if self.open() > self.most() {
            self.close_place(place, "there are more than the maximum", after);
            self.serve(after);
        } else {
            self.idle.push(place);
            self.serve(after);
        }
    }

    /// Empties a place that is idle or handed over, and frees it.
    fn close_place(&mut self, place: usize, why: &'static str, after: &mut After<C>) {
        if self.places[place].connection.is_some() {
            self.strip(place, why, after);
        }
        self.opening -= 1;
        self.vacant.push(place);
    }

    /// Takes the connection out of its place, which counts as being opened from then on.
    fn strip(&mut self, index: usize, why: &'static str, after: &mut After<C>) {
        let place = &mut self.places[index];
        let connection = place.connection.take().expect("only what holds a connection is emptied");
        after.closing.push(Closing { connection, interrupter: place.interrupter.take(), why });
        self.closing += 1;
        self.closes += 1;
        self.opening += 1;
    }

    fn tell_drainers(&mut self, after: &mut After<C>) {
        if !self.drainers.is_empty() && self.is_quiet() {
            after.wakers.append(&mut self.drainers);
        }
    }

    fn is_quiet(&self) -> bool {
        self.open() == count(self.idle.len()) && self.closing == 0
    }

    fn open(&self) -> u32 {
        count(self.places.len() - self.vacant.len())
    }

    fn lent(&self) -> u32 {
        self.open() - count(self.idle.len()) - self.opening
    }

    fn most(&self) -> u32 {
        self.config.max_connections.min(self.cap)
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).expect("places are limited to 10,000 by the configuration")
}
