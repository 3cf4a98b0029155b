use crate::{
    Fairness,
    after::{After, Watch},
    place::{Handed, Loaned},
};
use ecm_core::Time;
use std::{collections::VecDeque, task::Waker, time::Duration};

/// How long a hand-over may stay untaken while others wait.
///
/// A future that nobody polls (one branch of a `select!` that waits in another branch) would hold
/// what it was handed for ever, and its own task could be the one that starves. 1 ms is long
/// against a wake-up, short against a timeout.
const PATIENCE: Duration = Duration::from_millis(1);

/// Those who wait, in the order of their arrival, and what was handed to them.
///
/// A caller is known by a ticket, numbered by arrival, and is in one of three conditions: queued;
/// handed something; or dormant, in neither list, because it did not take what it was handed. A
/// dormant caller joins again, in its old order, when it is polled.
pub(crate) struct Queue<C> {
    queued: VecDeque<Waiter>,
    /// In the order of handing over.
    granted: VecDeque<Grant<C>>,
    dormant: usize,
    next_ticket: u64,
    /// For when the revoker's alarm is set.
    watched: Option<Time>,
    watches: u64,
    /// For when the alarm of those whose time is over is set; [`Time::NEVER`] while it is not. Not after any of them.
    due: Time,
    dues: u64,
}

struct Waiter {
    ticket: u64,
    asked: Time,
    /// Until when it waits.
    until: Time,
    /// `None` for one that is just being polled, or was woken because its time is over.
    waker: Option<Waker>,
}

struct Grant<C> {
    ticket: u64,
    asked: Time,
    what: Handed<C>,
    at: Time,
}

impl<C> Queue<C> {
    pub(crate) fn new() -> Self {
        Self {
            queued: VecDeque::new(),
            granted: VecDeque::new(),
            dormant: 0,
            next_ticket: 0,
            watched: None,
            watches: 0,
            due: Time::NEVER,
            dues: 0,
        }
    }

    /// Whether nobody queues; the dormant do not count, since they are not polled.
    pub(crate) fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    pub(crate) fn waiting(&self) -> u32 {
        u32::try_from(self.queued.len() + self.dormant).unwrap_or(u32::MAX)
    }

    /// What was handed over and not taken yet.
    pub(crate) fn handed(&self) -> impl Iterator<Item = &Handed<C>> {
        self.granted.iter().map(|grant| &grant.what)
    }

    pub(crate) fn exchange_handed(&mut self, mut exchange: impl FnMut(Handed<C>) -> Handed<C>) {
        let granted = std::mem::take(&mut self.granted).into_iter();
        self.granted = granted.map(|grant| Grant { what: exchange(grant.what), ..grant }).collect();
    }

    #[inline]
    pub(crate) fn join(&mut self, asked: Time) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.queued.push_back(Waiter { ticket, asked, until: Time::NEVER, waker: None });
        ticket
    }

    /// What a newcomer may take away from somebody who was woken for it but does not run yet: the one
    /// who came last, who joins again when it runs.
    pub(crate) fn rob(&mut self, fairness: Fairness, now: Time) -> Option<Handed<C>> {
        if fairness == Fairness::Strict {
            return None;
        }
        let is_robbable = |grant: &&Grant<C>| match (&grant.what, fairness) {
            (Handed::Room(_), _) | (_, Fairness::Strict) => false,
            (_, Fairness::Bounded(longest)) => now.since(grant.asked) < longest,
            (_, Fairness::Free) => true,
        };
        let ticket = self.granted.iter().filter(is_robbable).map(|grant| grant.ticket).max()?;
        self.dormant += 1;
        self.take_grant(ticket).map(|(what, _)| what)
    }

    /// Brings a dormant caller back; answers whether it joined the queue again.
    ///
    /// It runs at this moment, so it takes over what was handed to somebody who came later and has
    /// not taken it. Without that, threads that need longer than the patience to wake up could
    /// revoke each other for ever.
    pub(crate) fn rejoin(&mut self, ticket: u64, asked: Time) -> bool {
        if self.granted.iter().any(|grant| grant.ticket == ticket) {
            return false;
        }
        let Err(position) = self.find(ticket) else { return false };
        let latest = self.granted.iter_mut().max_by_key(|grant| grant.ticket);
        if let Some(grant) = latest.filter(|grant| grant.ticket > ticket) {
            (grant.ticket, grant.asked) = (ticket, asked);
            return false;
        }
        self.dormant -= 1;
        self.queued.insert(position, Waiter { ticket, asked, until: Time::NEVER, waker: None });
        true
    }

    /// Hands something to the head of the queue, which must not be empty.
    #[inline]
    pub(crate) fn grant(&mut self, what: Handed<C>, now: Time, after: &mut After<C>) {
        let Waiter { ticket, asked, waker, .. } = self.queued.pop_front().expect("only a queue has a head");
        self.granted.push_back(Grant { ticket, asked, what, at: now });
        after.wakers.extend(waker);
    }

    /// What was handed to this caller, and when.
    pub(crate) fn take_grant(&mut self, ticket: u64) -> Option<(Handed<C>, Time)> {
        let position = self.granted.iter().position(|grant| grant.ticket == ticket)?;
        self.granted.remove(position).map(|grant| (grant.what, grant.at))
    }

    /// The queued caller is woken by `waker` from now on, at `until` at the latest; answers the one before, to be
    /// dropped without the lock.
    ///
    /// One alarm serves all who queue. The time of whoever comes later is over later as a rule, so that
    /// nearly nobody has to set it.
    #[inline]
    pub(crate) fn wake_by(&mut self, ticket: u64, waker: &Waker, until: Time, after: &mut After<C>) -> Option<Waker> {
        let position = self.find(ticket).ok()?;
        self.be_due(self.due.min(until), after);
        self.queued[position].until = until;
        let known = &mut self.queued[position].waker;
        match known {
            Some(known) if known.will_wake(waker) => None,
            _ => known.replace(waker.clone()),
        }
    }

    /// The connection that was handed to this caller, and when.
    #[inline]
    pub(crate) fn take_granted_connection(&mut self, ticket: u64) -> Option<(Loaned<C>, Time)> {
        let is_it = |grant: &Grant<C>| grant.ticket == ticket && matches!(grant.what, Handed::Connection(_));
        let position = self.granted.iter().position(is_it)?;
        match self.granted.remove(position)? {
            Grant { what: Handed::Connection(loaned), at, .. } => Some((loaned, at)),
            Grant { what: Handed::Room(_), .. } => unreachable!("it was looked for"),
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
    pub(crate) fn clear(&mut self, after: &mut After<C>) -> Vec<Handed<C>> {
        after.wakers.extend(self.queued.drain(..).filter_map(|waiter| waiter.waker));
        self.dormant = 0;
        self.granted.drain(..).map(|grant| grant.what).collect()
    }

    /// Sets the revoker's alarm if somebody queues behind a hand-over and it is not set yet; takes it
    /// back if nobody queues.
    #[inline]
    pub(crate) fn watch(&mut self, after: &mut After<C>) {
        if self.queued.is_empty() {
            self.be_due(Time::NEVER, after);
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
    pub(crate) fn revoke(&mut self, now: Time, after: &mut After<C>) {
        // A clock that rings early cannot keep alarms at the moment. Setting the next one here
        // would ring at once again, and never end. It may also have been the ring of an alarm that was
        // replaced meanwhile; so the next one, for which none seems to be set, is obeyed.
        if self.watched.take().is_some_and(|armed| now < armed) {
            return;
        }
        while !self.queued.is_empty()
            && let Some(grant) = self.granted.pop_front_if(|grant| grant.at + PATIENCE <= now)
        {
            self.dormant += 1;
            self.grant(grant.what, now, after);
        }
        self.watch(after);
    }

    /// The alarm of those whose time is over has rung: wakes them, and sets it for the next.
    pub(crate) fn expire(&mut self, now: Time, after: &mut After<C>) {
        let due = std::mem::replace(&mut self.due, Time::NEVER);
        if due == Time::NEVER {
            return;
        }
        // A clock that rings early cannot keep alarms at the moment: then everybody has to look for itself,
        // and sets the alarm again.
        let is_over = |waiter: &Waiter| now < due || waiter.until <= now;
        let mut next = Time::NEVER;
        for waiter in &mut self.queued {
            if is_over(waiter) {
                after.wakers.extend(waiter.waker.take());
            } else {
                next = next.min(waiter.until);
            }
        }
        self.be_due(next, after);
    }

    #[inline]
    fn be_due(&mut self, at: Time, after: &mut After<C>) {
        if at != self.due {
            self.due = at;
            self.dues += 1;
            after.expire = Some(Watch { number: self.dues, at });
        }
    }

    #[inline]
    fn find(&self, ticket: u64) -> Result<usize, usize> {
        self.queued.binary_search_by_key(&ticket, |waiter| waiter.ticket)
    }
}
