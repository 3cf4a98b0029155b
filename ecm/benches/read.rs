//! What a manager adds to a blocking read.
//!
//! `bare` is the work without ECM, `ecm` the same through it, on the same file with the same pragmas;
//! `over nothing` is a call whose closure does nothing, over a backend that does nothing: the whole
//! of it is overhead.

use criterion::{Criterion, criterion_group, criterion_main};
use ecm::{
    ConnectionManager, Database, ManagerConfig,
    core::testing::Nothing,
    sqlite::{Sqlite, rusqlite},
};
use std::{hint::black_box, path::Path};

const ROWS: i64 = 100_000;

fn fill(path: &Path) -> ConnectionManager {
    let uncached = ManagerConfig { enable_query_cache: false, ..ManagerConfig::default() };
    let database = Database::new("main", Sqlite::open(path));
    let manager = ConnectionManager::standard().configure(&uncached).database(database);
    let manager = manager.build().expect("a fresh file opens");
    manager
        .write(|tx| {
            tx.execute_batch("CREATE TABLE kv (k INTEGER PRIMARY KEY, v TEXT NOT NULL)")?;
            let mut insert = tx.prepare("INSERT INTO kv VALUES (?1, ?2)")?;
            for k in 1..=ROWS {
                insert.execute((k, format!("{k:0>66}")))?;
            }
            Ok(())
        })
        .wait()
        .expect("the rows fit");
    manager
}

fn keys() -> impl FnMut() -> i64 {
    let mut key = 0;
    move || {
        key = (key + 7_919) % ROWS;
        key + 1
    }
}

fn point_reads(criterion: &mut Criterion) {
    const SQL: &str = "SELECT v FROM kv WHERE k = ?1";
    let folder = tempfile::tempdir().expect("a folder for the file");
    let path = folder.path().join("kv.db");
    let manager = fill(&path);
    let bare = rusqlite::Connection::open_with_flags(
        &path,
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .expect("the file opens");
    bare.execute_batch("PRAGMA cache_size = -20000; PRAGMA mmap_size = 536870912; PRAGMA temp_store = MEMORY")
        .expect("pragmas");

    let mut group = criterion.benchmark_group("point read");
    let mut key = keys();
    group.bench_function("bare rusqlite, autocommit", |bencher| {
        bencher.iter(|| {
            let mut statement = bare.prepare_cached(SQL).expect("the statement is right");
            let value: String = statement.query_row([key()], |row| row.get(0)).expect("the key is there");
            black_box(value)
        });
    });
    let mut key = keys();
    group.bench_function("bare rusqlite, BEGIN and COMMIT", |bencher| {
        bencher.iter(|| {
            bare.prepare_cached("BEGIN").expect("a statement").execute([]).expect("it begins");
            let mut statement = bare.prepare_cached(SQL).expect("the statement is right");
            let value: String = statement.query_row([key()], |row| row.get(0)).expect("the key is there");
            drop(statement);
            bare.prepare_cached("COMMIT").expect("a statement").execute([]).expect("it commits");
            black_box(value)
        });
    });
    let mut key = keys();
    group.bench_function("ecm, read closure", |bencher| {
        bencher.iter(|| {
            let key = key();
            let read =
                manager.read(|db| Ok(db.prepare_cached(SQL)?.query_row([key], |row| row.get::<_, String>(0))?));
            black_box(read.wait().expect("the key is there"))
        });
    });
    let mut key = keys();
    group.bench_function("ecm, query decoded", |bencher| {
        bencher.iter(|| black_box(manager.query(SQL).bind(key()).one::<String>().wait().expect("the key is there")));
    });
    group.finish();
}

fn overhead(criterion: &mut Criterion) {
    let manager = |databases: usize| {
        let database = |index: usize| Database::new(format!("d{index}"), Nothing).read_only(index > 0);
        let builder = ConnectionManager::<Nothing>::builder_for();
        (0..databases).fold(builder, |builder, index| builder.database(database(index))).build().expect("nothing opens")
    };
    let mut group = criterion.benchmark_group("over nothing");
    for databases in [1, 3] {
        let manager = manager(databases);
        group.bench_function(format!("read closure, {databases} databases"), |bencher| {
            bencher.iter(|| manager.read(|db| Ok(black_box(*db))).wait().expect("nothing can fail"));
        });
    }
    let manager = manager(1);
    group.bench_function("query", |bencher| {
        bencher.iter(|| black_box(manager.query("nothing").wait().expect("nothing can fail")));
    });
    group.bench_function("write closure", |bencher| {
        bencher.iter(|| manager.write(|tx| Ok(black_box(*tx))).wait().expect("nothing can fail"));
    });
    group.finish();
}

criterion_group!(benches, point_reads, overhead);
criterion_main!(benches);
