use plotters::prelude::*;
use std::{collections::BTreeMap, fs, io::stdin, path::Path};
use workload::{Line, Problem};

/// Sizes in pixels.
const WIDTH: u32 = 960;
const MARGIN: i32 = 16;
const ROW: i32 = 20;
const BAR: i32 = 14;
const TITLE: i32 = 40;
const HEADING: i32 = 26;
/// Where bars begin, from the left edge of a panel.
const NAMES: i32 = 150;
/// The room for the figure at the end of a bar.
const FIGURE: i32 = 130;

const OURS: RGBColor = RGBColor(29, 78, 216);
const PEERS: RGBColor = RGBColor(148, 163, 184);
const INK: RGBColor = RGBColor(30, 41, 59);

/// One case: a title, and a bar for each system.
#[derive(Debug, PartialEq)]
struct Panel {
    title: String,
    bars: Vec<Bar>,
}

#[derive(Debug, PartialEq)]
struct Bar {
    name: String,
    length: f64,
    figure: String,
}

/// Draws the lines on standard input, a picture for each suite, into `folder`.
pub(crate) fn plot(folder: &Path) -> Result<(), Problem> {
    let mut suites: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    for text in stdin().lines() {
        let text = text.map_err(|error| Problem::during("reading lines", error))?;
        let line: Line = serde_json::from_str(&text).map_err(|error| Problem::during(&text, error))?;
        suites.entry(line.suite.clone()).or_default().push(line);
    }
    fs::create_dir_all(folder).map_err(|error| Problem::during(folder.display(), error))?;
    for (suite, lines) in suites {
        let panels = panels(&suite, &lines);
        if !panels.is_empty() {
            let path = folder.join(format!("{suite}.svg"));
            draw(&path, &suite, &panels).map_err(|error| Problem::during(path.display(), error))?;
        }
    }
    Ok(())
}

/// The panels of a suite, in the order of its lines, the longest bar of each first.
fn panels(suite: &str, lines: &[Line]) -> Vec<Panel> {
    let mut panels: Vec<Panel> = Vec::new();
    for line in lines {
        let (title, name) =
            if suite == "budget" { ("medians", &line.case) } else { (line.case.as_str(), &line.system) };
        let bar = match (suite, line.ops_per_s, line.p50_ns) {
            ("budget", _, Some(median)) => Bar { name: name.clone(), length: median.max(0.0), figure: span(median) },
            (_, Some(rate), _) => {
                let figure = format!("{}/s, p99 {}", short(rate), span(line.p99_ns.unwrap_or(0.0)));
                Bar { name: name.clone(), length: rate, figure }
            }
            _ => continue,
        };
        match panels.iter_mut().find(|panel| panel.title == title) {
            Some(panel) => panel.bars.push(bar),
            None => panels.push(Panel { title: title.into(), bars: vec![bar] }),
        }
    }
    for panel in &mut panels {
        panel.bars.sort_by(|a, b| b.length.total_cmp(&a.length));
    }
    panels
}

fn draw(path: &Path, suite: &str, panels: &[Panel]) -> Result<(), Box<dyn std::error::Error>> {
    let columns = if panels.len() > 1 { 2 } else { 1 };
    let heights: Vec<i32> = panels
        .chunks(columns)
        .map(|row| HEADING + ROW * row.iter().map(|panel| panel.bars.len()).max().unwrap_or(0) as i32 + MARGIN)
        .collect();
    let height = TITLE + heights.iter().sum::<i32>() + MARGIN;
    let area = SVGBackend::new(path, (WIDTH, height.unsigned_abs())).into_drawing_area();
    area.fill(&WHITE)?;
    let text = |size: i32, x: i32, y: i32, words: &str| {
        area.draw(&Text::new(words.to_owned(), (x, y), ("sans-serif", size).into_font().color(&INK)))
    };
    let what =
        if suite == "budget" { "what a blocking read costs" } else { "operations per second, and the 99th percentile" };
    text(17, MARGIN, 12, &format!("{suite}: {what}"))?;
    let width = (WIDTH as i32 - MARGIN * (columns as i32 + 1)) / columns as i32;
    let mut top = TITLE;
    for (row, height) in panels.chunks(columns).zip(heights) {
        for (column, panel) in row.iter().enumerate() {
            let left = MARGIN + column as i32 * (width + MARGIN);
            text(14, left, top, &panel.title)?;
            let longest = panel.bars.iter().map(|bar| bar.length).fold(f64::MIN_POSITIVE, f64::max);
            for (index, bar) in panel.bars.iter().enumerate() {
                let y = top + HEADING + ROW * index as i32;
                let room = f64::from(width - NAMES - FIGURE);
                let end = left + NAMES + ((bar.length / longest * room) as i32).max(1);
                let ours = suite == "budget" || bar.name.starts_with("ecm");
                let colour = if ours { OURS } else { PEERS };
                text(12, left, y, &bar.name)?;
                area.draw(&Rectangle::new([(left + NAMES, y), (end, y + BAR)], colour.filled()))?;
                text(11, end + 6, y + 1, &bar.figure)?;
            }
        }
        top += height;
    }
    area.present()?;
    Ok(())
}

/// A number with a letter for thousands or millions, to three digits.
fn short(number: f64) -> String {
    let (scaled, letter) = match number {
        1e6.. => (number / 1e6, " M"),
        1e3.. => (number / 1e3, " k"),
        _ => (number, ""),
    };
    format!("{scaled:.*}{letter}", digits(scaled))
}

fn span(ns: f64) -> String {
    let (scaled, unit) = match ns {
        1e9.. => (ns / 1e9, "s"),
        1e6.. => (ns / 1e6, "ms"),
        1e3.. => (ns / 1e3, "µs"),
        _ => (ns, "ns"),
    };
    format!("{scaled:.*} {unit}", digits(scaled))
}

fn digits(scaled: f64) -> usize {
    if scaled < 10.0 { 2 } else { usize::from(scaled < 100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(case: &str, system: &str, rate: f64) -> Line {
        Line { ops_per_s: Some(rate), p99_ns: Some(1_500.0), ..Line::empty("read", case, system) }
    }

    #[test]
    fn a_panel_has_the_fastest_first_and_leaves_out_who_has_no_figures() {
        let absent = Line::absent("read", "a", "y", "not there");
        let panels = panels("read", &[line("a", "x", 5.0), absent, line("a", "ecm", 2e6), line("b", "x", 1.0)]);
        assert_eq!(panels.iter().map(|panel| &*panel.title).collect::<Vec<_>>(), ["a", "b"]);
        let names: Vec<_> = panels[0].bars.iter().map(|bar| (&*bar.name, &*bar.figure)).collect();
        assert_eq!(names, [("ecm", "2.00 M/s, p99 1.50 µs"), ("x", "5.00/s, p99 1.50 µs")]);
    }

    #[test]
    fn a_picture_is_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("read.svg");
        draw(&path, "read", &panels("read", &[line("a", "ecm", 3.0), line("a", "r2d2", 1.0)])).unwrap();
        let picture = std::fs::read_to_string(path).unwrap();
        assert!(picture.contains("r2d2") && picture.contains("<rect") && picture.trim_end().ends_with("</svg>"));
    }
}
