//! Those who were refused, in many schedules: a turn that ends between a refusal and the wait is not missed.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test -p ecm --no-default-features --test shuttle_turnstile
//! ```
#![cfg(shuttle)]

#[path = "../src/sync.rs"]
mod sync;
#[path = "../src/turnstile.rs"]
mod turnstile;

use ecm::core::{Time, testing::TestClock};
use shuttle::{
    future::block_on,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};
use std::{sync::Arc, time::Duration};
use turnstile::Turnstile;

const ROUNDS: usize = 5_000;

/// A door that lets so many in.
struct Door {
    open: AtomicU32,
    turnstile: Turnstile,
    clock: TestClock,
}

impl Door {
    fn enters(&self) -> bool {
        self.open.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |open| open.checked_sub(1)).is_ok()
    }

    fn opens(&self) {
        self.open.fetch_add(1, Ordering::SeqCst);
        self.turnstile.next_turn();
    }

    /// Waits until the door lets it in, or the clock has reached `until`; whether it is in.
    fn waits(&self, until: Time) -> bool {
        let place = self.turnstile.place(9);
        assert!(place.is_some());
        loop {
            let turn = self.turnstile.turn();
            if self.enters() {
                return true;
            }
            if ecm::core::Clock::now(&self.clock) >= until {
                return false;
            }
            block_on(self.turnstile.over(turn, until, &self.clock));
        }
    }
}

fn model(scenario: impl Fn(&Arc<Door>) -> Vec<thread::JoinHandle<()>> + Send + Sync + 'static) {
    let run = move || {
        let door = Arc::new(Door { open: AtomicU32::new(0), turnstile: Turnstile::new(), clock: TestClock::new() });
        scenario(&door).into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((door.turnstile.places(), door.clock.alarms()), (0, 0), "nothing is left behind");
    };
    shuttle::check_pct(run, ROUNDS, 3);
}

fn act(door: &Arc<Door>, action: impl FnOnce(&Door) + Send + 'static) -> thread::JoinHandle<()> {
    let door = Arc::clone(door);
    thread::spawn(move || action(&door))
}

#[test]
fn everybody_is_let_in_by_the_time_that_the_door_has_opened_for_each() {
    model(|door| {
        let mut threads: Vec<_> = (0..3).map(|_| act(door, |door| assert!(door.waits(Time::NEVER)))).collect();
        threads.extend((0..3).map(|_| act(door, Door::opens)));
        threads
    });
}

#[test]
fn one_whose_time_is_over_leaves_and_keeps_nobody_out() {
    model(|door| {
        let late = Time::START + Duration::from_secs(1);
        vec![
            act(door, move |door| {
                door.waits(late);
            }),
            act(door, |door| assert!(door.waits(Time::NEVER))),
            act(door, |door| door.clock.advance(Duration::from_secs(1))),
            act(door, |door| (0..2).for_each(|_| door.opens())),
        ]
    });
}
