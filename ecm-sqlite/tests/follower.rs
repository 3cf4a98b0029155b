//! A file that is kept a copy of another one, and that takes its place.

use ecm_core::{
    Access, Backend, Clock, Commit, Connection, Copied, Durability, Failure, Follow, FollowError, Loan, Position,
    Relation, Transact, testing::TestClock,
};
use ecm_sqlite::{
    Sqlite, SqliteConnection, rusqlite,
    testing::{FaultyDisk, Harm, Operation},
};
use std::{fs, path::PathBuf, process::Command, sync::Arc};

struct Pair {
    folder: tempfile::TempDir,
    source: Sqlite,
    copy: Sqlite,
    clock: Arc<dyn Clock>,
}

impl Pair {
    /// A source with a table `t`, and nothing at the place of the copy.
    fn new() -> Self {
        Self::on(|source, copy| (source, copy))
    }

    fn on(change: impl FnOnce(Sqlite, Sqlite) -> (Sqlite, Sqlite)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [source, copy] = ["source.db", "copy.db"].map(|name| Sqlite::open(folder.path().join(name)));
        let (source, copy) = change(source, copy);
        let pair = Self { folder, source, copy, clock: Arc::new(TestClock::new()) };
        pair.write(&pair.source, "CREATE TABLE t (a INTEGER)").unwrap();
        pair
    }

    /// The same two files, opened by another process as it were.
    fn again(self) -> Self {
        let [source, copy] = ["source.db", "copy.db"].map(|name| Sqlite::open(self.folder.path().join(name)));
        Self { source, copy, ..self }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn follower(&self) -> Box<dyn Follow> {
        self.copy.follow(&self.source, &self.clock).unwrap()
    }

    fn write(&self, database: &Sqlite, sql: &str) -> Result<Position, Failure> {
        let mut writer = database.connect(Access::Write, &self.clock)?;
        writer.check_out(Loan::Write)?;
        writer.begin(Durability::Configured)?;
        writer.tx().execute_batch(sql)?;
        match writer.commit() {
            Commit::Done(position) => Ok(position),
            Commit::RolledBack(failure) | Commit::Unknown(failure) => Err(failure),
        }
    }

    fn add(&self, number: i64) -> Position {
        self.write(&self.source, &format!("INSERT INTO t VALUES ({number})")).unwrap()
    }

    fn numbers(&self, database: &Sqlite) -> Vec<i64> {
        let mut reader = database.connect(Access::Read, &self.clock).unwrap();
        reader.check_out(Loan::Read).unwrap();
        reader.db().query("SELECT a FROM t ORDER BY a", [], |row| row.get(0)).unwrap()
    }
}

fn whole(follower: &mut dyn Follow) -> Copied {
    let copied = follower.copy(64, &mut |_| true).unwrap();
    assert_eq!(copied.pages, copied.of);
    copied
}

fn says(error: FollowError) -> String {
    error.to_string()
}

#[test]
fn a_copy_shows_what_the_source_held_and_knows_when_that_is_not_all() {
    let pair = Pair::new();
    let mut follower = pair.follower();
    assert_eq!(follower.relation().unwrap(), Relation::Empty);
    follower.begin().unwrap();
    assert!(follower.is_behind().unwrap(), "nothing was copied");
    pair.add(1);
    whole(&mut *follower);
    assert_eq!((follower.relation().unwrap(), pair.numbers(&pair.copy)), (Relation::Behind, vec![1]));
    assert!(!follower.is_behind().unwrap());

    pair.add(2);
    assert!(follower.is_behind().unwrap());
    // A reader of the copy that is in its snapshot stays there.
    let mut reader = pair.copy.connect(Access::Read, &pair.clock).unwrap();
    reader.check_out(Loan::Read).unwrap();
    let count = |reader: &mut SqliteConnection| -> i64 {
        reader.db().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count(&mut reader), 1);
    whole(&mut *follower);
    assert_eq!(count(&mut reader), 1);
    reader.check_in();
    reader.check_out(Loan::Read).unwrap();
    assert_eq!(count(&mut reader), 2);
    reader.check_in();

    // Another table, and another process.
    let stranger = rusqlite::Connection::open(pair.path("source.db")).unwrap();
    stranger.execute_batch("CREATE TABLE u (b); INSERT INTO u VALUES (7)").unwrap();
    assert!(follower.is_behind().unwrap());
    whole(&mut *follower);
    let copied = rusqlite::Connection::open(pair.path("copy.db")).unwrap();
    assert_eq!(copied.query_row("SELECT b FROM u", [], |row| row.get(0)), Ok(7));
}

#[test]
fn a_commit_beside_a_copy_is_in_the_next_one_as_a_whole() {
    let pair = Pair::new();
    let mut follower = pair.follower();
    follower.begin().unwrap();
    pair.write(&pair.source, "INSERT INTO t SELECT value FROM generate_series(1, 1)").unwrap_err();
    let many =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO t SELECT i FROM n";
    pair.write(&pair.source, many).unwrap();
    let mut told = Vec::new();
    let copied = follower.copy(8, &mut |copied| {
        if told.len() < 5 {
            pair.write(&pair.source, "UPDATE t SET a = a + 1; CREATE TABLE IF NOT EXISTS u (b)").unwrap();
        }
        told.push(copied);
        true
    });
    let copied = copied.unwrap();
    assert_eq!(told[0], Copied::default());
    assert!(
        told.len() > 5 && told.iter().skip(1).all(|told| told.of == copied.of && told.pages <= told.of),
        "{told:?}"
    );
    assert_eq!(pair.numbers(&pair.copy), (1..=20_000).collect::<Vec<_>>(), "not one of the updates");
    assert!(follower.is_behind().unwrap());
    whole(&mut *follower);
    assert_eq!(pair.numbers(&pair.copy), (6..=20_005).collect::<Vec<_>>());
    assert!(!follower.is_behind().unwrap());
}

#[cfg(unix)]
#[test]
fn a_copy_that_is_stopped_or_whose_process_dies_leaves_the_former_one() {
    let pair = Pair::new();
    let mut follower = pair.follower();
    follower.begin().unwrap();
    pair.add(1);
    whole(&mut *follower);
    pair.write(
        &pair.source,
        "CREATE TABLE big (b); INSERT INTO big VALUES (zeroblob(1000000)); INSERT INTO t VALUES (2)",
    )
    .unwrap();
    for stop_after in [1, 2, 20] {
        let mut left = stop_after;
        let stopped = follower.copy(4, &mut |_| {
            left -= 1;
            left > 0
        });
        assert!(matches!(stopped, Err(FollowError::Stopped)));
        assert_eq!(pair.numbers(&pair.copy), [1]);
        assert!(follower.is_behind().unwrap());
    }
    // What a process leaves that is killed in the middle: the files as they are, copied by another process, since
    // closing a file here would take the locks away.
    pair.write(&pair.source, "INSERT INTO big VALUES (zeroblob(10000000))").unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut left = 30;
    let stopped = follower.copy(64, &mut |_| {
        left -= 1;
        if left == 0 {
            for name in ["copy.db", "copy.db-wal"] {
                let copied = Command::new("cp").arg(pair.path(name)).arg(elsewhere.path()).status();
                assert!(copied.unwrap().success());
            }
        }
        left > 0
    });
    assert!(matches!(stopped, Err(FollowError::Stopped)));
    assert!(fs::metadata(elsewhere.path().join("copy.db-wal")).unwrap().len() > 1_000_000, "a good part was there");
    assert_eq!(pair.numbers(&Sqlite::open(elsewhere.path().join("copy.db"))), [1]);
    whole(&mut *follower);
    assert_eq!(pair.numbers(&pair.copy), [1, 2]);
}

#[test]
fn whatever_fails_on_the_disk_of_the_copy_it_holds_the_new_state_or_the_former_one() {
    let disk = FaultyDisk::new();
    let pair = Pair::on(|source, copy| (source, copy.vfs(disk.name())));
    let mut follower = pair.follower();
    follower.begin().unwrap();
    whole(&mut *follower);
    let (mut number, mut failures) = (0, 0);
    for operation in Operation::ALL {
        for harm in [Harm::Error, Harm::Short, Harm::Full] {
            for skip in [0, 1, 2, 5] {
                number += 1;
                pair.write(&pair.source, &format!("INSERT INTO t VALUES ({number}); CREATE TABLE t{number} (a)"))
                    .unwrap();
                let before = pair.numbers(&pair.copy);
                disk.harm(operation, harm).after(skip).times(1);
                let copied = follower.copy(2, &mut |_| true);
                disk.heal();
                let now = pair.numbers(&pair.copy);
                let all = pair.numbers(&pair.source);
                match copied {
                    Ok(_) => assert_eq!(now, all, "{operation:?} {harm:?} {skip}"),
                    Err(FollowError::Copy(_)) => {
                        failures += 1;
                        assert!(now == before || now == all, "{operation:?} {harm:?} {skip}: {now:?}");
                        assert!(follower.is_behind().unwrap());
                    }
                    Err(other) => panic!("{operation:?} {harm:?} {skip}: {other}"),
                }
                let look = rusqlite::Connection::open(pair.path("copy.db")).unwrap();
                let check: String = look.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
                assert_eq!(check, "ok", "{operation:?} {harm:?} {skip}");
            }
        }
    }
    assert!(failures > 20, "{failures}");
    whole(&mut *follower);
    assert_eq!(pair.numbers(&pair.copy), pair.numbers(&pair.source));
}

#[test]
fn a_source_that_fails_is_told_from_a_copy_that_fails() {
    let disk = FaultyDisk::new();
    let pair = Pair::on(|source, copy| (source.vfs(disk.name()), copy));
    let mut follower = pair.follower();
    follower.begin().unwrap();
    pair.add(1);
    whole(&mut *follower);
    pair.write(&pair.source, "CREATE TABLE big (b); INSERT INTO big VALUES (zeroblob(1000000))").unwrap();
    disk.harm(Operation::Read, Harm::Error).after(40);
    let error = follower.copy(16, &mut |_| true).unwrap_err();
    assert!(matches!(error, FollowError::Source(_)), "{error}");
    assert_eq!(pair.numbers(&pair.copy), [1]);
    disk.heal();
    whole(&mut *follower);

    // Deleted, and made anew with other rows: not the one that was copied.
    fs::rename(pair.path("source.db"), pair.path("lost.db")).unwrap();
    let error = follower.is_behind().unwrap_err();
    assert!(matches!(&error, FollowError::Source(_)) && says(error).contains("source.db"));
    for log in ["source.db-wal", "source.db-shm"] {
        let _gone = fs::remove_file(pair.path(log));
    }
    let pair = pair.again();
    let mut follower = pair.follower();
    pair.write(&pair.source, "CREATE TABLE t (a); INSERT INTO t VALUES (9)").unwrap();
    follower.begin().unwrap();
    assert!(matches!(follower.relation().unwrap(), Relation::Foreign(_)));
    assert!(says(follower.copy(16, &mut |_| true).unwrap_err()).contains("copy of another database"));
    assert_eq!(pair.numbers(&pair.copy), [1]);
}

#[test]
fn what_is_no_copy_is_never_overwritten() {
    let pair = Pair::new();
    let mut follower = pair.follower();
    follower.begin().unwrap();
    let stranger = rusqlite::Connection::open(pair.path("copy.db")).unwrap();
    stranger.execute_batch("CREATE TABLE mine (a); INSERT INTO mine VALUES (1)").unwrap();
    assert!(matches!(follower.relation().unwrap(), Relation::Foreign(_)));
    assert!(says(follower.copy(16, &mut |_| true).unwrap_err()).contains("is no copy"));
    stranger.execute_batch("DROP TABLE mine").unwrap();
    whole(&mut *follower);
    // Written by ECM on its own, as by a program that has lost the source.
    let alone = Sqlite::open(pair.path("copy.db"));
    pair.write(&alone, "INSERT INTO t VALUES (5)").unwrap();
    pair.add(1);
    assert!(says(follower.copy(16, &mut |_| true).unwrap_err()).contains("written on its own"));
    assert_eq!(pair.numbers(&pair.copy), [5]);

    let same = pair.source.follow(&pair.source, &pair.clock).unwrap_err();
    assert!(same.to_string().contains("itself"));
    let memory = pair.copy.follow(&Sqlite::memory(), &pair.clock).unwrap_err();
    assert!(memory.to_string().contains("only a file"));
}

#[test]
fn a_copy_takes_over_and_the_source_takes_no_writes_whoever_opens_it_and_when() {
    let pair = Pair::new();
    let mut follower = pair.follower();
    follower.begin().unwrap();
    let first = pair.add(1);
    let mut elsewhere = Sqlite::open(pair.path("source.db")).connect(Access::Write, &pair.clock).unwrap();
    elsewhere.check_out(Loan::Write).unwrap();
    whole(&mut *follower);
    follower.fence().unwrap();
    let refused = pair.write(&pair.source, "INSERT INTO t VALUES (2)").unwrap_err().to_string();
    assert!(refused.contains("primary of epoch 1"), "{refused}");
    let refused = elsewhere.begin(Durability::Configured).unwrap_err().to_string();
    assert!(refused.contains("primary of epoch 1"), "open before that, in another process: {refused}");
    follower.lift_fence().unwrap();
    let second = pair.add(3);
    assert!(second > first);

    follower.fence().unwrap();
    whole(&mut *follower);
    let since = follower.take_over(second).unwrap();
    assert!(since > second && since.epoch == 1, "{since:?}");
    let third = pair.write(&pair.copy, "INSERT INTO t VALUES (4)").unwrap();
    assert!(third > since);
    let took_over = Relation::TookOver { since, reached: second };
    assert_eq!(follower.relation().unwrap(), took_over);
    assert!(says(follower.copy(16, &mut |_| true).unwrap_err()).contains("promoted"));
    drop((follower, elsewhere));

    let pair = pair.again();
    assert_eq!(pair.follower().relation().unwrap(), took_over);
    pair.write(&pair.source, "INSERT INTO t VALUES (9)").unwrap_err();
    let fourth = pair.write(&pair.copy, "INSERT INTO t VALUES (5)").unwrap();
    assert!(fourth > third && fourth.epoch == 1);
    assert_eq!((pair.numbers(&pair.source), pair.numbers(&pair.copy)), (vec![1, 3], vec![1, 3, 4, 5]));
    // The other way round: the former source follows, although it is at an older state.
    let mut back = pair.source.follow(&pair.copy, &pair.clock).unwrap();
    assert_eq!(back.relation().unwrap(), Relation::Behind);
    whole(&mut *back);
    assert_eq!(pair.numbers(&pair.source), [1, 3, 4, 5]);
}

#[test]
fn a_source_that_could_not_be_told_of_its_successor_is_not_taken_for_the_newer_one() {
    let pair = Pair::new();
    let mut follower = pair.follower();
    follower.begin().unwrap();
    let reached = pair.add(1);
    whole(&mut *follower);
    pair.add(2);
    let since = follower.take_over(reached).unwrap();
    drop(follower);
    // Comes back, and is written by somebody who does not know.
    let pair = pair.again();
    pair.add(3);
    let mut follower = pair.follower();
    assert_eq!(follower.relation().unwrap(), Relation::TookOver { since, reached });
    follower.copy(16, &mut |_| true).unwrap_err();
    follower.fence().unwrap();
    pair.write(&pair.source, "INSERT INTO t VALUES (4)").unwrap_err();
    assert_eq!((pair.numbers(&pair.source), pair.numbers(&pair.copy)), (vec![1, 2, 3], vec![1]));
    let mut back = pair.source.follow(&pair.copy, &pair.clock).unwrap();
    assert!(matches!(back.relation().unwrap(), Relation::Foreign(_)), "its own rows would be lost");
}

#[test]
fn a_copy_of_a_copy_that_took_over_is_not_taken_for_that_one() {
    let pair = Pair::new();
    let mut follower = pair.follower();
    follower.begin().unwrap();
    let reached = pair.add(1);
    whole(&mut *follower);
    follower.take_over(reached).unwrap();
    let third = Sqlite::open(pair.path("third.db"));
    let mut of_copy = third.follow(&pair.copy, &pair.clock).unwrap();
    whole(&mut *of_copy);
    assert_eq!(of_copy.relation().unwrap(), Relation::Behind);
    let mut of_source = third.follow(&pair.source, &pair.clock).unwrap();
    let relation = of_source.relation().unwrap();
    assert!(matches!(&relation, Relation::Ahead(why) if why.contains("copy.db")), "{relation:?}");
    of_source.copy(16, &mut |_| true).unwrap_err();
    // It can take over in its turn.
    let since = of_copy.take_over(reached).unwrap();
    assert_eq!(
        (since.epoch, of_source.relation().unwrap()),
        (2, Relation::TookOver { since, reached: Position { epoch: 1, ..reached } })
    );
}
