use crate::{Caller, Case, Contest, Contestant, Keys, Line, READ_BACK, SYNC_VFS, Shape, VALUE_BYTES, kv};
use std::{future::Future, path::PathBuf, sync::LazyLock};
use tokio::runtime::Handle;

/// How a system opens its file for a case.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file: a copy of its own, with the table in it.
    pub path: PathBuf,
    /// The case.
    pub case: Case,
}

impl Settings {
    /// The VFS to open the file with; `None` for SQLite's own.
    #[must_use]
    pub fn vfs(&self) -> Option<&'static str> {
        self.case.synced().then_some(SYNC_VFS)
    }

    /// The value of `PRAGMA synchronous`.
    #[must_use]
    pub fn synchronous(&self) -> &'static str {
        if self.case.synced() { "FULL" } else { "NORMAL" }
    }

    /// The pragmas of every connection, as one text.
    #[must_use]
    pub fn pragmas(&self) -> String {
        let each = kv::PRAGMAS.iter().map(|(name, value)| format!("PRAGMA {name} = {value};"));
        each.chain([format!("PRAGMA synchronous = {};", self.synchronous())]).collect()
    }
}

/// What a system offers to one caller.
///
/// A system that blocks does so, and is ready at once.
pub trait Session: Send + 'static {
    /// The value of a key, by [`READ`](crate::READ).
    fn read(&mut self, key: i64) -> impl Future<Output = Result<String, String>> + Send;

    /// Gives a key another value, by [`WRITE`](crate::WRITE), committed when this is over; answers how many
    /// rows have changed.
    fn write(&mut self, key: i64, value: &'static str) -> impl Future<Output = Result<usize, String>> + Send;

    /// What a connection says about one of its settings.
    fn pragma(&mut self, name: &'static str) -> impl Future<Output = Result<String, String>> + Send;
}

/// What is written in turn, each as long as what it replaces. They are many, because SQLite does not write a row
/// that is given the value it has.
static VALUES: LazyLock<Vec<String>> = LazyLock::new(|| (0..1_009).map(|number| kv::value(-number)).collect());

struct Working<S> {
    session: S,
    keys: Keys,
    case: Case,
    caller: usize,
    calls: usize,
}

impl<S: Session> Caller for Working<S> {
    async fn call(&mut self) -> Result<(), String> {
        let key = self.keys.next_key();
        self.calls += 1;
        if self.case.writes(self.caller, self.calls) {
            let value = &VALUES[(self.calls + self.caller * 31) % VALUES.len()];
            match self.session.write(key, value).await? {
                1 => Ok(()),
                changed => Err(format!("{changed} rows were changed, not 1")),
            }
        } else {
            let value = self.session.read(key).await?;
            if value.len() == VALUE_BYTES { Ok(()) } else { Err(format!("the value has {} bytes", value.len())) }
        }
    }
}

/// A system in a case of SQL: one session for each caller, in order.
///
/// # Errors
/// A setting that cannot be read back.
pub fn contest<S: Session>(
    system: &str,
    case: Case,
    runtime: &Handle,
    shape: Shape,
    mut sessions: Vec<S>,
) -> Result<Box<dyn Contestant>, String> {
    let mut settings = Vec::new();
    if let Some(session) = sessions.first_mut() {
        for name in READ_BACK {
            settings.push(format!("{name}={}", runtime.block_on(session.pragma(name))?));
        }
    }
    let name = if case.synced() { "pragmas, fsync1ms cases" } else { "pragmas" };
    let conditions = vec![Line::condition(case.suite, system, name, settings.join(" "))];
    let labels = (0..sessions.len()).map(|caller| case.label(caller)).collect();
    let working = |(caller, session)| Working { session, keys: Keys::of(caller), case, caller, calls: 0 };
    let callers = sessions.into_iter().enumerate().map(working).collect();
    let contest = Contest::new(case.suite, case.name, system, runtime, callers);
    Ok(Box::new(contest.shape(shape).labels(labels).conditions(conditions)))
}
