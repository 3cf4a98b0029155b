use ecm_core::{Order, PoolLoad, Sizing, Target, Time};

/// Uses all connections alike: each in its turn, and as many as are needed.
///
/// For databases whose connections are equally warm whatever happens, or that count uses. Since every
/// connection is used, hardly one is ever idle long enough to be closed.
///
/// **When to use it:** when something outside wants even use (a proxy or a licence that counts per
/// connection), or when a connection that lies idle goes bad. Otherwise it costs the warm caches of the
/// few that would do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Balanced;

impl Sizing for Balanced {
    fn target(&self, load: &PoolLoad, _now: Time) -> Target {
        Target::up_to(load.max_connections).warm(load.min_connections)
    }

    fn order(&self) -> Order {
        Order::Even
    }
}
