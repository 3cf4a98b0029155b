use crate::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
    lock,
};
use ecm_core::{Alarm, Clock, Time};
use std::{
    collections::BTreeMap,
    fmt,
    future::poll_fn,
    task::{Poll, Waker},
};

/// Where those wait who were refused, until there is a reason to ask again.
///
/// Whoever asks reads the turn first, then asks, then waits for that turn to be over: a turn that ends in between is
/// not missed.
///
/// # Cost
/// A load for each question; a lock only for those who wait, and for whoever ends a turn.
pub(crate) struct Turnstile {
    turn: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    wakers: BTreeMap<u64, Waker>,
    next: u64,
    places: u32,
}

/// One who waits, from the first refusal to the end: counted for as long as this lives.
#[derive(Debug)]
pub(crate) struct Place<'t>(&'t Turnstile);

impl Turnstile {
    pub(crate) fn new() -> Self {
        Self { turn: AtomicU64::new(0), waiting: Mutex::new(Waiting::default()) }
    }

    #[inline]
    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(Ordering::SeqCst)
    }

    /// Ends the turn: whoever waits asks again.
    #[cold]
    pub(crate) fn next_turn(&self) {
        self.turn.fetch_add(1, Ordering::SeqCst);
        let wakers = std::mem::take(&mut lock(&self.waiting).wakers);
        wakers.into_values().for_each(Waker::wake);
    }

    /// A place among at most `most`; none if all are taken.
    pub(crate) fn place(&self, most: u32) -> Option<Place<'_>> {
        let mut waiting = lock(&self.waiting);
        if waiting.places >= most {
            return None;
        }
        waiting.places += 1;
        Some(Place(self))
    }

    /// How many places are taken.
    pub(crate) fn places(&self) -> u32 {
        lock(&self.waiting).places
    }

    /// Waits until this turn is over, or until the clock shows `until`.
    pub(crate) async fn over(&self, turn: u64, until: Time, clock: &dyn Clock) {
        let mut enlisted = Enlisted { at: self, id: None };
        let mut alarm: Option<(Waker, Alarm)> = None;
        poll_fn(|context| {
            let waker = context.waker();
            enlisted.enlist(waker);
            // Only now, so that whoever ends the turn afterwards finds the waker.
            if self.turn() != turn || clock.now() >= until {
                return Poll::Ready(());
            }
            if alarm.as_ref().is_none_or(|(known, _)| !known.will_wake(waker)) {
                alarm = Some((waker.clone(), clock.wake_at(until, waker)));
            }
            Poll::Pending
        })
        .await;
    }
}

impl fmt::Debug for Turnstile {
    /// By hand: wakers are not for printing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turnstile").field("turn", &self.turn()).finish_non_exhaustive()
    }
}

/// A waker that is in the list for as long as this lives, or until it is rung.
struct Enlisted<'t> {
    at: &'t Turnstile,
    id: Option<u64>,
}

impl Enlisted<'_> {
    fn enlist(&mut self, waker: &Waker) {
        let mut waiting = lock(&self.at.waiting);
        let id = *self.id.get_or_insert_with(|| {
            waiting.next += 1;
            waiting.next
        });
        let before = waiting.wakers.insert(id, waker.clone());
        drop(waiting);
        drop(before);
    }
}

impl Drop for Enlisted<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let waker = lock(&self.at.waiting).wakers.remove(&id);
            drop(waker);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.0.waiting).places -= 1;
    }
}
