use super::State;
use crate::{
    after::After,
    caller::{Caller, Standing},
    front::Shut,
    place::{Handed, Loaned, Vacancy},
};
use ecm_core::Time;
use std::panic::Location;

impl<C> State<C> {
    /// A caller asks for the first time: gets a connection or room at once, or joins the queue.
    #[inline]
    pub(crate) fn ask(&mut self, caller: &Caller<'_>, after: &mut After<C>) -> Standing<C> {
        if self.closed {
            return Standing::Closed;
        }
        if let Some(loaned) = self.take_idle(caller.asked, caller.from, after) {
            return Standing::Lend(loaned);
        }
        let is_full = self.queue.waiting() >= self.config.max_waiting;
        let can_wait = caller.asked < caller.until && !is_full;
        if !can_wait && self.visiting.under_way().is_some() && !self.has_room() {
            return Standing::Retry;
        }
        if is_full && !self.has_room() {
            return Standing::QueueFull(Box::new(self.shortage()));
        }
        let is_behind = !self.queue.is_empty();
        let ticket = self.queue.join(caller.asked);
        if !is_behind || self.open() < self.most() {
            self.hand_out(can_wait, after);
        }
        match self.granted(ticket, caller.from) {
            // An open is not begun for a caller whose time was over when it came; a connection costs nothing.
            Some(Standing::Open(vacancy)) if caller.late => self.too_late_for(vacancy, after),
            Some(granted) => granted,
            None => {
                let standing = self.wait(ticket, caller, caller.asked, after);
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
        if self.queue.rejoin(ticket, caller.asked) {
            self.serve(after);
        }
        match self.granted(ticket, caller.from) {
            Some(Standing::Open(vacancy)) if self.clock.now() >= caller.until => self.too_late_for(vacancy, after),
            Some(granted) => granted,
            None => {
                let now = self.clock.now();
                self.wait(ticket, caller, now, after)
            }
        }
    }

    /// The connection that was handed to a caller, if one was: what the one who is woken nearly always finds.
    #[inline]
    pub(crate) fn take_granted(&mut self, ticket: u64, from: &'static Location<'static>) -> Option<Loaned<C>> {
        if self.closed {
            return None;
        }
        let (loaned, at) = self.queue.take_granted_connection(ticket)?;
        self.front.stamp(&loaned, at, from);
        Some(loaned)
    }

    fn too_late_for(&mut self, vacancy: Vacancy, after: &mut After<C>) -> Standing<C> {
        let standing = self.time_out();
        self.vacate(vacancy, after);
        standing
    }

    /// A caller who has waited goes away.
    pub(crate) fn leave(&mut self, ticket: u64, after: &mut After<C>) {
        if self.closed {
            return;
        }
        match self.queue.take_grant(ticket) {
            Some((Handed::Connection(loaned), _)) => self.put_back(loaned, None, self.clock.now(), after),
            Some((Handed::Room(vacancy), _)) => self.vacate(vacancy, after),
            None => self.leave_queue(ticket, after),
        }
    }

    /// What was handed to a caller: a loan begins when it was.
    fn granted(&mut self, ticket: u64, from: &'static Location<'static>) -> Option<Standing<C>> {
        Some(match self.queue.take_grant(ticket)? {
            (Handed::Connection(loaned), at) => {
                self.front.stamp(&loaned, at, from);
                Standing::Lend(loaned)
            }
            // The epoch may have changed since it was handed over.
            (Handed::Room(vacancy), _) => Standing::Open(Vacancy { epoch: self.epoch, ..vacancy }),
        })
    }

    #[inline]
    fn wait(&mut self, ticket: u64, caller: &Caller<'_>, now: Time, after: &mut After<C>) -> Standing<C> {
        if now < caller.until {
            after.stale = self.queue.wake_by(ticket, caller.waker, caller.until, after);
            self.watch_openings(after);
            return Standing::Wait(ticket);
        }
        let standing = self.time_out();
        self.leave_queue(ticket, after);
        standing
    }

    fn leave_queue(&mut self, ticket: u64, after: &mut After<C>) {
        after.stale = self.queue.leave(ticket);
        self.front.shut(Shut::Queued, !self.queue.is_empty());
        self.queue.watch(after);
        self.watch_openings(after);
    }

    /// The time of a hand-over that was not taken is over.
    pub(crate) fn ring(&mut self, after: &mut After<C>) {
        let now = self.clock.now();
        self.queue.revoke(now, after);
        self.front.shut(Shut::Queued, !self.queue.is_empty());
    }

    /// The time of somebody who queues is over.
    pub(crate) fn expire(&mut self, after: &mut After<C>) {
        self.queue.expire(self.clock.now(), after);
    }
}
