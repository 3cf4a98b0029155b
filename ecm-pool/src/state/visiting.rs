use super::State;
use crate::{
    after::{After, Watch},
    front::Shut,
    place::Loaned,
};
use ecm_core::Time;
use std::time::Duration;

/// How often a pool looks for connections that are idle and may keep something.
const TICK: Duration = Duration::from_millis(5);
/// A connection that is lent between any two ticks is visited no more often than this: a visit is in
/// the way of whoever wants it at that moment.
const BREATH: Duration = Duration::from_millis(25);

/// What a pool remembers for visiting idle connections that may keep something between loans.
///
/// While connections are lent it ticks. A tick that finds nothing to look after shuts the gate and sets
/// no alarm; whoever gives something back then comes to the lock, and the ticks begin again. So a
/// pool that is not used has no alarm, and one that is used reads no clock and no flag for this.
pub(super) struct Visiting {
    /// Whether there is anything to be looked after, ever.
    keeps: bool,
    /// For when the alarm is set, and how often it was. The gate is shut while it is not.
    armed: Option<Time>,
    alarms: u64,
    due: Vec<usize>,
    /// Which connection is being visited.
    under_way: Option<usize>,
}

/// What is known of what a connection keeps.
pub(crate) struct Rest {
    /// The loans that had begun at the last tick.
    loans: u64,
    may_keep: bool,
    due: bool,
    visited: Option<Time>,
    /// When the connection wants to be visited again.
    again: Time,
}

impl Rest {
    pub(crate) const NEW: Self = Self { loans: 0, may_keep: false, due: false, visited: None, again: Time::START };

    /// Takes note of what a tick finds; answers when to look again, if not only after the next loan.
    fn look(&mut self, is_idle: bool, loans: u64, now: Time) -> Option<Time> {
        let was_lent = self.loans != loans;
        self.loans = loans;
        self.may_keep |= was_lent || !is_idle;
        if !is_idle {
            return was_lent.then_some(now + TICK);
        }
        if !self.may_keep {
            return None;
        }
        if was_lent && self.visited.is_some_and(|at| now < at + BREATH) {
            return Some(now + TICK);
        }
        self.due = self.again <= now;
        Some(self.again.max(now + TICK))
    }

    fn visited(&mut self, again: Option<Time>, now: Time) {
        self.visited = Some(now);
        self.may_keep = again.is_some();
        self.again = again.unwrap_or(Time::START);
    }
}

impl Visiting {
    pub(super) fn new(keeps: bool) -> Self {
        Self { keeps, armed: None, alarms: 0, due: Vec::new(), under_way: None }
    }

    /// The slot whose connection is being visited.
    pub(super) fn under_way(&self) -> Option<usize> {
        self.under_way
    }

    fn set(&mut self, at: Time, after: &mut After<impl Sized>) {
        self.alarms += 1;
        after.visit = Some(Watch { number: self.alarms, at });
    }
}

impl<C> State<C> {
    /// Something was lent, so that there may be something to look after.
    pub(super) fn wake(&mut self, after: &mut After<C>) {
        if self.visiting.keeps && self.visiting.armed.is_none() && !self.closed {
            self.tick_at(self.clock.now() + TICK, after);
        }
    }

    /// The alarm has rung: has the idle connections visited that may keep something.
    pub(crate) fn tick(&mut self, after: &mut After<C>) {
        let now = self.clock.now();
        let Some(armed) = self.visiting.armed.take() else { return };
        // A clock that rings early cannot keep alarms at the moment; the next loan sets one again.
        let mut next = None;
        if now >= armed {
            self.front.tick(now);
            next = self.look_around(now, after);
        }
        if next.is_none() {
            // Shut before looking once more, as in `Front`: whoever gives something back after the
            // look comes to the lock.
            self.front.shut(Shut::Asleep, true);
            next = self.look_around(now, after).filter(|_| now >= armed);
        }
        if let Some(at) = next {
            self.tick_at(at, after);
        }
    }

    /// The next connection to be visited.
    pub(super) fn next_visit(&mut self) -> Option<Loaned<C>> {
        while let Some(slot) = self.visiting.due.pop() {
            if std::mem::take(&mut self.places[slot].rest.due)
                && let Some(loaned) = self.front.take_from(slot)
            {
                self.visiting.under_way = Some(slot);
                return Some(loaned);
            }
        }
        None
    }

    /// A visit is over; the connection says when it wants the next one, unless it panicked.
    pub(crate) fn visited(&mut self, loaned: Loaned<C>, again: Result<Option<Time>, ()>, after: &mut After<C>) {
        self.visiting.under_way = None;
        let now = self.clock.now();
        self.places[loaned.slot].rest.visited(again.unwrap_or_default(), now);
        self.put_back(loaned, again.is_err().then_some("it panicked while it was idle"), now, after);
    }

    pub(super) fn stop_visiting(&mut self, after: &mut After<C>) {
        if self.visiting.armed.take().is_some() {
            self.visiting.set(Time::NEVER, after);
        }
    }

    /// Looks at every connection; answers when to look again.
    fn look_around(&mut self, now: Time, after: &mut After<C>) -> Option<Time> {
        let mut next: Option<Time> = None;
        for (index, slot) in self.front.slots.iter() {
            let Some(place) = self.places.get_mut(index).filter(|place| place.interrupter.is_some()) else { continue };
            let was_due = place.rest.due;
            // The loan is counted before its connection is put back.
            let is_idle = slot.cell.is_full();
            let at = place.rest.look(is_idle, slot.loans(), now);
            next = [next, at].into_iter().flatten().min();
            if place.rest.due && !was_due {
                self.visiting.due.push(index);
            }
        }
        if !self.visiting.due.is_empty() {
            self.call_worker(after);
        }
        next
    }

    fn tick_at(&mut self, at: Time, after: &mut After<C>) {
        self.visiting.armed = Some(at);
        self.visiting.set(at, after);
        self.front.shut(Shut::Asleep, false);
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn one_that_was_not_lent_is_visited_until_it_keeps_nothing() {
        let mut rest = Rest::NEW;
        assert_eq!((rest.look(true, 0, at(100)), rest.due), (None, false));
        assert_eq!((rest.look(true, 3, at(105)), rest.due), (Some(at(110)), true));
        rest.due = false;
        rest.visited(Some(at(112)), at(105));
        assert_eq!((rest.look(true, 3, at(110)), rest.due), (Some(at(115)), false), "not before it wants to be");
        assert_eq!((rest.look(true, 3, at(115)), rest.due), (Some(at(120)), true));
        rest.due = false;
        rest.visited(None, at(115));
        assert_eq!((rest.look(true, 3, at(120)), rest.due), (None, false));
    }

    #[test]
    fn one_that_is_lent_all_the_time_is_left_in_peace_for_a_while_but_not_for_ever() {
        let mut rest = Rest::NEW;
        rest.visited(Some(at(105)), at(100));
        let visits: Vec<_> = (21..=30)
            .filter(|tick| {
                let now = at(5 * tick);
                assert_eq!(rest.look(true, *tick, now), Some(now + TICK));
                let due = std::mem::take(&mut rest.due);
                if due {
                    rest.visited(Some(now + TICK), now);
                }
                due
            })
            .collect();
        assert_eq!(visits, [25, 30]);
    }

    #[test]
    fn one_that_is_lent_is_not_due_and_may_keep_something_afterwards() {
        let mut rest = Rest::NEW;
        assert_eq!((rest.look(false, 1, at(100)), rest.due), (Some(at(105)), false));
        assert_eq!((rest.look(false, 1, at(105)), rest.due), (None, false), "its return is not missed");
        assert_eq!((rest.look(true, 1, at(500)), rest.due), (Some(at(505)), true));
    }
}
