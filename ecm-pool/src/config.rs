use crate::Fairness;
use ecm_core::InvalidConfig;
use std::time::Duration;

const MOST_CONNECTIONS: u32 = 10_000;
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);

/// How large a pool may become and how long it lets callers wait.
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
    /// The most connections that are lent, idle or being opened at the same time.
    ///
    /// A sizing strategy may keep the pool below it, never bring it above. A pool that belongs to a
    /// [`Lane`](crate::Lane) has one connection whatever this says.
    ///
    /// Default: 50 connections.
    ///
    /// From 1 to 10,000.
    pub max_connections: u32,
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
}

impl PoolConfig {
    /// Whether every field is within its limits.
    ///
    /// # Errors
    /// The first field that is not.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        if !(1..=MOST_CONNECTIONS).contains(&self.max_connections) {
            let accepted = format_args!("between 1 and {MOST_CONNECTIONS}");
            return Err(InvalidConfig::new("max_connections", self.max_connections, accepted));
        }
        if self.connection_timeout > LONGEST_TIMEOUT {
            let value = format_args!("{:?}", self.connection_timeout);
            let accepted = format_args!("between 0s and {LONGEST_TIMEOUT:?}");
            return Err(InvalidConfig::new("connection_timeout", value, accepted));
        }
        Ok(())
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            max_connections: 50,
            connection_timeout: Duration::from_secs(30),
            max_waiting: u32::MAX,
            fairness: Fairness::Strict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_values_are_refused_by_name() {
        let refused = |max_connections, connection_timeout| {
            let config = PoolConfig { max_connections, connection_timeout, ..PoolConfig::default() };
            config.check().err().map(|invalid| (invalid.field, invalid.value))
        };
        let second = Duration::from_secs(1);
        assert_eq!(refused(0, second), Some(("max_connections", "0".into())));
        assert_eq!(refused(10_001, second), Some(("max_connections", "10001".into())));
        assert_eq!(refused(1, 3601 * second), Some(("connection_timeout", "3601s".into())));
        assert_eq!(refused(1, Duration::ZERO), None);
        assert_eq!(refused(10_000, 3600 * second), None);
        assert_eq!(PoolConfig::default().check(), Ok(()));
    }
}
