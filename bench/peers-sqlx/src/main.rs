//! Hosts sqlx: the comparison runs this program beside its own.

#[path = "../../src/slow_vfs.rs"]
mod slow_vfs;

pub(crate) use libsqlite3_sys as ffi;

use sqlx::{
    Row, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use std::{process::ExitCode, time::Duration};
use tokio::runtime::Handle;
use workload::{
    Contestant, Hosted, Line, PRAGMAS, Problem, READ, Session, Settings, Shape, WRITE, contest, host, locked_version,
};

const LOCK: &str = include_str!("../Cargo.lock");
const NAME: &str = "sqlx";

fn main() -> ExitCode {
    let about = [
        Line::condition("", NAME, "version", locked_version(LOCK, NAME).unwrap_or("unknown")),
        Line::condition("", NAME, "sqlite", ffi::SQLITE_VERSION.to_str().unwrap_or("unknown")),
    ];
    let systems = [Hosted { name: NAME, open }];
    match slow_vfs::register().map_err(Problem).and_then(|()| host(&about, &systems)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

struct Pooled(SqlitePool);

fn open(settings: &Settings, runtime: &Handle) -> Result<Box<dyn Contestant>, String> {
    let case = settings.case;
    // What sqlx sets by itself is overwritten with the pragmas of the comparison, the time it waits for a
    // lock in a way of its own.
    let options = SqliteConnectOptions::new().filename(&settings.path).busy_timeout(Duration::from_secs(30));
    let options = settings.vfs().into_iter().fold(options, SqliteConnectOptions::vfs);
    let pragmas = PRAGMAS.into_iter().chain([("synchronous", settings.synchronous())]);
    let options = pragmas.fold(options, |options, (name, value)| options.pragma(name, value));
    let size = case.connections().try_into().unwrap_or(u32::MAX);
    let pool = runtime.block_on(SqlitePoolOptions::new().max_connections(size).connect_with(options));
    let pool = pool.map_err(|error| error.to_string())?;
    let sessions = (0..case.callers).map(|_| Pooled(pool.clone())).collect();
    contest(NAME, case, runtime, Shape::Tasks, sessions)
}

impl Session for Pooled {
    async fn read(&mut self, key: i64) -> Result<String, String> {
        let value = sqlx::query_scalar(READ).bind(key).fetch_one(&self.0).await;
        value.map_err(|error| error.to_string())
    }

    async fn write(&mut self, key: i64, value: &'static str) -> Result<usize, String> {
        let done = sqlx::query(WRITE).bind(key).bind(value).execute(&self.0).await;
        let rows = done.map_err(|error| error.to_string())?.rows_affected();
        usize::try_from(rows).map_err(|error| error.to_string())
    }

    async fn pragma(&mut self, name: &'static str) -> Result<String, String> {
        let sql = sqlx::AssertSqlSafe(format!("PRAGMA {name}"));
        let row = sqlx::query(sql).fetch_one(&self.0).await.map_err(|error| error.to_string())?;
        let number = row.try_get::<i64, _>(0).map(|number| number.to_string());
        number.or_else(|_| row.try_get::<String, _>(0)).map_err(|error| error.to_string())
    }
}
