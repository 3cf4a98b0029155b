use crate::after::{After, Watch};
use ecm_core::Time;
use std::{
    collections::{VecDeque, vec_deque},
    task::Waker,
    time::Duration,
};

/// How long a hand-over may stay untaken while others wait.
///
/// A future that nobody polls (one branch of a `select!` that waits in another branch) would hold
/// what it was handed for ever, and its own task could be the one that starves. 1 ms is long
/// against a wake-up, short against a timeout.
const PATIENCE: Duration = Duration::from_millis(1);

/// Those who wait, in the order of their arrival, and what was handed to them.
///
/// A caller is known by a ticket, numbered by arrival, and is in one of three conditions: queued;
/// handed a place; or dormant, in neither list, because it did not take what it was handed. A
/// dormant caller joins again, in its old order, when it is polled.
#[derive(Default)]
pub(crate) struct Queue {
    queued: VecDeque<Waiter>,
    /// In the order of handing over.
    granted: VecDeque<Grant>,
    dormant: usize,
    next_ticket: u64,
    /// For when the revoker's alarm is set.
    watched: Option<Time>,
    watches: u64,
}

struct Waiter {
    ticket: u64,
    /// `None` for one that is just being polled.
    waker: Option<Waker>,
}

struct Grant {
    ticket: u64,
    place: usize,
    at: Time,
}

impl Queue {
    /// Whether nobody queues; the dormant do not count, since they are not polled.
    pub(crate) fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    pub(crate) fn waiting(&self) -> u32 {
        u32::try_from(self.queued.len() + self.dormant).unwrap_or(u32::MAX)
    }

    /// The places that were handed over and not taken yet.
    pub(crate) fn handed(&self) -> impl Iterator<Item = usize> + use<'_> {
        self.granted.iter().map(|grant| grant.place)
    }

    pub(crate) fn join(&mut self) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.queued.push_back(Waiter { ticket, waker: None });
        ticket
    }

    /// Brings a dormant caller back; answers whether it joined the queue again.
    ///
    /// It runs at this moment, so it takes over what was handed to somebody who came later and has
    /// not taken it. Without that, threads that need longer than the patience to wake up could
    /// revoke each other for ever.
    pub(crate) fn rejoin(&mut self, ticket: u64) -> bool {
        if self.granted.iter().any(|grant| grant.ticket == ticket) {
            return false;
        }
        let Err(position) = self.find(ticket) else { return false };
        let latest = self.granted.iter_mut().max_by_key(|grant| grant.ticket);
        if let Some(grant) = latest.filter(|grant| grant.ticket > ticket) {
            grant.ticket = ticket;
            return false;
        }
        self.dormant -= 1;
        self.queued.insert(position, Waiter { ticket, waker: None });
        true
    }

    /// Hands a place to the head of the queue, which must not be empty.
    pub(crate) fn grant<C>(&mut self, place: usize, now: Time, after: &mut After<C>) {
        let waiter = self.queued.pop_front().expect("a place is handed over only while somebody queues");
        self.granted.push_back(Grant { ticket: waiter.ticket, place, at: now });
        after.wakers.extend(waiter.waker);
    }

    pub(crate) fn take_grant(&mut self, ticket: u64) -> Option<usize> {
        let position = self.granted.iter().position(|grant| grant.ticket == ticket)?;
        self.granted.remove(position).map(|grant| grant.place)
    }

    /// The queued caller is woken by `waker` from now on; answers the one before, to be dropped
    /// without the lock.
    pub(crate) fn wake_by(&mut self, ticket: u64, waker: &Waker) -> Option<Waker> {
        let position = self.find(ticket).ok()?;
        let known = &mut self.queued[position].waker;
        match known {
            Some(known) if known.will_wake(waker) => None,
            _ => known.replace(waker.clone()),
        }
    }

    /// Forgets a caller who was handed nothing; its waker is to be dropped without the lock.
    pub(crate) fn leave(&mut self, ticket: u64) -> Option<Waker> {
        match self.find(ticket) {
            Ok(position) => self.queued.remove(position).and_then(|waiter| waiter.waker),
            Err(_) => {
                self.dormant -= 1;
                None
            }
        }
    }

    /// Wakes and forgets everybody; answers what was handed over.
    pub(crate) fn clear<C>(&mut self, after: &mut After<C>) -> vec_deque::IntoIter<usize> {
        after.wakers.extend(self.queued.drain(..).filter_map(|waiter| waiter.waker));
        self.dormant = 0;
        let handed: VecDeque<usize> = self.granted.drain(..).map(|grant| grant.place).collect();
        handed.into_iter()
    }

    /// Sets the revoker's alarm if somebody queues behind a hand-over and it is not set yet; takes it
    /// back if nobody queues.
    pub(crate) fn watch<C>(&mut self, after: &mut After<C>) {
        if self.queued.is_empty() {
            if self.watched.take().is_some() {
                self.watches += 1;
                after.watch = Some(Watch { number: self.watches, at: Time::NEVER });
            }
            return;
        }
        if self.watched.is_some() {
            return;
        }
        if let Some(grant) = self.granted.front() {
            let at = grant.at + PATIENCE;
            self.watched = Some(at);
            self.watches += 1;
            after.watch = Some(Watch { number: self.watches, at });
        }
    }

    /// The revoker's alarm has rung: what was not taken in time goes to the next.
    pub(crate) fn revoke<C>(&mut self, now: Time, after: &mut After<C>) {
        // A clock that rings early cannot keep alarms at the moment. Setting the next one here
        // would ring at once again, and never end.
        if self.watched.take().is_none_or(|armed| now < armed) {
            return;
        }
        while !self.queued.is_empty()
            && let Some(grant) = self.granted.pop_front_if(|grant| grant.at + PATIENCE <= now)
        {
            self.dormant += 1;
            self.grant(grant.place, now, after);
        }
        self.watch(after);
    }

    fn find(&self, ticket: u64) -> Result<usize, usize> {
        self.queued.binary_search_by_key(&ticket, |waiter| waiter.ticket)
    }
}
