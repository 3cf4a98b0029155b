use super::{load::Load, operation::Operation, store::Found};
use crate::{
    latency::{Figures, grouped},
    table::Table,
};
use ecm::core::{DatabaseStatus, Status};
use serde::Serialize;
use std::{fmt, time::Duration};

/// Everything that a demo tells at its end; serialises as the object that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) ecm: &'static str,
    pub(super) sqlite: &'static str,
    pub(super) seed: u64,
    pub(super) threads: u64,
    /// Notes that were there before the load.
    pub(super) rows: u64,
    pub(super) fill_seconds: f64,
    pub(super) load_seconds: f64,
    pub(super) interrupted: bool,
    pub(super) folder: String,
    pub(super) kept: bool,
    pub(super) operations: Vec<Line>,
    pub(super) total: Line,
    pub(super) databases: Vec<Share>,
    /// Reads that were answered from the cache.
    pub(super) from_cache: u64,
    /// What the damage to the replica cost; absent if the load ended before.
    pub(super) incident: Option<super::Cost>,
    pub(super) errors: crate::errors::Errors,
    pub(super) checked: Checked,
}

/// A line of the table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    pub(super) operation: &'static str,
    #[serde(flatten)]
    pub(super) figures: Figures,
    pub(super) errors: u64,
}

/// What one database did of the load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Share {
    pub(super) name: String,
    pub(super) calls: u64,
    pub(super) failures: u64,
    /// Connections for reading that were open at the end.
    pub(super) readers_open: u32,
    /// Connections for writing that were open at the end.
    pub(super) writers_open: u32,
}

/// What the files show after everything was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Checked {
    pub(super) integrity: String,
    pub(super) notes: u64,
    pub(super) acknowledged: u64,
    pub(super) unknown: u64,
    pub(super) ok: bool,
}

impl Checked {
    /// Compares what was found with what was acknowledged, the fill included.
    pub(super) fn new(found: Found, acknowledged: u64, unknown: u64) -> Self {
        let complete = (acknowledged..=acknowledged + unknown).contains(&found.notes);
        let ok = found.integrity == "ok" && complete;
        Self { integrity: found.integrity, notes: found.notes, acknowledged, unknown, ok }
    }
}

/// The lines of the table, and the total.
pub(super) fn lines(load: &Load) -> (Vec<Line>, Line) {
    let line = |(operation, measured): (&Operation, &super::load::Measured)| Line {
        operation: operation.name(),
        figures: measured.latency.figures(load.elapsed),
        errors: measured.errors,
    };
    let total = Line { operation: "total", figures: load.total().figures(load.elapsed), errors: load.errors.count() };
    (Operation::ALL.iter().zip(&load.operations).map(line).collect(), total)
}

/// What each database did between two moments.
pub(super) fn shares(before: &Status, after: &Status) -> Vec<Share> {
    let share = |status: &DatabaseStatus| {
        let (calls, failures) = before.database(&status.name).map_or((0, 0), |before| (before.calls, before.failures));
        Share {
            name: status.name.clone(),
            calls: status.calls - calls,
            failures: status.failures - failures,
            readers_open: status.readers.open,
            writers_open: status.writer.map_or(0, |writer| writer.open),
        }
    };
    after.groups.iter().flat_map(|group| &group.databases).map(share).collect()
}

impl Report {
    /// Whether nothing failed.
    pub(super) fn is_clean(&self) -> bool {
        self.errors.count() == 0 && self.checked.ok && self.incident.as_ref().is_none_or(|cost| cost.integrity == "ok")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&["operation", "count", "per second", "p50", "p99", "p99.9", "max", "errors"]);
        for line in self.operations.iter().chain([&self.total]) {
            let cells = [line.operation.to_owned()].into_iter().chain(line.figures.cells());
            table.row(cells.chain([grouped(line.errors)]));
        }
        if self.interrupted {
            writeln!(f, "ended early by Ctrl-C")?;
        }
        writeln!(f, "{table}")?;
        let all: u64 = self.databases.iter().map(|share| share.calls).sum();
        writeln!(f, "cache: {} answers", grouped(self.from_cache))?;
        for share in &self.databases {
            let percent = 100.0 * share.calls as f64 / all.max(1) as f64;
            let Share { name, calls, failures, readers_open, writers_open } = share;
            let calls = grouped(*calls);
            write!(f, "{name}: {calls} calls ({percent:.0} %), {failures} failures; ")?;
            writeln!(f, "open: {readers_open} for reading, {writers_open} for writing")?;
        }
        if self.databases.len() > 1 {
            writeln!(f, "reads of the replica see the notes as they were at the copy; all writes go to the primary")?;
        }
        if let Some(cost) = &self.incident {
            write!(f, "{cost}")?;
        }
        f.write_str(&self.errors.lines())?;
        let fill = Duration::from_secs_f64(self.fill_seconds);
        writeln!(f, "filled: {} notes in {fill:.1?}", grouped(self.rows))?;
        let Checked { integrity, notes, acknowledged, unknown, ok } = &self.checked;
        let verdict = if *ok { "all there" } else { "NOT WHAT WAS ACKNOWLEDGED" };
        let maybe = if *unknown == 0 { String::new() } else { format!(" and {unknown} of which it cannot be known") };
        let (notes, acknowledged) = (grouped(*notes), grouped(*acknowledged));
        writeln!(
            f,
            "checked: integrity {integrity}; {notes} notes in the file, {acknowledged} acknowledged{maybe}: {verdict}"
        )?;
        writeln!(f, "ecm {}, SQLite {}, seed {}, {} threads", self.ecm, self.sqlite, self.seed, self.threads)?;
        let fate = if self.kept { "kept" } else { "removed" };
        writeln!(f, "files: {} ({fate})", self.folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_note_an_extra_note_and_a_damaged_file_are_not_all_there() {
        let checked = |integrity: &str, notes, unknown| {
            Checked::new(Found { integrity: integrity.into(), notes }, 100, unknown).ok
        };
        assert!(checked("ok", 100, 0));
        assert!(checked("ok", 101, 1));
        assert!(!checked("ok", 99, 1));
        assert!(!checked("ok", 101, 0));
        assert!(!checked("row 7 missing from index", 100, 0));
    }
}
