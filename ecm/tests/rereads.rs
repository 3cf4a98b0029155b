//! Answers from the cache that are read again in the background: to be compared, or because they are out of date.
#![cfg(all(feature = "standard", feature = "testing"))]

#[path = "support/fakes.rs"]
mod fakes;
#[path = "support/old_rows.rs"]
mod old_rows;

use ecm::{
    CacheMode, ConnectionManager, Database, ManagerConfig, PoolConfig, Source,
    cache::{Quick, QuickConfig},
    core::{
        CacheRereads, Event, Interest, Observer,
        testing::{Fake, FakeForeignWrites, TestClock},
    },
    sqlite::Sqlite,
};
use fakes::builder;
use old_rows::OldRows;
use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

const MINUTE: Duration = Duration::from_secs(60);
const ONE: &str = "SELECT v FROM t WHERE k = ?1";

/// Writes down what it is told of mismatches.
#[derive(Clone, Debug, Default)]
struct Alarmed(Arc<Mutex<Vec<String>>>);

impl Observer for Alarmed {
    fn interest(&self) -> Interest {
        Interest::CACHES
    }

    fn event(&self, event: &Event<'_>) {
        let Event::CacheMismatch { group, database, sql } = event else { panic!("{event:?}") };
        self.0.lock().unwrap().push(format!("{group} {database} {sql}"));
    }
}

fn ask(manager: &ConnectionManager, key: i64) -> String {
    manager.query(ONE).bind(key).one().wait().unwrap()
}

fn wait_until(reached: impl Fn() -> bool) {
    while !reached() {
        thread::yield_now();
    }
}

#[test]
fn a_cache_that_lies_is_found_out_and_trusted_no_more() {
    let alarmed = Alarmed::default();
    let manager = ConnectionManager::standard()
        .database(Database::new("main", Sqlite::memory()))
        .cache(OldRows::default())
        .observer(alarmed.clone())
        .build()
        .unwrap();
    let schema = "CREATE TABLE t (k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'old'), (2, 'two')";
    manager.write(|tx| Ok(tx.execute_batch(schema)?)).wait().unwrap();
    manager.apply("cache_self_check", "0").unwrap();
    ask(&manager, 1);
    manager.execute("UPDATE t SET v = 'new' WHERE k = 1").wait().unwrap();
    wait_until(|| ask(&manager, 1) == "new" && ask(&manager, 1) == "old");
    assert!((0..100).all(|_| ask(&manager, 1) == "old"), "nobody compares anything");
    manager.apply("cache_self_check", "1").unwrap();
    wait_until(|| {
        ask(&manager, 1);
        manager.status().cache_rereads.mismatches > 0
    });
    // The figure moves before the statement is in quarantine.
    let explain = || manager.query(ONE).bind(1).explain().unwrap().not_cached;
    wait_until(|| explain().is_some());
    assert!(explain().unwrap().contains("was not what the database answered"));
    let hits = manager.status().cache.hits;
    assert!((0..10).all(|_| ask(&manager, 1) == "new" && ask(&manager, 2) == "two"));
    assert_eq!(manager.status().cache.hits, hits, "nothing is kept of it");
    wait_until(|| !alarmed.0.lock().unwrap().is_empty());
    assert_eq!(*alarmed.0.lock().unwrap(), [format!("default main {ONE}")], "once");
    assert!(manager.metrics().contains("familyos_query_cache_mismatches_total{manager=\"ecm\"} 1\n"));
    manager.execute("CREATE TABLE u (k)").wait().unwrap();
    assert_eq!(explain(), None, "with another schema it is another statement");
}

#[test]
fn the_configuration_says_how_many_hits_are_compared() {
    assert_eq!(ManagerConfig::default().cache_self_check, 0.001);
    let opened = || {
        let manager = ConnectionManager::open(":memory:").unwrap();
        manager.write(|tx| Ok(tx.execute_batch("CREATE TABLE t (k INTEGER PRIMARY KEY, v)")?)).wait().unwrap();
        manager
    };
    let manager = opened();
    let count = || manager.query("SELECT count(*) FROM t").one::<i64>().wait().unwrap();
    let rereads = || manager.status().cache_rereads;
    manager.apply("cache_self_check", "0").unwrap();
    assert!((0..1_000).all(|_| count() == 0));
    assert_eq!(rereads(), CacheRereads::default());
    manager.apply("cache_self_check", "0.001").unwrap();
    let hits = || manager.status().cache.hits;
    wait_until(|| {
        assert!((0..100).all(|_| count() == 0));
        rereads().compared >= 5
    });
    assert!(hits() >= 1_500, "{} hits for 5", hits());
    assert_eq!(rereads().mismatches, 0);
    // Another one, of which nothing that was picked before is still to be compared.
    let manager = opened();
    let count = || manager.query("SELECT count(*) FROM t").one::<i64>().wait().unwrap();
    let rereads = || manager.status().cache_rereads;
    manager.apply("cache_self_check", "1").unwrap();
    assert!((0..200).all(|_| count() == 0));
    wait_until(|| rereads().compared + rereads().skipped == manager.status().cache.hits);
    assert_eq!(rereads().mismatches, 0);
    let error = manager.apply("cache_self_check", "2").unwrap_err().to_string();
    assert!(error.contains("cache_self_check = 2") && error.contains("a part from 0 to 1"), "{error}");
}

/// A manager over a fake with an answer that is kept.
fn kept(fake: &Fake, clock: &TestClock) -> ConnectionManager<Fake> {
    let cache = Quick::new(&QuickConfig::default()).unwrap();
    let manager = builder(fake).cache(cache).clock(clock.clone()).build().unwrap();
    manager.execute("set a").bind(1).wait().unwrap();
    assert_eq!(get(&manager, CacheMode::Current), (1, None));
    manager
}

/// The answer, and whether it is current if it comes from the cache.
fn get(manager: &ConnectionManager<Fake>, mode: CacheMode) -> (i64, Option<bool>) {
    let answer = manager.query("get a").cache_mode(mode).one().answer().unwrap();
    let Source::Cache { current, .. } = answer.source else { return (answer.value, None) };
    (answer.value, Some(current))
}

#[test]
fn what_is_written_while_it_is_compared_is_no_mismatch() {
    for foreign in [FakeForeignWrites::None, FakeForeignWrites::Seen] {
        let (fake, clock) = (Fake::new(), TestClock::new());
        fake.tell_foreign_writes(foreign);
        let manager = kept(&fake, &clock);
        manager.apply("cache_self_check", "1").unwrap();
        let held = fake.hold_statements();
        assert_eq!(get(&manager, CacheMode::Current), (1, Some(true)));
        fake.wait_for_hanging(1);
        thread::scope(|scope| {
            let write = scope.spawn(|| manager.execute("set a").bind(2).wait());
            fake.wait_for_hanging(2);
            drop(held);
            write.join().unwrap().unwrap();
        });
        let rereads = || manager.status().cache_rereads;
        wait_until(|| rereads().skipped + rereads().compared == 1);
        assert_eq!(rereads().mismatches, 0);
        assert_eq!(get(&manager, CacheMode::Current).0, 2);
    }
}

#[test]
fn nobody_waits_for_a_connection_because_of_a_comparison() {
    let pool = PoolConfig { max_connections: 1, ..PoolConfig::untended() };
    let (database, clock) = (Database::new("main", Fake::new()).pool(pool), TestClock::new());
    let cache = Quick::new(&QuickConfig::default()).unwrap();
    let manager =
        ConnectionManager::<Fake>::builder_for().database(database).cache(cache).clock(clock).build().unwrap();
    manager.execute("set a").bind(1).wait().unwrap();
    get(&manager, CacheMode::Current);
    manager.apply("cache_self_check", "1").unwrap();
    let waits = manager.status().groups[0].databases[0].readers.waits;
    let read = manager.read(|_| {
        assert_eq!(get(&manager, CacheMode::Current), (1, Some(true)));
        wait_until(|| manager.status().cache_rereads.skipped == 1);
        Ok(())
    });
    read.wait().unwrap();
    assert_eq!(manager.status().groups[0].databases[0].readers.waits, waits);
    get(&manager, CacheMode::Current);
    wait_until(|| manager.status().cache_rereads.compared == 1);
}

#[test]
fn too_many_comparisons_are_left_out() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = kept(&fake, &clock);
    manager.apply("cache_self_check", "1").unwrap();
    let held = fake.hold_statements();
    get(&manager, CacheMode::Current);
    fake.wait_for_hanging(1);
    assert!((0..200).all(|_| get(&manager, CacheMode::Current) == (1, Some(true))));
    let skipped = manager.status().cache_rereads.skipped;
    assert!((100..200).contains(&skipped), "{skipped}");
    drop(held);
    wait_until(|| manager.status().cache_rereads.compared == 201 - skipped);
}

#[test]
fn an_old_answer_is_read_anew_once_for_all_who_are_served_it() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = kept(&fake, &clock);
    let mode = CacheMode::StaleWhileRevalidate(MINUTE);
    assert_eq!(get(&manager, mode), (1, Some(true)), "nothing to do");
    manager.execute("set a").bind(2).wait().unwrap();
    let before = fake.counts().statements;
    let held = fake.hold_statements();
    assert!((0..50).all(|_| get(&manager, mode) == (1, Some(false))), "at once, and labelled");
    fake.wait_for_hanging(1);
    assert!((0..50).all(|_| get(&manager, mode) == (1, Some(false))));
    drop(held);
    wait_until(|| manager.status().cache_rereads.refreshed == 1);
    assert_eq!(fake.counts().statements - before, 1);
    assert_eq!(get(&manager, CacheMode::Current), (2, Some(true)));
    manager.execute("set a").bind(3).wait().unwrap();
    clock.advance(2 * MINUTE);
    assert_eq!(get(&manager, mode), (3, None), "one that is too old is not served");
    assert_eq!(manager.status().cache_rereads.refreshed, 1);
}

#[test]
fn an_answer_that_could_not_be_read_anew_is_tried_again() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = kept(&fake, &clock);
    let mode = CacheMode::StaleWhileRevalidate(MINUTE);
    manager.execute("set a").bind(2).wait().unwrap();
    fake.fail_statements(ecm::core::FaultKind::Storage, 1);
    assert_eq!(get(&manager, mode), (1, Some(false)));
    wait_until(|| manager.status().cache_rereads.refreshes_failed == 1);
    wait_until(|| {
        get(&manager, mode);
        manager.status().cache_rereads.refreshed == 1
    });
    assert_eq!(get(&manager, mode), (2, Some(true)));
}

#[test]
fn a_manager_that_is_dropped_leaves_nothing_behind() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let alarmed = Alarmed::default();
    let cache = Quick::new(&QuickConfig::default()).unwrap();
    let manager = builder(&fake).cache(cache).clock(clock).observer(alarmed.clone()).build().unwrap();
    manager.execute("set a").bind(1).wait().unwrap();
    get(&manager, CacheMode::Current);
    manager.apply("cache_self_check", "1").unwrap();
    let held = fake.hold_statements();
    assert!((0..10).all(|_| get(&manager, CacheMode::Current) == (1, Some(true))));
    fake.wait_for_hanging(1);
    let before = fake.counts().statements;
    drop(manager);
    assert!(fake.counts().open() > 0, "the one that reads has its connection still");
    drop(held);
    wait_until(|| fake.counts().open() == 0);
    assert_eq!(fake.counts().statements, before, "those who had to wait have done nothing");
    // The manager holds a copy for as long as any thread of it has the manager.
    wait_until(|| Arc::strong_count(&alarmed.0) == 1);
}
