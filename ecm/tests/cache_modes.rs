//! What queries accept from the cache, where answers come from, and one read for all who ask at once.

#[path = "support/fakes.rs"]
mod fakes;

use ecm::{
    CacheMode, ConnectionManager, Database, Kind, PoolConfig, Source, Stage,
    core::{
        FaultKind,
        testing::{Fake, FakeForeignWrites, TestClock},
    },
};
use fakes::builder;
use std::{thread, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);

fn cached(fake: &Fake, clock: &TestClock) -> ConnectionManager<Fake> {
    let manager = builder(fake).cache(ecm_cache::Quick::default()).clock(clock.clone()).build().unwrap();
    manager.execute("set a").bind(1).wait().unwrap();
    manager
}

fn ask(manager: &ConnectionManager<Fake>, mode: CacheMode) -> (i64, Source) {
    let answer = manager.query("get a").cache_mode(mode).one().answer().unwrap();
    (answer.value, answer.source)
}

fn database() -> Source {
    Source::Database("main".into())
}

/// How old an answer from the cache is, and whether it is current.
fn kept(source: Source) -> (Duration, bool) {
    match source {
        Source::Cache { age, current, .. } => (age, current),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_says_where_it_comes_from_and_how_old_it_is() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = cached(&fake, &clock);
    assert_eq!(ask(&manager, CacheMode::Current), (1, database()));
    clock.advance(MINUTE);
    assert_eq!(kept(ask(&manager, CacheMode::Current).1), (MINUTE, true));
    assert_eq!(ask(&manager, CacheMode::Bypass), (1, database()));
    assert_eq!(kept(ask(&manager, CacheMode::Current).1), (MINUTE, true), "left as it was");
    assert_eq!(ask(&manager, CacheMode::Refresh), (1, database()));
    assert_eq!(kept(ask(&manager, CacheMode::Current).1), (Duration::ZERO, true), "the new one");
}

#[test]
fn an_old_answer_is_served_to_who_accepts_it_up_to_the_age_that_is_given() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = cached(&fake, &clock);
    ask(&manager, CacheMode::Current);
    fake.tell_foreign_writes(FakeForeignWrites::Seen);
    manager.execute("set a").bind(2).wait().unwrap();
    clock.advance(MINUTE);
    let not_older_than = |age| ask(&manager, CacheMode::NotOlderThan(age));
    let (value, source) = not_older_than(MINUTE);
    assert_eq!((value, kept(source)), (1, (MINUTE, false)));
    clock.advance(Duration::from_millis(1));
    assert_eq!(not_older_than(MINUTE), (2, database()), "a millisecond too old");
    let (value, source) = not_older_than(MINUTE);
    assert_eq!((value, kept(source)), (2, (Duration::ZERO, true)));
}

#[test]
fn an_old_answer_is_served_when_the_database_fails_to_who_accepts_it() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = cached(&fake, &clock);
    ask(&manager, CacheMode::Current);
    manager.execute("set a").bind(2).wait().unwrap();
    let mode = CacheMode::OrIfFailing(MINUTE);
    fake.fail_statements(FaultKind::Storage, 1);
    let (value, source) = ask(&manager, mode);
    assert_eq!((value, kept(source)), (1, (Duration::ZERO, false)));
    assert_eq!(ask(&manager, mode), (2, database()), "it answers again");
    manager.execute("set a").bind(3).wait().unwrap();
    fake.fail_statements(FaultKind::Constraint, 1);
    let error = manager.query("get a").cache_mode(mode).one::<i64>().answer().unwrap_err();
    assert_eq!(error.fault().map(|fault| fault.kind), Some(FaultKind::Constraint), "no fault of the database");
    clock.advance(2 * MINUTE);
    fake.fail_statements(FaultKind::Storage, 1);
    manager.query("get a").cache_mode(mode).one::<i64>().answer().unwrap_err();
    fake.fail_statements(FaultKind::Storage, 1);
    manager.query("get a").one::<i64>().answer().unwrap_err();
}

#[test]
fn a_mode_that_is_set_for_a_text_acts_where_a_call_says_nothing() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = cached(&fake, &clock);
    let get = || manager.query("get a").one::<i64>().answer().unwrap();
    manager.set_cache_mode("get a", CacheMode::Bypass).unwrap();
    assert!((0..3).all(|_| get().source == database()));
    let explained = manager.query("get a").explain().unwrap();
    assert_eq!((explained.cache_mode, explained.kept), (CacheMode::Bypass, None));
    assert_eq!(explained.not_cached.as_deref(), Some("its cache mode is Bypass"));
    assert_eq!(manager.query("get a").cache_mode(CacheMode::Current).explain().unwrap().not_cached, None);
    manager.set_cache_mode("get a", CacheMode::NotOlderThan(MINUTE)).unwrap();
    get();
    manager.execute("set a").bind(2).wait().unwrap();
    assert_eq!((get().value, kept(get().source)), (1, (Duration::ZERO, false)));
    manager.execute("set b").bind(3).wait().unwrap();
    assert_eq!(manager.query("get b").one::<i64>().wait().unwrap(), 3);
    manager.execute("set b").bind(4).wait().unwrap();
    assert_eq!(manager.query("get b").one::<i64>().wait().unwrap(), 4, "of another text nothing was said");
    assert_eq!(ask(&manager, CacheMode::Current), (2, database()), "what the call says goes before it");
    manager.execute("set a").bind(5).wait().unwrap();
    manager.set_cache_mode("get a", CacheMode::Current).unwrap();
    assert_eq!((get().value, get().value), (5, 5));
    // A group has its own.
    let other = Database::new("other", Fake::new()).group("others").pool(PoolConfig::untended());
    manager.register(other).unwrap();
    let others = manager.group("others").unwrap();
    others.set_cache_mode("get a", CacheMode::Bypass).unwrap();
    assert_eq!(others.query("get a").explain().unwrap().cache_mode, CacheMode::Bypass);
    assert_eq!(manager.query("get a").explain().unwrap().cache_mode, CacheMode::Current);
    let gone = manager.database("other").unwrap();
    manager.unregister("other").unwrap();
    assert_eq!(gone.set_cache_mode("get a", CacheMode::Bypass).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn an_explanation_says_what_is_kept_and_why_not() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = cached(&fake, &clock);
    let explain = |sql| manager.query(sql).explain().unwrap();
    let statements = fake.counts().statements;
    assert_eq!((explain("get a").kept, explain("get a").not_cached), (None, None));
    assert_eq!(fake.counts().statements, statements, "nothing runs");
    ask(&manager, CacheMode::Current);
    clock.advance(MINUTE);
    assert_eq!(explain("get a").kept, Some((MINUTE, true)));
    manager.execute("set b").bind(2).wait().unwrap();
    let explained = explain("get a");
    assert_eq!(explained.kept, Some((MINUTE, false)));
    assert_eq!(
        explained.to_string(),
        "reads numbers; writes nothing\nruns on a reader\n\
         awaited, it runs on a thread of the database: it has not shown of late that it is short\n\
         answers are kept, until one of its tables is written\n\
         one is there for these parameters, 60.0s old, which is out of date"
    );
    assert!(explain("endless").not_cached.is_some());
    manager.apply("enable_query_cache", "false").unwrap();
    assert_eq!(explain("get a").not_cached.as_deref(), Some("enable_query_cache is off"));
    let uncached = builder(&fake).build().unwrap();
    let error = uncached.query("nonsense").explain().unwrap_err();
    assert_eq!(error.fault().map(|fault| fault.kind), Some(FaultKind::Statement));

    let blind = Fake::new();
    blind.tell_foreign_writes(FakeForeignWrites::Unseen);
    let why = cached(&blind, &clock).query("get a").explain().unwrap().not_cached.unwrap();
    assert!(why.contains("does not tell who writes"), "{why}");
    let copies = ConnectionManager::<Fake>::builder_for().cache(ecm_cache::Quick::default());
    let copies = ["one", "two"].into_iter().fold(copies, |builder, name| {
        builder.database(Database::new(name, fake.clone()).read_only(true).pool(PoolConfig::untended()))
    });
    let why = copies.build().unwrap().query("get a").explain().unwrap().not_cached.unwrap();
    assert!(why.contains("none that is written"), "{why}");
}

/// Lets so many ask at once while the first statement is held, and answers what each got.
fn at_once<T: Send>(fake: &Fake, callers: usize, ask: impl Fn() -> T + Sync, meanwhile: impl FnOnce()) -> Vec<T> {
    let held = fake.hold_statements();
    thread::scope(|scope| {
        let asking: Vec<_> = (0..callers).map(|_| scope.spawn(&ask)).collect();
        fake.wait_for_hanging(1);
        meanwhile();
        drop(held);
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    })
}

#[test]
fn one_reads_for_all_who_ask_at_the_same_time() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = cached(&fake, &clock);
    let before = fake.counts().statements;
    // What takes no time nobody waits for.
    let ask = || manager.query("get a").one::<i64>().answer().unwrap();
    let answers = at_once(&fake, 32, ask, || clock.advance(Duration::from_millis(1)));
    assert!(answers.iter().all(|answer| answer.value == 1));
    assert!(answers.iter().all(|answer| answer.source == database() || kept(answer.source.clone()).1));
    assert_eq!(fake.counts().statements - before, 1);
}

#[test]
fn a_failure_reaches_all_who_wait_for_it_at_once() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = cached(&fake, &clock);
    let before = fake.counts().statements;
    fake.fail_statements(FaultKind::Storage, 1);
    let ask = || manager.query("get a").one::<i64>().wait();
    let answers = at_once(&fake, 16, ask, || {
        // They have to be waiting: whoever comes after the failure asks by itself.
        while manager.status().groups[0].waiting_for_loads < 15 {
            thread::yield_now();
        }
    });
    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    assert_eq!((failed, fake.counts().statements - before), (16, 1));
    let others = answers.iter().filter_map(|answer| answer.as_ref().err());
    let told = others.filter(|error| error.to_string().contains("asked for the same at the same time")).count();
    assert_eq!(told, 15);
    assert_eq!(ask().unwrap(), 1);
}

#[test]
fn who_accepts_an_old_answer_gets_it_when_the_one_who_reads_for_all_fails() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = cached(&fake, &clock);
    // What has taken no time nobody waits for.
    at_once(&fake, 1, || ask(&manager, CacheMode::Current), || clock.advance(Duration::from_millis(1)));
    manager.execute("set a").bind(2).wait().unwrap();
    fake.fail_statements(FaultKind::Storage, 1);
    let ask = || manager.query("get a").cache_mode(CacheMode::OrIfFailing(MINUTE)).one::<i64>().answer().unwrap();
    let answers = at_once(&fake, 8, ask, || {
        while manager.status().groups[0].waiting_for_loads < 7 {
            thread::yield_now();
        }
    });
    assert!(answers.iter().all(|answer| answer.value == 1 && !kept(answer.source.clone()).1));
}

#[test]
fn who_waits_for_another_leaves_at_its_deadline() {
    let (fake, clock) = (Fake::new(), TestClock::new());
    let manager = &cached(&fake, &clock);
    let held = fake.hold_statements();
    thread::scope(|scope| {
        let reads = scope.spawn(|| manager.query("get a").one::<i64>().wait());
        fake.wait_for_hanging(1);
        let alarms = clock.alarms();
        let waits = scope.spawn(|| manager.query("get a").within(MINUTE).one::<i64>().wait());
        clock.wait_for_alarms(alarms + 1);
        clock.advance(MINUTE);
        let error = waits.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), Kind::Timeout(Stage::Run));
        drop(held);
        assert_eq!(reads.join().unwrap().unwrap(), 1);
    });
}

#[test]
fn nobody_joins_a_read_that_may_be_older_than_what_it_knows() {
    for foreign in [FakeForeignWrites::None, FakeForeignWrites::Seen] {
        let (fake, clock) = (Fake::new(), TestClock::new());
        fake.tell_foreign_writes(foreign);
        let manager = &cached(&fake, &clock);
        let held = fake.hold_statements();
        thread::scope(|scope| {
            let early = scope.spawn(|| manager.query("get a").one::<i64>().wait());
            fake.wait_for_hanging(1);
            // Written while it is being read: who asks from now on must see it.
            let write = scope.spawn(|| manager.write(|tx| Ok(tx.set("a", 2)?)).wait());
            fake.wait_for_hanging(2);
            let before = fake.counts().commits;
            drop(held);
            write.join().unwrap().unwrap();
            assert!(fake.counts().commits > before);
            assert_eq!(manager.query("get a").one::<i64>().wait().unwrap(), 2);
            early.join().unwrap().unwrap();
        });
    }
}
