use ecm_core::{PoolLoad, Sizing, Target, Time};
use std::time::Duration;

/// Keeps connections ready for twice the present load, so that hardly anybody waits for an opening.
///
/// The one used last is lent first. What is no longer needed stays until it was idle as long as the
/// configuration says.
///
/// **When to use it:** when opening is slow, bursts come without warning, and memory is cheap.
#[derive(Clone, Copy, Debug, Default)]
pub struct Performance;

impl Sizing for Performance {
    fn target(&self, load: &PoolLoad, _now: Time) -> Target {
        let needed = load.lent.saturating_add(load.waiting);
        Target::up_to(load.max_connections).warm(needed.saturating_mul(2).max(load.min_connections))
    }

    /// The load is a moment's: without being asked it would see only moments at which something happens.
    fn period(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }
}
