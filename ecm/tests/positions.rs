//! Calls that must not be served from a state that is older than another one.

use ecm::{
    ConnectionManager, Database, Kind,
    core::{Position, testing::Fake},
};

/// A primary, and a copy that nobody keeps up to date and that is preferred.
fn two() -> ([Fake; 2], ConnectionManager<Fake>) {
    let fakes = [Fake::new(), Fake::new()];
    let manager = ConnectionManager::<Fake>::builder_for()
        .database(Database::new("primary", fakes[0].clone()))
        .database(Database::new("copy", fakes[1].clone()).read_only(true).priority(1))
        .build()
        .unwrap();
    (fakes, manager)
}

fn get(session: &ecm::Session<Fake>) -> Option<i64> {
    session.read(|db| Ok(db.get("a")?)).wait().unwrap()
}

#[test]
fn a_read_that_asks_for_a_commit_is_not_served_by_a_copy_that_may_not_have_it() {
    let (_, manager) = two();
    let ((), first) = manager.write(|tx| Ok(tx.set("a", 1)?)).wait_with_position().unwrap();
    let (_, second) = manager.execute("set a").bind(2).wait_with_position().unwrap();
    let ((), third) = manager.unit_of_work(|uow| Ok(uow.set("a", 3)?)).wait_with_position().unwrap();
    assert!(first < second && second < third && first.is_some());
    let read = || manager.read(|db| Ok(db.get("a")?));
    let (seen, position) = read().wait_with_position().unwrap();
    assert_eq!((seen, position), (None, None), "the copy is preferred, and what it lacks shows");
    assert_eq!(read().at_least(first.unwrap()).at_least(Position::default()).wait().unwrap(), Some(3));

    let future = Position { epoch: 0, commit: 900 };
    let error = read().at_least(future).wait().unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("commit 900 of epoch 0: \"primary\" stands at commit 3"), "{error}");
    let copy = manager.database("copy").unwrap();
    let error = copy.read(|db| Ok(db.get("a")?)).at_least(third.unwrap()).wait().unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(copy.read(|db| Ok(db.get("a")?)).wait().is_ok());
}

#[test]
fn a_session_reads_its_own_writes_and_others_need_not() {
    let (fakes, manager) = two();
    fakes[1].write_elsewhere("a", -1);
    let (session, other) = (manager.session(), manager.session());
    assert_eq!(get(&session), Some(-1), "nothing seen yet");
    session.write(|tx| Ok(tx.set("a", 1)?)).wait().unwrap();
    assert_eq!(get(&session), Some(1));
    assert_eq!(get(&other), Some(-1));
    assert_eq!((session.position().commit, other.position()), (1, Position::default()));
    // What it has read from one database may not be in the other.
    let primary = manager.database("primary").unwrap();
    assert_eq!(primary.read(|db| Ok(db.get("a")?)).wait().unwrap(), Some(1));
    assert_eq!(get(&session), Some(1));
}

#[test]
fn a_session_without_a_database_that_shows_what_it_has_seen_is_refused() {
    let (_, manager) = two();
    let session = manager.session();
    session.write(|tx| Ok(tx.set("a", 1)?)).wait().unwrap();
    manager.unregister("primary").unwrap();
    manager.register(Database::new("other", Fake::new()).read_only(true)).unwrap();
    let error = session.read(|db| Ok(db.get("a")?)).wait().unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("session"), "{error}");
    assert!(manager.read(|db| Ok(db.get("a")?)).wait().is_ok());
}

#[cfg(feature = "cache-quick")]
#[test]
fn an_old_answer_is_no_answer_for_a_call_that_asks_for_a_position_or_belongs_to_a_session() {
    use ecm::{
        CacheMode, Source,
        core::testing::{FakeForeignWrites, TestClock},
    };
    use std::time::Duration;

    let fake = Fake::new();
    fake.tell_foreign_writes(FakeForeignWrites::Seen);
    let manager = ConnectionManager::<Fake>::builder_for()
        .database(Database::new("main", fake.clone()))
        .cache(ecm::cache::Quick::default())
        .clock(TestClock::new())
        .build()
        .unwrap();
    let session = manager.session();
    let old = CacheMode::NotOlderThan(Duration::from_secs(60));
    let set = |number: i64| session.execute("set a").bind(number).wait_with_position().unwrap().1.unwrap();
    set(1);
    let ask = || manager.query("get a").cache_mode(old).one::<i64>();
    assert_eq!(ask().wait().unwrap(), 1);
    let position = set(2);
    let answer = ask().answer().unwrap();
    assert!(matches!(answer.source, Source::Cache { current: false, .. }), "{answer:?}");
    assert_eq!(answer.value, 1);
    assert_eq!(ask().at_least(position).wait().unwrap(), 2);
    set(3);
    assert_eq!(session.query("get a").cache_mode(old).one::<i64>().wait().unwrap(), 3);

    set(4);
    fake.fail_connects(ecm::core::FaultKind::Storage, 100);
    fake.fail_statements(ecm::core::FaultKind::Storage, 100);
    let failing = CacheMode::OrIfFailing(Duration::from_secs(60));
    assert_eq!(manager.query("get a").cache_mode(failing).one::<i64>().wait().unwrap(), 3, "better than nothing");
    session.query("get a").cache_mode(failing).one::<i64>().wait().unwrap_err();
}
