//! Who keeps the log short: when, beside whom, and what becomes of it when somebody or the disk is in the
//! way.

mod support;

use ecm_core::{
    Access, Backend, CheckIn, Clock, Connection, Loan, LogObserver, LogStatus, OldestLoan, Pinned, testing::TestClock,
};
use ecm_sqlite::{
    JournalMode, Sqlite, SqliteConfig, SqliteConnection, rusqlite,
    testing::{FaultyDisk, Harm, Operation, Stored},
};
use std::{
    fs,
    panic::Location,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};
use support::{Place, read, write};

const THRESHOLD: u32 = 200;

fn config(wal_autocheckpoint: u32) -> SqliteConfig {
    SqliteConfig { wal_autocheckpoint, ..SqliteConfig::default() }
}

fn insert(writer: &mut SqliteConnection) {
    write(writer, |tx| tx.execute("insert into t(v) values (zeroblob(2000))", []).unwrap());
}

fn count(reader: &mut SqliteConnection) -> i64 {
    read(reader, |db| db.query_row("select count(*) from t", [], |row| row.get(0)).unwrap())
}

fn log(place: &Place) -> LogStatus {
    place.database.log().expect("it has a log, and somebody writes it")
}

/// Waits for what another thread does; fails when it has not for very long.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Remembers what is told of the log, and answers with the loan that a test gives it.
#[derive(Debug, Default)]
struct Told {
    loan: Mutex<Option<OldestLoan>>,
    pinned: Mutex<Vec<(Pinned, u64)>>,
    failed: Mutex<Vec<(String, Duration)>>,
}

impl LogObserver for Told {
    fn oldest_loan(&self) -> Option<OldestLoan> {
        *self.loan.lock().unwrap()
    }

    fn pinned(&self, by: &Pinned, frames: u64) {
        self.pinned.lock().unwrap().push((by.clone(), frames));
    }

    fn checkpoint_failed(&self, error: &str, pause: Duration) {
        self.failed.lock().unwrap().push((error.into(), pause));
    }
}

fn observed(place: &Place) -> Arc<Told> {
    let told = Arc::new(Told::default());
    let weak: Weak<Told> = Arc::downgrade(&told);
    place.database.observe_log(weak);
    told
}

/// A database on this disk, whose log is to be short.
fn on(disk: &FaultyDisk, clock: &TestClock) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let database = Sqlite::open(folder.path().join("test.db")).config(config(20)).vfs(disk.name());
    Place { folder, database, clock: Arc::new(clock.clone()) }
}

#[test]
fn a_commit_moves_nothing_and_another_thread_moves_it_all_once_the_log_is_long_enough() {
    let clock = TestClock::new();
    let place = Place::at(config(20), Arc::new(clock));
    let mut writer = place.writer();
    while log(&place).frames < 18 {
        insert(&mut writer);
    }
    let before = log(&place);
    assert_eq!((before.backfilled, before.checkpoints, before.threshold), (0, 0, 20));
    while log(&place).checkpoints == 0 && log(&place).frames < 20 {
        insert(&mut writer);
    }
    until("the log is whole in the file", || {
        let log = log(&place);
        log.checkpoints > 0 && log.backfilled == log.frames
    });
    insert(&mut writer);
    let after = log(&place);
    assert!(after.frames < 10 && after.failures == 0 && after.pinned.is_none(), "it is begun anew: {after:?}");
    let pragma: i64 = place.reader().db().query_row("pragma wal_autocheckpoint", [], |row| row.get(0)).unwrap();
    assert_eq!(pragma, 0, "SQLite does nothing by itself");
}

#[test]
fn under_eight_readers_that_never_pause_the_log_stays_below_twice_its_threshold() {
    let place = Place::with(config(THRESHOLD));
    let (over, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut longest = 0;
    let mut writer = place.writer();
    (0..200).for_each(|_| insert(&mut writer));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut reader = place.kept_reader();
                while !over.load(SeqCst) {
                    read(&mut reader, |db| {
                        db.query_row("select v from t where id = 7", [], |_| Ok(())).unwrap();
                    });
                    reads.fetch_add(1, SeqCst);
                }
            });
        }
        for _ in 0..3_000 {
            insert(&mut writer);
            longest = longest.max(log(&place).frames);
        }
        over.store(true, SeqCst);
    });
    assert!(longest < u64::from(2 * THRESHOLD), "{longest} frames, with a threshold of {THRESHOLD}");
    assert!(longest >= u64::from(THRESHOLD) && reads.load(SeqCst) > 100, "nothing was shown: {longest} frames");
    assert_eq!(count(&mut place.reader()), 3_200);
}

#[test]
fn who_pins_the_log_is_named_once_and_when_it_has_gone_the_log_is_emptied() {
    let clock = TestClock::new();
    let place = Place::at(config(20), Arc::new(clock.clone()));
    let told = observed(&place);
    let mut writer = place.writer();
    let mut reader = place.reader();
    reader.check_out(Loan::Read).unwrap();
    let rows: i64 = reader.db().query_row("select count(*) from t", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
    let here = Location::caller();
    let since = clock.now();
    (0..30).for_each(|_| insert(&mut writer));
    until("it is told who pins the log", || {
        // As old as it will be, before anybody can ask.
        let age = clock.now().since(since) + Duration::from_millis(20);
        *told.loan.lock().unwrap() = Some(OldestLoan { location: Some(here), age });
        clock.advance(Duration::from_millis(20));
        !told.pinned.lock().unwrap().is_empty()
    });
    let status = log(&place).pinned.expect("it is in the status too");
    assert_eq!(status.location, Some(here));
    // A loan that is younger than the trouble did not make it.
    *told.loan.lock().unwrap() = Some(OldestLoan { location: Some(here), age: Duration::ZERO });
    assert_eq!(log(&place).pinned.map(|pinned| pinned.location), Some(None));
    let frames = log(&place).frames;
    insert(&mut writer);
    assert!(log(&place).frames > frames, "callers are not affected, and the log grows");
    assert_eq!(reader.check_in(), CheckIn::Clean);
    until("the log is emptied", || {
        clock.advance(Duration::from_secs(1));
        insert(&mut writer);
        log(&place).frames < 20
    });
    until("nobody pins it any more", || {
        clock.advance(Duration::from_secs(1));
        log(&place).pinned.is_none()
    });
    let told = told.pinned.lock().unwrap();
    let (by, frames) = &told[0];
    assert_eq!((told.len(), by.location), (1, Some(here)), "{told:?}");
    assert!(*frames >= 20 && by.age >= Duration::from_secs(1), "{told:?}");
}

#[test]
fn a_disk_that_fails_in_a_checkpoint_is_told_tried_again_ever_more_rarely_and_loses_nothing() {
    for harm in [Harm::Error, Harm::Full, Harm::Short] {
        for operation in [Operation::Write, Operation::Sync] {
            if operation == Operation::Sync && !matches!(harm, Harm::Error) {
                continue;
            }
            let clock = TestClock::new();
            let disk = FaultyDisk::new();
            let place = on(&disk, &clock);
            let mut writer = place.writer();
            write(&mut writer, |tx| tx.execute_batch("create table t(id integer primary key, v)").unwrap());
            let told = observed(&place);
            disk.harm(operation, harm).on(Stored::Database);
            (0..20).for_each(|_| insert(&mut writer));
            until("three attempts have failed", || {
                clock.advance(Duration::from_millis(10));
                told.failed.lock().unwrap().len() >= 3
            });
            insert(&mut writer);
            assert_eq!(count(&mut place.reader()), 21, "callers are not affected");
            let status = log(&place);
            assert!(status.failures >= 3 && status.last_failure.is_some() && status.backfilled < status.frames);
            disk.heal();
            until("the log is whole in the file", || {
                clock.advance(Duration::from_secs(5));
                let log = log(&place);
                log.last_failure.is_none() && log.backfilled == log.frames
            });
            let pauses: Vec<_> =
                told.failed.lock().unwrap().iter().take(3).map(|(_, pause)| pause.as_millis()).collect();
            assert_eq!(pauses, [10, 20, 40]);
            assert_eq!(place.rows().len(), 21);
            let stranger = place.stranger();
            let check: String = stranger.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
            assert_eq!(check, "ok");
        }
    }
}

#[test]
fn while_frames_are_moved_no_reader_holds_a_snapshot() {
    let clock = TestClock::new();
    let mut was_seen = false;
    for _attempt in 0..20 {
        let disk = FaultyDisk::new();
        let place = on(&disk, &clock);
        let mut writer = place.writer();
        write(&mut writer, |tx| tx.execute_batch("create table t(id integer primary key, v)").unwrap());
        let mut reader = place.kept_reader();
        (0..8).for_each(|_| _ = count(&mut reader));
        assert!(reader.idle(clock.now()).is_some(), "nothing is in the way of holding one");
        // The log is synced before any frame is moved; those who commit do not wait for that.
        disk.harm(Operation::Sync, Harm::Delay(Duration::from_millis(300))).on(Stored::Log);
        while log(&place).frames < 20 {
            insert(&mut writer);
        }
        until("frames are being moved", || disk.struck() > 0);
        (0..8).for_each(|_| _ = count(&mut reader));
        let is_held = reader.idle(clock.now()).is_some();
        // Else the machine was so slow that they are not being moved any more.
        if log(&place).checkpoints == 0 {
            assert!(!is_held);
            was_seen = true;
            disk.heal();
            until("all are moved", || log(&place).checkpoints > 0);
            until("one is held again", || {
                (0..8).for_each(|_| _ = count(&mut reader));
                reader.idle(clock.now()).is_some()
            });
            break;
        }
    }
    assert!(was_seen, "in none of 20 attempts a reader was quick enough");
}

#[test]
fn what_has_no_log_has_no_governor() {
    let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
    let memory = Sqlite::memory();
    let mut writer = memory.connect(Access::Write, &clock).unwrap();
    write(&mut writer, |tx| tx.execute_batch("create table t(id integer primary key, v)").unwrap());
    insert(&mut writer);
    assert_eq!(memory.log(), None);

    let journal = SqliteConfig { journal_mode: JournalMode::Delete, ..config(1) };
    let place = Place::with(journal);
    insert(&mut place.writer());
    assert_eq!(place.database.log(), None);

    let place = Place::with(config(1));
    let only_read = Sqlite::open(place.path()).config(config(1));
    let mut reader = only_read.connect(Access::Read, &clock).unwrap();
    assert_eq!((count(&mut reader), only_read.log()), (0, None));
}

#[test]
fn with_a_threshold_of_zero_somebody_else_has_to_do_it() {
    let place = Place::with(config(0));
    let mut writer = place.writer();
    (0..500).for_each(|_| insert(&mut writer));
    let log = log(&place);
    assert!(log.frames >= 500 && log.backfilled == 0 && log.checkpoints == 0 && log.threshold == 0, "{log:?}");
}

#[test]
fn the_last_connection_leaves_nothing_in_the_log_also_where_it_only_reads() {
    for reader_last in [false, true] {
        let place = Place::with(config(1_000));
        let (mut writer, mut reader) = (place.writer(), place.reader());
        (0..20).for_each(|_| insert(&mut writer));
        assert_eq!(count(&mut reader), 20);
        if reader_last {
            drop(writer);
            drop(reader);
        } else {
            drop(reader);
            drop(writer);
        }
        let wal = place.folder.path().join("test.db-wal");
        assert!(!wal.exists(), "the reader last: {reader_last}; {} bytes are left", fs::metadata(&wal).unwrap().len());
        assert_eq!(place.rows().len(), 20);
    }
}

#[test]
fn after_the_last_connection_what_others_still_have_open_is_in_the_file_too() {
    let place = Place::with(config(1_000));
    let stranger = place.stranger();
    let held: i64 = stranger.query_row("select count(*) from t", [], |row| row.get(0)).unwrap();
    let mut writer = place.writer();
    (0..20).for_each(|_| insert(&mut writer));
    drop(writer);
    let frames = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
    let (log, in_file) = stranger.query_row("pragma wal_checkpoint(noop)", [], frames).unwrap();
    assert!(log > 0 && log == in_file, "{in_file} of {log}");
    assert_eq!((held, support::ids(&stranger).len()), (0, 20));
}

#[test]
fn the_worker_ends_with_the_last_connection_also_in_the_middle_of_a_pause() {
    let clock = TestClock::new();
    let place = Place::at(config(20), Arc::new(clock.clone()));
    let stranger = place.stranger();
    stranger.execute_batch("begin; select count(*) from t").unwrap();
    let mut writer = place.writer();
    (0..30).for_each(|_| insert(&mut writer));
    // Nobody moves the clock: the pause lasts for ever.
    clock.wait_for_alarms(1);
    drop(writer);
    assert_eq!(clock.alarms(), 0, "the worker has gone, and its alarm with it");
    drop(stranger);
    assert_eq!(count(&mut place.reader()), 30);
}

/// Lets go of the last connection when it is told something.
#[derive(Debug)]
struct Leaves(Mutex<Option<SqliteConnection>>, AtomicBool);

impl LogObserver for Leaves {
    fn oldest_loan(&self) -> Option<OldestLoan> {
        None
    }

    fn pinned(&self, _by: &Pinned, _frames: u64) {}

    fn checkpoint_failed(&self, _error: &str, _pause: Duration) {
        drop(self.0.lock().unwrap().take());
        self.1.store(true, SeqCst);
    }
}

#[test]
fn the_last_connection_may_go_on_the_thread_that_checkpoints() {
    let disk = FaultyDisk::new();
    let folder = tempfile::tempdir().unwrap();
    let database = Sqlite::open(folder.path().join("test.db")).config(config(20)).vfs(disk.name());
    let place = Place { folder, database, clock: Arc::new(TestClock::new()) };
    let mut writer = place.writer();
    write(&mut writer, |tx| tx.execute_batch("create table t(id integer primary key, v)").unwrap());
    let leaves = Arc::new(Leaves(Mutex::new(None), AtomicBool::new(false)));
    let weak: Weak<Leaves> = Arc::downgrade(&leaves);
    place.database.observe_log(weak);
    (0..9).for_each(|_| insert(&mut writer));
    disk.harm(Operation::Write, Harm::Error).on(Stored::Database).times(1);
    let mut held = leaves.0.lock().unwrap();
    (0..9).for_each(|_| insert(&mut writer));
    *held = Some(writer);
    drop(held);
    until("it has gone", || leaves.1.load(SeqCst));
    until("nothing is left in the log", || !place.folder.path().join("test.db-wal").exists());
    assert_eq!(place.rows().len(), 18);
}

#[test]
fn others_who_checkpoint_the_same_file_are_no_failure() {
    let place = Place::with(config(20));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let stranger = place.stranger();
            stranger.pragma_update(None, "wal_autocheckpoint", 5).unwrap();
            let mut number = 0;
            while !over.load(SeqCst) {
                let mode = ["passive", "full", "restart", "truncate"][number % 4];
                number += 1;
                // Somebody may stand in the way: then it has not been done.
                let _either = stranger.query_row(&format!("pragma wal_checkpoint({mode})"), [], |_| Ok(()));
                thread::yield_now();
            }
        });
        let mut writer = place.writer();
        (0..1_000).for_each(|_| insert(&mut writer));
        over.store(true, SeqCst);
    });
    let mut writer = place.writer();
    insert(&mut writer);
    assert_eq!((place.rows().len(), log(&place).failures, log(&place).last_failure), (1_001, 0, None));
}
