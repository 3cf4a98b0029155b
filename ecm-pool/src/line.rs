use crate::{
    seat::{End, News, Seat, Turn, Waiting},
    sync::{Mutex, lock},
};
use ecm_core::{Backend, Transact};
use std::{collections::VecDeque, sync::Arc, task::Waker};

/// Those who wait before the writer, in the order of their arrival, and whether one has the turn.
///
/// There is one turn: the right to borrow the writer, or the writer itself inside an open
/// transaction. Whoever has it passes it on; while nobody has it nobody waits.
pub(crate) struct Line<B: Backend<Connection: Transact>>(Mutex<State<B>>);

struct State<B: Backend<Connection: Transact>> {
    taken: bool,
    closed: bool,
    queue: VecDeque<Waiting<B>>,
    waits: u64,
}

/// What a caller gets who joins.
pub(crate) enum Joined<B: Backend<Connection: Transact>> {
    Turn(Waiting<B>),
    Queued,
    /// As many wait as may.
    Full,
    Closed,
}

impl<B: Backend<Connection: Transact>> Line<B> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State { taken: false, closed: false, queue: VecDeque::new(), waits: 0 }))
    }

    /// Takes the turn if nobody has it.
    pub(crate) fn take_turn(&self) -> bool {
        let mut state = lock(&self.0);
        !state.closed && !std::mem::replace(&mut state.taken, true)
    }

    /// Takes the turn if nobody has it, else joins the queue unless that is as long as `most`.
    pub(crate) fn join(&self, waiting: Waiting<B>, most: u32) -> Joined<B> {
        let mut state = lock(&self.0);
        if state.closed {
            return Joined::Closed;
        }
        if !std::mem::replace(&mut state.taken, true) {
            return Joined::Turn(waiting);
        }
        if state.queue.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
            return Joined::Full;
        }
        state.waits += 1;
        state.queue.push_back(waiting);
        Joined::Queued
    }

    /// Takes a caller out of the queue; false if it is not there.
    pub(crate) fn leave(&self, seat: &Arc<Seat<B>>) -> bool {
        let mut state = lock(&self.0);
        let position = state.queue.iter().position(|waiting| Arc::ptr_eq(&waiting.seat, seat));
        let left = position.and_then(|position| state.queue.remove(position));
        drop(state);
        left.is_some()
    }

    /// Whether the head of the queue is one that fits.
    pub(crate) fn is_headed_by(&self, fits: impl FnOnce(&Waiting<B>) -> bool) -> bool {
        lock(&self.0).queue.front().is_some_and(fits)
    }

    /// The head of the queue if it fits.
    pub(crate) fn next_if(&self, fits: impl FnOnce(&Waiting<B>) -> bool) -> Option<Waiting<B>> {
        let mut state = lock(&self.0);
        if state.queue.front().is_some_and(fits) { state.queue.pop_front() } else { None }
    }

    /// Brings back those whose transaction is lost, in their order, before everybody who waits.
    pub(crate) fn come_back(&self, lost: Vec<Waiting<B>>) {
        let seats: Vec<_> = lost.iter().map(|waiting| Arc::clone(&waiting.seat)).collect();
        let mut state = lock(&self.0);
        lost.into_iter().rev().for_each(|waiting| state.queue.push_front(waiting));
        drop(state);
        // In the transaction they did not look at their deadlines.
        seats.iter().filter_map(|seat| seat.nudge()).for_each(Waker::wake);
    }

    /// Passes the turn on to the head of the queue.
    pub(crate) fn pass(&self) {
        loop {
            let mut state = lock(&self.0);
            let Some(me) = state.queue.pop_front() else {
                state.taken = false;
                return;
            };
            drop(state);
            let seat = Arc::clone(&me.seat);
            if let Ok(waker) = seat.tell(News::Turn(Box::new(Turn { me, batch: None }))) {
                waker.into_iter().for_each(Waker::wake);
                return;
            }
        }
    }

    /// Nobody joins any more; whoever waits is told.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.0);
        state.closed = true;
        let queue = std::mem::take(&mut state.queue);
        drop(state);
        let wakers: Vec<_> = queue.into_iter().filter_map(|waiting| waiting.end(End::Closed)).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How many wait, and how many have waited so far.
    pub(crate) fn waiting(&self) -> (u32, u64) {
        let state = lock(&self.0);
        (u32::try_from(state.queue.len()).unwrap_or(u32::MAX), state.waits)
    }
}
