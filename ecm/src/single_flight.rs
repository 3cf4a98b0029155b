//! One execution for all who want the same at the same time.

use crate::{
    sync::{Mutex, lock},
    threads::block_on,
};
use ecm_core::{Alarm, Clock, Time};
use std::{
    collections::HashMap,
    fmt,
    future::Future,
    hash::Hash,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// One execution for all who want the same at the same time.
///
/// Who asks first for a key *loads* it. Who asks for it while that load is under way waits for its outcome, which
/// reaches all of them at once: a failure too, so that many who wait for a database that fails do not ask it one
/// after the other. Nothing is kept: who asks afterwards loads again.
///
/// A loader that goes away without an outcome, by a panic or because its call was given up, passes the
/// load on to one of those who wait. Who waits leaves at its deadline, or by being dropped, and takes nothing along.
///
/// # What may be joined
/// An outcome that was read before somebody asked may be out of date for them. A loader therefore says, before
/// it takes its snapshot, from which state on it reads, by a mark `M` of its own ([`Load::reads_from`]). A
/// load may be joined while it has no mark, since its snapshot is then later than the question; or if its mark equals
/// that of the present state, which is given with the question. Otherwise who asks begins a load of its own, which
/// those who come later join; the one before goes on for those who have joined it.
///
/// # Concurrency
/// A lock for all keys and one for each load, each held for a few instructions, neither while something is loaded. A
/// load costs an allocation for itself and one for its outcome; a wait none but the growth of a queue.
///
/// ```
/// # #[cfg(feature = "standard")] {
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ecm::{ConnectionManager, core::{SystemClock, Time}, single_flight::SingleFlight};
/// use std::{sync::Arc, thread};
///
/// let manager = ConnectionManager::open(":memory:")?;
/// let flights = SingleFlight::new(Arc::new(SystemClock::new()));
/// thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| {
///             let sum = || manager.query("SELECT 1 + 1").one::<i64>().wait();
///             let outcome = flights.share("sum", &(), Time::NEVER, |_| sum()).expect("there is no deadline");
///             assert_eq!(*outcome.as_ref().as_ref().unwrap(), 2);
///         });
///     }
/// });
/// assert_eq!(flights.under_way(), 0);
/// # Ok(()) }
/// # main().unwrap();
/// # }
/// ```
pub struct SingleFlight<K, T, M = ()> {
    /// Those that can be joined. Whoever takes both locks takes this one first.
    flights: Mutex<Flights<K, T, M>>,
    clock: Arc<dyn Clock>,
}

type Flights<K, T, M> = HashMap<K, Arc<Flight<K, T, M>>>;

struct Flight<K, T, M> {
    key: K,
    state: Mutex<State<T, M>>,
}

struct State<T, M> {
    mark: Option<M>,
    outcome: Option<Arc<T>>,
    /// Its loader has gone away: whoever of those who wait is polled first loads.
    vacant: bool,
    /// In the order of their tickets; `None` for one that has been woken, or that was not polled yet.
    waiting: Vec<(u64, Option<Waker>)>,
    next_ticket: u64,
}

/// How [`SingleFlight::join`] goes on.
#[derive(Debug)]
pub enum Joined<'f, K: Hash + Eq + Clone, T, M = ()> {
    /// Nobody loads this: the caller does.
    Loads(Load<'f, K, T, M>),
    /// Somebody loads it.
    Waits(Wait<'f, K, T, M>),
}

/// How a [`Wait`] ends.
#[derive(Debug)]
pub enum Waited<'f, K: Hash + Eq + Clone, T, M = ()> {
    /// With the outcome of the load.
    Done(Arc<T>),
    /// The loader has gone away: the caller loads.
    Loads(Load<'f, K, T, M>),
    /// The deadline has come first.
    TimedOut,
}

/// The duty to load: exists once for each load. Dropped without [`finish`](Load::finish), it is passed on.
#[must_use = "others wait for its outcome"]
pub struct Load<'f, K: Hash + Eq + Clone, T, M = ()> {
    flights: &'f SingleFlight<K, T, M>,
    flight: Arc<Flight<K, T, M>>,
    finished: bool,
}

/// The wait for a load of somebody else. May be dropped at any moment.
///
/// # Panics
/// Polling it after it has answered.
#[must_use = "nothing happens until it is awaited"]
pub struct Wait<'f, K: Hash + Eq + Clone, T, M = ()> {
    flights: &'f SingleFlight<K, T, M>,
    /// `None` once it has answered.
    flight: Option<Arc<Flight<K, T, M>>>,
    ticket: u64,
    deadline: Time,
    /// With the waker that it rings.
    alarm: Option<(Waker, Alarm)>,
}

impl<K: Hash + Eq + Clone, T, M: PartialEq> SingleFlight<K, T, M> {
    /// With nothing under way; deadlines are moments of this clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { flights: Mutex::new(HashMap::new()), clock }
    }

    /// Joins the load of a key that is under way, if that is allowed at the present state `now`, or begins one.
    ///
    /// The key is cloned once for each load that begins.
    pub fn join(&self, key: K, now: &M, deadline: Time) -> Joined<'_, K, T, M> {
        let mut flights = lock(&self.flights);
        let known = flights.get(&key).cloned();
        if let Some(flight) = known {
            let mut state = lock(&flight.state);
            if mem::take(&mut state.vacant) {
                drop(state);
                return Joined::Loads(Load { flights: self, flight, finished: false });
            }
            if state.mark.as_ref().is_none_or(|mark| mark == now) {
                let ticket = state.next_ticket;
                state.next_ticket += 1;
                state.waiting.push((ticket, None));
                drop(state);
                return Joined::Waits(Wait { flights: self, flight: Some(flight), ticket, deadline, alarm: None });
            }
        }
        let state = State { mark: None, outcome: None, vacant: false, waiting: Vec::new(), next_ticket: 0 };
        let flight = Arc::new(Flight { key: key.clone(), state: Mutex::new(state) });
        let before = flights.insert(key, Arc::clone(&flight));
        drop(flights);
        drop(before);
        Joined::Loads(Load { flights: self, flight, finished: false })
    }

    /// The outcome of one execution for all who ask at the same time: of `load`, or of another's. Blocks; `None` at the
    /// deadline, which does not interrupt a `load` that is being run.
    ///
    /// A panic of `load` goes through, and one of those who wait loads instead.
    pub fn share(&self, key: K, now: &M, deadline: Time, load: impl FnOnce(&Load<'_, K, T, M>) -> T) -> Option<Arc<T>> {
        let duty = match self.join(key, now, deadline) {
            Joined::Loads(duty) => duty,
            Joined::Waits(wait) => match block_on(wait) {
                Waited::Done(outcome) => return Some(outcome),
                Waited::Loads(duty) => duty,
                Waited::TimedOut => return None,
            },
        };
        let outcome = load(&duty);
        Some(duty.finish(outcome))
    }
}

impl<K: Hash + Eq + Clone, T, M> SingleFlight<K, T, M> {
    /// How many loads are under way that others can join.
    pub fn under_way(&self) -> usize {
        lock(&self.flights).len()
    }

    /// How many wait for loads that can be joined.
    pub fn waiting(&self) -> usize {
        lock(&self.flights).values().map(|flight| lock(&flight.state).waiting.len()).sum()
    }

    /// Lets nobody join a load any more.
    fn close(&self, flight: &Arc<Flight<K, T, M>>) {
        let mut flights = lock(&self.flights);
        let removed = if is_current(&flights, flight) { flights.remove_entry(&flight.key) } else { None };
        drop(flights);
        drop(removed);
    }

    /// A load has no loader: it is there for those who wait, or gone.
    fn vacate(&self, flight: &Arc<Flight<K, T, M>>) {
        let mut flights = lock(&self.flights);
        let mut state = lock(&flight.state);
        let mark = state.mark.take();
        state.vacant = true;
        let wakers: Vec<_> = state.waiting.iter_mut().filter_map(|(_, waker)| waker.take()).collect();
        let nobody_waits = state.waiting.is_empty();
        drop(state);
        let current = nobody_waits && is_current(&flights, flight);
        let removed = if current { flights.remove_entry(&flight.key) } else { None };
        drop(flights);
        drop((mark, removed));
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Forgets one who waits.
    fn leave(&self, flight: &Arc<Flight<K, T, M>>, ticket: u64) {
        let mut state = lock(&flight.state);
        let left = state.find(ticket).map(|place| state.waiting.remove(place));
        let abandoned = state.vacant && state.waiting.is_empty();
        drop(state);
        drop(left);
        if abandoned {
            self.forget(flight);
        }
    }

    /// Nobody has seemed to want a vacant load any more: looks again under both locks.
    fn forget(&self, flight: &Arc<Flight<K, T, M>>) {
        let mut flights = lock(&self.flights);
        let state = lock(&flight.state);
        let abandoned = state.vacant && state.waiting.is_empty();
        drop(state);
        let current = abandoned && is_current(&flights, flight);
        let removed = if current { flights.remove_entry(&flight.key) } else { None };
        drop(flights);
        drop(removed);
    }
}

impl<T, M> State<T, M> {
    fn find(&self, ticket: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&ticket, |(known, _)| *known).ok()
    }
}

/// Whether it is the one of its key that is joined: another may have begun since.
fn is_current<K: Hash + Eq, T, M>(flights: &HashMap<K, Arc<Flight<K, T, M>>>, flight: &Arc<Flight<K, T, M>>) -> bool {
    flights.get(&flight.key).is_some_and(|current| Arc::ptr_eq(current, flight))
}

impl<K: Hash + Eq + Clone, T, M> Load<'_, K, T, M> {
    /// Says from which state on it reads. The mark is captured first, then this is said, then the snapshot is
    /// taken, or one that is held is found to be current; in any other order those who join could be given what
    /// is older than their question. Said again for a second attempt.
    pub fn reads_from(&self, mark: M) {
        let before = lock(&self.flight.state).mark.replace(mark);
        drop(before);
    }

    /// Ends the load: the outcome reaches all who wait, and is given back.
    pub fn finish(mut self, outcome: T) -> Arc<T> {
        let outcome = Arc::new(outcome);
        self.finished = true;
        self.flights.close(&self.flight);
        let mut state = lock(&self.flight.state);
        state.outcome = Some(Arc::clone(&outcome));
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().filter_map(|(_, waker)| waker).for_each(Waker::wake);
        outcome
    }
}

impl<K: Hash + Eq + Clone, T, M> Drop for Load<'_, K, T, M> {
    fn drop(&mut self) {
        if !self.finished {
            self.flights.vacate(&self.flight);
        }
    }
}

impl<'f, K: Hash + Eq + Clone, T, M> Future for Wait<'f, K, T, M> {
    type Output = Waited<'f, K, T, M>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let flight = Arc::clone(this.flight.as_ref().expect("a wait was polled after it had answered"));
        let clock = &this.flights.clock;
        let late = this.deadline != Time::NEVER && clock.now() >= this.deadline;
        let mut state = lock(&flight.state);
        if let Some(outcome) = state.outcome.clone() {
            drop(state);
            return this.answer(Waited::Done(outcome));
        }
        if late {
            drop(state);
            this.flights.leave(&flight, this.ticket);
            return this.answer(Waited::TimedOut);
        }
        let place = state.find(this.ticket).expect("who waits stays in the queue until there is an outcome");
        if mem::take(&mut state.vacant) {
            let left = state.waiting.remove(place);
            drop(state);
            drop(left);
            return this.answer(Waited::Loads(Load { flights: this.flights, flight, finished: false }));
        }
        let waker = context.waker();
        let before = match &mut state.waiting[place].1 {
            Some(known) if known.will_wake(waker) => None,
            known => known.replace(waker.clone()),
        };
        drop(state);
        drop(before);
        let rung_by_another = this.alarm.as_ref().is_none_or(|(known, _)| !known.will_wake(waker));
        if this.deadline != Time::NEVER && rung_by_another {
            this.alarm = Some((waker.clone(), clock.wake_at(this.deadline, waker)));
        }
        Poll::Pending
    }
}

impl<'f, K: Hash + Eq + Clone, T, M> Wait<'f, K, T, M> {
    fn answer(&mut self, waited: Waited<'f, K, T, M>) -> Poll<Waited<'f, K, T, M>> {
        (self.flight, self.alarm) = (None, None);
        Poll::Ready(waited)
    }
}

impl<K: Hash + Eq + Clone, T, M> Drop for Wait<'_, K, T, M> {
    fn drop(&mut self) {
        if let Some(flight) = self.flight.take() {
            self.flights.leave(&flight, self.ticket);
        }
    }
}

impl<K, T, M> fmt::Debug for SingleFlight<K, T, M> {
    /// By hand: keys and outcomes are not for printing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleFlight").field("under_way", &lock(&self.flights).len()).finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone, T, M> fmt::Debug for Load<'_, K, T, M> {
    /// By hand: keys and outcomes are not for printing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load").field("finished", &self.finished).finish_non_exhaustive()
    }
}

impl<K: Hash + Eq + Clone, T, M> fmt::Debug for Wait<'_, K, T, M> {
    /// By hand: keys and outcomes are not for printing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("ticket", &self.ticket).field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
