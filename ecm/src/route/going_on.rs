//! Whether a call goes on where a database has failed, or refuses.

use super::{Hindered, Refused, Route};
use crate::{
    job::Way,
    repeats::Turn,
    topology::{Group, Member},
};
use ecm_core::{Backend, Error, Executed, Kind, Mask, Time, Transact};

impl<'m, B: Backend<Connection: Transact>> Route<'m, B> {
    /// Why there is no next database; `refused` is the refusal of a breaker that ends first.
    #[cold]
    pub(super) fn none_admits(&mut self, refused: Option<Refused<'m>>, now: Time) -> Hindered {
        let since = self.repeats.hindered(now);
        if self.first_failure.is_some() && self.retries(since, now) {
            return Hindered::Waits;
        }
        let until = refused.as_ref().map(|refused| refused.until);
        let turn = refused.map_or(Turn::IsRefused, |refused| self.waits(&refused, since, now));
        if matches!(turn, Turn::Waits) {
            return Hindered::Waits;
        }
        let error = match (self.first_failure.take(), until) {
            (Some(failure), _) => failure,
            (None, _) if matches!(turn, Turn::FindsNoPlace) => {
                let most = self.topology.config.max_waiting_writes;
                let what = "the primary is being left alone, and as many writes wait for it as may";
                Error::new(Kind::QueueFull, format_args!("{what}: max_waiting_writes = {most}"))
            }
            (None, Some(Time::NEVER)) => {
                Error::new(Kind::Rejected, "the breaker of every fit database is open until somebody closes it")
            }
            (None, Some(until)) => Error::new(
                Kind::Rejected,
                format_args!("the breaker of every fit database is open; ask again in {:.1?}", until.since(now)),
            ),
            (None, None) => Error::new(Kind::Unavailable, "the balancer wants none of the fit databases"),
        };
        Hindered::Fails(self.in_all(error))
    }

    /// A write waits until the breaker of the primary admits it, if that is allowed.
    fn waits(&mut self, refused: &Refused<'m>, since: Time, now: Time) -> Turn {
        let config = &self.topology.config;
        let until = (since + config.failover_timeout).min(self.deadline);
        if !matches!(self.way, Way::Write(_)) || !config.enable_failover || now >= until {
            return Turn::IsRefused;
        }
        let most = config.max_waiting_writes;
        let turn = self.repeats.wait(&refused.breaker.waiting, refused.turn, refused.until, until, most);
        if matches!(turn, Turn::Waits) {
            self.fit = self.asked;
        }
        turn
    }

    /// Has the call repeated after a pause, if that is allowed.
    fn retries(&mut self, since: Time, now: Time) -> bool {
        let until = (since + self.topology.config.failover_timeout).min(self.deadline);
        let group = self.group;
        let budget = &group.shared.retries;
        let draw = budget.figures().granted;
        let retries = self.repeats.retry(now, until, draw, || budget.withdraw(group.successes(), now));
        if retries {
            (self.fit, self.tried) = (self.asked, 0);
        }
        retries
    }

    /// What the whole call has come to, where its last attempt has come to this.
    pub(super) fn in_all(&self, error: Error) -> Error {
        let earlier = self.progress.in_doubt && error.executed() == Executed::No;
        if earlier { error.with_executed(Executed::Unknown) } else { error }
    }

    /// Whether the call goes on after this failure: to another database, or to the same ones after a pause.
    pub(super) fn runs_again(
        &mut self,
        member: &Member<B>,
        error: &Error,
        failed: bool,
        repeats: bool,
        now: Time,
    ) -> bool {
        let config = &self.topology.config;
        let since = self.repeats.hindered(now);
        let undone = match error.executed() {
            Executed::No => true,
            Executed::Yes => false,
            Executed::Unknown => self.repeats.terms.idempotent,
        };
        let again = repeats
            && undone
            && error.location().is_none()
            && config.enable_failover
            && now < self.deadline
            && now <= since + config.failover_timeout;
        let pool = &member.info.pool;
        let may_pass = again && error.fault().is_some_and(|fault| fault.kind.may_pass());
        self.repeats.retryable(may_pass.then_some((pool.max_retries, pool.retry_delay)));
        if !again {
            return false;
        }
        // A database that was unregistered while the call waited for it has not failed either.
        let unregistered = error.kind() == Kind::Closed && self.manager.is_open();
        let elsewhere = (failed || unregistered)
            && matches!(self.way, Way::Read(_))
            && self.tried <= config.max_failover_attempts
            && !self.fit.is_empty();
        if elsewhere {
            return unregistered || self.group.shared.retries.withdraw(self.group.successes(), now);
        }
        self.retries(since, now)
    }
}

/// Those of these databases that are not known to be damaged: whatever need there is.
#[cold]
pub(super) fn undamaged<B: Backend<Connection: Transact>>(group: &Group<B>, fit: Mask) -> Result<Mask, Error> {
    let undamaged = fit.and(group.undamaged());
    match fit.lowest() {
        Some(damaged) if undamaged.is_empty() => {
            let name = &group.members[damaged].info.name;
            let what = "it was found damaged and is out of use: mend it, then take it back into use";
            let message = format_args!("{what} by `reinstate({name:?})`");
            Err(Error::new(Kind::Unavailable, message).in_database(name))
        }
        _ => Ok(undamaged),
    }
}

pub(super) fn nothing_fit<B: Backend<Connection: Transact>>(group: &Group<B>, asked: Mask, way: Way) -> Error {
    let name = &group.shared.name;
    match (way, asked.lowest(), group.primary()) {
        (_, None, _) => Error::new(Kind::Unavailable, format_args!("group {name:?} has no database: register one")),
        (Way::Read(_), Some(asked), _) => {
            let database = &group.members[asked].info.name;
            let message = if group.superseded.contains(asked) {
                "another database has taken its place: ask the group, or unregister it"
            } else {
                "it holds no complete copy yet: ask the group, or wait until it does"
            };
            Error::new(Kind::Unavailable, message).in_database(database)
        }
        (Way::Write(_), Some(asked), Some(primary)) => {
            let (asked, primary) = (&group.members[asked].info.name, &group.members[primary].info.name);
            let message = format_args!("it is registered as read only: writes go to the primary {primary:?}");
            Error::new(Kind::ReadOnly, message).in_database(asked)
        }
        (Way::Write(_), Some(_), None) => {
            let message =
                format_args!("every database of group {name:?} is registered as read only: none takes a write");
            Error::new(Kind::ReadOnly, message)
        }
    }
}
