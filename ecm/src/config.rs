use crate::{LoadBalanceStrategy, load_balance_strategy};
use ecm_core::InvalidConfig;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How a manager behaves as a whole: the words of the Python original, with its defaults.
///
/// `ManagerConfig::default()` is the same value in every build. It is applied by
/// [`Builder::configure`](crate::Builder::configure) and by `standard()`; a builder that is not
/// configured starts with everything off. Every field can be changed while running, by
/// [`ConnectionManager::apply`](crate::ConnectionManager::apply). In text formats durations are
/// numbers of seconds.
///
/// ```
/// let config: ecm::ManagerConfig = serde_json::from_str(r#"{"slow_query_threshold": 0.25}"#).unwrap();
/// assert_eq!(config.slow_query_threshold, std::time::Duration::from_millis(250));
/// assert_eq!(config.max_failover_attempts, 3);
///
/// let wrong = serde_json::from_str::<ecm::ManagerConfig>(r#"{"slow_query": 1}"#).unwrap_err();
/// assert!(wrong.to_string().contains("unknown field `slow_query`"));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ManagerConfig {
    /// Whether reads are spread over the databases of a group.
    ///
    /// Off, every read goes to the fit database of the highest priority. On, the balancer given by
    /// [`Builder::balancer`](crate::Builder::balancer) decides, or what `load_balance_strategy` names where
    /// none was given (needs the feature `balancer`). Writes always go to the group's primary.
    ///
    /// *Default:* true.
    pub enable_load_balancing: bool,
    /// How reads are spread.
    ///
    /// Acts only where `enable_load_balancing` is on and no balancer was given to the builder. Changed while
    /// running it acts from the next call on, for all groups. In text formats it is a word, such as
    /// `round_robin`.
    ///
    /// *Default:* performance.
    pub load_balance_strategy: LoadBalanceStrategy,
    /// Whether a read whose database has failed goes to another fit one of its group.
    ///
    /// Only faults of a database count, never those of a statement or a closure. Bounded by
    /// `max_failover_attempts`, `failover_timeout` and by the time that the call allows. Where no other is left the
    /// call is repeated in place, as the [`max_retries`](crate::PoolConfig::max_retries) of the database says. Closures
    /// may therefore run more than once, those of writes always after what they did before has been rolled back; those
    /// of `read_once` and `write_once` never do.
    ///
    /// All attempts beyond the first ones come out of one budget for each group: 100 at once, 10 more each second, and
    /// one for five calls that succeed. A call that finds it empty ends with the failure that it has met.
    ///
    /// *Default:* true.
    pub enable_failover: bool,
    /// How many further databases a read may try after the first one has failed.
    ///
    /// Acts only where `enable_failover` is on.
    ///
    /// *Default:* 3. *Limits:* 0 to 63; 0 tries no other.
    pub max_failover_attempts: u32,
    /// How long after its first failure, or its first refusal, a call may begin a further attempt.
    ///
    /// Acts only where `enable_failover` is on. The time that the call allows, by `within`, ends it where that comes
    /// first.
    ///
    /// *Default:* 5 seconds. *Limits:* 0 to 1 hour; 0 allows what needs no pause.
    #[serde(with = "seconds")]
    pub failover_timeout: Duration,
    /// How many writes of a group may wait, for `failover_timeout` at most, until the breaker of their primary admits
    /// them again; one more is refused with [`Kind::QueueFull`](crate::Kind::QueueFull).
    ///
    /// Each of them holds its thread. With 0 a write is refused at once, with
    /// [`Kind::Rejected`](crate::Kind::Rejected). Acts only where `enable_failover` is on.
    ///
    /// *Default:* 0. *Limits:* 0 to 1,000,000.
    pub max_waiting_writes: u32,
    /// Whether answers of queries are kept, and served again while they are what the database would answer.
    ///
    /// Such an answer is never out of date: what anybody writes, also another process, makes those that may depend on
    /// it worthless before the write is acknowledged. Kept is what SQLite itself calls deterministic and read only, from
    /// ordinary tables of a database with a write-ahead log, or in memory. Closures of `read` always ask the database.
    /// Needs the feature `cache-quick`, unless a cache was given by [`Builder::cache`](crate::Builder::cache).
    ///
    /// *Default:* true.
    pub enable_query_cache: bool,
    /// The most answers that are kept.
    ///
    /// They take 1 KiB each on average at most, and 64 MiB together if that is more; one that is larger than 1 MiB is
    /// not kept. Acts where no cache was given; a change while running begins with an empty cache.
    ///
    /// *Default:* 10,000. *Limits:* 1 to 1,000,000,000.
    pub cache_max_size: u64,
    /// How long an answer is kept.
    ///
    /// Acts as `cache_max_size` does. It bounds what memory is spent on, not how old an answer may be.
    ///
    /// *Default:* 300 seconds. *Limits:* more than 0, up to 365 days.
    #[serde(with = "seconds")]
    pub cache_ttl: Duration,
    /// Which part of the answers that are served from the cache is read again, and compared.
    ///
    /// In the background, on a connection that is free, and only while nothing that the answer depends on has been
    /// written since. One that differs is an error of the cache, of what judges it, or of the backend: it is counted
    /// ([`CacheRereads`](ecm_core::CacheRereads)), observers are told
    /// ([`CacheMismatch`](ecm_core::Event::CacheMismatch)), and nothing is kept of its statement any more until the schema
    /// changes. The order of rows does not count. Acts where `enable_query_cache` is on. Costs each such answer about a
    /// nanosecond, and one that is picked a few allocations.
    ///
    /// *Default:* 0.001, one of 1,000. *Limits:* 0, none, to 1, all.
    pub cache_self_check: f64,
    /// Whether calls are counted for [`ConnectionManager::metrics`](crate::ConnectionManager).
    ///
    /// Needs the feature `metrics`, which adds that method. Off, the figures of pools and cache are
    /// there all the same: they are pulled when somebody asks. Costs about 20 ns a call.
    ///
    /// *Default:* true.
    pub enable_metrics: bool,
    /// How many steps of SQLite's virtual machine a statement may take inside a poll of an awaited call.
    ///
    /// A query that is known to be short runs where it is polled, since going to another thread and back takes fifty
    /// times as long; one that turns out to take more steps is stopped and runs again on one of the `reader_threads`. Only
    /// statements that read and that call nothing but functions of SQLite's own with a certain answer; closures never.
    /// Bounds steps, not time: a single step may take long, and so may a page that has to be read from a disk, so that
    /// what has taken more than 50 µs of late does not run there either. Blocking calls are not affected.
    ///
    /// *Default:* 3,000, some 40 µs. *Limits:* 0 to 1,000,000, rounded up to thousands; 0 switches it off.
    pub inline_budget: u64,
    /// How many threads each database has at most for what awaited calls cannot run where they are polled.
    ///
    /// They are started when they are needed, and end when they had nothing to do for two seconds. What waits for one
    /// is served in the order in which it came. Each of them uses one connection at a time, of the pool's
    /// `max_connections`. Writes of statements need none, closures that write do.
    ///
    /// *Default:* 4. *Limits:* 1 to 1,024.
    pub reader_threads: u32,
    /// From which duration on a call is reported as slow.
    ///
    /// Measured from the start of the call to its end, waiting for a connection included. Observers
    /// see it as [`CallReport::slow`](ecm_core::CallReport::slow).
    ///
    /// *Default:* 1 second. *Limits:* 0 to 1 day; 0 makes every call slow.
    #[serde(with = "seconds")]
    pub slow_query_threshold: Duration,
}

impl Default for ManagerConfig {
    fn default() -> Self {
        Self {
            enable_load_balancing: true,
            load_balance_strategy: LoadBalanceStrategy::Performance,
            enable_failover: true,
            max_failover_attempts: 3,
            failover_timeout: Duration::from_secs(5),
            max_waiting_writes: 0,
            enable_query_cache: true,
            cache_max_size: 10_000,
            cache_ttl: Duration::from_secs(300),
            cache_self_check: 0.001,
            enable_metrics: true,
            inline_budget: 3_000,
            reader_threads: 4,
            slow_query_threshold: Duration::from_secs(1),
        }
    }
}

impl ManagerConfig {
    /// What a builder starts with: everything off.
    pub(crate) fn off() -> Self {
        Self {
            enable_load_balancing: false,
            enable_failover: false,
            max_failover_attempts: 0,
            enable_query_cache: false,
            cache_self_check: 0.0,
            enable_metrics: false,
            ..Self::default()
        }
    }

    /// Whether every field is within its limits.
    ///
    /// # Errors
    /// The first field that is not, with its value and what would be accepted.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        if self.max_failover_attempts > 63 {
            return Err(InvalidConfig::new("max_failover_attempts", self.max_failover_attempts, "0 to 63"));
        }
        if self.failover_timeout > Duration::from_secs(3600) {
            let value = format!("{:?}", self.failover_timeout);
            return Err(InvalidConfig::new("failover_timeout", value, "0 to 3600 seconds (1 hour)"));
        }
        if self.max_waiting_writes > 1_000_000 {
            return Err(InvalidConfig::new("max_waiting_writes", self.max_waiting_writes, "0 to 1000000"));
        }
        if !(1..=1_000_000_000).contains(&self.cache_max_size) {
            return Err(InvalidConfig::new("cache_max_size", self.cache_max_size, "1 to 1000000000"));
        }
        if self.cache_ttl.is_zero() || self.cache_ttl > Duration::from_secs(365 * 86_400) {
            let value = format!("{:?}", self.cache_ttl);
            return Err(InvalidConfig::new("cache_ttl", value, "more than 0, up to 31536000 seconds (365 days)"));
        }
        if !(0.0..=1.0).contains(&self.cache_self_check) {
            return Err(InvalidConfig::new("cache_self_check", self.cache_self_check, SHARE));
        }
        if self.inline_budget > 1_000_000 {
            return Err(InvalidConfig::new("inline_budget", self.inline_budget, "0 to 1000000"));
        }
        if !(1..=1_024).contains(&self.reader_threads) {
            return Err(InvalidConfig::new("reader_threads", self.reader_threads, "1 to 1024"));
        }
        if self.slow_query_threshold > Duration::from_secs(86_400) {
            let value = format!("{:?}", self.slow_query_threshold);
            return Err(InvalidConfig::new("slow_query_threshold", value, "0 to 86400 seconds (1 day)"));
        }
        Ok(())
    }

    /// Every field with its value, as [`set`](Self::set) would take it.
    pub(crate) fn fields(&self) -> Vec<(String, String)> {
        [
            ("enable_load_balancing", self.enable_load_balancing.to_string()),
            ("load_balance_strategy", self.load_balance_strategy.to_string()),
            ("enable_failover", self.enable_failover.to_string()),
            ("max_failover_attempts", self.max_failover_attempts.to_string()),
            ("failover_timeout", self.failover_timeout.as_secs_f64().to_string()),
            ("max_waiting_writes", self.max_waiting_writes.to_string()),
            ("enable_query_cache", self.enable_query_cache.to_string()),
            ("cache_max_size", self.cache_max_size.to_string()),
            ("cache_ttl", self.cache_ttl.as_secs_f64().to_string()),
            ("cache_self_check", self.cache_self_check.to_string()),
            ("enable_metrics", self.enable_metrics.to_string()),
            ("inline_budget", self.inline_budget.to_string()),
            ("reader_threads", self.reader_threads.to_string()),
            ("slow_query_threshold", self.slow_query_threshold.as_secs_f64().to_string()),
        ]
        .map(|(field, value)| (field.to_owned(), value))
        .into()
    }

    /// Sets one field from text; nothing has changed where it fails.
    pub(crate) fn set(&mut self, field: &str, value: &str) -> Result<(), InvalidConfig> {
        let mut changed = self.clone();
        match field {
            "enable_load_balancing" => {
                changed.enable_load_balancing = parsed("enable_load_balancing", value, "true or false")?;
            }
            "load_balance_strategy" => {
                let accepted = load_balance_strategy::ACCEPTED;
                changed.load_balance_strategy = parsed("load_balance_strategy", value, accepted)?;
            }
            "enable_failover" => changed.enable_failover = parsed("enable_failover", value, "true or false")?,
            "max_failover_attempts" => {
                changed.max_failover_attempts = parsed("max_failover_attempts", value, "0 to 63")?;
            }
            "failover_timeout" => {
                changed.failover_timeout =
                    parsed_seconds("failover_timeout", value, "a number of seconds from 0 to 3600")?;
            }
            "max_waiting_writes" => {
                changed.max_waiting_writes = parsed("max_waiting_writes", value, "0 to 1000000")?;
            }
            "enable_query_cache" => {
                changed.enable_query_cache = parsed("enable_query_cache", value, "true or false")?;
            }
            "cache_max_size" => changed.cache_max_size = parsed("cache_max_size", value, "1 to 1000000000")?,
            "cache_ttl" => {
                let accepted = "a number of seconds, more than 0, up to 31536000";
                changed.cache_ttl = parsed_seconds("cache_ttl", value, accepted)?;
            }
            "cache_self_check" => changed.cache_self_check = parsed("cache_self_check", value, SHARE)?,
            "enable_metrics" => changed.enable_metrics = parsed("enable_metrics", value, "true or false")?,
            "inline_budget" => changed.inline_budget = parsed("inline_budget", value, "0 to 1000000")?,
            "reader_threads" => changed.reader_threads = parsed("reader_threads", value, "1 to 1024")?,
            "slow_query_threshold" => {
                let accepted = "a number of seconds from 0 to 86400";
                changed.slow_query_threshold = parsed_seconds("slow_query_threshold", value, accepted)?;
            }
            unknown => {
                let known: Vec<_> = self.fields().into_iter().map(|(field, _)| field).collect();
                let accepted = format!("a field that can be changed, one of {}", known.join(", "));
                return Err(InvalidConfig::new("field", unknown, accepted));
            }
        }
        changed.check()?;
        *self = changed;
        Ok(())
    }
}

/// What `cache_self_check` takes.
const SHARE: &str = "a part from 0 to 1";

fn parsed<T: std::str::FromStr>(field: &'static str, value: &str, accepted: &str) -> Result<T, InvalidConfig> {
    value.trim().parse().map_err(|_| InvalidConfig::new(field, value, accepted))
}

fn parsed_seconds(field: &'static str, value: &str, accepted: &str) -> Result<Duration, InvalidConfig> {
    let seconds: f64 = parsed(field, value, accepted)?;
    Duration::try_from_secs_f64(seconds).map_err(|_| InvalidConfig::new(field, value, accepted))
}

mod seconds {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(span.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds)
            .map_err(|_| D::Error::custom(format!("{seconds} is no number of seconds: expected 0 or more")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_can_be_set_to_what_it_shows() {
        let mut config = ManagerConfig::off();
        for (field, value) in ManagerConfig::default().fields() {
            config.set(&field, &value).unwrap();
        }
        assert_eq!(config, ManagerConfig::default());
    }

    #[test]
    fn a_bad_value_changes_nothing_and_says_what_would_be_accepted() {
        let mut config = ManagerConfig::default();
        for (field, value, accepted) in [
            ("enable_failover", "yes", "true or false"),
            ("max_failover_attempts", "64", "0 to 63"),
            ("max_failover_attempts", "-1", "0 to 63"),
            ("failover_timeout", "3601", "0 to 3600"),
            ("max_waiting_writes", "1000001", "0 to 1000000"),
            ("inline_budget", "1000001", "0 to 1000000"),
            ("reader_threads", "0", "1 to 1024"),
            ("slow_query_threshold", "-0.5", "0 to 86400"),
            ("cache_self_check", "-0.001", "from 0 to 1"),
            ("cache_self_check", "1.5", "from 0 to 1"),
            ("cache_self_check", "NaN", "from 0 to 1"),
            ("slow_query_threshold", "NaN", "0 to 86400"),
            ("slow_query_threshold", "100000", "0 to 86400"),
            ("cache_size", "1", "max_failover_attempts"),
        ] {
            let error = config.set(field, value).unwrap_err().to_string();
            assert!(error.contains(value) || error.contains(field), "{error}");
            assert!(error.contains(accepted), "{error}");
        }
        assert_eq!(config, ManagerConfig::default());
    }

    #[test]
    fn survives_a_text_format() {
        let config = ManagerConfig { slow_query_threshold: Duration::from_millis(1500), ..ManagerConfig::default() };
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains("\"slow_query_threshold\":1.5"), "{text}");
        assert_eq!(serde_json::from_str::<ManagerConfig>(&text).unwrap(), config);
        assert!(serde_json::from_str::<ManagerConfig>(r#"{"slow_query_threshold": -1}"#).is_err());
    }
}
