//! The passes over the corpus: one client, one client beside another process, several clients.

use crate::{
    arguments::Judging,
    client::{Client, Counts, Work},
    corpus::{collect, records},
    judging::Hits,
    plain,
    process::Process,
    together::Together,
};
use ecm::{ConnectionManager, Database, core::Cache, sqlite::Sqlite};
use std::{
    error::Error,
    fs, iter,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How many clients work at the same time, and how many read what they write.
const CLIENTS: usize = 4;
const READERS: usize = 2;

/// A file of the corpus.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) name: String,
    text: String,
}

/// What happened in one pass.
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) name: &'static str,
    pub(crate) counts: Counts,
    /// Whether hits are known of each answer.
    pub(crate) tells_rows: bool,
}

/// Why a pass has ended early, and the file that repeats it alone, if it does.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) error: Box<dyn Error + Send + Sync>,
    pub(crate) file: Option<String>,
}

pub(crate) fn scripts(judging: &Judging) -> Result<Vec<Script>> {
    let mut paths = Vec::new();
    collect(&judging.corpus, &mut paths);
    paths.sort();
    let mut scripts = Vec::new();
    for path in paths {
        let name = path.strip_prefix(&judging.corpus).unwrap_or(&path).display().to_string();
        if judging.only.as_ref().is_none_or(|only| *only == name) {
            scripts.push(Script { name, text: fs::read_to_string(path)? });
        }
    }
    if scripts.is_empty() {
        let only = judging.only.as_deref().unwrap_or("*.test");
        return Err(format!("there is no file {only} below {:?}", judging.corpus).into());
    }
    Ok(scripts)
}

/// A manager of its own for each file.
pub(crate) fn one_client<C: Cache + 'static>(
    judging: &Judging,
    scripts: &[Script],
    beside_a_process: bool,
    cache: impl Fn() -> C,
    mut progress: impl FnMut(&str, &Counts),
) -> std::result::Result<Pass, Ended> {
    let name = if beside_a_process { "one client, and another process" } else { "one client" };
    let mut counts = Counts::default();
    for script in scripts {
        let run = || {
            let folder = tempfile::tempdir()?;
            let (hits, manager) = manager(&folder.path().join("judged.db"), cache())?;
            let process = beside_a_process.then(|| Process::start(&folder.path().join("judged.db"))).transpose()?;
            let twin = plain::connect(&folder.path().join("twin.db"))?;
            let seed = seed(judging, &script.name);
            let work = Work { manager: &manager, hits: &hits, twin, process, together: None, seed, script: 0 };
            run(work, script, judging)
        };
        let done = run().map_err(|error| Ended { error, file: Some(script.name.clone()) })?;
        progress(&script.name, &done);
        counts.add(&done);
    }
    Ok(Pass { name, counts, tells_rows: true })
}

/// One manager for all files, each with names of its own; a third of the clients write by another process.
pub(crate) fn several_clients<C: Cache + 'static>(
    judging: &Judging,
    scripts: &[Script],
    cache: C,
    progress: impl Fn(&str, &Counts) + Sync,
) -> std::result::Result<Pass, Ended> {
    let work = || {
        let folder = tempfile::tempdir()?;
        let (judged, twin) = (folder.path().join("judged.db"), folder.path().join("twin.db"));
        let (hits, manager) = manager(&judged, cache)?;
        // Its settings are made before others come.
        drop(plain::connect(&twin)?);
        let (together, next, sum) = (Together::default(), AtomicUsize::new(0), Mutex::new(Counts::default()));
        let client = |number: usize| {
            let others = number % 3 == 2 && !judging.alone;
            while let Some(script) = scripts.get(next.fetch_add(1, Relaxed)) {
                let process = others.then(|| Process::start(&judged)).transpose()?;
                let work = Work {
                    manager: &manager,
                    hits: &hits,
                    twin: plain::connect(&twin)?,
                    process,
                    together: Some(&together),
                    seed: seed(judging, &script.name),
                    script: scripts.iter().position(|one| std::ptr::eq(one, script)).unwrap_or(0),
                };
                let done = run(work, script, judging)?;
                progress(&script.name, &done);
                sum.lock().unwrap_or_else(PoisonError::into_inner).add(&done);
            }
            Ok(())
        };
        thread::scope(|scope| -> Result<()> {
            let (together, manager, twin, client) = (&together, &manager, &twin, &client);
            let ending = |done: Result<()>| done.inspect_err(|_| together.end());
            let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || ending(client(number)))).collect();
            let readers: Vec<_> = (0..READERS as u64)
                .map(|number| scope.spawn(move || ending(together.read(manager, twin, judging.seed ^ number))))
                .collect();
            let joined = |thread: thread::ScopedJoinHandle<'_, Result<()>>| {
                thread.join().unwrap_or_else(|_| Err("a client has panicked".into()))
            };
            let mut done: Vec<Result<()>> = clients.into_iter().map(joined).collect();
            together.end();
            done.extend(readers.into_iter().map(joined));
            done.into_iter().collect()
        })?;
        let mut counts = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
        counts.asked += together.asked();
        counts.hits = hits.count();
        Ok(counts)
    };
    let counts = work().map_err(|error| Ended { error, file: None })?;
    let name = if judging.alone { "several clients" } else { "several clients, and another process" };
    Ok(Pass { name, counts, tells_rows: false })
}

fn run(work: Work<'_>, script: &Script, judging: &Judging) -> Result<Counts> {
    let records = records(&script.text);
    let records = &records[..records.len().min(judging.records)];
    Client::new(work, &script.name)?.run(records)
}

fn manager(file: &Path, cache: impl Cache + 'static) -> Result<(Hits, ConnectionManager)> {
    let hits = Hits::default();
    let builder = ConnectionManager::builder().database(Database::new("main", Sqlite::open(file)));
    Ok((hits.clone(), builder.cache(cache).observer(hits).build()?))
}

/// A seed for each file, so that one alone runs as it does among others.
fn seed(judging: &Judging, file: &str) -> u64 {
    let bytes = iter::once(judging.seed).chain(file.bytes().map(u64::from));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ byte).wrapping_mul(0x0100_0000_01b3))
}

impl Counts {
    fn add(&mut self, other: &Self) {
        let Self { files, statements, queries, asked, hits, row_precise } = other;
        self.files += files;
        self.statements += statements;
        self.queries += queries;
        self.asked += asked;
        self.hits += hits;
        self.row_precise += row_precise;
    }
}
