use crate::{bench::Bench, conditions, sql, systems};
use std::{env, fs, path::Path, process::Command, thread, time::Duration};
use tempfile::TempDir;
use workload::{Case, Line, Problem, Settings, Work};

/// The readers of each system.
const READERS: usize = 100;

/// What each of them has read before it is idle: its schema is loaded, its statement is cached, and it has some
/// pages of the file.
const READS: usize = 100;

/// How long they have been idle when they are measured.
const IDLE: Duration = Duration::from_millis(200);

/// The processes of each system, which take turns; the median of them is told.
const ROUNDS: usize = 3;

const CASE: Case = Case { suite: "memory", name: "readers-100", callers: READERS, work: Work::Read };

/// The systems, and the packages in the lock file that they are.
const SYSTEMS: [(&str, Option<&str>); 3] = [("ecm", None), ("rusqlite", Some("rusqlite")), ("r2d2", Some("r2d2"))];

/// How much a process has grown by its readers, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Growth {
    /// Its resident size.
    resident: u64,
    /// What of that is its own, without the pages of files that are mapped: all processes and all connections
    /// share those, but they are counted once for each mapping.
    private: u64,
}

/// Runs the suite `memory`: each system opens its readers in a process of its own, which then looks at its size.
pub(crate) fn run(bench: &mut Bench) -> Result<(), Problem> {
    bench.begin(CASE.suite)?;
    let failed = |error: &dyn std::fmt::Display| Problem::during("preparing the suite memory", error);
    let folder = TempDir::new().map_err(|error| failed(&error))?;
    let path = folder.path().join("memory.db");
    sql::fill(&path).map_err(|error| failed(&error))?;
    let program = env::current_exe().map_err(|error| failed(&error))?;
    for (system, package) in SYSTEMS {
        if let Some(package) = package {
            bench.tell(&Line { system: system.into(), ..conditions::version(CASE.suite, package) })?;
        }
    }
    bench.tell(&Line::condition(CASE.suite, "ecm", "sqlite", rusqlite::version()))?;
    let mut grown = SYSTEMS.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((system, _), grown) in SYSTEMS.iter().zip(&mut grown) {
            grown.push(in_a_process(&program, system, &path)?);
        }
    }
    for ((system, _), mut grown) in SYSTEMS.into_iter().zip(grown) {
        grown.sort_unstable();
        bench.tell(&line(system, grown[ROUNDS / 2]))?;
    }
    Ok(())
}

fn line(system: &str, growth: Growth) -> Line {
    Line::empty(CASE.suite, CASE.name, system)
        .with("readers", READERS)
        .with("bytes", growth.resident)
        .with("private_bytes", growth.private)
}

fn in_a_process(program: &Path, system: &str, path: &Path) -> Result<Growth, Problem> {
    let failed = |error: &dyn std::fmt::Display| Problem::during(format_args!("the readers of {system}"), error);
    let output = Command::new(program).args(["grow", system]).arg(path).output().map_err(|error| failed(&error))?;
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr).trim()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line: Line = serde_json::from_str(&text).map_err(|error| failed(&error))?;
    let bytes = |name: &str| line.further.get(name).and_then(serde_json::Value::as_u64);
    let growth = bytes("bytes").zip(bytes("private_bytes"));
    growth.map(|(resident, private)| Growth { resident, private }).ok_or_else(|| failed(&text.trim()))
}

/// The whole of such a process: opens the readers of this system on this file, and tells how much it has grown.
pub(crate) fn grow(system: &str, path: &Path) -> Result<(), Problem> {
    let failed = |error: String| Problem::during(format_args!("the readers of {system}"), error);
    let settings = Settings { path: path.into(), case: CASE };
    // What there is once for all of them: the code, and what SQLite keeps for the process.
    let first = systems::bare(path).map_err(|error| failed(error.to_string()))?;
    systems::read(&first, 1).map_err(|error| failed(error.to_string()))?;
    let before = size()?;
    let readers = systems::readers(system, &settings, READERS, READS).map_err(failed)?;
    thread::sleep(IDLE);
    let after = size()?;
    if readers.open != READERS {
        return Err(failed(format!("{} are open, not {READERS}", readers.open)));
    }
    let growth = Growth {
        resident: after.resident.saturating_sub(before.resident),
        private: after.private.saturating_sub(before.private),
    };
    println!("{}", line(system, growth));
    Ok(())
}

fn size() -> Result<Growth, Problem> {
    let status = fs::read_to_string("/proc/self/status");
    let status = status.map_err(|error| Problem::during("reading /proc/self/status", error))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        kib.map(|kib| kib * 1_024).ok_or_else(|| Problem(format!("there is no {name} in /proc/self/status")))
    };
    Ok(Growth { resident: field("VmRSS:")?, private: field("RssAnon:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_readers_are_open_at_once_and_have_read() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("few.db");
        sql::fill(&path).unwrap();
        for (system, _) in SYSTEMS {
            let settings = Settings { path: path.clone(), case: CASE };
            assert_eq!(systems::readers(system, &settings, 5, 3).unwrap().open, 5, "{system}");
        }
    }

    #[test]
    fn the_size_of_a_process_counts_what_it_touches() {
        let before = size().unwrap();
        let touched = std::hint::black_box(vec![1_u8; 8 << 20]);
        let after = size().unwrap();
        assert!(after.private - before.private >= 7 << 20 && after.resident >= after.private, "{before:?} {after:?}");
        drop(touched);
    }
}
