use super::driver::{self, told};
use rusqlite::Connection;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use workload::{Contestant, Session, Settings, Shape, contest};

/// One connection for all callers, behind a mutex of the standard library.
struct Shared(Arc<Mutex<Connection>>);

pub(super) fn open(settings: &Settings, runtime: &Handle) -> Result<Box<dyn Contestant>, String> {
    let case = settings.case;
    let connection = Arc::new(Mutex::new(told(driver::open(settings))?));
    let sessions = (0..case.callers).map(|_| Shared(Arc::clone(&connection))).collect();
    contest("mutex", case, runtime, Shape::Threads, sessions)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session for Shared {
    async fn read(&mut self, key: i64) -> Result<String, String> {
        told(driver::read(&self.lock(), key))
    }

    async fn write(&mut self, key: i64, value: &'static str) -> Result<usize, String> {
        told(driver::write(&self.lock(), key, value))
    }

    async fn pragma(&mut self, name: &'static str) -> Result<String, String> {
        told(driver::pragma(&self.lock(), name))
    }
}
