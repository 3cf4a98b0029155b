use std::{fs, thread};
use workload::{Line, Plan, locked_version};

const LOCK: &str = include_str!("../Cargo.lock");

/// Who stands for the machine where a line names a system.
const MACHINE: &str = "machine";

/// The machine and the plan, for a suite.
pub(crate) fn of_the_machine(suite: &str, plan: &Plan) -> Vec<Line> {
    let condition = |name: &str, value: String| Line::condition(suite, MACHINE, name, value);
    let cores = thread::available_parallelism().map_or_else(|_| "unknown".into(), |cores| cores.to_string());
    vec![
        condition("processor", processor().unwrap_or_else(|| "unknown".into())),
        condition("cores", cores),
        condition("kernel", first_line("/proc/sys/kernel/osrelease")),
        condition("load at the start", first_line("/proc/loadavg")),
        condition("seconds", format!("{} a system and case, in {} rounds", plan.time.as_secs_f64(), plan.rounds)),
    ]
}

/// The version of a package in the lock file.
pub(crate) fn version(suite: &str, package: &str) -> Line {
    let version = locked_version(LOCK, package).unwrap_or("unknown");
    Line::condition(suite, package, "version", version)
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_is_on_the_sqlite_that_ecm_is_on() {
        let version = version("read", "rusqlite").further["value"].as_str().unwrap().to_owned();
        assert!(version.starts_with("0.41."), "{version}");
        assert_eq!(LOCK.matches("name = \"libsqlite3-sys\"").count(), 1);
    }
}
