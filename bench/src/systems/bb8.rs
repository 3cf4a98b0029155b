use super::driver::{self, told};
use bb8::{ManageConnection, Pool};
use rusqlite::Connection;
use tokio::runtime::Handle;
use workload::{Contestant, Session, Settings, Shape, contest};

/// Connections that are used in place: the caller's thread may block.
struct Manager(Settings);

impl ManageConnection for Manager {
    type Connection = Connection;
    type Error = rusqlite::Error;

    async fn connect(&self) -> Result<Connection, rusqlite::Error> {
        driver::open(&self.0)
    }
    async fn is_valid(&self, _: &mut Connection) -> Result<(), rusqlite::Error> {
        Ok(())
    }
    fn has_broken(&self, _: &mut Connection) -> bool {
        false
    }
}

struct Pooled(Pool<Manager>);

pub(super) fn open(settings: &Settings, runtime: &Handle) -> Result<Box<dyn Contestant>, String> {
    let case = settings.case;
    let size = case.connections().try_into().unwrap_or(u32::MAX);
    let pool = told(runtime.block_on(Pool::builder().max_size(size).build(Manager(settings.clone()))))?;
    let sessions = (0..case.callers).map(|_| Pooled(pool.clone())).collect();
    contest("bb8", case, runtime, Shape::Threads, sessions)
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
