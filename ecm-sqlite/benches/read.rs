//! What a loan of a connection costs beside the driver used as everybody does: a statement from its
//! cache, in autocommit mode. Same file, same pragmas, same keys.

use criterion::{Criterion, criterion_group, criterion_main};
use ecm_core::{Access, Backend, Clock, Connection, Durability, Loan, SystemClock, Transact};
use ecm_sqlite::{Db, Sqlite, SqliteConnection, rusqlite};
use std::{
    hint::black_box,
    path::Path,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

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

/// Runs `each` so often on two threads at once, with what `open` makes for each, and answers how long
/// that took.
fn on_two_threads<T: Send>(times: u64, open: impl Fn() -> T, each: impl Fn(&mut T, i64) -> String + Sync) -> Duration {
    let start = Barrier::new(3);
    let mut opened = [open(), open()];
    thread::scope(|scope| {
        for (number, mine) in opened.iter_mut().enumerate() {
            let (start, each) = (&start, &each);
            scope.spawn(move || {
                let mut key = keys();
                for _ in 0..number {
                    key();
                }
                start.wait();
                for _ in 0..times {
                    black_box(each(mine, key()));
                }
                start.wait();
            });
        }
        start.wait();
        let began = Instant::now();
        start.wait();
        began.elapsed()
    })
}

/// A writer that commits one row after the other, until this is dropped.
struct BusyWriter(Arc<AtomicBool>, Option<thread::JoinHandle<u64>>);

impl BusyWriter {
    fn start(database: &Sqlite, clock: &Arc<dyn Clock>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let mut writer = database.connect(Access::Write, clock).expect("it opens");
        let thread = thread::spawn(move || {
            let mut commits = 0_u64;
            while !seen.load(Ordering::Relaxed) {
                writer.check_out(Loan::Write).expect("at rest");
                writer.begin(Durability::Configured).expect("nobody else writes");
                let key = commits.cast_signed() % ROWS + 1;
                writer.tx().execute("UPDATE kv SET v = v WHERE k = ?1", [key]).expect("the row is there");
                assert!(matches!(writer.commit(), ecm_core::Commit::Done(_)));
                writer.check_in();
                commits += 1;
            }
            commits
        });
        Self(stop, Some(thread))
    }
}

impl Drop for BusyWriter {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        if let Some(thread) = self.1.take() {
            let _commits = thread.join();
        }
    }
}

fn point_reads(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder for the file");
    let path = folder.path().join("kv.db");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let database = Sqlite::open(&path);
    fill(&database, &clock);
    // Nothing is held for a database that no housekeeper looks after.
    let unkept = Sqlite::open(&path);
    let reader = |database: &Sqlite| database.connect(Access::Read, &clock).expect("it opens");
    reader(&database).idle(clock.now());

    let mut group = criterion.benchmark_group("point read");
    let (bare, mut key) = (plain(&path), keys());
    group.bench_function("plain rusqlite, autocommit", |bencher| bencher.iter(|| read_plain(&bare, key())));
    let (mut lent, mut key) = (reader(&unkept), keys());
    group.bench_function("lent, not held", |bencher| bencher.iter(|| read_lent(&mut lent, key())));
    let (mut lent, mut key) = (reader(&database), keys());
    group.bench_function("lent, held", |bencher| bencher.iter(|| read_lent(&mut lent, key())));
    bare.execute_batch("BEGIN").expect("at rest");
    group.bench_function("plain rusqlite, in one transaction", |bencher| bencher.iter(|| read_plain(&bare, key())));
    group.finish();

    let mut group = criterion.benchmark_group("loan alone");
    group.bench_function("not held", |bencher| {
        let mut lent = reader(&unkept);
        bencher.iter(|| (lent.check_out(Loan::Read).is_ok(), lent.check_in()));
    });
    group.bench_function("held", |bencher| {
        let mut lent = reader(&database);
        bencher.iter(|| (lent.check_out(Loan::Read).is_ok(), lent.check_in()));
    });
    group.finish();

    let mut group = criterion.benchmark_group("point read, two threads, both");
    group.bench_function("plain rusqlite, autocommit", |bencher| {
        bencher.iter_custom(|times| on_two_threads(times, || plain(&path), |bare, key| read_plain(bare, key)));
    });
    group.bench_function("lent, not held", |bencher| {
        bencher.iter_custom(|times| on_two_threads(times, || reader(&unkept), read_lent));
    });
    group.bench_function("lent, held", |bencher| {
        bencher.iter_custom(|times| on_two_threads(times, || reader(&database), read_lent));
    });
    group.finish();

    let mut group = criterion.benchmark_group("point read beside a busy writer");
    let _writer = BusyWriter::start(&database, &clock);
    let (bare, mut key) = (plain(&path), keys());
    group.bench_function("plain rusqlite, autocommit", |bencher| bencher.iter(|| read_plain(&bare, key())));
    let (mut lent, mut key) = (reader(&database), keys());
    group.bench_function("lent", |bencher| bencher.iter(|| read_lent(&mut lent, key())));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = point_reads
}
criterion_main!(benches);
