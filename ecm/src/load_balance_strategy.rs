use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// How reads are spread over the databases of a group, by the words of the Python original. What each of them does
/// is told in the crate `ecm-balancer`, which the feature `balancer` adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LoadBalanceStrategy {
    /// The database that is expected to answer first: latency, calls in flight and failures.
    #[default]
    Performance,
    /// Round robin, least connections or performance, by what is observed.
    Adaptive,
    /// Every database in turn, in proportion to its weight.
    RoundRobin,
    /// The one with the fewest calls in flight for its weight.
    LeastConnections,
    /// Any, with a chance in proportion to its weight.
    Random,
    /// Those of the highest priority in turn.
    Priority,
}

const WORDS: [(LoadBalanceStrategy, &str); 6] = [
    (LoadBalanceStrategy::Performance, "performance"),
    (LoadBalanceStrategy::Adaptive, "adaptive"),
    (LoadBalanceStrategy::RoundRobin, "round_robin"),
    (LoadBalanceStrategy::LeastConnections, "least_connections"),
    (LoadBalanceStrategy::Random, "random"),
    (LoadBalanceStrategy::Priority, "priority"),
];

/// What would be accepted where a strategy is named.
pub(crate) const ACCEPTED: &str = "one of performance, adaptive, round_robin, least_connections, random, priority";

impl fmt::Display for LoadBalanceStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WORDS.iter().find(|(strategy, _)| strategy == self).map_or("", |(_, word)| word))
    }
}

impl FromStr for LoadBalanceStrategy {
    type Err = ecm_core::InvalidConfig;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let known = WORDS.iter().find(|(_, known)| *known == word.trim());
        let invalid = || ecm_core::InvalidConfig::new("load_balance_strategy", format_args!("{word:?}"), ACCEPTED);
        known.map(|(strategy, _)| *strategy).ok_or_else(invalid)
    }
}

#[cfg(feature = "balancer")]
impl From<LoadBalanceStrategy> for ecm_balancer::Strategy {
    fn from(strategy: LoadBalanceStrategy) -> Self {
        match strategy {
            LoadBalanceStrategy::Performance => Self::Performance,
            LoadBalanceStrategy::Adaptive => Self::Adaptive,
            LoadBalanceStrategy::RoundRobin => Self::RoundRobin,
            LoadBalanceStrategy::LeastConnections => Self::LeastConnections,
            LoadBalanceStrategy::Random => Self::Random,
            LoadBalanceStrategy::Priority => Self::Priority,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_read_from_the_word_that_it_is_written_as() {
        for (strategy, word) in WORDS {
            assert_eq!((strategy.to_string().as_str(), word.parse()), (word, Ok(strategy)));
            assert_eq!(serde_json::to_string(&strategy).unwrap(), format!("{word:?}"));
            assert!(ACCEPTED.contains(word));
        }
        let invalid = "roundrobin".parse::<LoadBalanceStrategy>().unwrap_err();
        let expected = format!("load_balance_strategy = \"roundrobin\" is not acceptable: {ACCEPTED}");
        assert_eq!(invalid.to_string(), expected);
    }
}
