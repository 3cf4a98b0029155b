use super::{
    figures::{plain, rate, ratio, size, span},
    line::Line,
};
use crate::table::aligned;
use std::fmt::Write as _;

/// Fields that have a column of their own, or are told elsewhere.
const KNOWN: [&str; 13] = [
    "suite",
    "case",
    "system",
    "ops_per_s",
    "mean_ns",
    "p50_ns",
    "p99_ns",
    "p999_ns",
    "max_ns",
    "errors",
    "batch",
    "first_error",
    "times",
];

const COLUMNS: [&str; 10] =
    ["system", "ops/s", "to the best peer", "mean", "p50", "p99", "p99.9", "max", "errors", "further"];

/// Who stands for the machine where a line names a system.
const MACHINE: &str = "machine";

/// One suite: its conditions, and a table for each case.
#[derive(Debug)]
pub(crate) struct Section<'l> {
    suite: &'l str,
    lines: Vec<&'l Line>,
}

/// The suites of these lines, in their order.
pub(crate) fn sections(lines: &[Line]) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for line in lines {
        match sections.iter_mut().find(|section| section.suite == line.suite()) {
            Some(section) => section.lines.push(line),
            None => sections.push(Section { suite: line.suite(), lines: vec![line] }),
        }
    }
    sections
}

const BUDGET_COLUMNS: [&str; 6] = ["part", "median", "times", "together", "p99", "errors"];

const MEMORY_COLUMNS: [&str; 5] = ["system", "resident", "to r2d2", "private", "private, each"];

type MemoryRow = [String; MEMORY_COLUMNS.len()];
type Row = [String; COLUMNS.len()];
type BudgetRow = [String; BUDGET_COLUMNS.len()];

impl<'l> Section<'l> {
    pub(crate) fn suite(&self) -> &'l str {
        self.suite
    }

    /// For a terminal.
    pub(crate) fn plain(&self) -> String {
        let mut text = format!("== {}\n", self.suite);
        for condition in self.conditions().iter().chain(&self.missing()) {
            let _ = writeln!(text, "   {condition}");
        }
        if self.suite == "budget" {
            let _ = write!(text, "\n{}", aligned(&self.budget()));
            return text;
        }
        for case in self.cases() {
            let table = if self.suite == "memory" { aligned(&self.memory(case)) } else { aligned(&self.table(case)) };
            let _ = write!(text, "\n-- {} {case}\n{table}", self.suite);
        }
        text
    }

    /// For the page; its picture is in `pictures`.
    pub(crate) fn markdown(&self, pictures: &str) -> String {
        let mut text = String::new();
        if self.is_measured() && self.suite != "memory" {
            let _ = writeln!(text, "![{0}]({pictures}/{0}.svg)\n", self.suite);
        }
        for condition in self.conditions().iter().chain(&self.missing()) {
            let _ = writeln!(text, "- {condition}");
        }
        if self.suite == "budget" {
            let _ = write!(text, "\n{}", table(&self.budget()));
            return text;
        }
        for case in self.cases() {
            let table = if self.suite == "memory" { table(&self.memory(case)) } else { table(&self.table(case)) };
            let _ = write!(text, "\n**{case}**\n\n{table}");
        }
        text
    }

    fn is_measured(&self) -> bool {
        self.lines.iter().any(|line| ["ops_per_s", "p50_ns", "bytes"].iter().any(|field| line.number(field).is_some()))
    }

    /// A sentence for each case of a suite in which nothing was measured.
    fn missing(&self) -> Vec<String> {
        let absent = self.lines.iter().filter(|_| !self.is_measured()).filter_map(|line| Some((line, line.absent()?)));
        absent
            .map(|(line, why)| format!("{} {}, {}: not measured: {why}", self.suite, line.case(), line.system()))
            .collect()
    }

    /// The cases with figures, or of a suite that has figures.
    fn cases(&self) -> Vec<&'l str> {
        let mut cases = Vec::new();
        for line in self.lines.iter().filter(|line| self.is_measured() && line.condition().is_none()) {
            if !cases.contains(&line.case()) {
                cases.push(line.case());
            }
        }
        cases
    }

    /// A sentence for each condition. What holds for several systems is said once, and versions in one sentence.
    fn conditions(&self) -> Vec<String> {
        let conditions: Vec<_> =
            self.lines.iter().filter_map(|line| Some((line.system(), line.condition()?))).collect();
        let mut all: Vec<&str> = conditions.iter().map(|(system, _)| *system).filter(|name| *name != MACHINE).collect();
        all.sort_unstable();
        all.dedup();
        let mut names: Vec<&str> = Vec::new();
        for (_, (name, _)) in &conditions {
            if !names.contains(name) {
                names.push(name);
            }
        }
        let mut sentences = Vec::new();
        for name in names {
            let mut values: Vec<(&str, Vec<&str>)> = Vec::new();
            for (system, (_, value)) in conditions.iter().filter(|(_, (other, _))| *other == name) {
                match values.iter_mut().find(|(known, _)| known == value) {
                    Some((_, systems)) => systems.push(system),
                    None => values.push((value, vec![system])),
                }
            }
            if name == "version" {
                let each = values.iter().map(|(version, systems)| format!("{} {version}", systems.join(" and ")));
                sentences.push(format!("versions: {}", each.collect::<Vec<_>>().join(", ")));
                continue;
            }
            sentences.extend(values.into_iter().map(|(value, systems)| match systems[..] {
                [MACHINE] => format!("{name}: {value}"),
                _ if systems.len() == all.len() => format!("{name} of every system: {value}"),
                _ => format!("{name} of {}: {value}", systems.join(", ")),
            }));
        }
        sentences
    }

    fn table(&self, case: &str) -> Vec<Row> {
        let lines: Vec<&Line> =
            self.lines.iter().copied().filter(|line| line.case() == case && line.condition().is_none()).collect();
        let peers = lines.iter().filter(|line| !line.is_ours());
        let best = peers.filter_map(|line| line.number("ops_per_s")).fold(0.0, f64::max);
        let mut rows = vec![COLUMNS.map(String::from)];
        rows.extend(lines.iter().map(|line| row(line, best)));
        rows
    }

    /// How much memory each system takes, beside `r2d2`.
    fn memory(&self, case: &str) -> Vec<MemoryRow> {
        let lines = || self.lines.iter().filter(|line| line.case() == case && line.condition().is_none());
        let r2d2 = lines().find(|line| line.system() == "r2d2").and_then(|line| line.number("bytes"));
        let mut rows = vec![MEMORY_COLUMNS.map(String::from)];
        for line in lines() {
            let (resident, private) = (line.number("bytes"), line.number("private_bytes"));
            let each = private.zip(line.number("readers")).map(|(private, readers)| private / readers);
            let to_r2d2 = resident.zip(r2d2).map(|(resident, r2d2)| ratio(resident / r2d2));
            let figures = [resident.map(size), to_r2d2, private.map(size), each.map(size)];
            let mut row = MemoryRow::default();
            row[0] = name(line);
            for (cell, figure) in row[1..].iter_mut().zip(figures) {
                *cell = figure.unwrap_or_default();
            }
            rows.push(row);
        }
        rows
    }

    /// What a part costs, how often a read has it, and what that makes.
    fn budget(&self) -> Vec<BudgetRow> {
        let mut rows = vec![BUDGET_COLUMNS.map(String::from)];
        for line in self.lines.iter().filter(|line| line.condition().is_none()) {
            let mut row = BudgetRow::default();
            let (median, times) = (line.number("p50_ns"), line.number("times"));
            row[0] = line.case().into();
            row[1] = median.map_or_else(|| "not measured".into(), span);
            row[2] = times.map(plain).unwrap_or_default();
            row[3] = median.zip(times).map(|(median, times)| span(median * times)).unwrap_or_default();
            row[4] = line.number("p99_ns").map(span).unwrap_or_default();
            row[5] = line.number("errors").map(plain).unwrap_or_default();
            rows.push(row);
        }
        rows
    }
}

/// A table of the page: columns of figures stand to the right, and a column that is empty is left out.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let used: Vec<usize> = (0..N).filter(|&column| rows.iter().skip(1).any(|row| !row[column].is_empty())).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<_> = used.iter().map(|&column| row[column].replace('|', "\\|")).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
        if index == 0 {
            let dashes = used.iter().map(|&column| if [0, 9].contains(&column) { "---|" } else { "--:|" });
            let _ = writeln!(text, "|{}", dashes.collect::<String>());
        }
    }
    text
}

/// The system, ECM in bold.
fn name(line: &Line) -> String {
    if line.is_ours() { format!("**{}**", line.system()) } else { line.system().into() }
}

fn row(line: &Line, best: f64) -> Row {
    let mut row = Row::default();
    row[0] = name(line);
    if let Some(why) = line.absent() {
        row[9] = format!("not measured: {why}");
        return row;
    }
    let span_of = |field: &str| line.number(field).map(span).unwrap_or_default();
    if let Some(operations) = line.number("ops_per_s") {
        row[1] = rate(operations);
        row[2] = if best > 0.0 { ratio(operations / best) } else { String::new() };
    }
    for (column, field) in [(3, "mean_ns"), (4, "p50_ns"), (5, "p99_ns"), (6, "p999_ns"), (7, "max_ns")] {
        row[column] = span_of(field);
    }
    row[8] = line.number("errors").map(plain).unwrap_or_default();
    row[9] = further(line);
    row
}

/// The figures that not every case has.
fn further(line: &Line) -> String {
    let figures =
        line.numbers().filter(|(name, _)| !KNOWN.contains(name)).map(|(name, figure)| match name.strip_suffix("_ns") {
            Some(name) => format!("{} {}", name.replace('_', " "), span(figure)),
            None => format!("{} {}", name.replace('_', " "), plain(figure)),
        });
    let error = line.words("first_error").map(|error| format!("first error: {error}"));
    figures.chain(error).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<Line> {
        let whole = |text: &&str| format!("{{\"suite\":\"pool\",{text}}}");
        texts.iter().map(|text| Line::parse(&whole(text)).unwrap()).collect()
    }

    fn figures(system: &str, rate: u32, rest: &str) -> String {
        format!(r#""case":"cycle-1","system":"{system}","ops_per_s":{rate},"p99_ns":1500.0,"errors":0{rest}"#)
    }

    #[test]
    fn ratios_are_to_the_best_peer_and_not_to_ourselves() {
        let texts = [
            figures("ecm", 3_000, ""),
            figures("ecm-x", 9_000, ""),
            figures("r2d2", 500, ""),
            figures("bb8", 1_000, ""),
        ];
        let lines = lines(&texts.each_ref().map(String::as_str));
        let rows = sections(&lines)[0].table("cycle-1");
        assert_eq!(
            rows.iter().map(|row| &*row[2]).collect::<Vec<_>>(),
            ["to the best peer", "3.00 x", "9.00 x", "0.50 x", "1.00 x"]
        );
    }

    #[test]
    fn what_is_not_there_yet_is_said_and_not_left_out() {
        let lines = lines(&[
            r#""case":"cycle-1-owned","system":"ecm","ops_per_s":null,"absent":"guards are not there yet""#,
            &figures("r2d2", 500, ""),
        ]);
        let section = &sections(&lines)[0];
        for text in [section.plain(), section.markdown("docs")] {
            assert!(text.contains("not measured: guards are not there yet"), "{text}");
            assert!(text.contains("cycle-1-owned") && text.contains("r2d2"), "{text}");
        }
    }

    #[test]
    fn further_figures_and_errors_are_shown_with_their_units() {
        let rest =
            r#","batch":100,"longest_wait_ns":52000000,"overtakes_max":3,"allocations":0.5,"first_error":"busy""#;
        let lines = lines(&[&figures("r2d2", 500, rest)]);
        let row = &sections(&lines)[0].table("cycle-1")[1];
        assert_eq!(row[9], "allocations 0.500, longest wait 52.0 ms, overtakes max 3, first error: busy");
        assert_eq!((&*row[5], &*row[8]), ("1.50 µs", "0"));
    }

    #[test]
    fn a_condition_that_many_share_is_said_once() {
        let condition = |system: &str, name: &str, value: &str| {
            format!(r#""case":"conditions","system":"{system}","name":"{name}","value":"{value}""#)
        };
        let texts = [
            condition("machine", "cores", "2"),
            condition("r2d2", "version", "0.8.10"),
            condition("ecm", "sqlite", "3.54.1"),
            condition("sqlx", "sqlite", "3.51.3"),
            condition("sqlx", "version", "0.9.0"),
            condition("ecm", "pragmas", "a=1"),
            condition("r2d2", "sqlite", "3.54.1"),
            condition("sqlx", "pragmas", "a=1"),
            condition("r2d2", "pragmas", "a=1"),
        ];
        let lines = lines(&texts.each_ref().map(String::as_str));
        let sentences = sections(&lines)[0].conditions();
        let expected = [
            "cores: 2",
            "versions: r2d2 0.8.10, sqlx 0.9.0",
            "sqlite of ecm, r2d2: 3.54.1",
            "sqlite of sqlx: 3.51.3",
            "pragmas of every system: a=1",
        ];
        assert_eq!(sentences, expected);
    }

    #[test]
    fn a_suite_that_is_not_there_is_a_few_words_and_no_table() {
        let lines = lines(&[r#""case":"read-1","system":"ecm","absent":"later""#]);
        let section = &sections(&lines)[0];
        assert_eq!(section.markdown("docs"), "- pool read-1, ecm: not measured: later\n");
        assert_eq!(section.plain(), "== pool\n   pool read-1, ecm: not measured: later\n");
    }

    #[test]
    fn memory_is_told_beside_that_of_r2d2() {
        let text = |system: &str, bytes: u64| {
            format!(
                r#"{{"suite":"memory","case":"readers-100","system":"{system}","readers":100,"bytes":{bytes},"private_bytes":16384000}}"#
            )
        };
        let lines = [Line::parse(&text("ecm", 31_457_280)).unwrap(), Line::parse(&text("r2d2", 20_971_520)).unwrap()];
        let section = &sections(&lines)[0];
        let rows = section.memory("readers-100");
        assert_eq!(rows[1], ["**ecm**", "30.0 MiB", "1.50 x", "15.6 MiB", "160 KiB"]);
        assert_eq!(rows[2][2], "1.00 x");
        assert!(section.plain().contains("private, each") && !section.markdown("docs").contains("svg"));
    }

    #[test]
    fn the_budget_multiplies_a_part_by_how_often_a_read_has_it() {
        let text =
            r#"{"suite":"budget","case":"clock","system":"ecm","p50_ns":23.5,"p99_ns":25.0,"errors":0,"times":2}"#;
        let lines = [Line::parse(text).unwrap()];
        let rows = sections(&lines)[0].budget();
        assert_eq!(&rows[1][..5], ["clock", "23.5 ns", "2", "47.0 ns", "25.0 ns"]);
    }
}
