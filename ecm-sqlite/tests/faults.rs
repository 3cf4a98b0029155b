//! What becomes of reads and writes when the disk fails.

mod support;

use ecm_core::{
    Backend, CheckIn, Clock, Commit, Connection, Durability, Error, FaultKind, Kind, Loan, SystemClock, Time, Transact,
    Written, WrittenRows,
};
use ecm_sqlite::{
    Db, Sqlite, SqliteConfig, SqliteConnection, Synchronous, rusqlite,
    testing::{FaultyDisk, Harm, Operation, Stored},
};
use std::{fs, sync::Arc, time::Duration};
use support::{Place, begin, done, read, seen, write};

/// A place on a disk that can be made to fail, with rows 1 to 3.
fn place() -> (FaultyDisk, Place) {
    place_with(SqliteConfig { busy_timeout: Duration::from_millis(20), ..SqliteConfig::default() })
}

fn place_with(config: SqliteConfig) -> (FaultyDisk, Place) {
    let disk = FaultyDisk::new();
    let folder = tempfile::tempdir().unwrap();
    let database = Sqlite::open(folder.path().join("test.db")).config(config).vfs(disk.name());
    let place = Place { folder, database, clock: Arc::new(SystemClock::new()) };
    write(&mut place.writer(), |tx| {
        tx.execute_batch("create table t(id integer primary key, v); insert into t values (1, 1), (2, 2), (3, 3)")
            .unwrap();
    });
    (disk, place)
}

fn count(db: &Db) -> rusqlite::Result<i64> {
    db.query_row("select count(*) from t", [], |row| row.get(0))
}

fn insert(writer: &mut SqliteConnection, id: i64) -> Result<(), Error> {
    begin(writer);
    let ran = writer.tx().execute("insert into t values (?1, zeroblob(3000))", [id]);
    match ran {
        Ok(_) => match writer.commit() {
            Commit::Done(_) => Ok(()),
            Commit::RolledBack(failure) => Err(seen(failure)),
            Commit::Unknown(failure) => panic!("unknown: {failure}"),
        },
        Err(error) => {
            writer.roll_back().unwrap();
            Err(seen(error.into()))
        }
    }
}

fn fault(error: &Error) -> Option<FaultKind> {
    error.fault().map(|fault| fault.kind)
}

#[test]
fn a_disk_that_works_changes_nothing() {
    let (disk, place) = place();
    let mut writer = place.writer();
    insert(&mut writer, 4).unwrap();
    assert_eq!(writer.check_in(), CheckIn::Clean);
    let mut reader = support::held(&place);
    assert_eq!(read(&mut reader, count), Ok(4));
    place.stranger().execute("insert into t values (5, 5)", []).unwrap();
    assert_eq!(read(&mut reader, count), Ok(5), "a program that uses the real disk is seen");
    assert_eq!(place.rows(), [1, 2, 3, 4, 5]);
    for operation in [Operation::Read, Operation::Write, Operation::ShareMemory, Operation::LockMemory] {
        assert!(disk.count(operation) > 0, "{operation:?}");
    }
}

#[test]
fn reads_go_on_while_the_disk_is_full_and_writes_fail_as_such_and_work_again_afterwards() {
    let (disk, place) = place();
    let (mut writer, mut reader) = (place.writer(), place.reader());
    for round in 0..3 {
        disk.fill();
        for _ in 0..3 {
            let error = insert(&mut writer, 10 + round).unwrap_err();
            assert_eq!(fault(&error), Some(FaultKind::Full), "{error}");
            assert_eq!(writer.check_in(), CheckIn::Clean);
            assert_eq!(read(&mut reader, count), Ok(3 + round));
        }
        disk.heal();
        insert(&mut writer, 10 + round).unwrap();
        assert_eq!(writer.check_in(), CheckIn::Clean);
        assert_eq!(read(&mut reader, count), Ok(4 + round));
    }
}

#[test]
fn a_disk_that_fails_while_the_rows_of_a_commit_are_looked_up_leaves_its_outcome_known() {
    for asked_before in [true, false] {
        // So small a cache that the schema, which is asked what rows can be told apart, has to be read again.
        let config = SqliteConfig { cache_size: 1024, mmap_size: 0, ..SqliteConfig::default() };
        let (disk, place) = place_with(config);
        place.database.follow_rows(true);
        let mut writer = place.writer();
        let schema: String = (0..300).map(|number| format!("create table t{number}(a, b, c);")).collect();
        write(&mut writer, |tx| tx.execute_batch(&schema).unwrap());
        write(&mut writer, |tx| tx.execute_batch("insert into t values (4, 4)").unwrap());
        let written = writer.written();
        assert!(matches!(&written, Written::Tables(tables) if tables[0].rows == WrittenRows::Only([4].into())));
        write(&mut writer, |tx| tx.execute_batch("alter table t add column w").unwrap());
        begin(&mut writer);
        writer.tx().execute_batch("insert into t(id) values (5)").unwrap();
        disk.harm(Operation::Read, Harm::Error);
        if asked_before {
            let Written::Tables(tables) = writer.writing() else { panic!("one table") };
            assert_eq!(tables[0].rows, WrittenRows::Any);
        }
        let outcome = writer.commit();
        assert!(disk.struck() > 0);
        disk.heal();
        match outcome {
            Commit::Done(_) => assert_eq!(place.rows(), [1, 2, 3, 4, 5]),
            Commit::RolledBack(_) => assert_eq!(place.rows(), [1, 2, 3, 4]),
            Commit::Unknown(failure) => panic!("nothing had reached the disk: {failure}"),
        }
        if writer.check_in() == CheckIn::Discard {
            writer = place.writer();
        }
        write(&mut writer, |tx| tx.execute_batch("insert into t(id) values (6)").unwrap());
        assert!(place.rows().ends_with(&[6]));
    }
}

#[test]
fn a_commit_whose_pages_cannot_be_written_is_never_called_done_and_is_whole_or_absent() {
    for harm in [Harm::Error, Harm::Short] {
        // Each write of the commit in turn fails.
        for spared in 0..20 {
            let (disk, place) = place();
            let mut writer = place.writer();
            begin(&mut writer);
            writer.tx().execute_batch("insert into t values (4, zeroblob(9000)); insert into t values (5, 5)").unwrap();
            disk.harm(Operation::Write, harm).on(Stored::Log).after(spared).times(1);
            let outcome = writer.commit();
            let known = matches!(outcome, Commit::Done(_));
            let discarded = writer.check_in() == CheckIn::Discard;
            disk.heal();
            drop(writer);
            let rows = place.rows();
            match outcome {
                Commit::Done(_) => assert_eq!(rows, [1, 2, 3, 4, 5]),
                Commit::RolledBack(failure) => assert_eq!(rows, [1, 2, 3], "{failure}"),
                Commit::Unknown(failure) => {
                    assert_eq!(fault(&seen(failure)), Some(FaultKind::Storage));
                    assert!(discarded, "what it keeps in memory may differ from what is stored");
                    assert!(rows == [1, 2, 3] || rows == [1, 2, 3, 4, 5], "{rows:?}");
                }
            }
            assert!(spared != 0 || !known, "the first write of a commit was needed");
            assert!(spared != 19 || known, "every write of the commit was reached");
        }
    }
}

/// Commits a row on a disk whose next syncs of the log fail, so many of them.
fn commit_where_syncs_fail(disk: &FaultyDisk, place: &Place, times: u64) -> Commit {
    let mut writer = place.writer();
    writer.check_out(Loan::Write).unwrap();
    writer.begin(Durability::Synced).unwrap();
    writer.tx().execute("insert into t values (4, 4)", []).unwrap();
    disk.harm(Operation::Sync, Harm::Error).on(Stored::Log).times(times);
    let outcome = writer.commit();
    assert_eq!(writer.check_in(), CheckIn::Discard);
    outcome
}

#[test]
fn a_sync_that_fails_leaves_it_unknown_whether_the_commit_is_there_while_the_disk_fails() {
    let (disk, place) = place();
    let outcome = commit_where_syncs_fail(&disk, &place, 2);
    let Commit::Unknown(failure) = outcome else { panic!("{outcome:?}") };
    assert_eq!(fault(&seen(failure)), Some(FaultKind::Storage));
    let mut writer = place.writer();
    insert(&mut writer, 5).unwrap();
}

#[test]
fn a_commit_whose_sync_has_failed_is_displaced_and_never_comes_to_light() {
    let (disk, place) = place();
    let keeps = place.reader();
    let outcome = commit_where_syncs_fail(&disk, &place, 1);
    let Commit::RolledBack(failure) = outcome else { panic!("{outcome:?}") };
    assert_eq!(fault(&seen(failure)), Some(FaultKind::Storage));
    let there = |place: &Place| read(&mut place.reader(), |db| count(db).unwrap());
    assert_eq!(there(&place), 3);
    // What a process that is killed leaves: its log, and no index of it.
    let folder = tempfile::tempdir().unwrap();
    let copy = |extension: &str| {
        let name = place.path().with_extension(extension);
        std::fs::copy(&name, folder.path().join(name.file_name().unwrap())).unwrap();
    };
    copy("db");
    copy("db-wal");
    let recovered = rusqlite::Connection::open(folder.path().join(place.path().file_name().unwrap())).unwrap();
    assert_eq!(recovered.query_row("select count(*) from t", [], |row| row.get(0)), Ok(3_i64));
    drop(keeps);
}

#[test]
fn what_somebody_else_commits_after_a_failed_commit_is_never_overwritten() {
    let (disk, place) = place();
    let stranger = place.stranger();
    let mut writer = place.writer();
    writer.check_out(Loan::Write).unwrap();
    writer.begin(Durability::Synced).unwrap();
    writer.tx().execute("insert into t values (4, 4)", []).unwrap();
    disk.harm(Operation::Sync, Harm::Error).on(Stored::Log).times(1);
    // Comes between the failed commit and the look at the header.
    stranger.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    std::thread::scope(|scope| {
        let (locked, waits) = std::sync::mpsc::channel();
        scope.spawn(move || {
            locked.send(()).unwrap();
            stranger.execute_batch("insert into t values (9, 9)").unwrap();
        });
        waits.recv().unwrap();
        let outcome = writer.commit();
        assert!(matches!(outcome, Commit::Unknown(_) | Commit::RolledBack(_)), "{outcome:?}");
    });
    writer.check_in();
    drop(writer);
    let rows = read(&mut place.reader(), |db| count(db).unwrap());
    assert_eq!(rows, 4, "what the other has committed is there, and is never overwritten");
}

#[test]
fn a_delayed_disk_only_takes_longer() {
    let (disk, place) = place();
    disk.harm(Operation::Write, Harm::Delay(Duration::from_millis(1))).times(3);
    let mut writer = place.writer();
    insert(&mut writer, 4).unwrap();
    assert_eq!(place.rows(), [1, 2, 3, 4]);
}

#[test]
fn a_read_that_fails_ends_the_held_transaction_and_the_next_loan_sees_the_present() {
    for harm in [Harm::Error, Harm::Short] {
        // A cache of no pages, so that every loan reads from the disk.
        let (disk, place) = place_with(SqliteConfig { cache_size: 0, ..SqliteConfig::default() });
        let mut filler = place.writer();
        write(&mut filler, |tx| {
            let fill = "with recursive n(x) as (select 10 union all select x + 1 from n where x < 2000)
                        insert into t select x, zeroblob(200) from n";
            tx.execute_batch(fill).unwrap();
        });
        let sum = |db: &Db| db.query_row("select sum(length(v)) from t", [], |row| row.get::<_, i64>(0));
        let mut reader = support::held(&place);
        let whole = read(&mut reader, sum).unwrap();
        disk.harm(Operation::Read, harm).after(3).times(1);
        reader.check_out(Loan::Read).unwrap();
        let error = seen(sum(reader.db()).unwrap_err().into());
        assert!(matches!(fault(&error), Some(FaultKind::Storage | FaultKind::Corrupt)), "{error}");
        let after = sum(reader.db());
        assert_eq!(reader.check_in(), CheckIn::Clean, "{after:?}");
        disk.heal();
        for more in 0..10 {
            assert_eq!(read(&mut reader, sum), Ok(whole + more));
            write(&mut filler, |tx| tx.execute("insert into t values (null, 'x')", []).unwrap());
        }
    }
}

#[test]
fn shared_memory_that_fails_is_an_error_of_the_loan_and_not_of_the_next() {
    for operation in [Operation::LockMemory, Operation::ShareMemory] {
        let (disk, place) = place();
        let mut reader = place.kept_reader();
        disk.harm(operation, Harm::Error).times(1);
        for _ in 0..10 {
            let lent = reader.check_out(Loan::Read);
            let _either = lent.map(|()| count(reader.db()));
            assert_eq!(reader.check_in(), CheckIn::Clean);
        }
        disk.heal();
        place.stranger().execute("insert into t values (4, 4)", []).unwrap();
        assert_eq!(read(&mut reader, count), Ok(4));
    }
}

#[test]
fn a_connection_that_cannot_be_opened_says_which_file_and_works_later() {
    let (disk, place) = place();
    for operation in [Operation::Read, Operation::ShareMemory] {
        disk.harm(operation, Harm::Error);
        let failure = ecm_core::Backend::connect(&place.database, ecm_core::Access::Read, &place.clock).unwrap_err();
        let error = seen(failure);
        assert_eq!(fault(&error), Some(FaultKind::Storage), "{error}");
        assert!(error.to_string().contains("test.db"), "{error}");
        disk.heal();
        assert_eq!(read(&mut place.reader(), count), Ok(3));
    }
}

#[test]
fn a_file_system_that_sqlite_does_not_know_is_an_error_of_opening() {
    let place = Place::new();
    let database = place.database.clone().vfs("no such thing");
    let error = seen(ecm_core::Backend::connect(&database, ecm_core::Access::Read, &place.clock).unwrap_err());
    assert!(matches!(error.kind(), Kind::Fault(_)) && error.to_string().contains("no such thing"), "{error}");
}

/// The rows that are left when the power is lost after so many syncs, and how many were acknowledged
/// before.
fn after_a_loss_of_power(synchronous: Synchronous, syncs: u64) -> (Vec<i64>, i64) {
    let disk = FaultyDisk::new();
    disk.keep_synced();
    let folder = tempfile::tempdir().unwrap();
    let config = SqliteConfig { synchronous, wal_autocheckpoint: 7, ..SqliteConfig::default() };
    let database = Sqlite::open(folder.path().join("test.db")).config(config).vfs(disk.name());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut writer = ecm_core::Backend::connect(&database, ecm_core::Access::Write, &clock).unwrap();
    write(&mut writer, |tx| tx.execute_batch("create table t(id integer primary key, v)").unwrap());
    disk.cut_power_after(syncs);
    let mut acknowledged = 0;
    for id in 1..=40 {
        begin(&mut writer);
        writer.tx().execute("insert into t values (?1, zeroblob(2000))", [id]).unwrap();
        writer.tx().execute("insert into t values (?1, zeroblob(2000))", [1000 + id]).unwrap();
        done(writer.commit());
        assert_eq!(writer.check_in(), CheckIn::Clean);
        if !disk.has_lost_power() {
            acknowledged = id;
        }
    }
    let survived = tempfile::tempdir().unwrap();
    disk.survivors(survived.path()).unwrap();
    let connection = rusqlite::Connection::open(survived.path().join("test.db")).unwrap();
    let check: String = connection.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok", "after {syncs} syncs");
    let created: bool = connection.query_row("select count(*) from sqlite_schema", [], |row| row.get(0)).unwrap();
    (if created { support::ids(&connection) } else { Vec::new() }, acknowledged)
}

#[test]
fn nothing_that_was_acknowledged_as_synced_is_lost_with_the_power() {
    for syncs in 0..60 {
        let (rows, acknowledged) = after_a_loss_of_power(Synchronous::Full, syncs);
        let transactions = i64::try_from(rows.len() / 2).unwrap();
        assert!(transactions >= acknowledged, "{acknowledged} were acknowledged, after {syncs} syncs: {rows:?}");
        let whole: Vec<i64> = (1..=transactions).chain(1001..=1000 + transactions).collect();
        assert_eq!(rows, whole, "half of a transaction, after {syncs} syncs");
    }
}

#[test]
fn a_loss_of_power_leaves_whole_transactions_in_order_where_commits_are_not_synced() {
    for syncs in 0..20 {
        let (rows, _) = after_a_loss_of_power(Synchronous::Normal, syncs);
        let transactions = i64::try_from(rows.len() / 2).unwrap();
        let whole: Vec<i64> = (1..=transactions).chain(1001..=1000 + transactions).collect();
        assert_eq!(rows, whole, "after {syncs} syncs");
    }
}

#[test]
fn a_loss_of_power_does_lose_what_was_not_synced() {
    let (rows, _) = after_a_loss_of_power(Synchronous::Normal, 2);
    assert!(rows.len() < 80, "the disk forgot nothing: {rows:?}");
}

#[test]
fn an_open_file_survives_as_it_was() {
    let disk = FaultyDisk::new();
    disk.keep_synced();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("create table t(id)").unwrap();
    let content = fs::read(&path).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let database = Sqlite::open(&path).vfs(disk.name());
    let mut reader = ecm_core::Backend::connect(&database, ecm_core::Access::Read, &clock).unwrap();
    reader.idle(Time::START);
    let survived = tempfile::tempdir().unwrap();
    disk.survivors(survived.path()).unwrap();
    assert_eq!(fs::read(survived.path().join("a.db")).unwrap(), content);
}

#[test]
fn a_checkpoint_that_fails_after_a_commit_does_not_undo_it() {
    let (disk, place) = place_with(SqliteConfig { wal_autocheckpoint: 1, ..SqliteConfig::default() });
    let mut writer = place.writer();
    insert(&mut writer, 4).unwrap();
    assert_eq!(writer.check_in(), CheckIn::Clean);
    for operation in [Operation::Sync, Operation::Write] {
        disk.harm(operation, Harm::Error).on(Stored::Database);
    }
    insert(&mut writer, 5).unwrap();
    assert_eq!(writer.check_in(), CheckIn::Clean);
    assert_eq!(read(&mut place.reader(), count), Ok(5));
    disk.heal();
    insert(&mut writer, 6).unwrap();
    assert_eq!(writer.check_in(), CheckIn::Clean);
    assert_eq!(place.rows(), [1, 2, 3, 4, 5, 6]);
}
