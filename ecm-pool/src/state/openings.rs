use super::State;
use crate::{
    after::{After, Closing, Watch},
    place::{Loaned, Place, Vacancy},
};
use ecm_core::{Interrupt, Time};
use std::{sync::Arc, time::Duration};

/// An opening that takes longer is no longer left to callers.
pub(crate) const SLOW: Duration = Duration::from_millis(10);
/// An opening or a check that takes longer is stuck. Twice as long for each that is stuck already, so that
/// a storage that hangs for a day costs some thirty threads.
const PATIENCE: Duration = Duration::from_secs(1);
const MOST_DOUBLINGS: u32 = 12;

/// The openings under way.
///
/// One that does not come back in time loses its place, which goes to the next who needs it. Its thread
/// cannot be had back; what it opens after all is used if there is room, else closed.
#[derive(Default)]
pub(super) struct Openings {
    under_way: Vec<Opening>,
    begun: u64,
    /// For when the watchdog's alarm is set, as far as is known, and how often it was.
    watched: Option<Time>,
    watches: u64,
    /// Whether an alarm may be there still.
    has_alarm: bool,
}

struct Opening {
    number: u64,
    epoch: u64,
    begun: Time,
    by_worker: bool,
    /// `None` for one that is stuck.
    vacancy: Option<Vacancy>,
}

/// What has come of an opening besides a connection that is lent.
pub(crate) enum Unsettled {
    /// The pool was closed meanwhile.
    Closed,
    /// It was stuck, and there is no room any more.
    TooLate,
}

impl Openings {
    fn end(&mut self, number: u64) -> Option<Opening> {
        let position = self.under_way.iter().position(|opening| opening.number == number)?;
        Some(self.under_way.swap_remove(position))
    }

    pub(super) fn stuck(&self) -> u32 {
        super::count(self.under_way.iter().filter(|opening| opening.vacancy.is_none()).count())
    }

    /// How long the longest has lasted.
    pub(super) fn longest(&self, now: Time) -> Option<Duration> {
        self.under_way.iter().map(|opening| now.since(opening.begun)).max()
    }

    fn patience(&self) -> Duration {
        PATIENCE.saturating_mul(1 << self.stuck().min(MOST_DOUBLINGS))
    }
}

impl<C> State<C> {
    /// Somebody begins to open a connection; answers the number of the opening.
    pub(crate) fn begin(&mut self, vacancy: Vacancy, now: Time, by_worker: bool, after: &mut After<C>) -> u64 {
        self.openings.begun += 1;
        let (number, epoch) = (self.openings.begun, vacancy.epoch);
        self.openings.under_way.push(Opening { number, epoch, begun: now, by_worker, vacancy: Some(vacancy) });
        self.watch_openings(after);
        number
    }

    /// A connection was opened: it is lent from now on, unless the pool was closed or it comes too late.
    pub(crate) fn settle(
        &mut self,
        number: u64,
        connection: Box<C>,
        interrupter: Arc<dyn Interrupt>,
        now: Time,
        took: Duration,
        after: &mut After<C>,
    ) -> Result<Loaned<C>, Unsettled> {
        self.opened += 1;
        self.last_failure = None;
        self.opening_took(took);
        let opening = self.openings.end(number).expect("an opening ends once");
        self.watch_openings(after);
        let vacancy = match opening.vacancy {
            Some(vacancy) => vacancy,
            None if !self.closed && self.open() < self.most() => Vacancy { epoch: opening.epoch, ..self.occupy() },
            None => {
                const WHY: &str = "it was opened too late, and its place is taken";
                after.closing.push(Closing { connection, number, interrupter: Some(interrupter), why: WHY });
                self.closing += 1;
                self.closes += 1;
                return Err(if self.closed { Unsettled::Closed } else { Unsettled::TooLate });
            }
        };
        let Vacancy { slot, epoch, key } = vacancy;
        let retires = self.lifetime(now);
        self.places[slot] = Place { interrupter: Some(interrupter), number, retires, ..Place::EMPTY };
        self.front.slots.at(slot).opened(number, epoch, now);
        self.opening -= 1;
        let loaned = Loaned { slot, key, connection };
        if self.closed {
            self.close_loaned(loaned, "the pool is closed", after);
            self.serve(after);
            return Err(Unsettled::Closed);
        }
        if self.open() > self.most() {
            // The maximum was lowered meanwhile, when this one could not be asked for: it is closed when it comes back.
            self.front.slots.at(slot).cell.recall(true);
        }
        self.start_tending(retires, after);
        self.wake(after);
        Ok(loaned)
    }

    /// An opening has ended without a connection: its place goes to the next. Answers whether it had one.
    pub(crate) fn give_up(&mut self, number: u64, after: &mut After<C>) -> bool {
        let vacancy = self.openings.end(number).and_then(|opening| opening.vacancy);
        self.watch_openings(after);
        let had_place = vacancy.is_some();
        match vacancy {
            Some(vacancy) => self.vacate(vacancy, after),
            None => self.tell_drainers(after),
        }
        had_place
    }

    /// Whether an opening that is under way has shown that it takes long; not asked before `from`.
    pub(super) fn is_opening_slow(&self, from: Time) -> bool {
        if self.openings.under_way.is_empty() {
            return false;
        }
        let now = self.clock.now();
        now >= from && self.openings.longest(now).is_some_and(|longest| longest >= SLOW)
    }

    /// The watchdog's alarm has rung: what is stuck is left to itself.
    pub(crate) fn take_over(&mut self, after: &mut After<C>) {
        let now = self.clock.now();
        // A clock that rings early cannot keep alarms at the moment; whoever opens or waits next sets one. Or it
        // was the ring of one that was replaced, and the next one comes.
        if self.openings.watched.take().is_some_and(|armed| now < armed) || self.closed {
            return;
        }
        let patience = self.openings.patience();
        if self.tending.lost_worker(now, patience) {
            self.call_worker(after);
        }
        let somebody_waits = !self.queue.is_empty();
        for index in 0..self.openings.under_way.len() {
            let opening = &mut self.openings.under_way[index];
            if opening.begun + patience > now || !(opening.by_worker || somebody_waits) {
                continue;
            }
            let (number, lasted) = (opening.number, now.since(opening.begun));
            if let Some(vacancy) = opening.vacancy.take() {
                self.last_failure = Some(format!("it has not come back for {lasted:.1?}").into());
                self.tending.slow = true;
                self.end_succession(number);
                self.free(vacancy);
            }
        }
        self.start_tending(now, after);
        self.serve(after);
    }

    /// Sets the watchdog's alarm for when something will be stuck that is in somebody's way.
    #[inline]
    pub(super) fn watch_openings(&mut self, after: &mut After<C>) {
        let since = self.tending.since();
        if self.openings.under_way.is_empty() && !self.openings.has_alarm && since.is_none() {
            return;
        }
        let somebody_waits = !self.queue.is_empty();
        let in_the_way = self
            .openings
            .under_way
            .iter()
            .filter(|opening| opening.vacancy.is_some() && (opening.by_worker || somebody_waits));
        let oldest = in_the_way.map(|opening| opening.begun).chain(since).min().filter(|_| !self.closed);
        let due = oldest.map(|oldest| oldest + self.openings.patience());
        if due != self.openings.watched || (due.is_none() && self.openings.has_alarm) {
            self.openings.watched = due;
            self.openings.has_alarm = due.is_some();
            self.openings.watches += 1;
            after.guard = Some(Watch { number: self.openings.watches, at: due.unwrap_or(Time::NEVER) });
        }
    }
}
