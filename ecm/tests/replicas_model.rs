//! Copies that follow, fail, take over and are opened again, in random order, against a number that only rises: no
//! session sees it fall, and what was acknowledged and copied is there.
#![cfg(all(unix, feature = "sqlite"))]

use ecm::{
    CacheMode, ConnectionManager, Database, Error, Executed, Kind, PoolConfig, Promotion, Replica, Session,
    core::{Position, Role, testing::TestClock},
    sqlite::{
        Sqlite, rusqlite,
        testing::{FaultyDisk, Harm, Operation},
    },
};
use proptest::prelude::*;
use std::{path::PathBuf, time::Duration};

const NAMES: [&str; 3] = ["a", "b", "c"];
const SESSIONS: usize = 2;
const SQL: &str = "SELECT v FROM t WHERE id = 1";

#[derive(Clone, Debug)]
enum Step {
    /// The next number is written, in a session or not.
    Write { session: usize },
    /// The next number is written by somebody else.
    WriteElsewhere,
    /// The number is read in a session, from the cache if it is there, or not.
    Read { session: usize, cached: bool },
    /// The number is read from where one of the last writes is.
    ReadAtLeast { back: usize },
    /// A copy is made.
    CatchUp { copy: usize },
    /// From now on so many operations of the disk of a database work, and then none.
    Break { database: usize, after: u64 },
    /// All disks work.
    Heal,
    /// A copy takes over.
    Promote { copy: usize },
    /// All is closed and opened again, on disks that work.
    Restart,
    /// Time goes on.
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    let (session, name) = (0..SESSIONS, 0..NAMES.len());
    prop_oneof![
        8 => session.clone().prop_map(|session| Step::Write { session }),
        2 => Just(Step::WriteElsewhere),
        8 => (session, any::<bool>()).prop_map(|(session, cached)| Step::Read { session, cached }),
        3 => (0_usize..6).prop_map(|back| Step::ReadAtLeast { back }),
        8 => name.clone().prop_map(|copy| Step::CatchUp { copy }),
        2 => (name.clone(), 0_u64..30).prop_map(|(database, after)| Step::Break { database, after }),
        3 => Just(Step::Heal),
        2 => name.prop_map(|copy| Step::Promote { copy }),
        1 => Just(Step::Restart),
        6 => Just(Step::Tick),
    ]
}

/// A session, and the greatest number that it has seen.
struct Client {
    session: Session,
    seen: i64,
    /// Whether something that it may have seen was lost.
    may_have_lost: bool,
}

struct World {
    folder: tempfile::TempDir,
    clock: TestClock,
    disks: [FaultyDisk; 3],
    manager: ConnectionManager,
    clients: Vec<Client>,
    /// The last number that anybody has tried to write.
    last: i64,
    /// The last one that is there for sure.
    acknowledged: i64,
    /// What each write that was acknowledged has written, and where it stands.
    writes: Vec<(Position, i64)>,
    /// Writes up to here belong to primaries of which a part is lost: what each had kept.
    kept: Vec<Position>,
    broken: bool,
    /// Whether a promotion has failed, after which the primary may refuse writes until somebody looks at it.
    half_promoted: bool,
    /// Databases that were superseded once, and those that cannot come back.
    superseded: [bool; 3],
    gone: [bool; 3],
}

fn quick() -> ecm::Builder {
    let builder = ConnectionManager::builder();
    #[cfg(feature = "cache-quick")]
    let builder = builder.cache(ecm::cache::Quick::default());
    builder
}

impl World {
    fn new() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
        let disks = [FaultyDisk::new(), FaultyDisk::new(), FaultyDisk::new()];
        let manager = quick().database(Self::database(&folder, &disks, 0)).clock(clock.clone()).build().unwrap();
        manager
            .write(
                |tx| Ok(tx.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 0)")?),
            )
            .wait()
            .unwrap();
        for index in 1..NAMES.len() {
            manager.register(Self::database(&folder, &disks, index)).unwrap();
        }
        let mut world = Self {
            folder,
            clock,
            disks,
            manager,
            clients: Vec::new(),
            last: 0,
            acknowledged: 0,
            writes: Vec::new(),
            kept: Vec::new(),
            broken: false,
            half_promoted: false,
            superseded: [false; 3],
            gone: [false; 3],
        };
        world.new_clients();
        world
    }

    fn database(folder: &tempfile::TempDir, disks: &[FaultyDisk; 3], index: usize) -> Database {
        let path = folder.path().join(NAMES[index]);
        let database = Database::new(NAMES[index], Sqlite::open(path).vfs(disks[index].name()));
        // Nothing is repeated: the clock stands still.
        let database = database.pool(PoolConfig { max_retries: 0, ..PoolConfig::untended() });
        if index == 0 {
            return database;
        }
        // Copied when it is asked for.
        database.priority(index as i32).replica(Replica::of(NAMES[0]).staleness(Duration::from_secs(86_400)))
    }

    fn new_clients(&mut self) {
        let client = || Client { session: self.manager.session(), seen: 0, may_have_lost: false };
        self.clients = (0..SESSIONS).map(|_| client()).collect();
    }

    fn path(&self, index: usize) -> PathBuf {
        self.folder.path().join(NAMES[index])
    }

    fn primary(&self) -> usize {
        let status = self.manager.status();
        NAMES
            .iter()
            .position(|name| status.database(name).is_some_and(|database| database.role == Role::Primary))
            .expect("there is one at any time")
    }

    /// Whether a position was lost with a primary.
    fn is_lost(&self, position: Position) -> bool {
        self.kept.iter().any(|kept| kept.epoch == position.epoch && position.commit > kept.commit)
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Write { session } => {
                self.last += 1;
                let number = self.last;
                self.finish_promotion();
                let client = &mut self.clients[session];
                let written = client.session.execute("UPDATE t SET v = ?1 WHERE id = 1").bind(number);
                match written.wait_with_position() {
                    Ok((_, position)) => {
                        client.seen = number;
                        self.acknowledged = number;
                        self.writes.push((position.unwrap(), number));
                    }
                    Err(error) if error.to_string().contains("begin another session") => {
                        assert!(client.may_have_lost && error.executed() == Executed::No, "{error:?}");
                        *client = Client { session: self.manager.session(), seen: 0, may_have_lost: false };
                    }
                    Err(error) => {
                        assert!(self.broken, "{error:?}");
                        assert!(error.executed() != Executed::Yes, "{error:?}");
                    }
                }
            }
            Step::WriteElsewhere => {
                let stranger = rusqlite::Connection::open(self.path(self.primary())).unwrap();
                self.last += 1;
                if stranger.execute("UPDATE t SET v = ?1 WHERE id = 1", [self.last]).is_ok() {
                    self.acknowledged = self.last;
                }
            }
            Step::Read { session, cached } => {
                let client = &mut self.clients[session];
                let mode = if cached { CacheMode::OrIfFailing(Duration::MAX) } else { CacheMode::Bypass };
                match client.session.query(SQL).cache_mode(mode).one::<i64>().wait() {
                    Ok(number) => {
                        assert!(number >= client.seen, "a session has seen {}, and now {number}", client.seen);
                        assert!(number <= self.last);
                        client.seen = number;
                    }
                    Err(error) if error.to_string().contains("begin another session") => {
                        assert!(client.may_have_lost, "{error:?}");
                        *client = Client { session: self.manager.session(), seen: 0, may_have_lost: false };
                    }
                    Err(error) => assert!(self.broken, "{error:?}"),
                }
            }
            Step::ReadAtLeast { back } => {
                let Some(&(position, number)) = self.writes.iter().rev().nth(back) else { return };
                let lost = self.is_lost(position);
                match self.manager.query(SQL).at_least(position).bypass_cache().one::<i64>().wait() {
                    Ok(read) => assert!(read >= number && !lost, "{read} is older than {number}"),
                    Err(error) if lost => assert!(error.to_string().contains("is lost"), "{error:?}"),
                    Err(error) => assert!(self.broken, "{error:?}"),
                }
            }
            Step::CatchUp { copy } => self.catch_up(copy),
            Step::Break { database, after } => {
                self.broken = true;
                for operation in Operation::ALL {
                    self.disks[database].harm(operation, Harm::Error).after(after);
                }
            }
            Step::Heal => self.heal(),
            Step::Promote { copy } => self.promote(copy),
            Step::Restart => self.restart(),
            Step::Tick => self.clock.advance(Duration::from_millis(1)),
        }
    }

    /// Has somebody look at a primary that may refuse writes.
    fn finish_promotion(&mut self) {
        if self.half_promoted && !self.broken {
            (0..NAMES.len()).for_each(|copy| self.catch_up(copy));
            self.half_promoted = false;
        }
    }

    fn heal(&mut self) {
        self.disks.iter().for_each(FaultyDisk::heal);
        self.broken = false;
    }

    fn catch_up(&self, copy: usize) {
        let status = self.manager.status();
        let Some(status) = status.database(NAMES[copy]).filter(|status| status.replica.is_some()) else { return };
        let is_copy = status.role == Role::Reader;
        match self.manager.catch_up(NAMES[copy]) {
            Ok(position) => {
                assert!(is_copy, "one that follows nobody has caught up");
                let known = self.writes.iter().rev().find(|(at, _)| !self.is_lost(*at));
                assert!(known.is_none_or(|(at, _)| *at <= position), "{known:?} {position:?}");
                if !self.broken {
                    assert_eq!(self.number_of(copy), self.acknowledged);
                }
            }
            Err(error) => assert!(self.broken || !is_copy, "{error:?}"),
        }
    }

    fn number_of(&self, index: usize) -> i64 {
        let database = self.manager.database(NAMES[index]).unwrap();
        database.query(SQL).bypass_cache().one::<i64>().wait().unwrap()
    }

    fn promote(&mut self, copy: usize) {
        let before = self.primary();
        let stood = self.acknowledged;
        // A copy that follows another primary by now has none of it until it was copied, which it is in the background.
        let is_copy = self.manager.status().database(NAMES[copy]).is_some_and(|status| {
            status.role == Role::Reader && status.replica.as_ref().is_some_and(|replica| replica.readable)
        });
        match self.manager.promote(NAMES[copy]) {
            Ok(promotion) => {
                assert_eq!(self.primary(), copy);
                self.superseded[before] = true;
                self.superseded[copy] = false;
                self.promoted(&promotion, stood);
            }
            Err(error) => {
                assert_eq!(self.primary(), before, "{error:?}");
                self.half_promoted = true;
                assert!(self.broken || !is_copy, "{error:?}");
            }
        }
    }

    /// What is there now is read from the new primary, by somebody whom no fault meets.
    fn promoted(&mut self, promotion: &Promotion, stood: i64) {
        let look = rusqlite::Connection::open(self.path(self.primary())).unwrap();
        let number: i64 = look.query_row(SQL, [], |row| row.get(0)).unwrap();
        if promotion.complete {
            assert!(number >= stood, "nothing is lost, and {number} is older than {stood}");
        } else {
            let same = |at: &&(Position, i64)| at.0.epoch == promotion.reached.epoch;
            let lost = self.writes.iter().filter(same).filter(|(at, _)| at.commit > promotion.reached.commit);
            let lost: Vec<_> = lost.collect();
            if let Some(told) = promotion.lost {
                assert!(told >= lost.len() as u64, "{told} are said to be lost, and {lost:?} are");
            }
            self.kept.push(promotion.reached);
            self.clients.iter_mut().for_each(|client| client.may_have_lost = true);
            // What was acknowledged and copied is there.
            let copied = self.writes.iter().filter(same).filter(|(at, _)| at.commit <= promotion.reached.commit);
            let copied = copied.map(|(_, number)| *number).max();
            assert!(copied.is_none_or(|copied| number >= copied), "{copied:?} was copied, and {number} is there");
        }
        self.acknowledged = number;
    }

    fn restart(&mut self) {
        self.heal();
        self.finish_promotion();
        self.clients.clear();
        let before = self.primary();
        self.manager.close(Duration::ZERO).unwrap();
        let first = Self::database(&self.folder, &self.disks, 0);
        self.manager = quick().database(first).clock(self.clock.clone()).build().unwrap();
        for index in 1..NAMES.len() {
            if self.gone[index] {
                continue;
            }
            match self.manager.register(Self::database(&self.folder, &self.disks, index)) {
                Ok(()) => self.superseded[index] = false,
                Err(error) => {
                    // It has something that the others lack.
                    assert!(error.kind() == Kind::Exists && self.superseded[index], "{error:?}");
                    self.gone[index] = true;
                }
            }
        }
        assert_eq!(self.primary(), before, "whoever took over has");
        assert_eq!(self.number_of(before), self.acknowledged);
        self.new_clients();
    }

    /// All works again: everybody can write, and every copy that is none of the past comes to show it.
    fn end(mut self) -> Result<(), Error> {
        self.heal();
        self.clock.advance(Duration::from_millis(1));
        self.finish_promotion();
        let number = self.last + 1;
        self.manager.execute("UPDATE t SET v = ?1 WHERE id = 1").bind(number).wait()?;
        self.acknowledged = number;
        for copy in 0..NAMES.len() {
            self.catch_up(copy);
        }
        assert_eq!(self.number_of(self.primary()), number);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_session_reads_backwards_and_what_was_copied_is_there(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
        }
        world.end().unwrap();
    }
}
