//! Openings and checks that do not come back: they hold up nobody else, and their places are accounted for.

use crate::support::{Asked, Bench, MILLISECOND, SECOND, parts};
use ecm_core::{
    Abilities, Access, Backend, Clock, Connection, Failure, Fault, Kind, Loan, Stage, Time, block_on,
    testing::{Fake, FakeConnection, TestClock},
};
use ecm_pool::{Lent, Pool, PoolConfig, PoolStrategy};
use std::{
    collections::VecDeque,
    error::Error as StdError,
    sync::{
        Arc, Condvar, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

/// A fake of which single connects can be made to hang.
#[derive(Clone, Debug, Default)]
struct Hanging {
    fake: Fake,
    plan: Arc<(Mutex<Plan>, Condvar)>,
}

#[derive(Debug, Default)]
struct Plan {
    gates: VecDeque<Receiver<()>>,
    stuck: usize,
}

impl Hanging {
    /// The next connect that was not told to hang yet does so until what this returns is dropped.
    fn hang_next(&self) -> Sender<()> {
        let (sender, receiver) = channel();
        self.plan.0.lock().unwrap().gates.push_back(receiver);
        sender
    }

    /// Blocks until so many connects have ever been stuck.
    fn wait_for_stuck(&self, count: usize) {
        let plan = self.plan.0.lock().unwrap();
        drop(self.plan.1.wait_while(plan, |plan| plan.stuck < count).unwrap());
    }
}

impl Backend for Hanging {
    type Connection = FakeConnection;

    fn connect(&self, access: Access, clock: &Arc<dyn Clock>) -> Result<FakeConnection, Failure> {
        let gate = self.plan.0.lock().unwrap().gates.pop_front();
        if let Some(gate) = gate {
            self.plan.0.lock().unwrap().stuck += 1;
            self.plan.1.notify_all();
            // An error, since nothing is ever sent: only dropping the other end ends it.
            gate.recv().unwrap_err();
        }
        self.fake.connect(access, clock)
    }

    fn classify(&self, error: &(dyn StdError + 'static)) -> Option<Fault> {
        self.fake.classify(error)
    }

    fn abilities(&self) -> Abilities {
        self.fake.abilities()
    }

    fn describe(&self) -> String {
        self.fake.describe()
    }
}

struct Scene {
    backend: Hanging,
    clock: TestClock,
    pool: Pool<Hanging>,
}

impl Scene {
    fn of(max_connections: u32) -> Self {
        let (backend, clock) = (Hanging::default(), TestClock::new());
        let config = PoolConfig { max_connections, ..PoolConfig::untended() };
        let pool = Pool::new(Arc::new(backend.clone()), config, parts(&clock));
        Self { backend, clock, pool }
    }

    fn asks(&self, deadline: Time) -> Asked<'_, Hanging> {
        Asked::new(self.pool.lend(Loan::Read, self.clock.now(), deadline))
    }

    fn waits(&self) -> Asked<'_, Hanging> {
        let mut asked = self.asks(Time::NEVER);
        assert!(asked.poll().is_pending(), "{:?}", self.pool);
        asked
    }

    fn lends(&self) -> Lent<'_, Hanging> {
        block_on(self.pool.lend(Loan::Read, self.clock.now(), Time::NEVER)).unwrap()
    }

    /// One that is lent, after which openings are left to the worker.
    fn lends_slowly(&self) -> Lent<'_, Hanging> {
        self.backend.fake.slow_connects(20 * MILLISECOND, &self.clock);
        let lent = self.lends();
        self.backend.fake.slow_connects(Duration::ZERO, &self.clock);
        lent
    }

    /// Waits until nothing is under way any more; then everything is accounted for.
    fn is_whole(&self, idle: u32) {
        assert!(block_on(self.pool.drained(Time::NEVER)));
        let status = self.pool.status();
        assert_eq!((status.open, status.idle, status.stuck), (idle, idle, 0), "{status:?}");
        assert_eq!(status.opened - status.closed, u64::from(idle));
        assert_eq!(self.backend.fake.counts().open(), u64::from(idle));
    }
}

#[test]
fn an_opening_that_is_stuck_holds_up_no_other_and_comes_too_late() {
    let scene = Scene::of(2);
    let held = scene.lends_slowly();
    let gate = scene.backend.hang_next();
    let waiting = scene.waits();
    scene.backend.wait_for_stuck(1);
    assert_eq!((scene.pool.status().opening, scene.pool.status().stuck), (1, 0));
    scene.clock.advance(SECOND);
    let second = block_on(waiting.lending).unwrap();
    let status = scene.pool.status();
    assert_eq!((status.open, status.lent, status.stuck), (2, 2, 1), "its place is another's");
    drop((held, second));
    drop(gate);
    scene.is_whole(2);
    assert_eq!((scene.pool.status().opened, scene.pool.status().closed), (3, 1));
}

#[test]
fn a_connection_that_comes_late_is_used_where_there_is_room() {
    let scene = Scene::of(3);
    let held = scene.lends_slowly();
    let gate = scene.backend.hang_next();
    let waiting = scene.waits();
    scene.backend.wait_for_stuck(1);
    scene.clock.advance(SECOND);
    drop(block_on(waiting.lending).unwrap());
    drop((held, gate));
    scene.is_whole(3);
}

#[test]
fn a_late_connection_of_an_older_epoch_is_closed() {
    let scene = Scene::of(3);
    let held = scene.lends_slowly();
    let gate = scene.backend.hang_next();
    let waiting = scene.waits();
    scene.backend.wait_for_stuck(1);
    scene.clock.advance(SECOND);
    drop(block_on(waiting.lending).unwrap());
    drop(held);
    scene.pool.advance_epoch();
    drop(gate);
    scene.is_whole(0);
}

#[test]
fn nobody_follows_a_caller_into_an_opening_that_hangs() {
    let scene = Scene::of(2);
    let gate = scene.backend.hang_next();
    thread::scope(|scope| {
        let first = scope.spawn(|| drop(scene.lends()));
        scene.backend.wait_for_stuck(1);
        scene.clock.advance(10 * MILLISECOND);
        drop(scene.lends());
        assert!(!first.is_finished());
        assert_eq!(scene.pool.status().waits, 1, "the worker has opened it");
        drop(gate);
    });
    scene.is_whole(2);
}

#[test]
fn the_place_of_a_caller_who_hangs_goes_to_one_who_waits_and_it_waits_then_itself() {
    let scene = Scene::of(1);
    let gate = scene.backend.hang_next();
    thread::scope(|scope| {
        let hanging = scope.spawn(|| drop(scene.lends()));
        scene.backend.wait_for_stuck(1);
        let waiting = scene.waits();
        scene.clock.advance(SECOND);
        let lent = block_on(waiting.lending).unwrap();
        drop(gate);
        while scene.pool.status().waiting == 0 {
            thread::yield_now();
        }
        assert_eq!((scene.pool.status().open, scene.pool.status().stuck), (1, 0), "it waits for a place");
        drop(lent);
        hanging.join().unwrap();
    });
    scene.is_whole(1);
    assert_eq!((scene.pool.status().loans, scene.pool.status().opened), (2, 2));
}

#[test]
fn a_caller_who_hangs_alone_keeps_its_place() {
    let scene = Scene::of(1);
    let gate = scene.backend.hang_next();
    thread::scope(|scope| {
        let hanging = scope.spawn(|| drop(scene.lends()));
        scene.backend.wait_for_stuck(1);
        scene.clock.advance(3600 * SECOND);
        assert_eq!((scene.pool.status().opening, scene.pool.status().stuck), (1, 0));
        drop(gate);
        hanging.join().unwrap();
    });
    scene.is_whole(1);
}

#[test]
fn whoever_waits_for_a_stuck_opening_is_told_the_stage_and_the_reason() {
    let scene = Scene::of(4);
    let held = scene.lends_slowly();
    let gates = [scene.backend.hang_next(), scene.backend.hang_next()];
    let mut patient = scene.asks(scene.clock.now() + 2 * SECOND);
    let mut hasty = scene.asks(scene.clock.now() + SECOND / 2);
    assert!(patient.poll().is_pending() && hasty.poll().is_pending());
    scene.backend.wait_for_stuck(1);
    scene.clock.advance(SECOND / 2);
    let error = hasty.refused();
    assert_eq!(error.kind(), Kind::Timeout(Stage::Open));
    assert!(error.to_string().contains("an opening has lasted 500.0ms"), "{error}");
    scene.clock.advance(SECOND / 2);
    scene.backend.wait_for_stuck(2);
    scene.clock.advance(SECOND);
    let error = patient.refused();
    assert_eq!(error.kind(), Kind::Timeout(Stage::Open));
    let says = "1 waiting; the oldest loan has lasted 2.0s, made at ";
    let ends = "; an opening has lasted 2.0s; the last attempt to open one failed: it has not come back for 1.0s";
    assert!(error.to_string().contains(says) && error.to_string().ends_with(ends), "{error}");
    drop((gates, held));
    assert!(block_on(scene.pool.drained(Time::NEVER)));
}

#[test]
fn the_more_are_stuck_the_longer_the_next_is_waited_for() {
    let scene = Scene::of(4);
    let held = scene.lends_slowly();
    let gates: Vec<_> = (0..3).map(|_| scene.backend.hang_next()).collect();
    let waiting = scene.waits();
    for (stuck, patience) in [(1, 1), (2, 2), (3, 4)] {
        scene.backend.wait_for_stuck(stuck);
        assert_eq!(scene.pool.status().opening, 1);
        scene.clock.advance(patience * SECOND - MILLISECOND);
        assert_eq!(scene.pool.status().stuck as usize, stuck - 1);
        scene.clock.advance(MILLISECOND);
    }
    drop(block_on(waiting.lending).unwrap());
    assert_eq!(scene.pool.status().stuck, 3);
    drop((gates, held));
    assert!(block_on(scene.pool.drained(Time::NEVER)));
    assert_eq!(scene.pool.status().stuck, 0);
}

#[test]
fn a_stuck_opening_of_a_pool_that_is_closed_is_waited_for_and_closed() {
    let scene = Scene::of(2);
    let held = scene.lends_slowly();
    let gate = scene.backend.hang_next();
    let waiting = scene.waits();
    scene.backend.wait_for_stuck(1);
    scene.clock.advance(SECOND);
    drop(block_on(waiting.lending).unwrap());
    drop(held);
    scene.pool.close();
    let now = scene.clock.now();
    assert!(!block_on(scene.pool.drained(now)), "a connection may still turn up");
    drop(gate);
    scene.is_whole(0);
    // The worker that has closed it looks once more what is due, and finds nothing.
    let patience = std::time::Instant::now() + Duration::from_secs(30);
    while scene.clock.alarms() > 0 {
        assert!(std::time::Instant::now() < patience, "an alarm is left");
        std::thread::yield_now();
    }
}

#[test]
fn a_check_that_is_stuck_does_not_hold_up_openings() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let config = PoolConfig { max_connections: 2, validation_interval: 10 * SECOND, ..PoolConfig::untended() };
    let pool = Pool::new(Arc::new(fake.clone()), config, parts(&clock));
    let bench = Bench { fake, clock, pool };
    bench.fake.slow_connects(20 * MILLISECOND, &bench.clock);
    drop(bench.lends());
    bench.fake.slow_connects(Duration::ZERO, &bench.clock);
    let hold = bench.fake.hold_pings();
    bench.clock.advance(10 * SECOND);
    bench.fake.wait_for_hanging(1);
    let waiting = bench.waits();
    assert_eq!(bench.figures(), [0, 0, 1, 1], "the worker is at the check");
    bench.clock.advance(SECOND);
    drop(block_on(waiting.lending).unwrap());
    drop(hold);
    assert!(block_on(bench.pool.drained(Time::NEVER)));
    assert_eq!(bench.figures(), [2, 0, 0, 0]);
}

#[test]
fn an_opening_that_is_stuck_and_fails_in_the_end_is_forgotten() {
    let scene = Scene::of(1);
    let held = scene.lends_slowly();
    held.discard();
    let gate = scene.backend.hang_next();
    let waiting = scene.waits();
    scene.backend.wait_for_stuck(1);
    scene.clock.advance(SECOND);
    drop(block_on(waiting.lending).unwrap());
    scene.backend.fake.fail_connects(ecm_core::FaultKind::Storage, 1);
    drop(gate);
    scene.is_whole(1);
}

#[test]
fn a_successor_that_is_stuck_is_followed_by_another() {
    let (backend, clock) = (Hanging::default(), TestClock::new());
    let config = PoolConfig {
        min_connections: 1,
        initial_connections: 1,
        strategy: PoolStrategy::Fixed,
        connection_warming: true,
        max_lifetime: 100 * SECOND,
        ..PoolConfig::untended()
    };
    let pool = Pool::new(Arc::new(backend.clone()), config, parts(&clock));
    let scene = Scene { backend, clock, pool };
    drop(scene.lends());
    let gate = scene.backend.hang_next();
    scene.clock.advance(SECOND);
    scene.clock.advance(100 * SECOND);
    scene.backend.wait_for_stuck(1);
    scene.clock.advance(SECOND);
    assert_eq!(scene.pool.status().stuck, 1);
    scene.clock.advance(SECOND);
    while scene.pool.status().opened < 2 {
        thread::yield_now();
    }
    assert_eq!((scene.pool.status().open, scene.lends().db().id()), (1, 2), "the old one has gone");
    drop(gate);
    scene.is_whole(2);
}
