use crate::driver;
use rusqlite::OpenFlags;
use std::fmt::Display;
use tokio::runtime::Handle;
use tokio_rusqlite::Connection;
use workload::{Contestant, Session, Settings, Shape, contest};

/// One connection for all callers, on a thread of its own.
struct Shared(Connection);

pub(crate) fn open(settings: &Settings, runtime: &Handle) -> Result<Box<dyn Contestant>, String> {
    let case = settings.case;
    let path = settings.path.clone();
    let pragmas = settings.pragmas();
    let connection = runtime.block_on(async {
        let connection = match settings.vfs() {
            Some(vfs) => told(Connection::open_with_flags_and_vfs(path, OpenFlags::default(), vfs).await)?,
            None => told(Connection::open(path).await)?,
        };
        told(connection.call(move |connection| connection.execute_batch(&pragmas)).await)?;
        Ok::<_, String>(connection)
    })?;
    let sessions = (0..case.callers).map(|_| Shared(connection.clone())).collect();
    contest("tokio-rusqlite", case, runtime, Shape::Tasks, sessions)
}

impl Session for Shared {
    async fn read(&mut self, key: i64) -> Result<String, String> {
        told(self.0.call(move |connection| driver::read(connection, key)).await)
    }

    async fn write(&mut self, key: i64, value: &'static str) -> Result<usize, String> {
        told(self.0.call(move |connection| driver::write(connection, key, value)).await)
    }

    async fn pragma(&mut self, name: &'static str) -> Result<String, String> {
        told(self.0.call(move |connection| driver::pragma(connection, name)).await)
    }
}

fn told<T, E: Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}
