//! What cannot be opened, or not as asked, is one clear error and never another connection.

mod support;

use ecm_core::{Access, Backend, Clock, FaultKind, Kind, SystemClock, testing::TestClock};
use ecm_sqlite::{JournalMode, Sqlite, SqliteConfig, Synchronous, TempStore, rusqlite};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};
use support::{Place, read, seen, told, write};

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn refusal(database: &Sqlite, access: Access) -> (Kind, String) {
    told(database.connect(access, &clock()).expect_err("this must not open"))
}

#[test]
fn nothing_is_touched_until_a_connection_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.db");
    let database = Sqlite::open(&path);
    assert_eq!(database.path(), Some(&*path));
    assert!(!path.exists());
    let _writer = database.connect(Access::Write, &clock()).unwrap();
    assert!(path.exists());
}

#[test]
fn what_is_missing_is_named_and_not_created() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing.db");
    for (database, access) in [(Sqlite::open(&path), Access::Read), (Sqlite::open(&path).create(false), Access::Write)]
    {
        let (kind, message) = refusal(&database, access);
        assert_eq!(kind, Kind::Invalid);
        assert!(message.contains("missing.db") && message.contains("does not exist"), "{message}");
        assert!(!path.exists());
    }
    let deep = folder.path().join("no/such/folder/a.db");
    let (kind, message) = refusal(&Sqlite::open(&deep), Access::Write);
    assert_eq!(kind, Kind::Invalid);
    assert!(message.contains("a.db") && message.contains("folder"), "{message}");
}

#[test]
fn a_folder_an_empty_path_and_a_path_that_is_not_text_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (kind, message) = refusal(&Sqlite::open(folder.path()), Access::Write);
    assert!(kind == Kind::Invalid && message.contains("is a folder"), "{message}");
    let (kind, message) = refusal(&Sqlite::open(""), Access::Write);
    assert!(kind == Kind::Invalid && message.contains("empty") && message.contains("Sqlite::memory()"), "{message}");
    #[cfg(unix)]
    {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        let (kind, message) = refusal(&Sqlite::open(Path::new(OsStr::from_bytes(b"a\xff.db"))), Access::Write);
        assert!(kind == Kind::Invalid && message.contains("UTF-8"), "{message}");
    }
}

#[test]
fn a_file_that_is_not_a_database_is_found_out_by_opening_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter.txt");
    let letter = "Dear reader, this is a letter and not a database. ".repeat(100);
    fs::write(&path, &letter).unwrap();
    for access in [Access::Write, Access::Read] {
        let error = seen(Sqlite::open(&path).connect(access, &clock()).unwrap_err());
        assert_eq!(error.fault().map(|fault| (fault.kind, fault.code)), Some((FaultKind::Corrupt, 26)));
        assert!(error.to_string().contains("letter.txt"), "{error}");
        assert!(error.downcast::<rusqlite::Error>().is_ok());
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), letter);
}

#[test]
fn a_writer_is_never_silently_a_reader() {
    let place = Place::new();
    let uri = format!("file:{}?mode=ro", place.path().display());
    let (kind, message) = refusal(&Sqlite::open(uri.clone()), Access::Write);
    assert_eq!(kind, Kind::ReadOnly);
    assert!(message.contains("test.db") && message.contains("permissions"), "{message}");
    let mut reader = Sqlite::open(uri).connect(Access::Read, &clock()).unwrap();
    assert_eq!(read(&mut reader, |db| db.query_row("select count(*) from t", [], |row| row.get(0))), Ok(0));
}

#[test]
fn a_shared_cache_and_a_memory_uri_are_refused_when_opening() {
    let place = Place::new();
    let path = place.path();
    for parameter in ["cache=shared", "CACHE=SHARED", "c%61che=%73hared", "mode=memory"] {
        let uri = format!("file:{}?{parameter}", path.display());
        for access in [Access::Write, Access::Read] {
            let (kind, message) = refusal(&Sqlite::open(&uri), access);
            assert!(kind == Kind::Invalid && message.contains("Sqlite::memory()"), "{message}");
        }
    }
}

#[test]
fn an_odd_name_opens_the_very_file_of_that_name() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a?mode=memory", "b#c", "100%.db", "%41.db", "with space.db", "über.db", "q'uote\".db", ":memory"] {
        let database = Sqlite::open(folder.path().join(name));
        let mut writer = database.connect(Access::Write, &clock()).unwrap();
        write(&mut writer, |tx| tx.execute_batch("create table here(a)").unwrap());
        assert!(folder.path().join(name).is_file(), "{name}");
        let mut reader = database.connect(Access::Read, &clock()).unwrap();
        assert_eq!(read(&mut reader, |db| db.query_row("select count(*) from here", [], |row| row.get(0))), Ok(0));
    }
    assert!(!folder.path().join("A.db").exists());
}

#[test]
fn a_uri_opens_the_file_that_it_describes() {
    let folder = tempfile::tempdir().unwrap();
    let database = Sqlite::open(format!("file:{}/a%20b.db?mode=rwc", folder.path().display()));
    assert_eq!(database.path(), Some(&*folder.path().join("a b.db")));
    drop(database.connect(Access::Write, &clock()).unwrap());
    assert!(folder.path().join("a b.db").is_file());
}

#[test]
fn a_name_that_begins_like_a_uri_is_reached_by_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file:odd.db");
    drop(Sqlite::open(&path).connect(Access::Write, &clock()).unwrap());
    assert!(path.is_file());
}

#[test]
fn an_unacceptable_setting_is_an_error_of_opening_that_names_the_field() {
    let config = SqliteConfig { page_size: 1000, ..SqliteConfig::default() };
    let (kind, message) = refusal(&Sqlite::memory().config(config), Access::Write);
    assert!(kind == Kind::Invalid && message.contains("page_size = 1000"), "{message}");
}

#[test]
fn every_setting_is_in_force_on_a_new_file() {
    let config = SqliteConfig {
        journal_mode: JournalMode::Truncate,
        synchronous: Synchronous::Extra,
        cache_size: 1024 * 1024 + 1,
        temp_store: TempStore::File,
        mmap_size: 65_536,
        page_size: 8192,
        wal_autocheckpoint: 7,
        ..SqliteConfig::default()
    };
    let place = Place::with(config);
    for (pragma, writer, reader) in [
        ("synchronous", 3, 3),
        ("cache_size", -1025, -1025),
        ("temp_store", 1, 1),
        ("mmap_size", 65_536, 65_536),
        ("page_size", 8192, 8192),
        // The hook of a writer does it, in place of the one that this pragma installs and tells.
        ("wal_autocheckpoint", 0, 0),
        ("foreign_keys", 1, 1),
        ("query_only", 0, 1),
    ] {
        let ask = |db: &ecm_sqlite::Db| db.query_row(&format!("pragma {pragma}"), [], |row| row.get::<_, i64>(0));
        assert_eq!(read(&mut place.writer(), ask), Ok(writer), "{pragma}");
        assert_eq!(read(&mut place.reader(), ask), Ok(reader), "{pragma}");
    }
    let mode = |db: &ecm_sqlite::Db| db.query_row("pragma journal_mode", [], |row| row.get::<_, String>(0));
    assert_eq!(read(&mut place.writer(), mode).as_deref(), Ok("truncate"));
}

#[test]
fn an_existing_file_keeps_its_page_size() {
    let place = Place::new();
    let database = place.database.config(SqliteConfig { page_size: 16_384, ..SqliteConfig::default() });
    let mut writer = database.connect(Access::Write, &clock()).unwrap();
    assert_eq!(read(&mut writer, |db| db.query_row("pragma page_size", [], |row| row.get(0))), Ok(4096));
}

#[test]
fn a_journal_mode_that_cannot_be_had_is_an_error_after_the_wait() {
    let place = Place::new();
    let stranger = place.stranger();
    stranger.execute_batch("begin; select * from t").unwrap();
    // The clock stands still: the wait must end by itself.
    let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
    let config = SqliteConfig {
        journal_mode: JournalMode::Delete,
        busy_timeout: Duration::from_millis(5),
        ..SqliteConfig::default()
    };
    let error = seen(place.database.config(config).connect(Access::Write, &clock).unwrap_err());
    assert_eq!(error.fault().map(|fault| fault.kind), Some(FaultKind::Busy), "{error}");
    assert!(error.to_string().contains("journal_mode"), "{error}");
}

#[test]
fn eight_threads_open_a_new_file_at_once() {
    for _ in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let database = Sqlite::open(folder.path().join("raced.db"));
        let start = Barrier::new(8);
        thread::scope(|scope| {
            for number in 0..8 {
                let (database, start) = (&database, &start);
                scope.spawn(move || {
                    start.wait();
                    let mut writer = database.connect(Access::Write, &clock()).unwrap();
                    write(&mut writer, |tx| {
                        tx.execute_batch("create table if not exists t(id integer primary key)").unwrap();
                        tx.execute("insert into t values (?1)", [number]).unwrap();
                    });
                });
            }
        });
        let mut reader = database.connect(Access::Read, &clock()).unwrap();
        assert_eq!(read(&mut reader, |db| db.query_row("select count(*) from t", [], |row| row.get(0))), Ok(8));
    }
}

#[test]
fn it_says_where_it_is() {
    let path = PathBuf::from("/some/where.db");
    assert_eq!(Sqlite::open(&path).describe(), "/some/where.db");
    assert_eq!(Sqlite::open(":memory:").describe(), "memory");
    assert_eq!(Sqlite::memory().path(), None);
    assert!(format!("{:?}", Sqlite::open(&path)).contains("/some/where.db"));
    let place = Place::new();
    assert!(format!("{:?}", place.reader()).contains("test.db"));
}
