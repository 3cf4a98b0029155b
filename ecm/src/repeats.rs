use crate::{
    back_off,
    pause::pause,
    turnstile::{Place, Turnstile},
};
use ecm_core::{Clock, Time};
use std::time::Duration;

/// What a call has done, and may still do, beyond its first attempt.
#[derive(Debug, Default)]
pub(crate) struct Repeats<'m> {
    pub(crate) terms: RepeatTerms,
    /// Nothing for a call that has not failed, which has less to carry then.
    so_far: Option<Box<SoFar<'m>>>,
}

/// Of a call that has failed, or was refused.
#[derive(Debug, Default)]
struct SoFar<'m> {
    retried: u32,
    /// When it has failed, or was refused, for the first time.
    since: Option<Time>,
    /// How often, and from which pause on, the database that has failed last may be asked again.
    retryable: Option<(u32, Duration)>,
    /// What is to be waited for before the next attempt.
    rest: Option<Rest<'m>>,
    /// While it waits to be admitted.
    place: Option<Place<'m>>,
}

/// What the caller has said about repeating a call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RepeatTerms {
    /// What may have been executed may be executed again.
    pub(crate) idempotent: bool,
    /// There is something better to do than to wait and ask again.
    pub(crate) at_once: bool,
}

/// What a call waits for between two attempts.
#[derive(Debug)]
pub(crate) enum Rest<'m> {
    /// For time to pass.
    Until(Time),
    /// For this turn, in which it was refused, to be over; until this moment at the latest.
    Admitted(&'m Turnstile, u64, Time),
}

/// How a call goes on that cannot be admitted now.
pub(crate) enum Turn {
    Waits,
    IsRefused,
    FindsNoPlace,
}

impl<'m> Repeats<'m> {
    /// Nothing so far.
    pub(crate) fn on(terms: RepeatTerms) -> Self {
        Self { terms, so_far: None }
    }

    fn so_far(&mut self) -> &mut SoFar<'m> {
        self.so_far.get_or_insert_default()
    }

    /// It has failed, or was refused, now: since when that goes on.
    pub(crate) fn hindered(&mut self, now: Time) -> Time {
        *self.so_far().since.get_or_insert(now)
    }

    /// The database that has failed last may be asked again so often, after pauses from this one on; or not at all.
    pub(crate) fn retryable(&mut self, how: Option<(u32, Duration)>) {
        let at_once = self.terms.at_once;
        let so_far = self.so_far();
        so_far.retryable = how.filter(|&(most, _)| !at_once && so_far.retried < most);
    }

    /// Has it repeated after a pause that ends before `until`, if there `may` be one more attempt. `draw` tells it from
    /// others that fail at the same moment.
    pub(crate) fn retry(&mut self, now: Time, until: Time, draw: u64, may: impl FnOnce() -> bool) -> bool {
        let so_far = self.so_far();
        let Some((most, first)) = so_far.retryable else { return false };
        let at = now + back_off::pause(first, so_far.retried, draw ^ now.as_nanos());
        if so_far.retried >= most || at >= until || !may() {
            return false;
        }
        so_far.retried += 1;
        so_far.rest = Some(Rest::Until(at));
        true
    }

    /// Has it wait at `at` for this turn to be over, or for the moment at which to `ask` again; until `until`, and
    /// among at most `most`.
    pub(crate) fn wait(&mut self, at: &'m Turnstile, turn: u64, ask: Time, until: Time, most: u32) -> Turn {
        let so_far = self.so_far();
        if so_far.place.is_none() {
            if most == 0 {
                return Turn::IsRefused;
            }
            let Some(place) = at.place(most) else { return Turn::FindsNoPlace };
            so_far.place = Some(place);
        }
        so_far.rest = Some(Rest::Admitted(at, turn, ask.min(until)));
        Turn::Waits
    }

    /// Whether there is something to be waited for.
    #[inline]
    pub(crate) fn is_resting(&self) -> bool {
        self.so_far.as_ref().is_some_and(|so_far| so_far.rest.is_some())
    }

    /// It is admitted: its place is free for others.
    #[inline]
    pub(crate) fn admitted(&mut self) {
        if let Some(so_far) = &mut self.so_far {
            so_far.place = None;
        }
    }

    /// Waits for what is to be waited for; whether there was anything.
    pub(crate) async fn rest(&mut self, clock: &dyn Clock) -> bool {
        match self.so_far.as_mut().and_then(|so_far| so_far.rest.take()) {
            None => return false,
            Some(Rest::Until(at)) => pause(at, clock).await,
            Some(Rest::Admitted(at, turn, until)) => at.over(turn, until, clock).await,
        }
        true
    }
}
