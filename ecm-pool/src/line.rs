use crate::{
    seat::{End, News, Seat, Turn, Waiting},
    sync::{Mutex, lock},
};
use ecm_core::{Backend, Time, Transact};
use std::{collections::VecDeque, sync::Arc, task::Waker, time::Duration};

/// How long those who run already may go before the head of the queue, which sleeps.
///
/// Waking a thread takes as long as several short writes. Long against that; and those who wait, each of
/// whom may be overtaken for so long, wait a fraction of what a lock that knows no order makes them wait.
const LEAD: Duration = Duration::from_micros(300);

/// How often the head of the queue looks for the turn, once it is awake, before it sleeps again: about as
/// long as the lead lasts.
const MOST_LOOKS: u32 = 100;

/// Those who wait before the writer, in the order of their arrival, and whether one has the turn.
///
/// There is one turn: the right to borrow the writer, or the writer itself inside an open
/// transaction. Whoever has it passes it on to the head of the queue, or lays it down and calls the
/// head, who takes it once nobody who runs already wants it. After [`LEAD`] it is passed on.
pub(crate) struct Line<B: Backend<Connection: Transact>>(Mutex<State<B>>);

struct State<B: Backend<Connection: Transact>> {
    taken: bool,
    closed: bool,
    queue: VecDeque<Waiting<B>>,
    waits: u64,
    /// Since when others may go before the head of the queue; `None` if nobody may.
    overtaken_since: Option<Time>,
    /// Whether the head was called, and has not come yet.
    called: bool,
}

/// What the head of the queue has seen since it was called.
#[derive(Default)]
pub(crate) struct Looks {
    taken: u32,
    /// Whether nobody had the turn at the last look.
    free: bool,
}

/// What the head of the queue gets that comes for its turn.
pub(crate) enum Claim<B: Backend<Connection: Transact>> {
    Turn(Waiting<B>),
    /// Somebody goes before it, and not for long.
    LookAgain,
    /// It will be called, or told.
    Sleep,
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
        Self(Mutex::new(State {
            taken: false,
            closed: false,
            queue: VecDeque::new(),
            waits: 0,
            overtaken_since: None,
            called: false,
        }))
    }

    /// Takes the turn if nobody has it, for one who has asked just now.
    pub(crate) fn take_turn(&self, asked: Time) -> bool {
        let mut state = lock(&self.0);
        !state.closed && state.take(asked)
    }

    /// Takes the turn if nobody has it, else joins the queue unless that is as long as `most`.
    pub(crate) fn join(&self, waiting: Waiting<B>, most: u32) -> Joined<B> {
        let mut state = lock(&self.0);
        if state.closed {
            return Joined::Closed;
        }
        if state.take(waiting.terms.asked) {
            return Joined::Turn(waiting);
        }
        if state.queue.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
            return Joined::Full;
        }
        state.waits += 1;
        state.queue.push_back(waiting);
        Joined::Queued
    }

    /// Takes the turn that was laid down, for the head of the queue alone: if nobody else has taken it
    /// between two looks.
    pub(crate) fn claim(&self, seat: &Arc<Seat<B>>, looks: &mut Looks) -> Claim<B> {
        let mut state = lock(&self.0);
        if !state.queue.front().is_some_and(|head| Arc::ptr_eq(&head.seat, seat)) {
            return Claim::Sleep;
        }
        looks.taken += 1;
        if state.taken {
            looks.free = false;
            if state.overtaken_since.is_some() && looks.taken <= MOST_LOOKS {
                return Claim::LookAgain;
            }
            state.called = false;
            looks.taken = 0;
            return Claim::Sleep;
        }
        if !std::mem::replace(&mut looks.free, true) {
            return Claim::LookAgain;
        }
        state.taken = true;
        state.pop().map_or(Claim::Sleep, Claim::Turn)
    }

    /// Takes a caller out of the queue; false if it is not there.
    pub(crate) fn leave(&self, seat: &Arc<Seat<B>>) -> bool {
        let mut state = lock(&self.0);
        let position = state.queue.iter().position(|waiting| Arc::ptr_eq(&waiting.seat, seat));
        let left = position.and_then(|position| state.queue.remove(position));
        if position == Some(0) {
            state.called = false;
        }
        // It may have been called, and will not come.
        let next = if state.taken { None } else { state.call() };
        // One whose turn is used by somebody else does not come for it.
        let passes = !state.taken && state.queue.front().is_some_and(|head| head.host.is_some());
        state.taken |= passes;
        drop(state);
        if passes {
            self.pass();
        } else {
            next.and_then(|seat| seat.nudge()).into_iter().for_each(Waker::wake);
        }
        left.is_some()
    }

    /// Whether the head of the queue is one that fits.
    pub(crate) fn is_headed_by(&self, fits: impl FnOnce(&Waiting<B>) -> bool) -> bool {
        lock(&self.0).queue.front().is_some_and(fits)
    }

    /// The head of the queue if it fits.
    pub(crate) fn next_if(&self, fits: impl FnOnce(&Waiting<B>) -> bool) -> Option<Waiting<B>> {
        let mut state = lock(&self.0);
        if state.queue.front().is_some_and(fits) { state.pop() } else { None }
    }

    /// Brings back those whose transaction is lost, in their order, before everybody who waits.
    pub(crate) fn come_back(&self, lost: Vec<Waiting<B>>) {
        let seats: Vec<_> = lost.iter().map(|waiting| Arc::clone(&waiting.seat)).collect();
        let mut state = lock(&self.0);
        lost.into_iter().rev().for_each(|waiting| state.queue.push_front(waiting));
        state.called = false;
        drop(state);
        // In the transaction they did not look at their deadlines.
        seats.iter().filter_map(|seat| seat.nudge()).for_each(Waker::wake);
    }

    /// Passes the turn on to the head of the queue.
    pub(crate) fn pass(&self) {
        self.pass_on(false);
    }

    /// Passes the turn on; `quick` where turns are short.
    fn pass_on(&self, quick: bool) {
        loop {
            let mut state = lock(&self.0);
            let Some(me) = state.pop() else {
                state.taken = false;
                return;
            };
            drop(state);
            if let Some(host) = me.host.clone() {
                host.use_turn(Turn { me, batch: None, quick: false });
                return;
            }
            let seat = Arc::clone(&me.seat);
            if let Ok(waker) = seat.tell(News::Turn(Box::new(Turn { me, batch: None, quick }))) {
                waker.into_iter().for_each(Waker::wake);
                return;
            }
        }
    }

    /// Lays the turn down, if nobody waits for it.
    pub(crate) fn rest(&self) -> bool {
        let mut state = lock(&self.0);
        if state.queue.is_empty() {
            state.taken = false;
            state.overtaken_since = None;
        }
        !state.taken
    }

    /// Lays the turn down and calls the head of the queue, or passes it on to the head if others have
    /// gone before it for long enough.
    pub(crate) fn lay_down(&self, now: Time) {
        let mut state = lock(&self.0);
        // One whose job others can run wakes up for nothing but the answer, and shares a commit.
        if state.queue.front().is_some_and(|head| head.errand.is_some()) {
            drop(state);
            return self.pass();
        }
        if now >= *state.overtaken_since.get_or_insert(now) + LEAD {
            drop(state);
            return self.pass_on(true);
        }
        state.taken = false;
        let head = state.call();
        drop(state);
        head.and_then(|seat| seat.nudge()).into_iter().for_each(Waker::wake);
    }

    /// Nobody joins any more; whoever waits is told.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.0);
        state.closed = true;
        let queue = std::mem::take(&mut state.queue);
        state.called = false;
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

impl<B: Backend<Connection: Transact>> State<B> {
    /// Takes the turn if nobody has it, and nobody waits or may be overtaken.
    fn take(&mut self, asked: Time) -> bool {
        let may = self.queue.is_empty() || self.overtaken_since.is_some_and(|since| asked < since + LEAD);
        may && !std::mem::replace(&mut self.taken, true)
    }

    /// Takes the head out of the queue, for its turn or for a transaction.
    fn pop(&mut self) -> Option<Waiting<B>> {
        self.called = false;
        self.overtaken_since = None;
        self.queue.pop_front()
    }

    /// The head, to be called, unless it was called already.
    fn call(&mut self) -> Option<Arc<Seat<B>>> {
        // One who went away during a transaction that was lost has come back with it.
        while self.queue.front()?.seat.is_abandoned() {
            self.called = false;
            self.queue.pop_front();
        }
        let seat = Arc::clone(&self.queue.front()?.seat);
        (!std::mem::replace(&mut self.called, true)).then_some(seat)
    }
}
