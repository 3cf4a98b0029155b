#[cfg(test)]
mod wrong;

use super::promise::promises;
use crate::{PoolLoad, Sizing, Time};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

promises! {
    ANSWERS = "a sizing answers for every load and at every moment";
    SOMEBODY = "a sizing leaves at least one connection, so that somebody is served";
    CONFIGURED = "a sizing never asks for more connections than the configuration allows";
    REPEATS = "a sizing answers the same when it is asked again at the same moment about the same load";
}

/// Holds a sizing strategy to the contract of [`Sizing`].
///
/// `make` makes a strategy for a pool that has just begun. It is called many times.
///
/// ```
/// ecm_core::testing::conformance::sizing(|| ecm_core::FixedSize);
/// ```
///
/// # Panics
/// With the first promise that is broken.
pub fn sizing<S: Sizing>(make: impl Fn() -> S) {
    for maximum in [1, 2, 5, 50, 10_000, u32::MAX] {
        bears_a_day(&make(), maximum);
        bears_everything(&make(), maximum);
    }
}

/// A day of a pool: it fills, is full for long, empties, and is left alone.
fn bears_a_day<S: Sizing>(sizing: &S, maximum: u32) {
    let mut now = Time::from_nanos(1_000);
    let mut open = 0;
    for step in 0..2_000_u32 {
        let wanted = match step % 500 {
            0..100 => step % 100 * maximum.div_ceil(100),
            100..300 => maximum.saturating_add(step),
            300..400 => (400 - step % 500) * (maximum / 100),
            _ => 0,
        };
        let lent = wanted.min(open);
        let load = PoolLoad { open, lent, waiting: wanted - lent, ..PoolLoad::new(maximum) };
        let most = asked(sizing, &load, now);
        // The pool follows: it opens what is wanted, and closes what is idle and too much.
        open = if most > open { most.min(wanted.max(open)) } else { most.max(lent) };
        now = now + Duration::from_secs(u64::from(step % 90));
    }
}

/// Loads that follow from none before, as after a change of the configuration, and odd moments.
fn bears_everything<S: Sizing>(sizing: &S, maximum: u32) {
    let figures = [0, 1, 2, maximum / 2, maximum - 1, maximum, maximum.saturating_add(1), u32::MAX];
    let moments = [Time::START, Time::from_nanos(1), Time::from_nanos(u64::MAX / 2), Time::from_nanos(7), Time::NEVER];
    for now in moments {
        for open in figures {
            for lent in figures {
                for waiting in figures {
                    asked(sizing, &PoolLoad { open, lent, waiting, ..PoolLoad::new(maximum) }, now);
                }
            }
        }
    }
}

fn asked<S: Sizing>(sizing: &S, load: &PoolLoad, now: Time) -> u32 {
    let ask = || catch_unwind(AssertUnwindSafe(|| sizing.target(load, now).most)).ok();
    let Some(most) = ask() else { panic!("{ANSWERS}: it panicked over {load:?} at {now:?}") };
    assert!(most >= 1, "{SOMEBODY}: it asked for none over {load:?} at {now:?}");
    assert!(most <= load.max_connections, "{CONFIGURED}: it asked for {most} over {load:?} at {now:?}");
    let again = ask();
    assert!(again == Some(most), "{REPEATS}: first {most}, then {again:?}, over {load:?} at {now:?}");
    most
}
