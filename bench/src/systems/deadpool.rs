use super::driver::{self, told};
use deadpool::managed::{self, Metrics, Pool, RecycleResult};
use rusqlite::Connection;
use tokio::runtime::Handle;
use workload::{Contestant, Session, Settings, Shape, contest};

/// Connections that are used in place: the caller's thread may block.
struct Manager(Settings);

impl managed::Manager for Manager {
    type Type = Connection;
    type Error = rusqlite::Error;

    async fn create(&self) -> Result<Connection, rusqlite::Error> {
        driver::open(&self.0)
    }
    async fn recycle(&self, _: &mut Connection, _: &Metrics) -> RecycleResult<rusqlite::Error> {
        Ok(())
    }
}

struct Pooled(Pool<Manager>);

pub(super) fn open(settings: &Settings, runtime: &Handle) -> Result<Box<dyn Contestant>, String> {
    let case = settings.case;
    let pool = told(Pool::builder(Manager(settings.clone())).max_size(case.connections()).build())?;
    let sessions = (0..case.callers).map(|_| Pooled(pool.clone())).collect();
    contest("deadpool", case, runtime, Shape::Threads, sessions)
}

impl Session for Pooled {
    async fn read(&mut self, key: i64) -> Result<String, String> {
        let connection = told(self.0.get().await)?;
        told(driver::read(&connection, key))
    }

    async fn write(&mut self, key: i64, value: &'static str) -> Result<usize, String> {
        let connection = told(self.0.get().await)?;
        told(driver::write(&connection, key, value))
    }

    async fn pragma(&mut self, name: &'static str) -> Result<String, String> {
        let connection = told(self.0.get().await)?;
        told(driver::pragma(&connection, name))
    }
}
