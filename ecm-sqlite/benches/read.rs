//! What a loan of a connection costs beside the driver used as everybody does: a statement from its
//! cache, in autocommit mode. Same file, same pragmas, same keys.

use criterion::{Criterion, criterion_group, criterion_main};
use ecm_core::{Access, Backend, Clock, Connection, Durability, Loan, SystemClock, Transact};
use ecm_sqlite::{Db, Sqlite, SqliteConnection, rusqlite};
use std::{hint::black_box, path::Path, sync::Arc};

const ROWS: i64 = 100_000;
const SQL: &str = "SELECT v FROM kv WHERE k = ?1";

fn fill(database: &Sqlite, clock: &Arc<dyn Clock>) {
    let mut writer = database.connect(Access::Write, clock).expect("a fresh file opens");
    writer.check_out(Loan::Write).expect("a fresh connection is at rest");
    writer.begin(Durability::Configured).expect("nobody else writes");
    writer.tx().execute_batch("CREATE TABLE kv (k INTEGER PRIMARY KEY, v TEXT NOT NULL)").expect("a new table");
    for k in 1..=ROWS {
        writer.tx().execute("INSERT INTO kv VALUES (?1, ?2)", (k, format!("{k:0>66}"))).expect("the row fits");
    }
    assert!(matches!(writer.commit(), ecm_core::Commit::Done(_)));
    writer.check_in();
}

fn plain(path: &Path) -> rusqlite::Connection {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let plain = rusqlite::Connection::open_with_flags(path, flags).expect("the file opens");
    plain
        .execute_batch("PRAGMA cache_size = -20000; PRAGMA mmap_size = 536870912; PRAGMA temp_store = MEMORY")
        .expect("pragmas");
    plain
}

fn keys() -> impl FnMut() -> i64 {
    let mut key = 0;
    move || {
        key = (key + 7_919) % ROWS;
        key + 1
    }
}

fn read_plain(plain: &rusqlite::Connection, key: i64) -> String {
    let mut statement = plain.prepare_cached(SQL).expect("the statement is right");
    statement.query_row([key], |row| row.get(0)).expect("the key is there")
}

fn read_db(db: &Db, key: i64) -> String {
    let mut statement = db.prepare_cached(SQL).expect("the statement is right");
    statement.query_row([key], |row| row.get(0)).expect("the key is there")
}

fn read_lent(reader: &mut SqliteConnection, key: i64) -> String {
    reader.check_out(Loan::Read).expect("at rest");
    let value = read_db(reader.db(), key);
    black_box(reader.check_in());
    value
}

fn point_reads(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder for the file");
    let path = folder.path().join("kv.db");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let database = Sqlite::open(&path);
    fill(&database, &clock);

    let mut group = criterion.benchmark_group("point read");
    let (bare, mut key) = (plain(&path), keys());
    group.bench_function("plain rusqlite, autocommit", |bencher| bencher.iter(|| read_plain(&bare, key())));
    let (mut reader, mut key) = (database.connect(Access::Read, &clock).expect("it opens"), keys());
    group.bench_function("lent, not held", |bencher| bencher.iter(|| read_lent(&mut reader, key())));
    group.finish();
}

criterion_group!(benches, point_reads);
criterion_main!(benches);
