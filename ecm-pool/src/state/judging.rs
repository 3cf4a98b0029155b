use super::State;
use crate::after::After;
use ecm_core::Time;
use std::time::Duration;

/// A connection is demoted, so that the others are lent first, when its loans last so many times longer than
/// those of the others,
const SLOWER: u32 = 3;
/// and pardoned when they last less than so many halves as long: between the two nothing changes.
const PARDONED_HALVES: u32 = 3;
/// It is replaced when they last so many times longer.
const MUCH_SLOWER: u32 = 8;
/// Differences below it are noise.
const NOTICEABLE: Duration = Duration::from_millis(1);
/// Fewer say more about what was done with a connection than about the connection.
const ENOUGH_SAMPLES: u64 = 4;
/// Among fewer nobody knows which one is the odd one.
const FEWEST_COMPARED: u32 = 3;
/// It is demoted when so many of its loans have failed in a row,
const FAILING: u32 = 3;
/// and replaced when so many have.
const KEEPS_FAILING: u32 = 8;
/// It is replaced when it is demoted so often without having done well in between.
const STRIKES: u32 = 2;
/// For so long it is demoted at most: what is lent last may never show that it does well again.
const PROBATION: Duration = Duration::from_secs(10);

/// How a connection does beside the others.
pub(crate) struct Conduct {
    /// Until when the others are lent first; [`Time::NEVER`] while they are not.
    pub(super) demoted_until: Time,
    strikes: u32,
    /// How many of its loans have failed one after the other, and the number of the last of them.
    failed: u32,
    failed_at: u64,
    /// Why it is to be replaced, if it is.
    pub(super) condemned: Option<&'static str>,
}

impl Conduct {
    pub(crate) const NEW: Self =
        Self { demoted_until: Time::NEVER, strikes: 0, failed: 0, failed_at: 0, condemned: None };

    pub(crate) fn is_condemned(&self) -> bool {
        self.condemned.is_some()
    }

    pub(super) fn is_demoted(&self) -> bool {
        self.demoted_until != Time::NEVER
    }
}

impl<C> State<C> {
    /// The borrower says that the backend failed on this connection during the loan that ends.
    pub(crate) fn accuse(&mut self, slot: usize, after: &mut After<C>) {
        let loans = self.front.slots.at(slot).loans();
        let others_do_well = self.others_do_well(slot);
        let conduct = &mut self.places[slot].conduct;
        let in_a_row = conduct.failed > 0 && conduct.failed_at + 1 == loans;
        conduct.failed = if in_a_row { conduct.failed + 1 } else { 1 };
        conduct.failed_at = loans;
        // Where all fail none of them is the reason.
        if !others_do_well || conduct.failed < FAILING {
            return;
        }
        let now = self.clock.now();
        if conduct.failed >= KEEPS_FAILING {
            conduct.condemned.get_or_insert("it failed again and again");
        }
        if !conduct.is_demoted() {
            self.demote(slot, "its loans failed one after the other", now, after);
        }
        self.start_tending(now, after);
    }

    /// How many connections are lent last.
    pub(super) fn demoted(&self) -> u32 {
        super::count(self.places.iter().filter(|place| place.conduct.is_demoted()).count())
    }

    fn others_do_well(&self, slot: usize) -> bool {
        let open = self.places.iter().enumerate().filter(|(_, place)| place.interrupter.is_some());
        open.into_iter()
            .any(|(other, place)| other != slot && !place.conduct.is_demoted() && place.conduct.failed < FAILING)
    }

    /// Compares how long the loans of each connection last with those of the others together.
    pub(super) fn judge(&mut self, now: Time, after: &mut After<C>) {
        let (mut sum, mut number) = (Duration::ZERO, 0);
        for (index, slot) in self.front.slots.iter() {
            let place = &mut self.places[index];
            if place.conduct.demoted_until <= now {
                place.conduct.demoted_until = Time::NEVER;
                place.conduct.failed = 0;
                slot.judge_anew();
            }
            if let Some(held) = slot.held().filter(|_| place.interrupter.is_some()) {
                (sum, number) = (sum + held, number + 1);
            }
        }
        if number < FEWEST_COMPARED {
            return;
        }
        for index in 0..self.places.len() {
            let (slot, place) = (self.front.slots.at(index), &mut self.places[index]);
            let known = place.interrupter.is_some() && slot.samples() >= ENOUGH_SAMPLES;
            let Some(held) = slot.held().filter(|_| known) else { continue };
            let others = (sum - held.min(sum)) / (number - 1);
            let conduct = &mut place.conduct;
            if held > NOTICEABLE.max(others * MUCH_SLOWER) {
                conduct.condemned.get_or_insert("it is much slower than the others");
            }
            if held > NOTICEABLE.max(others * SLOWER) {
                if !conduct.is_demoted() {
                    self.demote(index, "it is slower than the others", now, after);
                }
            } else if held < NOTICEABLE.max(others * PARDONED_HALVES / 2) && conduct.failed < FAILING {
                conduct.strikes = 0;
                if conduct.is_demoted() {
                    conduct.demoted_until = Time::NEVER;
                    slot.pardon();
                }
            }
        }
    }

    fn demote(&mut self, slot: usize, why: &'static str, now: Time, after: &mut After<C>) {
        self.front.slots.at(slot).shun();
        let conduct = &mut self.places[slot].conduct;
        conduct.demoted_until = now + PROBATION;
        conduct.strikes += 1;
        if conduct.strikes >= STRIKES {
            conduct.condemned.get_or_insert("it does worse than the others again and again");
        }
        after.demoted.push(why);
    }
}
