use super::State;
use crate::{
    after::{After, Watch},
    config::unless_zero,
    front::Front,
    place::{Loaned, Vacancy},
    slots::Slot,
};
use ecm_core::{Interrupt, Target, Time};
use std::{panic::Location, sync::Arc, time::Duration};

/// How long after its first connection a pool begins to be warmed: a program that ends sooner does
/// not pay for connections that it never uses.
const WARM_AFTER: Duration = Duration::from_secs(1);
/// The pool is not looked after more often than this.
const RESPITE: Duration = Duration::from_millis(10);
/// An opening that takes longer is no longer left to callers.
const SLOW_OPENING: Duration = Duration::from_millis(10);
/// The pause after a failed opening doubles from one to the other.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(5));
/// A connection is lent last when its loans last so many times longer than those of the others,
const SLOWER: u32 = 3;
/// for so long; then it is judged anew.
const PROBATION: Duration = Duration::from_secs(10);
/// A connection is replaced when its loans last so many times longer than those of the others.
const MUCH_SLOWER: u32 = 8;
/// Fewer say more about what was done with a connection than about the connection.
const ENOUGH_SAMPLES: u64 = 4;
/// Differences below it are noise.
const NOTICEABLE: Duration = Duration::from_millis(1);

/// What a pool remembers for looking after its connections.
#[derive(Default)]
pub(super) struct Tending {
    /// For when the alarm is set, and how often it was.
    armed: Option<Time>,
    alarms: u64,
    /// Whether the connections that are wanted at first were asked for.
    warmed: bool,
    warm: u32,
    /// Whether a piece of work is under way.
    working: bool,
    /// Whether opening takes so long that callers do not do it themselves.
    slow: bool,
    failures: u32,
    /// What the strategy allows.
    most: u32,
    /// No opening ahead of need before this.
    paused_until: Time,
}

/// What the worker does next, without the lock.
pub(crate) enum Chore<C> {
    Open(Vacancy),
    Check(Loaned<C>),
    Visit(Loaned<C>),
    Report { location: Option<&'static Location<'static>>, age: Duration },
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
        self.retire(now, after);
        self.reap(&target, now, after);
        self.judge(now, after);
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
        if self.tending.armed.take().is_some() {
            self.set(Time::NEVER, after);
        }
    }

    /// Has a worker come if callers wait for one to open connections.
    pub(super) fn ask_worker_to_open(&mut self, after: &mut After<C>) -> bool {
        if self.tending.slow {
            self.call_worker(after);
        }
        self.tending.slow
    }

    /// What the worker does next; `None` ends its work.
    pub(crate) fn next_chore(&mut self) -> Option<Chore<C>> {
        let now = self.clock.now();
        let chore = self.find_chore(now);
        self.tending.working = chore.is_some();
        chore
    }

    /// Nobody could be found who does the work: callers open for themselves again.
    pub(crate) fn work_refused(&mut self, after: &mut After<C>) {
        self.tending.working = false;
        self.tending.slow = false;
        self.serve(after);
    }

    /// The worker has opened a connection.
    pub(crate) fn opened_ahead(
        &mut self,
        vacancy: Vacancy,
        connection: Box<C>,
        interrupter: Arc<dyn Interrupt>,
        took: Duration,
        after: &mut After<C>,
    ) {
        let now = self.clock.now();
        if let Some(loaned) = self.settle(vacancy, connection, interrupter, now, took, after) {
            self.put_back(loaned, None, after);
        }
    }

    /// The worker could not open a connection.
    pub(crate) fn failed_ahead(&mut self, vacancy: Vacancy, message: Arc<str>, after: &mut After<C>) {
        self.last_failure = Some(message);
        let now = self.clock.now();
        let pause = PAUSES.0.saturating_mul(1 << self.tending.failures.min(16)).min(PAUSES.1);
        self.tending.failures += 1;
        self.tending.paused_until = now + (pause - self.random.part_of(pause / 2));
        // Whoever waits shall hear the reason, so callers open for themselves again.
        self.tending.slow = false;
        self.tending.armed = None;
        self.vacate(vacancy, after);
        self.start_tending(Time::NEVER, after);
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
        self.put_back(loaned, (!works).then_some("it failed its check"), after);
    }

    /// How an opening went, for the next ones.
    pub(super) fn opening_took(&mut self, took: Duration) {
        self.tending.slow = took >= SLOW_OPENING;
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

    fn retire(&mut self, now: Time, after: &mut After<C>) {
        const WHY: &str = "it has reached its lifetime";
        let mut retired = false;
        for slot in 0..self.places.len() {
            if self.places[slot].retires > now || self.places[slot].interrupter.is_none() {
                continue;
            }
            let cell = &self.front.slots.at(slot).cell;
            if cell.recall() {
                self.places[slot].leave.get_or_insert(WHY);
            } else if !retired && let Some(loaned) = self.front.take_from(slot) {
                retired = true;
                self.close_loaned(loaned, WHY, after);
            }
        }
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

    /// Has connections that are slower than the others together lent last for a while, and replaces
    /// one idle connection that is much slower.
    fn judge(&mut self, now: Time, after: &mut After<C>) {
        let (mut sum, mut number, mut slowest) = (Duration::ZERO, 0, None);
        for (index, slot) in self.front.slots.iter() {
            let place = &mut self.places[index];
            if place.shunned_until <= now {
                place.shunned_until = Time::NEVER;
                slot.judge_anew();
            }
            if let Some(held) = slot.held().filter(|_| place.interrupter.is_some()) {
                (sum, number) = (sum + held, number + 1);
            }
        }
        if number < 3 {
            return;
        }
        for (index, slot) in self.front.slots.iter() {
            let place = &mut self.places[index];
            let known = place.interrupter.is_some() && slot.samples() >= ENOUGH_SAMPLES;
            let Some(held) = slot.held().filter(|_| known) else { continue };
            let others = (sum - held.min(sum)) / (number - 1);
            if held > NOTICEABLE.max(others * SLOWER) && !slot.is_shunned() {
                slot.shun();
                place.shunned_until = now + PROBATION;
            }
            if held > NOTICEABLE.max(others * MUCH_SLOWER) && slowest.is_none_or(|(_, longest)| held > longest) {
                slowest = Some((index, held));
            }
        }
        if let Some((slot, _)) = slowest
            && let Some(loaned) = self.front.take_from(slot)
        {
            self.close_loaned(loaned, "it is much slower than the others", after);
        }
    }

    fn employ(&mut self, now: Time, after: &mut After<C>) {
        let idle_to_check = self.front.slots.iter().any(|(_, slot)| self.wants_check(slot, now));
        let wants_opening = self.open() < self.wanted() && now >= self.tending.paused_until;
        self.tending.warmed |= self.open() >= self.wanted();
        if idle_to_check || wants_opening || self.overdue(now).is_some() {
            self.call_worker(after);
        }
    }

    pub(super) fn call_worker(&mut self, after: &mut After<C>) {
        if !self.tending.working {
            self.tending.working = true;
            after.work = true;
        }
    }

    fn find_chore(&mut self, now: Time) -> Option<Chore<C>> {
        if self.closed {
            return None;
        }
        if let Some(loaned) = self.next_visit() {
            return Some(Chore::Visit(loaned));
        }
        if let Some(slot) = self.overdue(now) {
            let (at, location) = self.front.slots.at(slot).loan()?;
            self.places[slot].reported = at;
            return Some(Chore::Report { location, age: now.since(at) });
        }
        if self.tending.slow && !self.queue.is_empty() && self.has_room() {
            return Some(Chore::Open(self.occupy()));
        }
        if now >= self.tending.paused_until && !self.suspended && self.open() < self.most() {
            if self.open() < self.wanted() {
                return Some(Chore::Open(self.occupy()));
            }
            self.tending.warmed = true;
        }
        let due = self.front.slots.iter().find(|(_, slot)| self.wants_check(slot, now)).map(|(index, _)| index)?;
        let loaned = self.front.take_from(due)?;
        self.opening += 1;
        Some(Chore::Check(loaned))
    }

    fn wants_check(&self, slot: &Slot<C>, now: Time) -> bool {
        let interval = unless_zero(self.config.validation_interval);
        slot.cell.is_full()
            && (self.front.is_suspect(slot) || interval.is_some_and(|interval| slot.known_good_at() + interval <= now))
    }

    /// A loan that lasts too long and was not reported yet.
    fn overdue(&self, now: Time) -> Option<usize> {
        let longest = unless_zero(self.config.leak_threshold)?;
        let lent = self.front.slots.iter().filter(|(_, slot)| slot.cell.is_taken());
        let overdue = lent.filter_map(|(index, slot)| Some((index, slot.loan()?.0)));
        overdue
            .filter(|(index, at)| *at + longest <= now && self.places[*index].reported != *at)
            .map(|(index, _)| index)
            .next()
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
            by(place.retires);
            by(place.shunned_until);
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
