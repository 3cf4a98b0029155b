use crate::{Fairness, PoolStrategy};
use ecm_core::InvalidConfig;
use std::{ops::RangeInclusive, time::Duration};

const MOST_CONNECTIONS: u32 = 10_000;
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);
/// Shorter spans would have the pool look after its connections all the time.
const SHORTEST_SPAN: Duration = Duration::from_millis(10);
const MOST_FAILURES: u32 = 1_000_000;
const MOST_TRIALS: u32 = 1_000;
const MOST_RETRIES: u32 = 1_000;
const RECOVERY: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);

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
///
/// With the feature `serde` it is read and written by its field names, each of which may be left out;
/// durations are numbers of seconds.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
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
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
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
    /// Zero means for ever, otherwise at least 10 ms, and less than `max_lifetime` where both are set: it would never
    /// come to it.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub idle_timeout: Duration,
    /// How old a connection may become before it is closed and replaced.
    ///
    /// Each connection loses a part of up to a tenth of it, drawn when it is opened, so that those
    /// opened together do not go together, and not more than one goes at a time. Where it would be missed
    /// (with `connection_warming`, and not more are open than are kept or in use) another one is opened
    /// before it goes, and while that fails it stays. With `max_connections` open it goes first, and its
    /// place is opened anew. One that is lent is closed when it comes back.
    ///
    /// Default: zero, for ever: an embedded database has no reason to lose connections with age.
    ///
    /// Zero, otherwise at least 10 ms.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub max_lifetime: Duration,
    /// How long a connection may lie unused before it is checked in the background.
    ///
    /// The check is the backend's [`ping`](ecm_core::Connection::ping). One that fails is closed, and
    /// all other idle ones are checked before they are lent again.
    ///
    /// Default: 60 seconds.
    ///
    /// Zero means never, otherwise at least 10 ms.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub validation_interval: Duration,
    /// After how long without use or check a connection is checked when it is lent, before the caller
    /// gets it.
    ///
    /// With a shorter `validation_interval` it applies only where the background is late.
    ///
    /// Default: 120 seconds.
    ///
    /// Zero means never.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub validation_bypass: Duration,
    /// After how long a loan is reported as overdue, with the place in the code where it was made.
    ///
    /// Reported once by [`Event::Overdue`](ecm_core::Event::Overdue), if an observer wants to know of
    /// connections; nothing else happens to the loan.
    ///
    /// Default: zero, never: only the program knows how long its loans may last.
    ///
    /// Zero, otherwise at least 10 ms.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub leak_threshold: Duration,
    /// How many calls in a row have to fail until the database is left alone.
    ///
    /// The pool itself does not act on it: it carries this and the two fields below for the breaker
    /// of the manager, where each database has one that opens with the last of these calls.
    ///
    /// Default: 5 calls.
    ///
    /// From 1 to 1,000,000.
    pub failure_threshold: u32,
    /// For how long a database is left alone after `failure_threshold` failures, before it is tried
    /// again.
    ///
    /// As `failure_threshold`, for the manager's breaker, which may shorten it at random and lengthen it
    /// each further time.
    ///
    /// Default: 60 seconds.
    ///
    /// From 1 ms to 1 day.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub recovery_timeout: Duration,
    /// How many calls may try a database at the same time after its `recovery_timeout`.
    ///
    /// As `failure_threshold`, for the manager's breaker. So many have to succeed until the database is
    /// used as before.
    ///
    /// Default: 3 calls.
    ///
    /// From 1 to 1,000.
    pub half_open_max_calls: u32,
    /// How often a call is repeated after the database has failed in a way that may pass, and no other database is
    /// left to go to.
    ///
    /// Carried for the manager, which repeats only where its `enable_failover` is on, only what has not been executed
    /// or was declared idempotent, and within the time of the call, its `failover_timeout` and the budget of the group.
    /// Not repeated is what somebody has to mend first (damage, a full storage), and what has waited for a lock.
    ///
    /// Default: 3 times.
    ///
    /// From 0, with which nothing is repeated, to 1,000.
    pub max_retries: u32,
    /// How long a call waits before it is repeated for the first time; twice as long before the second, and so on,
    /// up to 2 seconds, or to this where it is longer.
    ///
    /// Of each pause a random part of up to one half is taken off, so that those who failed together do not come back
    /// together.
    ///
    /// Default: 0.5 seconds.
    ///
    /// From zero to one hour.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub retry_delay: Duration,
    /// How often the manager checks the database, on a connection of its own.
    ///
    /// A check opens a connection, asks something, and looks at the storage. One that fails, or has not come back after
    /// five seconds, has others preferred for reading, where there are any. A database that fails calls, or is being left
    /// alone by its breaker, is checked sooner, after one second and then ever more rarely; as soon as it passes it is
    /// tried again, whatever is left of its `recovery_timeout`.
    ///
    /// Default: 30 seconds.
    ///
    /// Zero means never, otherwise at least 10 ms.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub health_check_interval: Duration,
    /// How often such a check is a thorough one, that reads all that is stored and looks for damage.
    ///
    /// One that finds damage takes the database out of use, until somebody takes it back
    /// into use. A call that has met damage has a thorough check made at once, whatever this says.
    ///
    /// Default: zero, for never by itself: it reads the whole database.
    ///
    /// Acts at the next check by `health_check_interval` after so long, and not where that is zero.
    #[cfg_attr(feature = "serde", serde(with = "crate::seconds"))]
    pub integrity_check_interval: Duration,
}

impl PoolConfig {
    /// A pool that nobody looks after: nothing is opened ahead of need, checked, or closed for being
    /// idle or old, and the database is not checked. Everything else as in the default, with [`PoolStrategy::Fixed`].
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
            health_check_interval: Duration::ZERO,
            ..Self::default()
        }
    }

    /// Whether every field is within its limits.
    ///
    /// # Errors
    /// The first field that is not.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        between("max_connections", self.max_connections, 1..=MOST_CONNECTIONS)?;
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
            ("health_check_interval", self.health_check_interval),
        ];
        for (field, span) in spans {
            if span < SHORTEST_SPAN && !span.is_zero() {
                let accepted = format_args!("0s for never, otherwise at least {SHORTEST_SPAN:?}");
                return Err(InvalidConfig::new(field, format_args!("{span:?}"), accepted));
            }
        }
        // The default need not be lowered with it.
        let sets_idle = self.idle_timeout != Self::default().idle_timeout && !self.idle_timeout.is_zero();
        if sets_idle && !self.max_lifetime.is_zero() && self.idle_timeout >= self.max_lifetime {
            let accepted = format_args!("0s for never, otherwise less than max_lifetime = {:?}", self.max_lifetime);
            return Err(InvalidConfig::new("idle_timeout", format_args!("{:?}", self.idle_timeout), accepted));
        }
        between("failure_threshold", self.failure_threshold, 1..=MOST_FAILURES)?;
        if !RECOVERY.contains(&self.recovery_timeout) {
            let accepted = format_args!("between {:?} and {:?}", RECOVERY.start(), RECOVERY.end());
            return Err(InvalidConfig::new("recovery_timeout", format_args!("{:?}", self.recovery_timeout), accepted));
        }
        between("half_open_max_calls", self.half_open_max_calls, 1..=MOST_TRIALS)?;
        between("max_retries", self.max_retries, 0..=MOST_RETRIES)?;
        if self.retry_delay > LONGEST_TIMEOUT {
            let accepted = format_args!("between 0s and {LONGEST_TIMEOUT:?}");
            return Err(InvalidConfig::new("retry_delay", format_args!("{:?}", self.retry_delay), accepted));
        }
        Ok(())
    }
}

fn between(field: &'static str, value: u32, limits: RangeInclusive<u32>) -> Result<(), InvalidConfig> {
    if limits.contains(&value) {
        return Ok(());
    }
    Err(InvalidConfig::new(field, value, format_args!("between {} and {}", limits.start(), limits.end())))
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
            failure_threshold: 5,
            recovery_timeout: Duration::from_secs(60),
            half_open_max_calls: 3,
            max_retries: 3,
            retry_delay: Duration::from_millis(500),
            health_check_interval: Duration::from_secs(30),
            integrity_check_interval: Duration::ZERO,
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
        assert_eq!(refused(|config| config.failure_threshold = 0), Some(("failure_threshold", "0".into())));
        assert_eq!(
            refused(|config| config.failure_threshold = 1_000_001),
            Some(("failure_threshold", "1000001".into()))
        );
        let (none, day) = (Duration::ZERO, Duration::from_secs(86_400));
        assert_eq!(refused(|config| config.recovery_timeout = none), Some(("recovery_timeout", "0ns".into())));
        assert_eq!(refused(|config| config.recovery_timeout = 2 * day), Some(("recovery_timeout", "172800s".into())));
        assert_eq!(refused(|config| config.recovery_timeout = day), None);
        assert_eq!(refused(|config| config.half_open_max_calls = 0), Some(("half_open_max_calls", "0".into())));
        assert_eq!(refused(|config| config.half_open_max_calls = 1_001), Some(("half_open_max_calls", "1001".into())));
        assert_eq!(refused(|config| config.max_retries = 1_001), Some(("max_retries", "1001".into())));
        assert_eq!(refused(|config| config.retry_delay = 3601 * second), Some(("retry_delay", "3601s".into())));
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
        let aging = |idle: u64, old: u64| {
            refused(|config| {
                (config.idle_timeout, config.max_lifetime) = (Duration::from_secs(idle), Duration::from_secs(old));
            })
        };
        assert_eq!(aging(60, 60), Some(("idle_timeout", "60s".into())), "nothing would be idle for so long");
        assert_eq!([aging(59, 60), aging(300, 60), aging(0, 60), aging(60, 0)], [None, None, None, None]);
        assert_eq!(refused(|config| config.idle_timeout = never), None);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn survives_a_text_format_and_unknown_names_are_refused() {
        let config = PoolConfig {
            idle_timeout: Duration::from_millis(1_500),
            fairness: Fairness::Bounded(Duration::from_micros(500)),
            strategy: PoolStrategy::ResourceConserving,
            ..PoolConfig::default()
        };
        let text = serde_json::to_string(&config).unwrap();
        for part in [r#""idle_timeout":1.5"#, r#""fairness":{"bounded":0.0005}"#, r#""strategy":"resource_conserving""#]
        {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(serde_json::from_str::<PoolConfig>(&text).unwrap(), config);
        let short = r#"{"max_connections": 7, "fairness": "strict"}"#;
        let expected = PoolConfig { max_connections: 7, ..PoolConfig::default() };
        assert_eq!(serde_json::from_str::<PoolConfig>(short).unwrap(), expected);
        for (wrong, says) in [
            (r#"{"max_connection": 7}"#, "unknown field `max_connection`"),
            (r#"{"idle_timeout": -1}"#, "-1 is no number of seconds"),
            (r#"{"strategy": "fast"}"#, "unknown variant `fast`"),
        ] {
            let error = serde_json::from_str::<PoolConfig>(wrong).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
