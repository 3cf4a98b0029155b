use super::driver::{self, told};
use fast_pool::Pool;
use rusqlite::Connection;
use tokio::runtime::Handle;
use workload::{Contestant, Session, Settings, Shape, contest};

/// Connections that are used in place: the caller's thread may block.
struct Manager(Settings);

impl fast_pool::Manager for Manager {
    type Connection = Connection;
    type Error = String;

    async fn connect(&self) -> Result<Connection, String> {
        told(driver::open(&self.0))
    }
    async fn check(&self, _: &mut Connection) -> Result<(), String> {
        Ok(())
    }
}

struct Pooled(Pool<Manager>);

pub(super) fn open(settings: &Settings, runtime: &Handle) -> Result<Box<dyn Contestant>, String> {
    let case = settings.case;
    let pool = Pool::new(Manager(settings.clone()));
    pool.set_max_open(case.connections() as u64);
    let sessions = (0..case.callers).map(|_| Pooled(pool.clone())).collect();
    contest("fast_pool", case, runtime, Shape::Threads, sessions)
}

impl Session for Pooled {
    async fn read(&mut self, key: i64) -> Result<String, String> {
        let connection = self.0.get().await?;
        told(driver::read(&connection, key))
    }

    async fn write(&mut self, key: i64, value: &'static str) -> Result<usize, String> {
        let connection = self.0.get().await?;
        told(driver::write(&connection, key, value))
    }

    async fn pragma(&mut self, name: &'static str) -> Result<String, String> {
        let connection = self.0.get().await?;
        told(driver::pragma(&connection, name))
    }
}
