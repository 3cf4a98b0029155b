use crate::driver;
use deadpool_sqlite::{Config, Hook, HookError, Pool, Runtime};
use rusqlite::Connection;
use tokio::runtime::Handle;
use workload::{Contestant, Session, Settings, Shape, contest};

/// Each connection is used on a thread for blocking work; one that is lent answers a query first.
struct Pooled(Pool);

pub(crate) fn open(settings: &Settings, runtime: &Handle) -> Result<Box<dyn Contestant>, String> {
    let case = settings.case;
    // It takes nothing but a path, which may be a URI.
    let path = match settings.vfs() {
        Some(vfs) => format!("file:{}?vfs={vfs}", settings.path.display()),
        None => settings.path.display().to_string(),
    };
    let pragmas = settings.pragmas();
    let set = Hook::async_fn(move |connection, _| {
        let pragmas = pragmas.clone();
        Box::pin(async move {
            let set = connection.interact(move |connection| connection.execute_batch(&pragmas)).await;
            set.map_err(|error| HookError::message(error.to_string()))?.map_err(HookError::Backend)
        })
    });
    let builder = Config::new(path).builder(Runtime::Tokio1).map_err(|error| error.to_string())?;
    let pool = builder.max_size(case.connections()).post_create(set).build();
    let pool = pool.map_err(|error| error.to_string())?;
    let sessions = (0..case.callers).map(|_| Pooled(pool.clone())).collect();
    contest("deadpool-sqlite", case, runtime, Shape::Tasks, sessions)
}

impl Pooled {
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, String> {
        let connection = self.0.get().await.map_err(|error| error.to_string())?;
        let done = connection.interact(|connection| work(connection)).await;
        done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

impl Session for Pooled {
    async fn read(&mut self, key: i64) -> Result<String, String> {
        self.run(move |connection| driver::read(connection, key)).await
    }

    async fn write(&mut self, key: i64, value: &'static str) -> Result<usize, String> {
        self.run(move |connection| driver::write(connection, key, value)).await
    }

    async fn pragma(&mut self, name: &'static str) -> Result<String, String> {
        self.run(move |connection| driver::pragma(connection, name)).await
    }
}
