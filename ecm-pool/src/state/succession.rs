use super::State;
use crate::after::After;
use ecm_core::Time;

/// A connection that is to go as soon as another one is there in its stead.
pub(super) struct Succession {
    slot: usize,
    /// Which connection: the slot may have got another one meanwhile.
    number: u64,
    why: &'static str,
    /// The opening of its successor, once it has begun.
    opening: Option<u64>,
}

impl<C> State<C> {
    /// Has one connection go that is too old or does worse than the others, if there is one.
    ///
    /// Where it would be missed its successor is opened first, and while that fails it stays. Where the
    /// pool has as many as it may it goes first, since the maximum of places is never exceeded: at once if it
    /// is idle, else when it comes back; its place is opened anew at once.
    pub(super) fn retire(&mut self, now: Time, after: &mut After<C>) {
        if !self.may_retire() {
            return;
        }
        self.succession = None;
        let Some((slot, why)) = self.next_to_go(now) else { return };
        if self.would_be_missed() {
            if now < self.tending.paused_until() {
                return;
            }
            if self.open() < self.most() {
                let number = self.places[slot].number;
                self.succession = Some(Succession { slot, number, why, opening: None });
                return;
            }
        }
        self.dismiss(slot, why, after);
    }

    /// Whether the next one may go: no successor is being opened. One that is only wanted is decided on
    /// anew, since the room for it may have gone to somebody else.
    pub(super) fn may_retire(&self) -> bool {
        !self.suspended && self.succession.as_ref().is_none_or(|succession| succession.opening.is_none())
    }

    /// What is worse than the others goes before what is old, the oldest first.
    fn next_to_go(&self, now: Time) -> Option<(usize, &'static str)> {
        let staying = self.places.iter().enumerate();
        let staying = staying.filter(|(_, place)| place.interrupter.is_some() && place.leave.is_none());
        let due = staying.filter(|(_, place)| place.wants_to_go(now));
        let (slot, place) = due.min_by_key(|(_, place)| (place.conduct.condemned.is_none(), place.retires))?;
        Some((slot, place.conduct.condemned.unwrap_or("it has reached its lifetime")))
    }

    /// Whether fewer than are kept, or are in use, would be left without one.
    fn would_be_missed(&self) -> bool {
        let load = self.load();
        let leaving = self.places.iter().filter(|place| place.leave.is_some()).count();
        let needed = self.tending.warm().max(load.lent.saturating_add(load.waiting));
        self.config.connection_warming && load.open - super::count(leaving) <= needed
    }

    fn dismiss(&mut self, slot: usize, why: &'static str, after: &mut After<C>) {
        self.replaced += u64::from(self.places[slot].conduct.condemned.is_some());
        match self.front.recall(slot) {
            Some(loaned) => self.close_loaned(loaned, why, after),
            None => drop(self.places[slot].leave.get_or_insert(why)),
        }
    }

    /// Whether a successor is to be opened.
    pub(super) fn wants_successor(&self) -> bool {
        self.succession.as_ref().is_some_and(|succession| succession.opening.is_none())
    }

    /// Begins to open the successor that is wanted, if there is room for it still.
    pub(super) fn open_successor(&mut self, now: Time, after: &mut After<C>) -> Option<u64> {
        if self.open() >= self.most() {
            self.succession = None;
            return None;
        }
        let vacancy = self.occupy();
        let opening = self.begin(vacancy, now, true, after);
        if let Some(succession) = &mut self.succession {
            succession.opening = Some(opening);
        }
        Some(opening)
    }

    /// A connection was opened in the background: what it succeeds goes.
    pub(super) fn succeed(&mut self, opening: u64, after: &mut After<C>) {
        let Some(succession) = self.end_succession(opening) else { return };
        let Succession { slot, number, why, .. } = succession;
        let place = &self.places[slot];
        if place.number == number && place.interrupter.is_some() && place.leave.is_none() {
            self.dismiss(slot, why, after);
        }
        let now = self.clock.now();
        self.start_tending(now, after);
    }

    /// The opening of a successor has ended in any way.
    pub(super) fn end_succession(&mut self, opening: u64) -> Option<Succession> {
        self.succession.take_if(|succession| succession.opening == Some(opening))
    }
}
