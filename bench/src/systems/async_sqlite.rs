use super::driver::{self, told};
use async_sqlite::{Pool, PoolBuilder};
use tokio::runtime::Handle;
use workload::{Contestant, Session, Settings, Shape, contest};

struct Pooled(Pool);

/// Has a thread for each connection, and is awaited by tasks. Where callers write it has one connection, as
/// its documentation advises.
pub(super) fn open(settings: &Settings, runtime: &Handle) -> Result<Box<dyn Contestant>, String> {
    let case = settings.case;
    let connections = if case.suite == "write" { 1 } else { case.connections() };
    let builder = PoolBuilder::new().path(&settings.path).num_conns(connections);
    let builder = settings.vfs().into_iter().fold(builder, PoolBuilder::vfs);
    let pool = told(builder.open_blocking())?;
    let pragmas = settings.pragmas();
    for set in pool.conn_for_each_blocking(move |connection| connection.execute_batch(&pragmas)) {
        told(set)?;
    }
    let sessions = (0..case.callers).map(|_| Pooled(pool.clone())).collect();
    contest("async-sqlite", case, runtime, Shape::Tasks, sessions)
}

impl Session for Pooled {
    async fn read(&mut self, key: i64) -> Result<String, String> {
        told(self.0.conn(move |connection| driver::read(connection, key)).await)
    }

    async fn write(&mut self, key: i64, value: &'static str) -> Result<usize, String> {
        told(self.0.conn(move |connection| driver::write(connection, key, value)).await)
    }

    async fn pragma(&mut self, name: &'static str) -> Result<String, String> {
        told(self.0.conn(move |connection| driver::pragma(connection, name)).await)
    }
}
