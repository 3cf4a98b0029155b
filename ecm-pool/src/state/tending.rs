use super::{State, openings::SLOW};
use crate::{
    after::{After, Watch},
    config::unless_zero,
    front::Front,
    place::Loaned,
    slots::Slot,
};
use ecm_core::{Interrupt, Target, Time};
use std::{panic::Location, sync::Arc, time::Duration};

/// How long after its first connection a pool begins to be warmed: a program that ends sooner does
/// not pay for connections that it never uses.
const WARM_AFTER: Duration = Duration::from_secs(1);
/// The pool is not looked after more often than this.
const RESPITE: Duration = Duration::from_millis(10);
/// The pause after a failed opening doubles from one to the other.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(5));
/// What a pool remembers for looking after its connections.
#[derive(Default)]
pub(super) struct Tending {
    /// For when the alarm is set, and how often it was.
    armed: Option<Time>,
    alarms: u64,
    /// Whether an alarm may be there still, be it one that was replaced.
    has_alarm: bool,
    /// Whether the connections that are wanted at first were asked for.
    warmed: bool,
    warm: u32,
    /// The worker that is there, if one is: they are numbered, so that one that was stuck knows that it is
    /// no longer wanted.
    worker: Option<u64>,
    workers: u64,
    /// Since when the worker opens or checks a connection.
    since: Option<Time>,
    /// Whether opening takes so long that callers do not do it themselves.
    pub(super) slow: bool,
    failures: u32,
    /// What the strategy allows.
    most: u32,
    /// No opening ahead of need before this.
    paused_until: Time,
    /// Callers open for themselves until then: there was no worker to be had.
    refused_until: Time,
}

/// What the worker does next, without the lock.
pub(crate) enum Chore<C> {
    /// By the number of the opening.
    Open(u64),
    Check(Loaned<C>),
    Visit(Loaned<C>),
    Report {
        location: Option<&'static Location<'static>>,
        age: Duration,
    },
}

impl Tending {
    pub(super) fn paused_until(&self) -> Time {
        self.paused_until
    }

    /// So many are kept open.
    pub(super) fn warm(&self) -> u32 {
        self.warm
    }

    /// Since when the worker does something that may be stuck.
    pub(super) fn since(&self) -> Option<Time> {
        self.since
    }

    /// Whether the worker is stuck; then it is the worker no longer.
    pub(super) fn lost_worker(&mut self, now: Time, patience: Duration) -> bool {
        let lost = self.since.take_if(|since| *since + patience <= now).is_some();
        if lost {
            self.worker = None;
        }
        lost
    }
}

impl<C> State<C> {
    /// The alarm has rung: looks after all connections.
    pub(crate) fn tend(&mut self, after: &mut After<C>) {
        let now = self.clock.now();
        // A clock that rings early cannot keep alarms at the moment; the next loan that opens, or the
        // next configuration, sets one again.
        if self.closed || self.tending.armed.is_none() {
            return;
        }
        // The ring of an alarm that was replaced must not use up the one that is set. A clock that rings
        // early cannot keep alarms at the moment, and then nothing is set any more either.
        if self.tending.armed.take_if(|armed| *armed <= now).is_none() {
            return;
        }
        self.front.tick(now);
        let target = self.target(now);
        self.aim(&target);
        self.judge(now, after);
        self.retire(now, after);
        self.reap(&target, now, after);
        self.serve(after);
        self.employ(now, after);
        self.arm(&target, now, after);
    }

    /// Sets the alarm if it is not set, or set for after this moment.
    pub(super) fn start_tending(&mut self, before: Time, after: &mut After<C>) {
        if self.tending.armed.is_none_or(|armed| before < armed) && !self.closed {
            let now = self.clock.now();
            let target = self.target(now);
            self.arm(&target, now, after);
        }
    }

    /// Sets the alarm anew after the configuration has changed.
    pub(super) fn tend_anew(&mut self, after: &mut After<C>) {
        self.front.bypass(unless_zero(self.config.validation_bypass));
        self.tending.armed = None;
        if !self.places.is_empty() {
            self.start_tending(Time::NEVER, after);
        }
    }

    pub(super) fn stop_tending(&mut self, after: &mut After<C>) {
        self.tending.armed = None;
        if self.tending.has_alarm {
            self.set(Time::NEVER, after);
        }
    }

    /// Has a worker come if callers wait for one to open connections.
    pub(super) fn ask_worker_to_open(&mut self, after: &mut After<C>) -> bool {
        // Nobody follows a caller into an opening that hangs.
        self.tending.slow |= self.is_opening_slow(self.tending.refused_until);
        if self.tending.slow {
            self.call_worker(after);
        }
        self.tending.slow
    }

    /// What this worker does next; `None` ends its work.
    pub(crate) fn next_chore(&mut self, worker: u64, after: &mut After<C>) -> Option<Chore<C>> {
        if self.tending.worker != Some(worker) {
            return None;
        }
        let now = self.clock.now();
        let chore = self.find_chore(now, after);
        self.tending.worker = chore.as_ref().map(|_| worker);
        self.tending.since = matches!(chore, Some(Chore::Open(_) | Chore::Check(_))).then_some(now);
        self.watch_openings(after);
        chore
    }

    /// Nobody could be found who does the work: callers open for themselves again.
    pub(crate) fn work_refused(&mut self, worker: u64, after: &mut After<C>) {
        if self.tending.worker == Some(worker) {
            (self.tending.worker, self.tending.since) = (None, None);
            self.tending.slow = false;
            self.succession = None;
            self.pause();
            self.tending.refused_until = self.tending.paused_until;
            self.watch_openings(after);
            self.tending.armed = None;
            self.start_tending(Time::NEVER, after);
        }
        self.serve(after);
    }

    /// The worker has opened a connection.
    pub(crate) fn opened_ahead(
        &mut self,
        number: u64,
        connection: Box<C>,
        interrupter: Arc<dyn Interrupt>,
        took: Duration,
        after: &mut After<C>,
    ) {
        let now = self.clock.now();
        if let Ok(loaned) = self.settle(number, connection, interrupter, now, took, after) {
            self.succeed(number, after);
            self.put_back(loaned, None, now, after);
        }
    }

    /// The worker could not open a connection.
    pub(crate) fn failed_ahead(&mut self, number: u64, message: Arc<str>, after: &mut After<C>) {
        self.last_failure = Some(message);
        self.end_succession(number);
        self.pause();
        // Whoever waits shall hear the reason, so callers open for themselves again; not after one that has
        // hung, into which they would follow.
        self.tending.slow = !self.give_up(number, after);
        self.tending.armed = None;
        self.serve(after);
        self.start_tending(Time::NEVER, after);
    }

    /// Opens nothing ahead of need for a while, the longer the more often it was in vain.
    fn pause(&mut self) {
        let pause = PAUSES.0.saturating_mul(1 << self.tending.failures.min(16)).min(PAUSES.1);
        self.tending.failures = self.tending.failures.saturating_add(1);
        self.tending.paused_until = self.clock.now() + (pause - self.random.part_of(pause / 2));
    }

    /// The worker has checked a connection.
    pub(crate) fn checked(&mut self, loaned: Loaned<C>, works: bool, after: &mut After<C>) {
        self.opening -= 1;
        let now = self.clock.now();
        if works {
            self.front.slots.at(loaned.slot).checked(now);
        } else {
            self.front.suspect(now);
        }
        self.put_back(loaned, (!works).then_some("it failed its check"), now, after);
    }

    /// How an opening went, for the next ones.
    pub(super) fn opening_took(&mut self, took: Duration) {
        self.tending.slow = took >= SLOW;
        self.tending.failures = 0;
        self.tending.paused_until = Time::START;
    }

    /// How long a connection of now may live.
    pub(super) fn lifetime(&mut self, now: Time) -> Time {
        unless_zero(self.config.max_lifetime)
            .map_or(Time::NEVER, |longest| now + (longest - self.random.part_of(longest / 10)))
    }

    fn target(&self, now: Time) -> Target {
        self.sizing.target(&self.load(), now)
    }

    /// How many connections are kept.
    fn aim(&mut self, target: &Target) {
        self.tending.most = target.most.max(1).min(self.most());
        self.tending.warm = target.warm.max(self.config.min_connections).min(self.tending.most);
    }

    /// How many connections shall be opened ahead of need.
    fn wanted(&self) -> u32 {
        if !self.config.connection_warming {
            return 0;
        }
        let first = if self.tending.warmed { 0 } else { self.config.initial_connections.min(self.tending.most) };
        self.tending.warm.max(first)
    }

    fn reap(&mut self, target: &Target, now: Time, after: &mut After<C>) {
        let Some(patience) = self.patience(target) else { return };
        while self.open() > self.tending.warm
            && let Some(coldest) = self.front.coldest()
            && self.front.slots.at(coldest).used_at() + patience <= now
        {
            if let Some(loaned) = self.front.take_from(coldest) {
                self.close_loaned(loaned, "it was idle for too long", after);
            }
        }
    }

    /// How long what is above the target may lie unused; `None` for ever.
    fn patience(&self, target: &Target) -> Option<Duration> {
        unless_zero(self.config.idle_timeout).map(|longest| longest.min(target.linger).max(RESPITE))
    }

    fn employ(&mut self, now: Time, after: &mut After<C>) {
        self.tending.warmed |= self.open() >= self.wanted();
        let idle_to_check = self.front.slots.iter().any(|(_, slot)| self.wants_check(slot, now));
        if idle_to_check || self.wants_opening(now) || self.overdue(now).is_some() {
            self.call_worker(after);
        }
    }

    /// Has connections that have gone replaced, as many as are kept.
    #[inline]
    pub(super) fn refill(&mut self, after: &mut After<C>) {
        if (self.open() < self.wanted() || self.wants_successor()) && self.wants_opening(self.clock.now()) {
            self.call_worker(after);
        }
    }

    /// Whether a connection is to be opened ahead of need now.
    fn wants_opening(&self, now: Time) -> bool {
        let may_open = now >= self.tending.paused_until && !self.suspended && self.open() < self.most();
        may_open && (self.wants_successor() || self.open() < self.wanted())
    }

    pub(super) fn call_worker(&mut self, after: &mut After<C>) {
        if self.tending.worker.is_none() && !self.closed {
            self.tending.workers += 1;
            self.tending.worker = Some(self.tending.workers);
            after.work = self.tending.worker;
        }
    }

    fn find_chore(&mut self, now: Time, after: &mut After<C>) -> Option<Chore<C>> {
        if self.closed {
            return None;
        }
        if let Some(loaned) = self.next_visit() {
            return Some(Chore::Visit(loaned));
        }
        if let Some((slot, at, location)) = self.overdue(now) {
            self.places[slot].reported = at;
            return Some(Chore::Report { location, age: now.since(at) });
        }
        if self.tending.slow && !self.queue.is_empty() && self.has_room() {
            return Some(Chore::Open(self.open_another(now, after)));
        }
        if self.wants_opening(now) {
            if self.open() < self.wanted() {
                return Some(Chore::Open(self.open_another(now, after)));
            }
            if let Some(opening) = self.open_successor(now, after) {
                return Some(Chore::Open(opening));
            }
        }
        // Before the first look at the pool nothing is wanted yet.
        self.tending.warmed |= self.tending.most > 0 && self.open() >= self.wanted();
        // One that was lent since the look is left to its borrower.
        let mut due = self.front.slots.iter().filter(|(_, slot)| self.wants_check(slot, now));
        let loaned = due.find_map(|(index, _)| self.front.take_from(index))?;
        self.opening += 1;
        Some(Chore::Check(loaned))
    }

    fn open_another(&mut self, now: Time, after: &mut After<C>) -> u64 {
        let vacancy = self.occupy();
        self.begin(vacancy, now, true, after)
    }

    fn wants_check(&self, slot: &Slot<C>, now: Time) -> bool {
        let interval = unless_zero(self.config.validation_interval);
        slot.cell.is_full()
            && (self.front.is_suspect(slot) || interval.is_some_and(|interval| slot.known_good_at() + interval <= now))
    }

    /// A loan that lasts too long and was not reported yet.
    fn overdue(&self, now: Time) -> Option<(usize, Time, Option<&'static Location<'static>>)> {
        let longest = unless_zero(self.config.leak_threshold)?;
        let lent = self.front.slots.iter().filter(|(_, slot)| slot.cell.is_taken());
        let mut loans = lent.filter_map(|(index, slot)| slot.loan().map(|(at, from)| (index, at, from)));
        loans.find(|(index, at, _)| *at + longest <= now && self.places[*index].reported != *at)
    }

    /// Sets the alarm for when there will be something to do, if there will.
    fn arm(&mut self, target: &Target, now: Time, after: &mut After<C>) {
        let mut due = Time::NEVER;
        let mut by = |at: Time| due = due.min(at);
        let open = self.open() > 0;
        if open && !self.tending.warmed && self.config.connection_warming {
            by(now + WARM_AFTER);
        }
        if self.tending.paused_until > now {
            by(self.tending.paused_until);
        }
        if open && let Some(period) = self.period {
            by(now + period);
        }
        let idle_for = self.patience(target).filter(|_| self.open() > self.tending.warm);
        let checked_after = unless_zero(self.config.validation_interval);
        let lent_for = unless_zero(self.config.leak_threshold);
        for (index, slot) in self.front.slots.iter() {
            let place = &self.places[index];
            if place.interrupter.is_none() {
                continue;
            }
            if !place.wants_to_go(now) {
                by(place.retires);
            } else if place.leave.is_none() && self.may_retire() {
                by(now.max(self.tending.paused_until));
            }
            by(place.conduct.demoted_until);
            let is_idle = slot.cell.is_full();
            if let Some(span) = idle_for {
                by(if is_idle { slot.used_at() } else { now } + span);
            }
            if let Some(span) = checked_after {
                by(if is_idle { slot.known_good_at() } else { now } + span);
            }
            if let Some(span) = lent_for {
                match slot.loan() {
                    Some((at, _)) if place.reported == at => by(now + span),
                    Some((at, _)) => by(at + span),
                    None => by(now + span),
                }
            }
        }
        if due == Time::NEVER {
            self.stop_tending(after);
        } else {
            let at = due.max(now + RESPITE);
            self.tending.armed = Some(at);
            self.set(at, after);
        }
    }

    fn set(&mut self, at: Time, after: &mut After<C>) {
        self.tending.has_alarm = at != Time::NEVER;
        self.tending.alarms += 1;
        after.tend = Some(Watch { number: self.tending.alarms, at });
    }
}

impl<C> Front<C> {
    /// How many loans there were, and how long one lasts on average.
    pub(super) fn experience(&self) -> (u64, Duration) {
        let (mut loans, mut held, mut samples) = (0, Duration::ZERO, 0);
        for (_, slot) in self.slots.iter() {
            loans += slot.loans();
            if let Some(span) = slot.held() {
                (held, samples) = (held + span, samples + 1);
            }
        }
        (loans, held / samples.max(1))
    }
}
