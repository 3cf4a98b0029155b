use super::{run::Outcome, script::Script, target::cut};
use crate::{
    errors::Errors,
    latency::{Figures, grouped},
    table::Table,
};
use serde::Serialize;
use std::fmt;

/// Everything that a bench tells at its end; serialises as the object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) ecm: &'static str,
    pub(super) sqlite: &'static str,
    pub(super) database: String,
    pub(super) bytes: u64,
    pub(super) journal_mode: String,
    pub(super) clients: u64,
    pub(super) seconds: f64,
    pub(super) seed: u64,
    pub(super) writes_allowed: bool,
    pub(super) interrupted: bool,
    pub(super) scripts: Vec<Source>,
    pub(super) systems: Vec<Measured>,
    /// ECM divided by rusqlite; `None` unless both ran.
    pub(super) ratio: Option<Ratio>,
}

/// A script that ran.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
    /// Whether it was made from the tables of the file.
    pub(super) derived: bool,
}

/// What was measured of a system.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    pub(super) system: &'static str,
    pub(super) elapsed_seconds: f64,
    pub(super) passes: Figures,
    pub(super) statements: Vec<Line>,
    pub(super) errors: Errors,
}

/// What was measured of a statement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    pub(super) statement: String,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

/// One system divided by another: of throughput more is better, of latencies less.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Ratio {
    pub(super) throughput: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
}

impl Ratio {
    /// `None` where the second has nothing to divide by.
    pub(super) fn of(one: &Figures, other: &Figures) -> Option<Self> {
        let divided = |one: f64, other: f64| (other > 0.0).then(|| one / other);
        Some(Self {
            throughput: divided(one.per_second, other.per_second)?,
            p50: divided(one.p50_ns as f64, other.p50_ns as f64)?,
            p99: divided(one.p99_ns as f64, other.p99_ns as f64)?,
        })
    }
}

impl Measured {
    pub(super) fn new(outcome: Outcome, scripts: &[Script], derived: bool) -> Self {
        let elapsed = outcome.elapsed;
        let statements = scripts.iter().zip(&outcome.statements).flat_map(|(script, latencies)| {
            script.statements().zip(latencies).map(move |(statement, latency)| Line {
                statement: if derived {
                    script.name.clone()
                } else {
                    format!("{}:{} {}", script.name, statement.line, cut(&statement.text, 40))
                },
                figures: latency.figures(elapsed),
            })
        });
        Self {
            system: outcome.name,
            elapsed_seconds: elapsed.as_secs_f64(),
            passes: outcome.passes.figures(elapsed),
            statements: statements.collect(),
            errors: outcome.errors,
        }
    }
}

impl Report {
    /// Whether nothing failed.
    pub(super) fn is_clean(&self) -> bool {
        self.systems.iter().all(|system| system.errors.count() == 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.interrupted {
            writeln!(f, "ended early by Ctrl-C")?;
        }
        writeln!(f, "ecm {}, SQLite {}", self.ecm, self.sqlite)?;
        let access = if self.writes_allowed { "opened for writing" } else { "only read" };
        writeln!(f, "{}: {} bytes, journal mode {}, {access}", self.database, grouped(self.bytes), self.journal_mode)?;
        let each = if self.systems.len() > 1 { " each" } else { "" };
        writeln!(f, "{} clients, {} seconds{each}, seed {}", self.clients, self.seconds, self.seed)?;
        for script in self.scripts.iter().filter(|script| script.derived) {
            writeln!(f, "\n-- {}\n{}", script.name.replace('\n', " "), script.text.trim_end())?;
        }
        for system in &self.systems {
            let mut table = Table::new(&[system.system, "count", "per second", "p50", "p99", "p99.9", "max"]);
            for line in &system.statements {
                table.row([line.statement.clone()].into_iter().chain(line.figures.cells()));
            }
            table.row(["pass".to_owned()].into_iter().chain(system.passes.cells()));
            write!(f, "\n{table}{}", system.errors.lines())?;
        }
        if let Some(Ratio { throughput, p50, p99 }) = self.ratio {
            writeln!(f, "\necm / rusqlite: throughput {throughput:.2}, p50 {p50:.2}, p99 {p99:.2}")?;
            writeln!(f, "(throughput above 1 and latency below 1: ECM is the faster one)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Latency;
    use std::time::Duration;

    #[test]
    fn a_system_that_did_nothing_has_no_ratio() {
        let mut latency = Latency::default();
        latency.record(Duration::from_millis(2));
        let some = latency.figures(Duration::from_secs(1));
        let none = Latency::default().figures(Duration::from_secs(1));
        assert_eq!(Ratio::of(&some, &none), None);
        assert_eq!(Ratio::of(&some, &some), Some(Ratio { throughput: 1.0, p50: 1.0, p99: 1.0 }));
    }
}
