use crate::{arguments::Run, balancer, breaker, budget, cache, conditions, memory, pool, sql};
use std::io::{Write, stdout};
use tokio::runtime::{Handle, Runtime};
use workload::{Contestant, Line, Plan, Problem, take_turns};

/// One suite: its name, and what runs it.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    run: fn(&mut Bench) -> Result<(), Problem>,
}

/// Every suite, in the order in which they run.
pub(crate) const SUITES: &[Suite] = &[
    Suite { name: "pool", run: pool::run },
    Suite { name: "read", run: |bench| sql::run(bench, "read") },
    Suite { name: "write", run: |bench| sql::run(bench, "write") },
    Suite { name: "breaker", run: breaker::run },
    Suite { name: "balancer", run: balancer::run },
    Suite { name: "budget", run: budget::run },
    Suite { name: "mixed", run: |bench| sql::run(bench, "mixed") },
    Suite { name: "memory", run: memory::run },
    Suite { name: "cache", run: cache::run },
    Suite {
        name: "async",
        run: |bench| bench.nothing_yet("async", &["read-1", "read-64", "hit", "write-64", "write-1000", "mixed-10000"]),
    },
    Suite {
        name: "failover",
        run: |bench| bench.nothing_yet("failover", &["replica-dies", "replica-heals", "primary-storage-fails"]),
    },
    Suite {
        name: "overhead",
        run: |bench| bench.nothing_yet("overhead", &["read-all-on", "read-all-off", "hit-all-on", "hit-all-off"]),
    },
];

/// What every suite needs, and where its lines go.
pub(crate) struct Bench {
    pub(crate) options: Run,
    runtime: Runtime,
    /// Conditions that were told: they hold for many cases, and are told once.
    told: Vec<String>,
}

/// Runs the suites that were asked for.
pub(crate) fn run(options: Run) -> Result<(), Problem> {
    let runtime = Runtime::new().map_err(|error| Problem::during("starting the runtime", error))?;
    let mut bench = Bench { options, runtime, told: Vec::new() };
    for suite in SUITES {
        if bench.options.suites.is_empty() || bench.options.suites.iter().any(|asked| asked == suite.name) {
            (suite.run)(&mut bench)?;
        }
    }
    Ok(())
}

impl Bench {
    pub(crate) fn runtime(&self) -> Handle {
        self.runtime.handle().clone()
    }

    pub(crate) fn plan(&self) -> Plan {
        self.options.plan
    }

    /// Tells the conditions of the machine for a suite.
    pub(crate) fn begin(&mut self, suite: &str) -> Result<(), Problem> {
        for line in conditions::of_the_machine(suite, &self.plan()) {
            self.tell(&line)?;
        }
        Ok(())
    }

    /// Tells the versions of these packages for a suite.
    pub(crate) fn versions(&mut self, suite: &str, packages: &[&str]) -> Result<(), Problem> {
        for package in packages {
            self.tell(&conditions::version(suite, package))?;
        }
        Ok(())
    }

    /// Runs one case, and tells its lines.
    pub(crate) fn compete(
        &mut self,
        suite: &str,
        case: &str,
        contestants: Vec<Box<dyn Contestant>>,
    ) -> Result<(), Problem> {
        if !self.wants(case) {
            return Ok(());
        }
        take_turns(&format!("{suite} {case}"), &self.plan(), contestants)?.iter().try_for_each(|line| self.tell(line))
    }

    /// Tells one line; a condition that was told before is not repeated.
    pub(crate) fn tell(&mut self, line: &Line) -> Result<(), Problem> {
        let text = line.to_string();
        if line.case == "conditions" {
            if self.told.contains(&text) {
                return Ok(());
            }
            self.told.push(text.clone());
        }
        if line.case != "conditions" && !self.wants(&line.case) {
            return Ok(());
        }
        writeln!(stdout(), "{text}").map_err(|error| Problem::during("telling a line", error))
    }

    fn wants(&self, case: &str) -> bool {
        self.options.cases.is_empty() || self.options.cases.iter().any(|asked| asked == case)
    }

    fn nothing_yet(&mut self, suite: &str, cases: &[&str]) -> Result<(), Problem> {
        let absent = |case: &&str| Line::absent(suite, case, "ecm", "this suite is not there yet");
        cases.iter().map(absent).try_for_each(|line| self.tell(&line))
    }
}
