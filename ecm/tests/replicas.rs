//! Copies that follow the primary of their group, over real files, and that take its place.
#![cfg(all(unix, feature = "sqlite"))]

use ecm::{
    Builder, ConnectionManager, Database, Error, Kind, PoolConfig, Replica,
    core::{Event, FaultKind, Interest, Observer, Position, ReplicaStatus, Role, testing::TestClock},
    sqlite::{
        Sqlite, rusqlite,
        testing::{FaultyDisk, Harm, Operation},
    },
};
use std::{
    path::PathBuf,
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

/// A folder in which the primary is `a.db`, and its copies `b.db` and `c.db`.
struct Files {
    folder: tempfile::TempDir,
    clock: TestClock,
}

/// Nothing is repeated: the clock stands still.
fn pool() -> PoolConfig {
    PoolConfig { max_retries: 0, ..PoolConfig::untended() }
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: TestClock::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.db"))
    }

    fn primary(&self) -> Database {
        Database::new("a", Sqlite::open(self.path("a"))).pool(pool())
    }

    /// Preferred to the primary by whoever need not see the latest.
    fn copy(&self, name: &str) -> Database {
        let copy = Database::new(name, Sqlite::open(self.path(name))).pool(pool());
        copy.priority(1).replica(Replica::of("a"))
    }

    fn builder(&self) -> Builder {
        ConnectionManager::builder().clock(self.clock.clone())
    }

    /// With one copy.
    fn manager(&self) -> ConnectionManager {
        self.builder().database(self.primary()).database(self.copy("b")).build().unwrap()
    }

    fn tick(&self) {
        self.clock.advance(Duration::from_millis(1));
    }
}

fn add(manager: &ConnectionManager, number: i64) -> Position {
    manager.execute("INSERT INTO t VALUES (?1)").bind(number).wait_with_position().unwrap().1.unwrap()
}

fn make(manager: &ConnectionManager) {
    manager.execute("CREATE TABLE t (a INTEGER PRIMARY KEY)").wait().unwrap();
}

const ALL: &str = "SELECT a FROM t ORDER BY a";

fn all(manager: &ConnectionManager) -> Result<Vec<i64>, Error> {
    manager.query(ALL).all().wait()
}

fn of(manager: &ConnectionManager, name: &str) -> Vec<i64> {
    manager.database(name).unwrap().query(ALL).all().wait().unwrap()
}

fn replica(manager: &ConnectionManager, name: &str) -> ReplicaStatus {
    manager.status().database(name).unwrap().replica.clone().unwrap()
}

fn roles(manager: &ConnectionManager) -> Vec<Role> {
    manager.status().groups[0].databases.iter().map(|database| database.role).collect()
}

/// What an observer is told of copies, as text.
#[derive(Debug)]
struct Told(Mutex<Sender<String>>);

impl Told {
    fn new() -> (Self, Receiver<String>) {
        let (send, receive) = channel();
        (Self(Mutex::new(send)), receive)
    }
}

impl Observer for Told {
    fn interest(&self) -> Interest {
        Interest::REPLICAS
    }

    fn event(&self, event: &Event<'_>) {
        let text = match event {
            Event::Copied { database, .. } => format!("copied {database}"),
            Event::CopyFailed { database, error } => format!("failed {database}: {error}"),
            Event::Promoted { database, instead_of, lost } => format!("{database} for {instead_of}, lost {lost:?}"),
            other => panic!("{other:?}"),
        };
        let _nobody_listens_any_more = self.0.lock().unwrap().send(text);
    }
}

/// The next thing that is told and begins like this, while time goes on.
fn told(files: &Files, receive: &Receiver<String>, what: &str) -> String {
    for _ in 0..30_000 {
        if let Ok(text) = receive.recv_timeout(Duration::from_millis(1))
            && text.starts_with(what)
        {
            return text;
        }
        files.clock.advance(Duration::from_millis(50));
    }
    panic!("nothing was told that begins with {what}");
}

/// Nothing of the disk works any more.
fn breaks(disk: &FaultyDisk) {
    for operation in Operation::ALL {
        disk.harm(operation, Harm::Error);
    }
}

#[test]
fn a_copy_serves_what_it_has_caught_up_with_and_the_primary_what_it_has_not() {
    let files = Files::new();
    let manager = files.manager();
    make(&manager);
    let first = add(&manager, 1);
    files.tick();
    let reached = manager.catch_up("b").unwrap();
    assert!(reached >= first);
    assert_eq!(all(&manager).unwrap(), [1]);
    let second = add(&manager, 2);
    assert_eq!(all(&manager).unwrap(), [1], "the copy is preferred, and may lag behind");
    let at_least = |position| manager.query(ALL).at_least(position).all::<i64>().wait();
    assert_eq!((at_least(first).unwrap(), at_least(second).unwrap()), (vec![1], vec![1, 2]));
    let copy = manager.database("b").unwrap();
    let error = copy.query(ALL).at_least(second).all::<i64>().wait().unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    manager.catch_up("b").unwrap();
    assert_eq!(copy.query(ALL).at_least(second).all::<i64>().wait().unwrap(), [1, 2]);
    let before = replica(&manager, "b");
    manager.catch_up("b").unwrap();
    let after = replica(&manager, "b");
    assert_eq!((after.copies, after.of.as_str(), after.readable), (before.copies, "a", true), "nothing has changed");
    assert_eq!((after.position, after.lag), (second, Some(Duration::ZERO)));
    files.tick();
    assert_eq!(replica(&manager, "b").lag, Some(Duration::from_millis(1)));

    // Another table, and what another process writes.
    let stranger = rusqlite::Connection::open(files.path("a")).unwrap();
    stranger.execute_batch("CREATE TABLE u (b); INSERT INTO u VALUES (7)").unwrap();
    manager.catch_up("b").unwrap();
    assert_eq!(copy.query("SELECT b FROM u").one::<i64>().wait().unwrap(), 7);
    assert_eq!(manager.execute("INSERT INTO u VALUES (8)").wait().unwrap().rows, 1, "writes go to the primary");
}

#[test]
fn a_session_reads_its_own_writes_and_goes_to_a_copy_again_once_that_shows_them() {
    let files = Files::new();
    let manager = files.manager();
    make(&manager);
    files.tick();
    manager.catch_up("b").unwrap();
    let session = manager.session();
    let read = || {
        let answer = session.query(ALL).all::<i64>().bypass_cache().answer().unwrap();
        let ecm::Source::Database(name) = answer.source else { panic!("{answer:?}") };
        (answer.value, name.to_string())
    };
    assert_eq!(read(), (vec![], "b".into()));
    assert_eq!(read(), (vec![], "b".into()), "what has shown it goes on showing it");
    session.execute("INSERT INTO t VALUES (1)").wait().unwrap();
    assert_eq!(read(), (vec![1], "a".into()));
    // Caught up at the very moment of the write: it cannot be told which was first.
    manager.catch_up("b").unwrap();
    assert_eq!(read(), (vec![1], "a".into()));
    files.tick();
    manager.catch_up("b").unwrap();
    assert_eq!(read(), (vec![1], "b".into()));
    // What another process has written and the session has read from the primary.
    let stranger = rusqlite::Connection::open(files.path("a")).unwrap();
    stranger.execute_batch("INSERT INTO t VALUES (2)").unwrap();
    files.tick();
    session.read(|_| Ok(())).at_least(Position { epoch: 0, commit: 1 }).wait().unwrap();
    let on_primary = session.query(ALL).at_least(add(&manager, 3)).all::<i64>().wait().unwrap();
    assert_eq!(on_primary, [1, 2, 3]);
    assert_eq!(read(), (vec![1, 2, 3], "a".into()), "never an older state than before");
}

#[test]
fn a_copy_follows_by_itself_and_only_where_something_has_changed() {
    let files = Files::new();
    let (observer, receive) = Told::new();
    let manager =
        files.builder().database(files.primary()).database(files.copy("b")).observer(observer).build().unwrap();
    make(&manager);
    add(&manager, 1);
    told(&files, &receive, "copied b");
    for number in 2..5 {
        let position = add(&manager, number);
        while replica(&manager, "b").position < position {
            told(&files, &receive, "copied b");
        }
        assert_eq!(of(&manager, "b"), (1..=number).collect::<Vec<_>>());
    }
    let copies = replica(&manager, "b").copies;
    let mut looks = 0;
    let mut lag = Duration::MAX;
    while looks < 5 {
        files.clock.advance(Duration::from_millis(600));
        // Each look that finds nothing changed makes it as new as the look.
        let now = replica(&manager, "b").lag.unwrap();
        looks += u32::from(now < lag);
        lag = now;
        thread::yield_now();
    }
    assert_eq!(replica(&manager, "b").copies, copies);
    manager.close(Duration::ZERO).unwrap();
    assert_eq!(manager.catch_up("b").unwrap_err().kind(), Kind::Closed);
}

#[test]
fn a_copy_serves_again_after_a_restart_and_positions_go_on() {
    let files = Files::new();
    let manager = files.manager();
    make(&manager);
    let first = add(&manager, 1);
    manager.catch_up("b").unwrap();
    let second = add(&manager, 2);
    manager.close(Duration::ZERO).unwrap();
    drop(manager);

    let manager = files.manager();
    assert_eq!(replica(&manager, "b").copies, 0, "it holds what it held");
    assert_eq!(of(&manager, "b"), [1]);
    let error = manager.database("b").unwrap().query(ALL).at_least(first).all::<i64>().wait().unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "how much that is is not known yet");
    assert_eq!(manager.query(ALL).at_least(second).all::<i64>().wait().unwrap(), [1, 2]);
    let third = add(&manager, 3);
    assert!(third > second);
    assert!(manager.catch_up("b").unwrap() >= third);
    assert_eq!(manager.database("b").unwrap().query(ALL).at_least(second).all::<i64>().wait().unwrap(), [1, 2, 3]);
}

#[test]
fn a_copy_that_fails_leaves_the_former_one_in_service_and_says_so() {
    let files = Files::new();
    let disk = FaultyDisk::new();
    let (observer, receive) = Told::new();
    let copy = Database::new("b", Sqlite::open(files.path("b")).vfs(disk.name()))
        .pool(pool())
        .replica(Replica::of("a"))
        .priority(1);
    let manager = files.builder().database(files.primary()).database(copy).observer(observer).build().unwrap();
    make(&manager);
    add(&manager, 1);
    manager.catch_up("b").unwrap();
    add(&manager, 2);
    disk.fill();
    let error = manager.catch_up("b").unwrap_err();
    assert_eq!(error.fault().map(|fault| fault.kind), Some(FaultKind::Full), "{error:?}");
    assert_eq!((error.database(), all(&manager).unwrap()), (Some("b"), vec![1]));
    let status = replica(&manager, "b");
    assert!(status.failures > 0 && status.last_failure.as_ref().unwrap().contains("b.db"), "{status:?}");
    assert!(told(&files, &receive, "failed b").contains("the copy has failed"));
    disk.heal();
    told(&files, &receive, "copied b");
    assert_eq!((all(&manager).unwrap(), replica(&manager, "b").last_failure), (vec![1, 2], None));
}

#[test]
fn while_the_primary_is_gone_reads_go_on_and_writes_are_refused() {
    let files = Files::new();
    let disk = FaultyDisk::new();
    let primary = Database::new("a", Sqlite::open(files.path("a")).vfs(disk.name())).pool(pool());
    let config = ecm::ManagerConfig { enable_load_balancing: false, ..ecm::ManagerConfig::default() };
    let config = ecm::ManagerConfig { enable_metrics: false, enable_query_cache: false, ..config };
    let manager = files.builder().configure(&config).database(primary).database(files.copy("b")).build().unwrap();
    make(&manager);
    let position = add(&manager, 1);
    files.tick();
    manager.catch_up("b").unwrap();
    let session = manager.session();
    session.execute("INSERT INTO t VALUES (2)").wait().unwrap();
    breaks(&disk);
    let sees = |number: i64| session.query("SELECT count(*) FROM t WHERE a = ?1").bind(number).one::<i64>().wait();
    assert_eq!(manager.query(ALL).at_least(position).all::<i64>().wait().unwrap(), [1]);
    manager.execute("INSERT INTO t VALUES (3)").wait().unwrap_err();
    sees(2).unwrap_err();
    manager.catch_up("b").unwrap_err();
    assert_eq!(all(&manager).unwrap(), [1]);
    disk.heal();
    assert_eq!(sees(2).unwrap(), 1);
    assert!(manager.catch_up("b").is_ok());
}

#[test]
fn a_promotion_loses_nothing_where_the_primary_works_and_binds_other_processes() {
    let files = Files::new();
    let (observer, receive) = Told::new();
    let builder = files.builder().database(files.primary()).database(files.copy("b")).database(files.copy("c"));
    #[cfg(feature = "cache-quick")]
    let builder = builder.cache(ecm::cache::Quick::default());
    let manager = builder.observer(observer).build().unwrap();
    let other = files.builder().database(files.primary()).build().unwrap();
    make(&manager);
    manager.catch_up("b").unwrap();
    manager.catch_up("c").unwrap();
    add(&manager, 1);
    let last = add(&other, 2);
    assert_eq!(last.epoch, 0);
    let session = manager.session();
    session.execute("INSERT INTO t VALUES (3)").wait().unwrap();
    let position = session.position();
    let sum = || session.query("SELECT sum(a) FROM t").one::<i64>().wait().unwrap();
    assert_eq!((sum(), sum()), (6, 6), "by the cache");

    let promotion = manager.promote("b").unwrap();
    assert_eq!((&*promotion.database, &*promotion.instead_of), ("b", "a"));
    assert_eq!((promotion.lost, promotion.complete, promotion.fenced), (Some(0), true, true));
    assert_eq!(promotion.position.epoch, 1);
    assert!(promotion.reached >= position && promotion.position > promotion.reached);
    assert_eq!(told(&files, &receive, "b for a"), "b for a, lost Some(0)");
    assert_eq!(roles(&manager), [Role::Superseded, Role::Primary, Role::Reader]);
    assert_eq!(manager.query(ALL).at_least(position).all::<i64>().wait().unwrap(), [1, 2, 3]);
    assert_eq!(sum(), 6);
    let fourth = add(&manager, 4);
    assert!(fourth > promotion.position);
    assert_eq!(sum(), 10, "the cache brings nothing back");
    let refused = other.execute("INSERT INTO t VALUES (9)").wait().unwrap_err();
    assert_eq!(refused.kind(), Kind::ReadOnly);
    assert!(refused.to_string().contains("primary of epoch 1"), "{refused}");
    assert_eq!(of(&other, "a"), [1, 2, 3]);
    let old = manager.database("a").unwrap();
    assert_eq!(old.query(ALL).all::<i64>().wait().unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(old.execute("INSERT INTO t VALUES (9)").wait().unwrap_err().kind(), Kind::ReadOnly);
    for again in ["a", "b"] {
        assert_eq!(manager.promote(again).unwrap_err().kind(), Kind::Invalid, "{again}");
    }

    // The other copy follows the new primary.
    assert!(manager.catch_up("c").unwrap() >= fourth);
    assert_eq!(of(&manager, "c"), [1, 2, 3, 4]);
    drop((session, other));
    manager.close(Duration::ZERO).unwrap();
    drop(manager);

    // Opened again as if nothing had been.
    let manager = files.manager();
    manager.register(files.copy("c")).unwrap();
    assert_eq!(roles(&manager), [Role::Superseded, Role::Primary, Role::Reader]);
    let fifth = add(&manager, 5);
    assert!(fifth > fourth && fifth.epoch == 1);
    assert_eq!(manager.query(ALL).at_least(fifth).all::<i64>().wait().unwrap(), [1, 2, 3, 4, 5]);
    assert!(manager.catch_up("c").unwrap() >= fifth);
    drop(manager);
    let alone = files.builder().database(files.primary()).build().unwrap();
    assert_eq!(alone.execute("INSERT INTO t VALUES (9)").wait().unwrap_err().kind(), Kind::ReadOnly);

    // The former primary as a copy of the new one.
    drop(alone);
    let back = Database::new("a", Sqlite::open(files.path("a"))).replica(Replica::of("b"));
    let new = Database::new("b", Sqlite::open(files.path("b")));
    let manager = files.builder().database(new).database(back).build().unwrap();
    manager.catch_up("a").unwrap();
    assert_eq!(of(&manager, "a"), [1, 2, 3, 4, 5]);
}

#[test]
fn a_promotion_without_the_primary_says_what_is_lost_and_so_does_whoever_is_asked_for_it() {
    let files = Files::new();
    let disk = FaultyDisk::new();
    let primary = || Database::new("a", Sqlite::open(files.path("a")).vfs(disk.name())).pool(pool());
    let manager = files.builder().database(primary()).database(files.copy("b")).build().unwrap();
    make(&manager);
    let kept = add(&manager, 1);
    files.tick();
    manager.catch_up("b").unwrap();
    files.tick();
    let (old, early) = (manager.session(), manager.session());
    assert_eq!(early.query(ALL).all::<i64>().wait().unwrap(), [1]);
    old.execute("INSERT INTO t VALUES (2)").wait().unwrap();
    let lost = add(&manager, 3);
    breaks(&disk);
    let promotion = manager.promote("b").unwrap();
    assert_eq!((promotion.lost, promotion.complete, promotion.fenced), (Some(2), false, false));
    assert_eq!(promotion.reached, kept);
    assert_eq!(all(&manager).unwrap(), [1]);
    assert_eq!(manager.query(ALL).at_least(kept).all::<i64>().wait().unwrap(), [1]);
    let error = manager.query(ALL).at_least(lost).all::<i64>().wait().unwrap_err();
    assert!(error.kind() == Kind::Unavailable && error.to_string().contains("is lost"), "{error}");
    let error = old.query(ALL).all::<i64>().wait().unwrap_err();
    assert!(error.kind() == Kind::Unavailable && error.to_string().contains("another session"), "{error}");
    assert_eq!(early.query(ALL).all::<i64>().wait().unwrap(), [1], "it has seen nothing of it");
    assert_eq!(manager.session().query(ALL).all::<i64>().wait().unwrap(), [1]);
    add(&manager, 4);
    drop((old, early));
    manager.close(Duration::ZERO).unwrap();
    drop(manager);

    // It comes back, and could not be told.
    disk.heal();
    let manager = files.builder().database(primary()).database(files.copy("b")).build().unwrap();
    assert_eq!(roles(&manager), [Role::Superseded, Role::Primary]);
    assert_eq!(all(&manager).unwrap(), [1, 4]);
    let error = manager.query(ALL).at_least(lost).all::<i64>().wait().unwrap_err();
    assert!(error.to_string().contains("is lost"), "{error}");
    let alone = files.builder().database(primary()).build().unwrap();
    assert_eq!(alone.execute("INSERT INTO t VALUES (9)").wait().unwrap_err().kind(), Kind::ReadOnly, "told by now");
    // What only it has is not overwritten.
    drop((manager, alone));
    let back = Database::new("a", Sqlite::open(files.path("a"))).replica(Replica::of("b"));
    let new = Database::new("b", Sqlite::open(files.path("b")));
    let error = files.builder().database(new).database(back).build().unwrap_err();
    assert!(error.to_string().contains("on its own"), "{error}");
}

#[test]
fn a_copy_that_may_takes_over_by_itself_when_the_primary_is_gone_for_long_enough() {
    let files = Files::new();
    let (observer, receive) = Told::new();
    let after = Duration::from_secs(10);
    let copy = |name: &str| {
        let copy = Database::new(name, Sqlite::open(files.path(name))).pool(pool());
        copy.replica(Replica::of("a").promote_automatically(after))
    };
    let builder = files.builder().database(files.primary()).database(copy("b")).database(copy("c"));
    let manager = builder.observer(observer).build().unwrap();
    make(&manager);
    add(&manager, 1);
    manager.catch_up("b").unwrap();
    add(&manager, 2);
    manager.catch_up("c").unwrap();
    std::fs::rename(files.path("a"), files.path("gone")).unwrap();
    let text = told(&files, &receive, "failed b");
    assert!(text.contains("the source has failed"), "{text}");
    assert_eq!(roles(&manager), [Role::Primary, Role::Reader, Role::Reader], "not at once");
    assert_eq!(told(&files, &receive, "c for a"), "c for a, lost Some(0)");
    assert_eq!(roles(&manager), [Role::Superseded, Role::Reader, Role::Primary]);
    add(&manager, 3);
    assert_eq!(of(&manager, "c"), [1, 2, 3]);
    manager.catch_up("b").unwrap();
    assert_eq!(of(&manager, "b"), [1, 2, 3]);
}

#[test]
fn writes_that_wait_while_a_copy_is_promoted_reach_it() {
    let files = Files::new();
    let manager = &files.manager();
    make(manager);
    let held = manager.connection().wait().unwrap();
    thread::scope(|scope| {
        let writers: Vec<_> = (0..4).map(|number| scope.spawn(move || add(manager, number))).collect();
        let waiting = || manager.status().database("a").unwrap().writer.unwrap().waiting;
        while waiting() < 4 {
            thread::yield_now();
        }
        let promotion = scope.spawn(|| manager.promote("b").unwrap());
        while roles(manager)[0] == Role::Primary {
            thread::yield_now();
        }
        drop(held);
        let promotion = promotion.join().unwrap();
        assert_eq!((promotion.lost, promotion.fenced), (Some(0), true));
        let positions: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        assert!(positions.iter().all(|position| position.epoch == 1), "{positions:?}");
    });
    assert_eq!(of(manager, "b"), [0, 1, 2, 3]);
}

#[test]
fn what_cannot_be_a_copy_is_refused_when_it_is_registered() {
    let files = Files::new();
    let manager = files.builder().database(files.primary()).build().unwrap();
    make(&manager);
    let stranger = rusqlite::Connection::open(files.path("b")).unwrap();
    stranger.execute_batch("CREATE TABLE mine (a)").unwrap();
    let error = manager.register(files.copy("b")).unwrap_err();
    assert!(error.kind() == Kind::Exists && error.to_string().contains("no copy"), "{error}");
    let tables: i64 = stranger.query_row("SELECT count(*) FROM mine", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 0);
    let unknown = Database::new("c", Sqlite::open(files.path("c"))).replica(Replica::of("nobody"));
    let error = manager.register(unknown).unwrap_err();
    assert!(error.kind() == Kind::NotFound && error.to_string().contains("nobody"), "{error}");
    let wrong = files.copy("c").replica(Replica::of("a").pages_per_step(0));
    assert!(manager.register(wrong).unwrap_err().to_string().contains("pages_per_step"));
    let written = files.copy("c").read_only(false);
    assert!(manager.register(written).unwrap_err().to_string().contains("read_only"));
    let memory = Database::new("m", Sqlite::memory()).replica(Replica::of("a"));
    assert!(manager.register(memory).unwrap_err().to_string().contains("only a file"));
    for name in ["a", "x"] {
        manager.catch_up(name).unwrap_err();
        manager.promote(name).unwrap_err();
    }
    assert!(!files.path("c").exists());
}
