use ecm_core::{PoolLoad, Sizing, Target, Time};
use std::time::Duration;

/// How many callers may wait for each connection before there is another one.
const PATIENT: u32 = 2;
const LINGER: Duration = Duration::from_secs(10);

/// Holds as few connections as will do: a queue is cheaper than a connection.
///
/// A connection is opened only when more than two callers wait for each one that is there, and closed
/// when it was idle for ten seconds.
///
/// **When to use it:** when each connection costs memory or a licence, there are many pools, and a wait
/// of some holding times hurts nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResourceConserving;

impl Sizing for ResourceConserving {
    fn target(&self, load: &PoolLoad, _now: Time) -> Target {
        let few = load.min_connections.max(1);
        let crowded = load.waiting > load.open.saturating_mul(PATIENT);
        let most = if crowded { load.open.saturating_add(1) } else { load.open };
        Target::up_to(most.max(few).min(load.max_connections)).warm(load.min_connections).linger(LINGER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_only_when_the_queue_is_long() {
        let most = |open, waiting| {
            let mut load = PoolLoad::new(4);
            (load.open, load.lent, load.waiting, load.min_connections) = (open, open, waiting, 1);
            ResourceConserving.target(&load, Time::START).most
        };
        assert_eq!((most(0, 1), most(1, 2), most(1, 3), most(2, 4), most(2, 5)), (1, 1, 2, 2, 3));
        assert_eq!(most(4, 99), 4, "never above the maximum");
    }
}
