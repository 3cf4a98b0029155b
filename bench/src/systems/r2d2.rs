use super::{
    driver::{self, told},
    readers::{Readers, read_rows},
};
use r2d2::{ManageConnection, Pool};
use rusqlite::Connection;
use tokio::runtime::Handle;
use workload::{Contestant, Session, Settings, Shape, contest};

/// As `r2d2_sqlite` does by default: a connection answers a query when it is lent, and none is ever called broken.
struct Manager(Settings);

impl ManageConnection for Manager {
    type Connection = Connection;
    type Error = rusqlite::Error;

    fn connect(&self) -> Result<Connection, rusqlite::Error> {
        driver::open(&self.0)
    }
    fn is_valid(&self, connection: &mut Connection) -> Result<(), rusqlite::Error> {
        connection.execute_batch("SELECT 1;")
    }
    fn has_broken(&self, _: &mut Connection) -> bool {
        false
    }
}

struct Pooled(Pool<Manager>);

pub(super) fn open(settings: &Settings, runtime: &Handle) -> Result<Box<dyn Contestant>, String> {
    let case = settings.case;
    let pool = pool(settings, case.connections())?;
    let sessions = (0..case.callers).map(|_| Pooled(pool.clone())).collect();
    contest("r2d2", case, runtime, Shape::Threads, sessions)
}

fn pool(settings: &Settings, connections: usize) -> Result<Pool<Manager>, String> {
    let size = connections.try_into().unwrap_or(u32::MAX);
    told(Pool::builder().max_size(size).build(Manager(settings.clone())))
}

/// So many connections that have been read from, and are idle.
pub(super) fn readers(settings: &Settings, count: usize, reads: usize) -> Result<Readers, String> {
    let pool = pool(settings, count)?;
    let lent = (0..count).map(|number| {
        let connection = told(pool.get())?;
        read_rows(&connection, number, reads)?;
        Ok(connection)
    });
    drop(lent.collect::<Result<Vec<_>, String>>()?);
    let open = pool.state().connections;
    Ok(Readers::new(usize::try_from(open).unwrap_or(usize::MAX), pool))
}

impl Session for Pooled {
    async fn read(&mut self, key: i64) -> Result<String, String> {
        told(driver::read(&*told(self.0.get())?, key))
    }

    async fn write(&mut self, key: i64, value: &'static str) -> Result<usize, String> {
        told(driver::write(&*told(self.0.get())?, key, value))
    }

    async fn pragma(&mut self, name: &'static str) -> Result<String, String> {
        told(driver::pragma(&*told(self.0.get())?, name))
    }
}
