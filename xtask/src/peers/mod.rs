//! The comparison with what users would pick instead: builds and runs `bench/`, and tells what came of it.

mod arguments;
mod figures;
mod line;
mod page;
mod section;

use crate::{
    error::{Error, Result},
    invocation::Invocation,
    metadata::Metadata,
};
use arguments::Arguments;
use line::Line;
use std::{fs, path::Path};

/// The programs that host systems which link an SQLite of their own, by folder and name.
const PEERS: [&str; 2] = ["peers-rusqlite-040", "peers-sqlx"];

/// The suites in which they take part.
const SQL_SUITES: [&str; 3] = ["read", "write", "mixed"];

const PAGE: &str = "BENCHMARKS.md";
const PICTURES: &str = "docs/benchmarks";

/// Carries out `cargo xtask peers`.
///
/// # Errors
/// [`Error::Usage`] for other arguments, [`Error::Failed`] if something does not build or run,
/// [`Error::Check`] for a line that is not understood, [`Error::Read`] if the page cannot be read or written.
pub(crate) fn run(metadata: &Metadata, arguments: &[String]) -> Result<()> {
    let arguments = Arguments::parse(arguments)?;
    let mut bench = cargo(&metadata.root, "run", "bench").argument("--");
    for suite in &arguments.suites {
        bench = bench.argument("--suite").argument(suite);
    }
    bench = bench.argument("--seconds").argument(arguments.seconds);
    if arguments.suites.is_empty() || arguments.suites.iter().any(|suite| SQL_SUITES.contains(&suite.as_str())) {
        for peer in PEERS {
            cargo(&metadata.root, "build", &format!("bench/{peer}")).run()?;
            bench = bench.argument("--peer").argument(target(&metadata.root).join("release").join(peer).display());
        }
    }
    let mut lines = Vec::new();
    bench.each_line(|text| {
        if arguments.json {
            println!("{text}");
        }
        lines.push(Line::parse(text)?);
        Ok(())
    })?;
    if !arguments.json {
        for section in section::sections(&lines) {
            println!("{}", section.plain());
        }
    }
    if arguments.write { write(&metadata.root, &lines, arguments.json) } else { Ok(()) }
}

/// Remakes the sections and pictures of the suites that have run.
fn write(root: &Path, lines: &[Line], quiet: bool) -> Result<()> {
    let path = root.join(PAGE);
    let mut text = fs::read_to_string(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    for section in section::sections(lines) {
        text = page::with_section(&text, section.suite(), &section.markdown(PICTURES))?;
    }
    fs::write(&path, text).map_err(|source| Error::Read { path, source })?;
    let input: String = lines.iter().map(|line| format!("{}\n", line.text())).collect();
    let plot = cargo(root, "run", "bench").argument("--").argument("plot");
    plot.argument(root.join(PICTURES).display()).run_with(&input)?;
    if !quiet {
        println!("{PAGE} and {PICTURES} are remade");
    }
    Ok(())
}

/// All of the comparison is built in one folder, apart from everything else.
fn cargo(root: &Path, verb: &str, folder: &str) -> Invocation {
    Invocation::cargo(root, &format!("{verb} --release --target-dir"))
        .argument(target(root).display())
        .argument("--manifest-path")
        .argument(root.join(folder).join("Cargo.toml").display())
}

fn target(root: &Path) -> std::path::PathBuf {
    root.join("bench").join("target")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_of_the_comparison_is_there_and_locked() {
        let root = crate::manifest_path();
        let bench = root.parent().unwrap().join("bench");
        for folder in [bench.clone(), bench.join(PEERS[0]), bench.join(PEERS[1])] {
            assert!(folder.join("Cargo.toml").exists() && folder.join("Cargo.lock").exists(), "{}", folder.display());
        }
    }

    #[test]
    fn all_is_built_below_the_folder_of_the_comparison() {
        assert_eq!(
            cargo("/w".as_ref(), "build", "bench/peers-sqlx").to_string(),
            "cargo build --release --target-dir /w/bench/target --manifest-path /w/bench/peers-sqlx/Cargo.toml"
        );
    }

    #[test]
    fn the_page_has_room_for_every_suite() {
        let root = crate::manifest_path();
        let page = fs::read_to_string(root.parent().unwrap().join(PAGE)).unwrap();
        for suite in ["pool", "read", "write", "mixed", "memory", "cache", "breaker", "balancer", "budget"] {
            assert!(page.contains(&page::begin(suite)) && page.contains(&page::end(suite)), "{suite}");
        }
    }
}
