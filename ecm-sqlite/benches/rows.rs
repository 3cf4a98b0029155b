//! What it costs a write to tell which rows it has written.
//!
//! ```text
//! cargo bench -p ecm-sqlite --bench rows
//! ```

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use ecm_core::{
    Access, Backend, Clock, Commit, Connection, Durability, Loan, SystemClock, Transact, Written, WrittenRows,
};
use ecm_sqlite::{Sqlite, SqliteConfig, SqliteConnection, Synchronous, Tx};
use std::{hint::black_box, sync::Arc};

const ROWS: i64 = 10_000;

fn transact(writer: &mut SqliteConnection, work: impl FnOnce(&Tx)) -> Written {
    writer.check_out(Loan::Write).expect("a fresh connection is at rest");
    writer.begin(Durability::Configured).expect("nobody else writes");
    work(writer.tx());
    black_box(writer.writing());
    assert!(matches!(writer.commit(), Commit::Done(_)));
    let written = writer.written();
    writer.check_in();
    written
}

fn update(writer: &mut SqliteConnection, first: i64, count: i64) -> Written {
    transact(writer, |tx| {
        let sql = "UPDATE kv SET n = n + 1 WHERE k BETWEEN ?1 AND ?1 + ?2 - 1";
        assert_eq!(tx.execute(sql, [first, count]).expect("rows are there"), count as usize);
    })
}

fn rows(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config = SqliteConfig { synchronous: Synchronous::Off, ..SqliteConfig::default() };
    let database = Sqlite::open(folder.path().join("bench.db")).config(config);
    let mut writer = database.connect(Access::Write, &clock).expect("a fresh file opens");
    transact(&mut writer, |tx| {
        tx.execute_batch("CREATE TABLE kv (k INTEGER PRIMARY KEY, n INTEGER NOT NULL, v TEXT)").expect("a new table");
        for k in 1..=ROWS {
            tx.execute("INSERT INTO kv VALUES (?1, 0, ?2)", (k, format!("{k:0>66}"))).expect("the row fits");
        }
    });
    let mut group = criterion.benchmark_group("update");
    for count in [1, 10, 1000] {
        for followed in [false, true] {
            database.follow_rows(followed);
            let told = update(&mut writer, 1, count);
            let Written::Tables(tables) = &told else { panic!("{told:?}") };
            assert_eq!(matches!(&tables[0].rows, WrittenRows::Only(rows) if rows.len() == count as usize), followed);
            let mut key = 0;
            let name = if followed { "followed" } else { "not followed" };
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter_batched(
                    || {
                        key = (key + 7_919) % (ROWS - count);
                        key + 1
                    },
                    |key| update(&mut writer, key, count),
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, rows);
criterion_main!(benches);
