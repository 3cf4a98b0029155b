//! Answers from a cache: never an old row, whoever writes.

#[path = "support/fakes.rs"]
mod fakes;
#[path = "support/lines.rs"]
mod lines;

use ecm::{
    ConnectionManager, Database, Failure, ManagerConfig,
    core::{
        Cache, CacheStats, Entry, FaultKind, Interest, Key, KeyRef, Time,
        testing::{Fake, FakeForeignWrites, TestClock},
    },
};
use fakes::builder;
use lines::Lines;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

/// The simplest cache that a third party could write.
#[derive(Clone, Debug, Default)]
struct Map(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Key, Arc<Entry>>,
    stats: CacheStats,
}

impl Cache for Map {
    fn get(&self, key: KeyRef<'_>, _now: Time) -> Option<Arc<Entry>> {
        let mut state = self.0.lock().unwrap();
        let found = state.entries.iter().find(|(stored, _)| key.matches(stored)).map(|(_, entry)| Arc::clone(entry));
        match found {
            Some(_) => state.stats.hits += 1,
            None => state.stats.misses += 1,
        }
        found
    }
    fn insert(&self, key: Key, entry: Arc<Entry>) {
        assert!(entry.bytes > 0);
        let mut state = self.0.lock().unwrap();
        state.entries.insert(key, entry);
        state.stats.entries = state.entries.len() as u64;
    }
    fn remove(&self, key: KeyRef<'_>) {
        self.0.lock().unwrap().entries.retain(|stored, _| !key.matches(stored));
    }
    fn clear(&self) {
        self.0.lock().unwrap().entries.clear();
    }
    fn stats(&self) -> CacheStats {
        self.0.lock().unwrap().stats
    }
}

fn answer(manager: &ConnectionManager<Fake>) -> Option<i64> {
    manager.query("get a").one::<Option<i64>>().wait().unwrap()
}

#[test]
fn an_answer_is_served_again_until_something_is_written() {
    let (fake, calls, map) = (Fake::new(), Lines::about(Interest::CALLS), Map::default());
    let manager = builder(&fake).cache(map.clone()).observer(calls.clone()).build().unwrap();
    assert_eq!((answer(&manager), answer(&manager)), (None, None));
    let statements = fake.counts().statements;
    assert_eq!((answer(&manager), fake.counts().statements), (None, statements), "no statement runs for a hit");
    assert!(calls.take()[1].contains("attempts=0 cached=true"));

    manager.execute("set a").bind(1).wait().unwrap();
    assert_eq!((answer(&manager), answer(&manager)), (Some(1), Some(1)));
    let status = manager.status();
    let stats = status.cache;
    assert_eq!((stats.hits, stats.misses, stats.entries), (3, 2, 1), "an old row that is found is no hit");
    let position = map.0.lock().unwrap().entries.values().next().unwrap().position;
    assert_eq!(position, status.groups[0].databases[0].position);
    manager.write(|tx| Ok(tx.set("a", 2)?)).wait().unwrap();
    assert_eq!(answer(&manager), Some(2));
    drop(manager.connection().wait().unwrap());
    let statements = fake.counts().statements;
    assert_eq!((answer(&manager), fake.counts().statements), (Some(2), statements + 1), "a borrower may have written");
    let rows = manager.query("get a").wait().unwrap();
    assert!(Arc::ptr_eq(&rows, &manager.query("get a").wait().unwrap()), "the entry's own rows, not a copy");
}

#[test]
fn every_strategy_serves_an_answer_again_until_something_is_written() {
    let strategies: [fn(ecm::Builder<Fake>) -> ecm::Builder<Fake>; 3] = [
        |builder| builder.cache(ecm_cache::Quick::default()),
        |builder| builder.cache(ecm_cache::Lru::default()),
        |builder| builder.cache(ecm_cache::Sharded::default()),
    ];
    for strategy in strategies {
        let fake = Fake::new();
        let manager = strategy(builder(&fake)).build().unwrap();
        assert_eq!((answer(&manager), answer(&manager)), (None, None));
        manager.execute("set a").bind(1).wait().unwrap();
        let statements = fake.counts().statements;
        assert_eq!((answer(&manager), answer(&manager), answer(&manager)), (Some(1), Some(1), Some(1)));
        assert_eq!(fake.counts().statements, statements + 1);
        let stats = manager.status().cache;
        assert_eq!((stats.hits, stats.misses, stats.entries, stats.inserted), (3, 2, 1, 2));
        assert!(stats.bytes > 0 && stats.capacity == 10_000);
    }
}

#[test]
fn an_entry_says_how_long_its_answer_took() {
    let (fake, map, clock) = (Fake::new(), Map::default(), TestClock::new());
    let cache = ecm_cache::ByWorth::new(map.clone());
    let manager = builder(&fake).cache(cache).clock(clock.clone()).build().unwrap();
    let held = fake.hold_statements();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| answer(&manager));
        fake.wait_for_hanging(1);
        clock.advance(Duration::from_millis(5));
        drop(held);
        reading.join().unwrap();
    });
    let took = map.0.lock().unwrap().entries.values().next().unwrap().took;
    assert_eq!(took, Duration::from_millis(5));
}

#[test]
fn nothing_is_kept_past_the_cache_or_when_it_fails_to_decode() {
    let fake = Fake::new();
    let map = Map::default();
    let manager = builder(&fake).cache(map.clone()).build().unwrap();
    manager.query("get a").bypass_cache().one::<Option<i64>>().wait().unwrap();
    manager.query("get a").one::<i64>().wait().unwrap_err();
    let stats = map.stats();
    assert_eq!((stats.hits, stats.misses, stats.entries), (0, 1, 0));
}

#[test]
fn a_read_that_a_write_overtakes_is_not_stored() {
    let fake = Fake::new();
    let manager = builder(&fake).cache(Map::default()).build().unwrap();
    manager.query("get a").bypass_cache().wait().unwrap();
    let held = fake.hold_statements();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| answer(&manager));
        fake.wait_for_hanging(1);
        let writing = scope.spawn(|| manager.write(|tx| Ok(tx.set("a", 1)?)).wait().unwrap());
        fake.wait_for_hanging(2);
        drop(held);
        reading.join().unwrap();
        writing.join().unwrap();
    });
    assert_eq!(answer(&manager), Some(1));
}

#[test]
fn what_a_closure_has_not_committed_changes_no_answer_and_what_it_has_does() {
    let fake = Fake::new();
    let manager = builder(&fake).cache(Map::default()).build().unwrap();
    answer(&manager);
    let undone = manager.write(|tx| {
        tx.set("a", 1)?;
        Err::<(), _>(Failure::msg("no"))
    });
    undone.wait().unwrap_err();
    let statements = fake.counts().statements;
    assert_eq!((answer(&manager), fake.counts().statements), (None, statements), "nothing of it is there");
    manager
        .write(|tx| {
            tx.set("a", 1)?;
            assert_eq!(answer(&manager), None, "nobody else can see it yet");
            Ok(())
        })
        .wait()
        .unwrap();
    assert_eq!(answer(&manager), Some(1));
}

#[test]
fn after_a_commit_of_unknown_outcome_nothing_cached_is_served_until_the_next_one() {
    let fake = Fake::new();
    let manager = builder(&fake).cache(Map::default()).build().unwrap();
    manager.execute("set a").bind(1).wait().unwrap();
    assert_eq!((answer(&manager), answer(&manager)), (Some(1), Some(1)));
    fake.lose_commits(1);
    manager.execute("set a").bind(2).wait().unwrap_err();
    for _ in 0..2 {
        let statements = fake.counts().statements;
        assert_eq!((answer(&manager), fake.counts().statements), (Some(2), statements + 1), "it may come to light");
    }
    manager.execute("set b").bind(1).wait().unwrap();
    let statements = fake.counts().statements;
    assert_eq!((answer(&manager), answer(&manager), fake.counts().statements), (Some(2), Some(2), statements + 1));
}

#[test]
fn a_lagging_replica_cannot_put_its_old_rows_into_the_cache() {
    let (primary, replica) = (Fake::new(), Fake::new());
    let manager = ConnectionManager::<Fake>::builder_for()
        .database(Database::new("primary", primary))
        .database(Database::new("replica", replica).read_only(true).priority(1))
        .cache(Map::default())
        .build()
        .unwrap();
    manager.execute("set a").bind(1).wait().unwrap();
    assert_eq!((answer(&manager), answer(&manager)), (None, None), "the replica serves, it is preferred");
    assert_eq!(manager.status().cache.entries, 0);
}

#[test]
fn what_a_copy_says_of_a_statement_is_kept_of_no_answer_and_asked_of_the_primary_again() {
    let (primary, copy) = (Fake::new(), Fake::new());
    let manager = builder(&primary)
        .database(Database::new("copy", copy.clone()).read_only(true).priority(-1))
        .cache(Map::default())
        .configure(&ManagerConfig { enable_load_balancing: false, enable_metrics: false, ..ManagerConfig::default() })
        .build()
        .unwrap();
    primary.fail_check_outs(FaultKind::Storage, 2);
    assert_eq!(answer(&manager), None);
    assert_eq!((primary.counts().analyses, copy.counts().analyses), (0, 1));
    let told = manager.query("get a").explain().unwrap();
    assert_eq!((told.not_cached, primary.counts().analyses), (None, 1), "the primary answers again, and is asked");
    assert_eq!((answer(&manager), answer(&manager)), (None, None));
    assert_eq!((manager.status().cache.hits, primary.counts().analyses), (1, 1));
    let handle = manager.database("copy").unwrap();
    (0..3).for_each(|_| drop(handle.query("get b").wait().unwrap()));
    assert_eq!((copy.counts().analyses, primary.counts().analyses), (1, 2), "once, also for calls to the copy");
}

#[test]
fn an_answer_of_a_database_that_has_left_is_never_served_for_the_one_that_took_its_place() {
    let (old, new) = (Fake::new(), Fake::new());
    let manager = builder(&old).cache(Map::default()).build().unwrap();
    manager.execute("set a").bind(1).wait().unwrap();
    assert_eq!((answer(&manager), answer(&manager)), (Some(1), Some(1)));
    manager.unregister("main").unwrap();
    manager.query("get a").wait().map(drop).unwrap_err();
    manager.register(Database::new("main", new.clone())).unwrap();
    assert_eq!(answer(&manager), None);

    // A read that began before the exchange and ends after it must not be kept either.
    manager.execute("set b").bind(1).wait().unwrap();
    let held = new.hold_statements();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| answer(&manager));
        new.wait_for_hanging(1);
        manager.unregister("main").unwrap();
        manager.register(Database::new("main", old.clone())).unwrap();
        drop(held);
        assert_eq!(reading.join().unwrap(), None);
    });
    assert_eq!(answer(&manager), Some(1));
}

/// A manager whose database others write too.
fn shared_with_others() -> (Fake, ConnectionManager<Fake>) {
    let fake = Fake::new();
    fake.tell_foreign_writes(FakeForeignWrites::Seen);
    let manager = builder(&fake).cache(ecm_cache::Quick::default()).build().unwrap();
    manager.execute("set a").bind(1).wait().unwrap();
    (fake, manager)
}

fn statements(fake: &Fake, ask: impl FnOnce()) -> u64 {
    let before = fake.counts().statements;
    ask();
    fake.counts().statements - before
}

#[test]
fn what_somebody_else_writes_is_seen_by_the_next_lookup() {
    let (fake, manager) = shared_with_others();
    let asks = |expected| statements(&fake, || (0..3).for_each(|_| assert_eq!(answer(&manager), Some(expected))));
    assert_eq!(asks(1), 1);
    fake.write_elsewhere("a", 2);
    assert_eq!(asks(2), 1, "asked for once, and kept again");
    fake.write_elsewhere("b", 2);
    assert_eq!(asks(2), 1, "which table it was is not known");
    manager.execute("set a").bind(3).wait().unwrap();
    fake.write_elsewhere("a", 4);
    assert_eq!(asks(4), 1);
}

#[test]
fn what_is_read_while_somebody_else_writes_is_not_served_afterwards() {
    let (fake, manager) = shared_with_others();
    manager.query("get a").bypass_cache().wait().unwrap();
    let held = fake.hold_statements();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| answer(&manager));
        fake.wait_for_hanging(1);
        fake.write_elsewhere("a", 2);
        drop(held);
        reading.join().unwrap();
    });
    fake.write_elsewhere("a", 3);
    assert_eq!((answer(&manager), answer(&manager)), (Some(3), Some(3)));
}

#[test]
fn a_schema_that_somebody_else_has_changed_is_analysed_anew() {
    let (fake, manager) = shared_with_others();
    assert_eq!((answer(&manager), answer(&manager)), (Some(1), Some(1)));
    let analyses = fake.counts().analyses;
    fake.write_elsewhere("a", 2);
    assert_eq!((answer(&manager), fake.counts().analyses), (Some(2), analyses), "rows tell nothing of the schema");
    fake.change_schema_elsewhere();
    answer(&manager);
    answer(&manager);
    assert_eq!(fake.counts().analyses, analyses + 1);
    // A commit of our own finds the change before anybody asks.
    fake.change_schema_elsewhere();
    manager.execute("set a").bind(3).wait().unwrap();
    (0..3).for_each(|_| assert_eq!(answer(&manager), Some(3)));
    assert_eq!(fake.counts().analyses, analyses + 3, "once more, after the one that writes");
}

#[test]
fn a_file_that_was_exchanged_serves_nothing_of_the_former_one() {
    let (fake, manager) = shared_with_others();
    assert_eq!((answer(&manager), answer(&manager)), (Some(1), Some(1)));
    fake.exchange_file();
    let ran = statements(&fake, || (0..3).for_each(|_| assert_eq!(answer(&manager), Some(1))));
    assert_eq!(ran, 1);
}

#[test]
fn nothing_is_kept_of_a_database_that_does_not_tell_who_writes() {
    let fake = Fake::new();
    fake.tell_foreign_writes(FakeForeignWrites::Unseen);
    let manager = builder(&fake).cache(Map::default()).build().unwrap();
    for number in 1..4 {
        fake.write_elsewhere("a", number);
        assert_eq!(answer(&manager), Some(number));
    }
    assert_eq!(manager.status().cache.entries, 0);
}

#[test]
fn after_the_manager_was_closed_nobody_looks_at_the_database() {
    let (fake, manager) = shared_with_others();
    assert_eq!((answer(&manager), answer(&manager)), (Some(1), Some(1)));
    manager.close(Duration::ZERO).unwrap();
    manager.query("get a").wait().map(drop).unwrap_err();
    assert_eq!(fake.counts().open(), 0);
}

#[test]
fn one_copy_that_is_asked_by_its_name_answers_itself() {
    let (main, copy) = (Fake::new(), Fake::new());
    let manager = builder(&main).cache(Map::default()).database(Database::new("copy", copy).read_only(true));
    let manager = manager.build().unwrap();
    manager.write(|tx| Ok(tx.set("a", 1)?)).wait().unwrap();
    let ask = |name| {
        let handle = manager.database(name).unwrap();
        handle.query("get a").one::<Option<i64>>().wait().unwrap()
    };
    assert_eq!((ask("main"), ask("main")), (Some(1), Some(1)));
    assert_eq!(manager.status().cache.hits, 1);
    assert_eq!(ask("copy"), None, "it has another value than the primary");
}
