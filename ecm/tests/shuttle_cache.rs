//! The cache in many schedules: whoever has seen a row in the database is never served an older one.
//!
//! Whole managers over a fake, with everything between a query and its answer: the shelf, the versions of what was
//! written (`currency`), one load for many, the route, the pool, the lane with its commits. Numbers only grow; whoever
//! asks looks at the database first, and at what was acknowledged, and must not be answered with less; nor with more
//! than stands there afterwards, which was never committed. One hit in two is compared with the database in the
//! background besides, which must not find anything wrong.
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test -p ecm --no-default-features --test shuttle_cache
//! ECM_SCHEDULES=50 ..    # fifty times as many schedules
//! ```
#![cfg(shuttle)]

use ecm::{
    CacheMode, ConnectionManager, Database, Failure, PoolConfig, Source,
    core::{
        Cache, CacheStats, Entry, FaultKind, Key, KeyRef, Time,
        testing::{Fake, FakeForeignWrites, TestClock},
    },
};
use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use std::{collections::HashMap, env, sync::Arc, time::Duration};

/// The simplest cache, with a lock that the model knows.
#[derive(Debug, Default)]
struct Map(Mutex<HashMap<Key, Arc<Entry>>>);

impl Cache for Map {
    fn get(&self, key: KeyRef<'_>, _now: Time) -> Option<Arc<Entry>> {
        let entries = self.0.lock().unwrap();
        entries.iter().find(|(stored, _)| key.matches(stored)).map(|(_, entry)| Arc::clone(entry))
    }

    fn insert(&self, key: Key, entry: Arc<Entry>) {
        self.0.lock().unwrap().insert(key, entry);
    }

    fn remove(&self, key: KeyRef<'_>) {
        self.0.lock().unwrap().retain(|stored, _| !key.matches(stored));
    }

    fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    fn stats(&self) -> CacheStats {
        CacheStats::default()
    }
}

/// What commits tell of what they have written, and what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tells {
    Everything,
    Tables,
    Rows,
}

struct Bench {
    manager: ConnectionManager<Fake>,
    /// The databases that are the primary, one after the other.
    primaries: [Fake; 2],
    /// Below this nobody may be answered: what was acknowledged, and what the primary that is in force holds.
    floor: AtomicU64,
    by_row: bool,
    /// Hits that were current, of all schedules.
    hits: Arc<std::sync::atomic::AtomicU64>,
}

/// How many schedules of each scenario.
const ROUNDS: usize = 6_720;

type Action = Box<dyn FnOnce(&Bench) + Send>;

fn primary(fake: &Fake, name: &str) -> Database<Fake> {
    let pool = PoolConfig { max_connections: 6, ..PoolConfig::untended() };
    Database::new(name, fake.clone()).pool(pool)
}

impl Bench {
    fn new(foreign: FakeForeignWrites, tells: Tells, hits: &Arc<std::sync::atomic::AtomicU64>) -> Self {
        let primaries = [Fake::new(), Fake::new()];
        for fake in &primaries {
            fake.tell_foreign_writes(foreign);
            if tells != Tells::Everything {
                fake.tell_writes();
            }
            fake.write_elsewhere("7", 1);
        }
        let manager = ConnectionManager::<Fake>::builder_for()
            .database(primary(&primaries[0], "one"))
            .cache(Map::default())
            .clock(TestClock::new())
            .build()
            .unwrap();
        manager.apply("cache_self_check", "0.5").unwrap();
        let (by_row, floor) = (tells == Tells::Rows, AtomicU64::new(1));
        if by_row {
            // Rows are told from the next transaction on, and tables too.
            manager.query("get").bind(7).wait().unwrap();
        }
        manager.execute("set 9").bind(1).wait().unwrap();
        Self { manager, primaries, floor, by_row, hits: Arc::clone(hits) }
    }

    fn committed(&self) -> u64 {
        let of = |fake: &Fake| fake.committed("7").map_or(0, i64::cast_unsigned);
        self.primaries.iter().map(of).max().unwrap_or(0)
    }

    fn runs(self, actions: Vec<Action>) {
        let bench = Arc::new(self);
        let threads: Vec<_> = actions
            .into_iter()
            .map(|action| {
                let bench = Arc::clone(&bench);
                thread::spawn(move || action(&bench))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        // Whatever has happened, it is over, and known.
        [true, false].into_iter().for_each(|by_row| ask(&bench, CacheMode::Current, by_row));
        assert_eq!(bench.manager.status().cache_rereads.mismatches, 0);
    }
}

/// Asks once, and judges the answer.
fn ask(bench: &Bench, mode: CacheMode, by_row: bool) {
    // Of the primary that is in force, also what was not acknowledged yet.
    let floor = bench.floor.load(Ordering::SeqCst);
    let in_force = &bench.primaries[usize::from(floor >= PROMOTED)];
    let seen = floor.max(in_force.committed("7").map_or(0, i64::cast_unsigned));
    // By the whole table, or by its row alone.
    let query = if by_row { bench.manager.query("get").bind(7) } else { bench.manager.query("get 7") };
    let answer = match query.cache_mode(mode).one::<i64>().answer() {
        Ok(answer) => answer,
        // Between two primaries there is none.
        Err(error) if matches!(error.kind(), ecm::Kind::Unavailable | ecm::Kind::Closed) => return,
        Err(error) if error.fault().is_some_and(|fault| fault.kind == FaultKind::Storage) => return,
        Err(error) => panic!("{error:?}"),
    };
    let value = answer.value.cast_unsigned();
    let now = bench.committed();
    assert!(value <= now, "{value}, which was never committed: {now} is, from {:?}", answer.source);
    match answer.source {
        Source::Cache { current: false, .. } => assert_ne!(mode, CacheMode::Current),
        source => {
            assert!(value >= seen, "{value} after {seen} had been seen, from {source:?}");
            if matches!(source, Source::Cache { .. }) {
                bench.hits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }
}

fn asks(times: usize, mode: CacheMode) -> Action {
    Box::new(move |bench| (0..times).for_each(|_| ask(bench, mode, bench.by_row)))
}

const CURRENT: CacheMode = CacheMode::Current;
const REVALIDATE: CacheMode = CacheMode::StaleWhileRevalidate(Duration::from_secs(60));

/// Commits these numbers, one after the other.
fn writes(numbers: &'static [i64]) -> Action {
    Box::new(move |bench| {
        for &number in numbers {
            if bench.manager.execute("set 7").bind(number).wait().is_ok() {
                bench.floor.fetch_max(number.cast_unsigned(), Ordering::SeqCst);
            }
        }
    })
}

/// Adds one, as often, also beside others who do.
fn adds(times: usize) -> Action {
    Box::new(move |bench| {
        for _ in 0..times {
            let add = bench.manager.write(|tx| {
                let next = tx.get("7")?.unwrap_or(0) + 1;
                tx.set("7", next)?;
                Ok(next)
            });
            let number = add.wait().unwrap();
            bench.floor.fetch_max(number.cast_unsigned(), Ordering::SeqCst);
        }
    })
}

/// Commits these numbers, of which the first is not known to be there.
fn loses_commits(numbers: &'static [i64]) -> Action {
    Box::new(move |bench| {
        bench.primaries[0].lose_commits(1);
        for &number in numbers {
            // What became of it is seen in the database alone.
            drop(bench.manager.execute("set 7").bind(number).wait());
        }
    })
}

/// Writes what it undoes.
fn rolls_back(times: usize) -> Action {
    Box::new(move |bench| {
        for _ in 0..times {
            let undone = bench.manager.write(|tx| {
                tx.set("7", 1_000_000)?;
                Err::<(), _>(Failure::msg("no"))
            });
            undone.wait().unwrap_err();
        }
    })
}

/// Somebody whom the manager does not know commits these numbers, where nobody else does.
fn writes_elsewhere(numbers: &'static [i64]) -> Action {
    Box::new(move |bench| {
        for &number in numbers {
            bench.primaries[0].write_elsewhere("7", number);
            bench.floor.fetch_max(number.cast_unsigned(), Ordering::SeqCst);
            thread::yield_now();
        }
    })
}

/// Somebody whom the manager does not know commits something else of the same table: what stands in the log then is of
/// two, and the manager has to account for both.
fn writes_beside(times: i64) -> Action {
    Box::new(move |bench| {
        for number in 0..times {
            bench.primaries[0].write_elsewhere("8", number);
            thread::yield_now();
        }
    })
}

/// Commits another row than the one that is asked for, which is told apart from it.
fn writes_another_row(times: i64) -> Action {
    Box::new(move |bench| {
        for number in 0..times {
            bench.manager.execute("set 8").bind(number).wait().unwrap();
        }
    })
}

fn changes_schema() -> Action {
    Box::new(|bench| {
        bench.primaries[0].change_schema_elsewhere();
        thread::yield_now();
        bench.manager.write(|tx| Ok(tx.set("8", 1)?)).wait().unwrap();
    })
}

/// Another file takes the place of the first one.
fn exchanges_file() -> Action {
    Box::new(|bench| {
        bench.primaries[0].exchange_file();
        thread::yield_now();
        bench.primaries[0].write_elsewhere("7", 7);
        bench.floor.fetch_max(7, Ordering::SeqCst);
    })
}

/// A number from which on the second primary is in force.
const PROMOTED: u64 = 1_000;

/// The primary goes, and another one comes that has got further.
fn fails_over() -> Action {
    Box::new(|bench| {
        bench.primaries[1].write_elsewhere("7", PROMOTED.cast_signed());
        bench.manager.unregister("one").unwrap();
        bench.manager.register(primary(&bench.primaries[1], "two")).unwrap();
        bench.floor.fetch_max(PROMOTED, Ordering::SeqCst);
        for number in PROMOTED + 1..PROMOTED + 3 {
            bench.manager.execute("set 7").bind(number).wait().unwrap();
            bench.floor.fetch_max(number, Ordering::SeqCst);
        }
    })
}

/// Runs so many schedules, half of them by chance alone, half with few changes of the thread, at points that matter
/// more (PCT: Burckhardt et al., 2010). In some of them answers come from the cache, or nothing was proved.
fn in_schedules(foreign: FakeForeignWrites, actions: fn() -> Vec<Action>) {
    let times: usize = env::var("ECM_SCHEDULES").map_or(1, |times| times.parse().expect("a number of times"));
    let hits = Arc::default();
    let run = |hits: &Arc<std::sync::atomic::AtomicU64>, tells: Tells| {
        let hits = Arc::clone(hits);
        move || Bench::new(foreign, tells, &hits).runs(actions())
    };
    for tells in [Tells::Everything, Tells::Tables, Tells::Rows] {
        // What a call takes of the stack without optimization does not fit into the default.
        let config = || {
            let mut config = Config::new();
            config.stack_size = 256 * 1024;
            config
        };
        Runner::new(RandomScheduler::new(ROUNDS * times / 6), config()).run(run(&hits, tells));
        Runner::new(PctScheduler::new(4, ROUNDS * times / 6), config()).run(run(&hits, tells));
    }
    let hits = hits.load(std::sync::atomic::Ordering::Relaxed);
    eprintln!("{} schedules, {hits} current hits", ROUNDS * times);
    assert!(hits as usize > ROUNDS / 10, "only {hits} answers came from the cache: this proves nothing");
}

const SEEN: FakeForeignWrites = FakeForeignWrites::Seen;
const ALONE: FakeForeignWrites = FakeForeignWrites::None;

#[test]
fn nothing_old_is_served_beside_commits() {
    in_schedules(SEEN, || vec![asks(3, CURRENT), asks(3, CURRENT), writes(&[2, 3])]);
    in_schedules(ALONE, || vec![asks(3, CURRENT), asks(3, CURRENT), writes(&[2, 3])]);
}

#[test]
fn nothing_old_is_served_beside_commits_that_several_share_and_what_is_rolled_back() {
    in_schedules(SEEN, || vec![asks(3, CURRENT), adds(2), adds(1), rolls_back(1)]);
    in_schedules(ALONE, || vec![asks(3, CURRENT), adds(2), adds(1), rolls_back(1)]);
}

#[test]
fn nothing_old_is_served_beside_somebody_who_is_not_known() {
    in_schedules(SEEN, || vec![asks(3, CURRENT), asks(2, CURRENT), writes_elsewhere(&[2, 3, 4])]);
    in_schedules(SEEN, || vec![asks(4, CURRENT), adds(2), writes_beside(2)]);
    in_schedules(SEEN, || vec![asks(4, CURRENT), writes_another_row(2), writes_elsewhere(&[2, 3])]);
    in_schedules(SEEN, || vec![asks(4, CURRENT), adds(1), changes_schema()]);
    in_schedules(SEEN, || vec![asks(4, CURRENT), asks(2, CURRENT), exchanges_file()]);
}

#[test]
fn nothing_old_is_served_where_answers_are_read_anew() {
    in_schedules(SEEN, || vec![asks(3, CURRENT), asks(3, REVALIDATE), writes(&[2, 3])]);
    in_schedules(ALONE, || vec![asks(3, CURRENT), asks(2, CacheMode::Refresh), writes(&[2, 3])]);
}

#[test]
fn nothing_old_is_served_where_commits_are_lost() {
    in_schedules(SEEN, || vec![asks(3, CURRENT), asks(2, CURRENT), loses_commits(&[2, 3])]);
    in_schedules(ALONE, || vec![asks(3, CURRENT), asks(2, CURRENT), loses_commits(&[2, 3])]);
}

#[test]
fn nothing_old_is_served_once_another_primary_is_in_force() {
    in_schedules(SEEN, || vec![asks(4, CURRENT), asks(3, CURRENT), fails_over()]);
    in_schedules(ALONE, || vec![asks(4, CURRENT), asks(3, CURRENT), fails_over()]);
}
