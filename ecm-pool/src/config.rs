use crate::{Fairness, PoolStrategy};
use ecm_core::InvalidConfig;
use std::time::Duration;

const MOST_CONNECTIONS: u32 = 10_000;
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);
/// Shorter spans would have the pool look after its connections all the time.
const SHORTEST_SPAN: Duration = Duration::from_millis(10);

/// How large a pool may become, how long it lets callers wait, how it looks after its connections.
///
/// ```
/// use ecm_pool::PoolConfig;
///
/// let config = PoolConfig { max_connections: 0, ..PoolConfig::default() };
/// assert_eq!(
///     config.check().unwrap_err().to_string(),
///     "max_connections = 0 is not acceptable: between 1 and 10000"
/// );
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PoolConfig {
    /// The fewest connections that are kept once the pool is in use: they are opened ahead of need,
    /// and are not closed for being idle.
    ///
    /// They are opened only while `connection_warming` is on. Where there may be fewer
    /// (`max_connections`, a sizing strategy, a [`Lane`](crate::Lane)) it counts as that.
    ///
    /// Default: 2 connections.
    ///
    /// From 0 to `max_connections`, or to 2 where that is 1: the default need not be lowered with it.
    pub min_connections: u32,
    /// The most connections that are lent, idle or being opened at the same time.
    ///
    /// A sizing strategy may keep the pool below it, never bring it above. A pool that belongs to a
    /// [`Lane`](crate::Lane) has one connection whatever this says.
    ///
    /// Default: 50 connections.
    ///
    /// From 1 to 10,000.
    pub max_connections: u32,
    /// How many connections are opened ahead of need one second after the first one was.
    ///
    /// Only while `connection_warming` is on; afterwards `idle_timeout` closes what is not used. Where
    /// there may be fewer it counts as that.
    ///
    /// Default: 5 connections.
    ///
    /// From 0 to 10,000.
    pub initial_connections: u32,
    /// How long a caller may wait for a connection while all of them are lent.
    ///
    /// The deadline of a call cuts it short where it comes first. Opening a connection is not
    /// waiting and is not cut short; zero means that nobody ever waits.
    ///
    /// Default: 30 seconds.
    ///
    /// From zero to one hour. The upper limit is arbitrary: a caller who has waited that long for a
    /// connection has met a leak, and should be told.
    pub connection_timeout: Duration,
    /// How many callers may wait for a connection at the same time; one more is refused at once.
    ///
    /// Waiting longer than `connection_timeout` helps nobody, and a queue that cannot be served in
    /// that time only delays the bad news.
    ///
    /// Default: 4,294,967,295 callers, which is no limit.
    ///
    /// From 0, with which nobody ever waits.
    pub max_waiting: u32,
    /// Whether a caller may be overtaken while it is being woken up.
    ///
    /// Matters only while more callers want connections than `max_connections`.
    ///
    /// Default: [`Fairness::Strict`].
    ///
    /// A bound may be anything; one of more than `connection_timeout` bounds nothing.
    pub fairness: Fairness,
    /// How many connections are kept, and which one is lent first.
    ///
    /// It moves between `min_connections` and `max_connections`. A pool that is made with a
    /// [`sizing`](crate::PoolParts::sizing) of its own uses that instead.
    ///
    /// Default: [`PoolStrategy::Adaptive`].
    ///
    /// Any of them.
    pub strategy: PoolStrategy,
    /// Whether connections are opened ahead of need, in the background.
    ///
    /// Without it `min_connections` says only which ones are not closed, and `initial_connections`
    /// says nothing.
    ///
    /// Default: true.
    ///
    /// Either.
    pub connection_warming: bool,
    /// How long a connection may lie unused before it is closed, if more than the fewest are open.
    ///
    /// `min_connections` and the strategy say how many are kept all the same; a strategy may close
    /// them sooner. The one that was not used for longest goes first.
    ///
    /// Default: 300 seconds.
    ///
    /// Zero means for ever, otherwise at least 10 ms.
    pub idle_timeout: Duration,
    /// How old a connection may become before it is closed and replaced.
    ///
    /// Each connection loses a part of up to a tenth of it, drawn when it is opened, so that those
    /// opened together do not go together. One that is lent is closed when it comes back, of the idle
    /// ones not more than one at a time.
    ///
    /// Default: zero, for ever: an embedded database has no reason to lose connections with age.
    ///
    /// Zero, otherwise at least 10 ms.
    pub max_lifetime: Duration,
    /// How long a connection may lie unused before it is checked in the background.
    ///
    /// The check is the backend's [`ping`](ecm_core::Connection::ping). One that fails is closed, and
    /// all other idle ones are checked before they are lent again.
    ///
    /// Default: 60 seconds.
    ///
    /// Zero means never, otherwise at least 10 ms.
    pub validation_interval: Duration,
    /// After how long without use or check a connection is checked when it is lent, before the caller
    /// gets it.
    ///
    /// With a shorter `validation_interval` it applies only where the background is late.
    ///
    /// Default: 120 seconds.
    ///
    /// Zero means never.
    pub validation_bypass: Duration,
    /// After how long a loan is reported as overdue, with the place in the code where it was made.
    ///
    /// Reported once by [`Event::Overdue`](ecm_core::Event::Overdue), if an observer wants to know of
    /// connections; nothing else happens to the loan.
    ///
    /// Default: zero, never: only the program knows how long its loans may last.
    ///
    /// Zero, otherwise at least 10 ms.
    pub leak_threshold: Duration,
}

impl PoolConfig {
    /// A pool that nobody looks after: nothing is opened ahead of need, checked, or closed for being
    /// idle or old. Everything else as in the default, with [`PoolStrategy::Fixed`].
    #[must_use]
    pub fn untended() -> Self {
        Self {
            min_connections: 0,
            initial_connections: 0,
            strategy: PoolStrategy::Fixed,
            connection_warming: false,
            idle_timeout: Duration::ZERO,
            validation_interval: Duration::ZERO,
            validation_bypass: Duration::ZERO,
            ..Self::default()
        }
    }

    /// Whether every field is within its limits.
    ///
    /// # Errors
    /// The first field that is not.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        if !(1..=MOST_CONNECTIONS).contains(&self.max_connections) {
            let accepted = format_args!("between 1 and {MOST_CONNECTIONS}");
            return Err(InvalidConfig::new("max_connections", self.max_connections, accepted));
        }
        let most = self.max_connections.max(Self::default().min_connections);
        if self.min_connections > most {
            let accepted = format_args!("at most {most}, with max_connections = {}", self.max_connections);
            return Err(InvalidConfig::new("min_connections", self.min_connections, accepted));
        }
        if self.initial_connections > MOST_CONNECTIONS {
            let accepted = format_args!("at most {MOST_CONNECTIONS}");
            return Err(InvalidConfig::new("initial_connections", self.initial_connections, accepted));
        }
        if self.connection_timeout > LONGEST_TIMEOUT {
            let value = format_args!("{:?}", self.connection_timeout);
            let accepted = format_args!("between 0s and {LONGEST_TIMEOUT:?}");
            return Err(InvalidConfig::new("connection_timeout", value, accepted));
        }
        let spans = [
            ("idle_timeout", self.idle_timeout),
            ("max_lifetime", self.max_lifetime),
            ("validation_interval", self.validation_interval),
            ("leak_threshold", self.leak_threshold),
        ];
        for (field, span) in spans {
            if span < SHORTEST_SPAN && !span.is_zero() {
                let accepted = format_args!("0s for never, otherwise at least {SHORTEST_SPAN:?}");
                return Err(InvalidConfig::new(field, format_args!("{span:?}"), accepted));
            }
        }
        Ok(())
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            min_connections: 2,
            max_connections: 50,
            initial_connections: 5,
            connection_timeout: Duration::from_secs(30),
            max_waiting: u32::MAX,
            fairness: Fairness::Strict,
            strategy: PoolStrategy::Adaptive,
            connection_warming: true,
            idle_timeout: Duration::from_secs(300),
            max_lifetime: Duration::ZERO,
            validation_interval: Duration::from_secs(60),
            validation_bypass: Duration::from_secs(120),
            leak_threshold: Duration::ZERO,
        }
    }
}

/// What zero means for a span of a configuration.
pub(crate) fn unless_zero(span: Duration) -> Option<Duration> {
    (!span.is_zero()).then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut PoolConfig)) -> Option<(&'static str, String)> {
        let mut config = PoolConfig::default();
        change(&mut config);
        config.check().err().map(|invalid| (invalid.field, invalid.value))
    }

    #[test]
    fn absurd_values_are_refused_by_name() {
        let second = Duration::from_secs(1);
        assert_eq!(refused(|config| config.max_connections = 0), Some(("max_connections", "0".into())));
        assert_eq!(refused(|config| config.max_connections = 10_001), Some(("max_connections", "10001".into())));
        assert_eq!(refused(|config| config.max_connections = 1), None);
        assert_eq!(refused(|config| config.max_connections = 10_000), None);
        assert_eq!(refused(|config| config.min_connections = 51), Some(("min_connections", "51".into())));
        assert_eq!(
            refused(|config| config.initial_connections = 10_001),
            Some(("initial_connections", "10001".into()))
        );
        assert_eq!(
            refused(|config| config.connection_timeout = 3601 * second),
            Some(("connection_timeout", "3601s".into()))
        );
        assert_eq!(refused(|config| config.connection_timeout = 3600 * second), None);
        assert_eq!(refused(|config| config.connection_timeout = Duration::ZERO), None);
        assert_eq!((PoolConfig::default().check(), PoolConfig::untended().check()), (Ok(()), Ok(())));
    }

    #[test]
    fn spans_that_would_keep_the_pool_busy_are_refused() {
        let (short, never) = (Duration::from_millis(9), Duration::ZERO);
        assert_eq!(refused(|config| config.idle_timeout = short), Some(("idle_timeout", "9ms".into())));
        assert_eq!(refused(|config| config.max_lifetime = short), Some(("max_lifetime", "9ms".into())));
        assert_eq!(refused(|config| config.validation_interval = short), Some(("validation_interval", "9ms".into())));
        assert_eq!(refused(|config| config.leak_threshold = short), Some(("leak_threshold", "9ms".into())));
        assert_eq!(refused(|config| config.leak_threshold = SHORTEST_SPAN), None);
        assert_eq!(refused(|config| config.idle_timeout = never), None);
    }
}
