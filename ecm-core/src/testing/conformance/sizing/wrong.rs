use super::*;
use crate::{Target, testing::conformance::promise::each_is_caught_by_name};
use std::sync::atomic::{AtomicU32, Ordering};

/// As many connections as are lent and wanted, but wrong in the promise that it breaks.
#[derive(Debug)]
struct Bent {
    breaks: &'static str,
    asked: AtomicU32,
}

impl Sizing for Bent {
    fn target(&self, load: &PoolLoad, _now: Time) -> Target {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let wanted = load.lent.saturating_add(load.waiting);
        if self.breaks == ANSWERS {
            load.open.checked_sub(load.lent).expect("what is lent is open");
        }
        let most = match self.breaks {
            SOMEBODY => wanted.min(load.max_connections),
            CONFIGURED => wanted.max(1),
            REPEATS => (asked % 100).clamp(1, load.max_connections),
            _ => wanted.clamp(1, load.max_connections),
        };
        Target::up_to(most)
    }
}

#[test]
fn each_promise_catches_the_sizing_that_breaks_it() {
    each_is_caught_by_name(PROMISES, |breaks| sizing(|| Bent { breaks, asked: AtomicU32::new(0) }));
}

#[test]
fn a_sizing_that_breaks_none_passes() {
    sizing(|| Bent { breaks: "none", asked: AtomicU32::new(0) });
    sizing(|| crate::FixedSize);
}
