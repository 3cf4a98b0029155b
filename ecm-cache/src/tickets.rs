use std::collections::VecDeque;

/// So many tickets are not worth looking through.
const FEW: u64 = 32;

/// What was stored, in order: a ticket for each insertion.
///
/// The ticket of what has gone another way stays until it is the oldest, or until half of all are like it. There
/// are never more than twice as many as there are entries, and a few.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    queue: VecDeque<Ticket>,
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Of the key.
    pub(crate) hash: u64,
    /// Of the insertion: each has another one.
    pub(crate) number: u64,
}

impl Tickets {
    /// A new ticket's number.
    pub(crate) fn push(&mut self, hash: u64) -> u64 {
        let number = self.next;
        self.next += 1;
        self.queue.push_back(Ticket { hash, number });
        number
    }

    pub(crate) fn oldest(&self) -> Option<Ticket> {
        self.queue.front().copied()
    }

    pub(crate) fn pop(&mut self) -> Option<Ticket> {
        self.queue.pop_front()
    }

    /// Throws away the tickets of what has gone, if those are more than the `live` ones and a few. That
    /// looks at all of them, but only after as many insertions as it throws away.
    pub(crate) fn thin_out(&mut self, live: u64, is_live: impl Fn(Ticket) -> bool) {
        if self.queue.len() as u64 > 2 * live + FEW {
            self.queue.retain(|ticket| is_live(*ticket));
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}
