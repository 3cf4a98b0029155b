use crate::{bench::Bench, conditions, slow_vfs, systems::SYSTEMS};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use workload::{CREATE, Case, INSERT, Line, Problem, ROWS, Remote, SQL_CASES, Settings, value};

/// Runs the suite `read`, `write` or `mixed`: every system on a copy of its own of one file.
pub(crate) fn run(bench: &mut Bench, suite: &'static str) -> Result<(), Problem> {
    slow_vfs::register().map_err(Problem)?;
    bench.begin(suite)?;
    let folder = TempDir::new().map_err(|error| Problem::during("making a folder", error))?;
    let base = folder.path().join("base.db");
    fill(&base).map_err(|error| Problem::during("filling the table", error))?;
    tell_conditions(bench, suite, folder.path())?;
    let remotes = tell_remotes(bench, suite)?;
    for case in SQL_CASES.into_iter().filter(|case| case.suite == suite) {
        compete(bench, case, &base, &remotes)?;
    }
    Ok(())
}

/// Makes the file with the table in it.
pub(crate) fn fill(path: &Path) -> Result<(), rusqlite::Error> {
    let mut connection = rusqlite::Connection::open(path)?;
    connection.execute_batch("PRAGMA journal_mode = WAL")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(CREATE)?;
    let mut insert = transaction.prepare(INSERT)?;
    for key in 1..=ROWS {
        insert.execute((key, value(key)))?;
    }
    drop(insert);
    transaction.commit()?;
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
}

fn tell_conditions(bench: &mut Bench, suite: &str, folder: &Path) -> Result<(), Problem> {
    bench.tell(&Line::condition(suite, "machine", "rows", ROWS.to_string()))?;
    bench.tell(&Line::condition(suite, "machine", "folder of the files", folder.display().to_string()))?;
    for system in SYSTEMS.iter().filter(|system| system.suites.contains(&suite)) {
        if let Some(package) = system.package {
            let version = conditions::version(suite, package);
            bench.tell(&Line { system: system.name.into(), ..version })?;
        }
        bench.tell(&Line::condition(suite, system.name, "sqlite", rusqlite::version()))?;
    }
    Ok(())
}

/// The systems of other programs: (program, system).
fn tell_remotes(bench: &mut Bench, suite: &str) -> Result<Vec<(PathBuf, String)>, Problem> {
    let mut remotes = Vec::new();
    for program in bench.options.peers.clone() {
        for line in Remote::about(&program)? {
            if line.further.get("name").is_some_and(|name| name == "sqlite") {
                remotes.push((program.clone(), line.system.clone()));
            }
            bench.tell(&Line { suite: suite.into(), ..line })?;
        }
    }
    Ok(remotes)
}

fn compete(bench: &mut Bench, case: Case, base: &Path, remotes: &[(PathBuf, String)]) -> Result<(), Problem> {
    let runtime = bench.runtime();
    // A folder of its own: beside a file of the same name there could be the log of an earlier case.
    let folder = TempDir::new_in(base.parent().unwrap_or(base));
    let folder = folder.map_err(|error| Problem::during("making a folder", error))?;
    let mut contestants = Vec::new();
    let settings = |system: &str| {
        let path = folder.path().join(format!("{system}.db"));
        fs::copy(base, &path).map_err(|error| Problem::during(path.display(), error))?;
        Ok::<_, Problem>(Settings { path, case })
    };
    for system in SYSTEMS.iter().filter(|system| system.suites.contains(&case.suite)) {
        let opened = (system.open)(&settings(system.name)?, &runtime);
        let failed = |error| Problem::during(format_args!("opening {}", system.name), error);
        contestants.push(opened.map_err(failed)?);
    }
    for (program, system) in remotes {
        contestants.push(Box::new(Remote::open(program, system, &settings(system)?)?));
    }
    bench.compete(case.suite, case.name, contestants)
}
