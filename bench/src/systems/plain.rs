use super::driver::{self, told};
use rusqlite::Connection;
use tokio::runtime::Handle;
use workload::{Contestant, Session, Settings, Shape, contest};

/// A connection for each caller: what one would write without any pool.
struct Plain(Connection);

pub(super) fn open(settings: &Settings, runtime: &Handle) -> Result<Box<dyn Contestant>, String> {
    let case = settings.case;
    let opened = (0..case.callers).map(|_| driver::open(settings).map(Plain)).collect();
    contest("rusqlite", case, runtime, Shape::Threads, told(opened)?)
}

impl Session for Plain {
    async fn read(&mut self, key: i64) -> Result<String, String> {
        told(driver::read(&self.0, key))
    }

    async fn write(&mut self, key: i64, value: &'static str) -> Result<usize, String> {
        told(driver::write(&self.0, key, value))
    }

    async fn pragma(&mut self, name: &'static str) -> Result<String, String> {
        told(driver::pragma(&self.0, name))
    }
}
