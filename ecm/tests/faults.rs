//! Whatever a disk refuses, at whatever moment: every call has one of the outcomes that are promised, and nothing of
//! the failure is left when the disk works again. The table is in the README.
#![cfg(feature = "sqlite")]

use ecm::{
    BuildError, ConnectionManager, Database, Error, Executed, Failure, PoolConfig,
    core::{FaultKind, testing::TestClock},
    sqlite::{
        JournalMode, Sqlite, SqliteConfig, Synchronous, rusqlite,
        testing::{FaultyDisk, Harm, Operation, Stored},
    },
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// Rows that are there before anything fails, in so many pages that not all are in a cache.
const ROWS: i64 = 60;

/// The length of a row's value.
const BYTES: i64 = 1_500;

const SCHEMA: &str = "
    CREATE TABLE t (id INTEGER PRIMARY KEY, v);
    CREATE TABLE twin (id INTEGER PRIMARY KEY, v);
    CREATE TRIGGER twins AFTER INSERT ON t BEGIN INSERT INTO twin VALUES (new.id, new.v); END;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
    INSERT INTO t SELECT i, zeroblob(1500) FROM n;";

const INSERT: &str = "INSERT INTO t VALUES (?1, zeroblob(1500))";

/// The journals that fail in ways of their own.
const JOURNALS: [JournalMode; 2] = [JournalMode::Wal, JournalMode::Delete];

type Way = (Operation, Harm, Option<Stored>);

/// Every way to fail, with what it is on; `None` is all files.
const WAYS: [Way; 15] = [
    (Operation::Read, Harm::Error, None),
    // A database that ends in the middle of a page is damaged, which shows as such or not at all: that of a log is
    // checked.
    (Operation::Read, Harm::Short, Some(Stored::Log)),
    (Operation::Write, Harm::Error, None),
    (Operation::Write, Harm::Short, None),
    (Operation::Write, Harm::Full, None),
    (Operation::Sync, Harm::Error, None),
    (Operation::Sync, Harm::Full, None),
    (Operation::Truncate, Harm::Error, None),
    (Operation::ShareMemory, Harm::Error, None),
    (Operation::ShareMemory, Harm::Full, None),
    (Operation::LockMemory, Harm::Error, None),
    (Operation::Open, Harm::Error, None),
    (Operation::Open, Harm::Full, Some(Stored::Log)),
    (Operation::Delete, Harm::Error, None),
    (Operation::Lock, Harm::Error, None),
];

/// A file on a disk that fails once, and nobody has it open.
struct Place<'d> {
    disk: &'d FaultyDisk,
    folder: TempDir,
    journal: JournalMode,
    way: Way,
    /// How many operations of the kind that fails are spared.
    spared: u64,
}

impl Place<'_> {
    /// From now on the disk fails.
    fn arm(&self) {
        let (operation, harm, stored) = self.way;
        let harming = self.disk.harm(operation, harm);
        if let Some(stored) = stored {
            harming.on(stored);
        }
        harming.after(self.spared).times(1);
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("faulty.db")
    }

    /// A manager without breakers and background work, whose clock stands still, as then transactions are shared.
    fn open(&self) -> Result<ConnectionManager, BuildError> {
        open(&self.path(), self.disk, self.journal)
    }

    /// Whether the answer of a call is one that is promised.
    #[track_caller]
    fn judge<T>(&self, answer: &Result<T, Error>) {
        let Err(error) = answer else { return };
        let Some(fault) = error.fault() else { panic!("{self:?}: {error:?}") };
        let promised: &[FaultKind] = match (self.way.0, self.way.1) {
            (Operation::Read, _) => &[FaultKind::Storage, FaultKind::Corrupt],
            (_, Harm::Full) => &[FaultKind::Full, FaultKind::Storage],
            _ => &[FaultKind::Storage],
        };
        assert!(promised.contains(&fault.kind), "{self:?}: {error}, {fault:?}");
    }

    /// Whether rows are there, now that all is closed, as those who wrote them were told.
    #[track_caller]
    fn compare(&self, told: &[(i64, Result<(), Error>)]) {
        let there = added(&self.path());
        for (id, told) in told {
            let expected = match told.as_ref().map_err(Error::executed) {
                Ok(()) | Err(Executed::Yes) => true,
                Err(Executed::No) => false,
                Err(_) => continue,
            };
            assert_eq!(there.contains(id), expected, "{self:?}: row {id}, {told:?}, there: {there:?}");
        }
    }
}

impl std::fmt::Debug for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} after {} in {:?}", self.way, self.spared, self.journal)
    }
}

fn open(path: &Path, disk: &FaultyDisk, journal_mode: JournalMode) -> Result<ConnectionManager, BuildError> {
    let config = SqliteConfig {
        journal_mode,
        synchronous: Synchronous::Full,
        // Most reads reach the disk, and what a transaction writes does not wait for its end.
        cache_size: 4 * 4096,
        wal_autocheckpoint: 6,
        busy_timeout: Duration::from_millis(20),
        ..SqliteConfig::default()
    };
    let sqlite = Sqlite::open(path).vfs(disk.name()).config(config);
    let database = Database::new("faulty", sqlite).pool(PoolConfig::untended());
    ConnectionManager::builder().database(database).clock(TestClock::new()).build()
}

/// Runs this on places where, in each way, the first, the second, and so on, of the operations fails, until none is
/// reached any more; or every `stride`th of them. Answers the ways of which at least one failure was reached.
fn in_every_way(journal: JournalMode, stride: usize, mut work: impl FnMut(&Place<'_>)) -> Vec<Way> {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base.db");
    let disk = FaultyDisk::new();
    let manager = open(&base, &disk, journal).unwrap();
    manager.write(|tx| Ok(tx.execute_batch(SCHEMA)?)).wait().unwrap();
    manager.close(Duration::ZERO).unwrap();
    drop(manager);
    let mut reached = Vec::new();
    for way in WAYS {
        for spared in (0..).step_by(stride) {
            let place = Place { disk: &disk, folder: tempfile::tempdir().unwrap(), journal, way, spared };
            fs::copy(&base, place.path()).unwrap();
            let before = disk.struck();
            work(&place);
            disk.heal();
            if disk.struck() == before {
                break;
            }
            if spared == 0 {
                reached.push(way);
            }
            assert!(spared < 1_000, "{place:?}: there is no end");
        }
    }
    reached
}

/// The rows beyond the first ones, by somebody who is none of ECM's.
fn added(path: &Path) -> Vec<i64> {
    let stranger = rusqlite::Connection::open(path).unwrap();
    let check: String = stranger.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let read = |table: &str| {
        let sql = format!("SELECT id FROM {table} WHERE id > {ROWS} ORDER BY id");
        let mut statement = stranger.prepare(&sql).unwrap();
        let ids = statement.query_map([], |row| row.get(0)).unwrap();
        ids.collect::<Result<Vec<i64>, _>>().unwrap()
    };
    let ids = read("t");
    assert_eq!(ids, read("twin"), "half of a write");
    ids
}

/// The answer of a read that looks at every page.
fn sum(manager: &ConnectionManager) -> Result<i64, Error> {
    manager.read(|db| Ok(db.query_row("SELECT sum(length(v)) FROM t", [], |row| row.get(0))?)).wait()
}

const SUM: i64 = ROWS * BYTES;

/// Even rows by a statement, odd ones by a closure.
fn insert(manager: &ConnectionManager, id: i64) -> Result<(), Error> {
    if id % 2 == 0 {
        return manager.execute(INSERT).bind(id).wait().map(drop);
    }
    manager.write(|tx| Ok(tx.execute(INSERT, [id]).map(drop)?)).wait()
}

/// Which operations a call was seen to make, one of each way.
fn operations(reached: &[Way]) -> Vec<Operation> {
    let made = |operation: &Operation| reached.iter().any(|(reached, ..)| reached == operation);
    Operation::ALL.into_iter().filter(made).collect()
}

#[test]
fn a_read_answers_rightly_or_fails_and_the_next_one_answers() {
    for journal in JOURNALS {
        let reached = in_every_way(journal, 1, |place| {
            let manager = place.open().unwrap();
            assert_eq!(sum(&manager).unwrap(), SUM);
            place.arm();
            for _ in 0..3 {
                let answer = sum(&manager);
                place.judge(&answer);
                assert_eq!(answer.unwrap_or(SUM), SUM, "{place:?}");
            }
            place.disk.heal();
            assert_eq!(sum(&manager).unwrap(), SUM, "{place:?}");
        });
        let lock = if journal == JournalMode::Wal { Operation::LockMemory } else { Operation::Lock };
        assert_eq!(operations(&reached), [Operation::Read, lock], "{journal:?}");
    }
}

#[test]
fn a_write_is_there_if_it_was_told_so_and_the_next_one_works() {
    for journal in JOURNALS {
        let mut id = 100;
        let reached = in_every_way(journal, 1, |place| {
            id += 1;
            let manager = place.open().unwrap();
            place.arm();
            let answer = insert(&manager, id);
            place.judge(&answer);
            place.disk.heal();
            let next = insert(&manager, 1);
            assert_eq!(next.unwrap_err().fault().map(|fault| fault.kind), Some(FaultKind::Constraint), "{place:?}");
            insert(&manager, 99).unwrap();
            assert!(sum(&manager).unwrap() >= SUM + BYTES, "{place:?}");
            manager.close(Duration::ZERO).unwrap();
            place.compare(&[(id, answer), (99, Ok(()))]);
        });
        let mut expected = vec![Operation::Read, Operation::Write, Operation::Sync];
        match journal {
            JournalMode::Wal => expected.extend([Operation::ShareMemory, Operation::LockMemory, Operation::Open]),
            _ => expected.extend([Operation::Open, Operation::Delete, Operation::Lock]),
        }
        assert_eq!(operations(&reached), expected, "{journal:?}");
    }
}

#[test]
fn each_of_those_who_share_a_commit_is_told_what_became_of_its_own() {
    for journal in JOURNALS {
        let reached = in_every_way(journal, 3, |place| {
            let manager = &place.open().unwrap();
            let (armed, inside) = (&AtomicBool::new(false), &Barrier::new(5));
            let first = manager.write(|tx| {
                // It may run again, when those who wait have gone.
                if !armed.swap(true, Ordering::Relaxed) {
                    inside.wait();
                    while manager.status().database("faulty").unwrap().writer.as_ref().unwrap().waiting < 4 {
                        thread::yield_now();
                    }
                    place.arm();
                }
                Ok(tx.execute(INSERT, [100]).map(drop)?)
            });
            let mut told = thread::scope(|scope| {
                let other = |id| {
                    inside.wait();
                    insert(manager, id)
                };
                let others: Vec<_> = (101..105).map(|id| (id, scope.spawn(move || other(id)))).collect();
                let mut told = vec![(100, first.wait())];
                told.extend(others.into_iter().map(|(id, other)| (id, other.join().unwrap())));
                told
            });
            told.iter().for_each(|(_, answer)| place.judge(answer));
            place.disk.heal();
            insert(manager, 99).unwrap();
            told.push((99, Ok(())));
            manager.close(Duration::ZERO).unwrap();
            place.compare(&told);
        });
        assert!(operations(&reached).starts_with(&[Operation::Read, Operation::Write, Operation::Sync]), "{reached:?}");
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_named_and_opens_later() {
    for journal in JOURNALS {
        let reached = in_every_way(journal, 1, |place| {
            place.arm();
            match place.open() {
                Ok(manager) => {
                    // The first reader is opened by its first caller.
                    let answer = sum(&manager);
                    place.judge(&answer);
                    assert_eq!(answer.unwrap_or(SUM), SUM, "{place:?}");
                }
                Err(BuildError::Database(error)) => {
                    assert!(error.to_string().contains("faulty.db"), "{place:?}: {error}");
                    place.judge(&Err::<(), _>(error));
                }
                Err(other) => panic!("{place:?}: {other}"),
            }
            place.disk.heal();
            let manager = place.open().unwrap();
            assert_eq!(sum(&manager).unwrap(), SUM, "{place:?}");
            insert(&manager, 99).unwrap();
            manager.close(Duration::ZERO).unwrap();
            place.compare(&[(99, Ok(()))]);
        });
        assert!(operations(&reached).contains(&Operation::Open), "{reached:?}");
    }
}

#[test]
fn what_is_undone_while_the_disk_fails_is_not_there_afterwards() {
    for journal in JOURNALS {
        in_every_way(journal, 1, |place| {
            let manager = place.open().unwrap();
            // Several pages, so that some are on the disk before they are undone.
            let undone = manager.write(|tx| {
                (200..220).try_for_each(|id| tx.execute(INSERT, [id]).map(drop))?;
                place.arm();
                Err::<(), _>(Failure::msg("no"))
            });
            assert!(undone.wait().is_err());
            // Not healed: the next may meet what was not undone.
            let next = insert(&manager, 98);
            place.judge(&next);
            place.disk.heal();
            insert(&manager, 99).unwrap();
            manager.close(Duration::ZERO).unwrap();
            place.compare(&[(98, next), (99, Ok(()))]);
            assert!(added(&place.path()).iter().all(|id| *id < 200), "{place:?}");
        });
    }
}

#[test]
fn what_was_acknowledged_to_those_who_share_a_commit_survives_a_loss_of_power() {
    for syncs in 0..25 {
        let folder = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new();
        disk.keep_synced();
        let manager = &open(&folder.path().join("faulty.db"), &disk, JournalMode::Wal).unwrap();
        manager.write(|tx| Ok(tx.execute_batch(SCHEMA)?)).wait().unwrap();
        disk.cut_power_after(syncs);
        let acknowledged: Vec<i64> = thread::scope(|scope| {
            let disk = &disk;
            let caller = |caller: i64| {
                let ids = (0..10).map(move |number| 100 + 10 * caller + number);
                let told = ids.filter(|&id| insert(manager, id).is_ok() && !disk.has_lost_power());
                told.collect::<Vec<_>>()
            };
            let callers: Vec<_> = (0..4).map(|number| scope.spawn(move || caller(number))).collect();
            callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
        });
        let survived = tempfile::tempdir().unwrap();
        disk.survivors(survived.path()).unwrap();
        let there = added(&survived.path().join("faulty.db"));
        for id in &acknowledged {
            assert!(there.contains(id), "{syncs} syncs: {id} was acknowledged, there: {there:?}");
        }
        assert!(syncs < 20 || !acknowledged.is_empty(), "{syncs} syncs");
    }
}
