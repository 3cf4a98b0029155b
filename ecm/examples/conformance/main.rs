//! SQLite's own test corpus (sqllogictest) through a manager with a cache, against plain SQLite.
//!
//! ```sh
//! cargo run --release -p ecm --example conformance -- --corpus DIR    # what `cargo xtask conformance` runs
//! ```
//!
//! Every statement of a file runs on both. Each query is asked three times when it comes, and many are asked again
//! after every write, with reads of single rows; where a file only reads, something is written by chance. Once with one
//! client, once with another process that makes half of the writes, and once with several clients of one manager, each
//! with tables of its own, readers of all of them, and the other process. The first answer that differs from plain
//! SQLite's ends it, with the way to repeat it; so does a run in which too little came from the cache.

#![expect(clippy::print_stdout, reason = "a program that reports on standard output")]

mod arguments;
mod client;
#[path = "../../tests/support/corpus.rs"]
#[expect(dead_code, reason = "what is expected here is what plain SQLite answers")]
mod corpus;
#[path = "../../tests/support/judging.rs"]
mod judging;
mod mismatch;
mod names;
#[cfg(test)]
#[path = "../../tests/support/old_rows.rs"]
mod old_rows;
mod passes;
#[path = "../../tests/support/plain.rs"]
mod plain;
mod process;
mod together;

use arguments::{Arguments, Judging};
use client::Counts;
use ecm::{
    cache::{Quick, QuickConfig},
    core::Cache,
};
use passes::{Ended, Pass, one_client, several_clients};
use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let judging = match Arguments::parse(env::args().skip(1)) {
        Ok(Arguments::Judge(judging)) => judging,
        Ok(Arguments::OtherProcess(file)) => {
            let served = process::serve(&file);
            return served.map_or_else(|error| failed(&error.to_string()), |()| ExitCode::SUCCESS);
        }
        Err(usage) => return failed(&usage),
    };
    let quick = || Quick::new(&QuickConfig::default()).expect("the defaults are valid");
    match judge(&judging, quick) {
        Ok(passes) => {
            print!("\n{}", table(&passes));
            ExitCode::SUCCESS
        }
        Err(Ended { error, file }) => {
            failed(&format!("{error}\nto run this again: {}", judging.again(file.as_deref())))
        }
    }
}

fn failed(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::FAILURE
}

/// All passes, or the first that ends early.
fn judge<C: Cache + 'static>(judging: &Judging, cache: impl Fn() -> C) -> Result<Vec<Pass>, Ended> {
    let scripts = passes::scripts(judging).map_err(|error| Ended { error, file: None })?;
    println!("{} files, seed {}", scripts.len(), judging.seed);
    let progress = |file: &str, counts: &Counts| {
        let Counts { statements, queries, asked, .. } = counts;
        println!("  {file}: {statements} statements, {queries} queries, asked {asked} times");
    };
    let mut passes = Vec::new();
    println!("one client");
    passes.push(one_client(judging, &scripts, false, &cache, progress)?);
    if !judging.alone {
        println!("one client, and another process");
        passes.push(one_client(judging, &scripts, true, &cache, progress)?);
    }
    println!("several clients");
    passes.push(several_clients(judging, &scripts, cache(), progress)?);
    for Pass { name, counts, .. } in &passes {
        if judging.only.is_none() && counts.hits * 10 < counts.asked {
            let error = format!(
                "{name}: of {} answers only {} came from the cache: this proves nothing",
                counts.asked, counts.hits
            );
            return Err(Ended { error: error.into(), file: None });
        }
    }
    Ok(passes)
}

fn table(passes: &[Pass]) -> String {
    let mut lines =
        vec![["", "files", "statements", "queries", "asked", "hits", "row-precise", "mismatches"].map(String::from)];
    lines.extend(passes.iter().map(|Pass { name, counts, tells_rows }| {
        let Counts { files, statements, queries, asked, hits, row_precise } = *counts;
        let rows = if *tells_rows { row_precise.to_string() } else { "-".into() };
        let [files, statements, queries, asked, hits] =
            [files, statements, queries, asked, hits].map(|n| n.to_string());
        [(*name).into(), files, statements, queries, asked, hits, rows, "0".into()]
    }));
    let mut text = String::new();
    for line in &lines {
        let widths = (0..line.len()).map(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0));
        for (number, (cell, width)) in line.iter().zip(widths).enumerate() {
            text += &if number == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
        }
        text += "\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mismatch::Mismatch, old_rows::OldRows};
    use std::fs;

    const SCRIPT: &str = "
statement ok
CREATE TABLE t1(id INTEGER PRIMARY KEY, a)

statement ok
INSERT INTO t1 VALUES (1, 2), (3, 4)

skipif sqlite # is not for it
statement ok
DROP TABLE t1

query II rowsort
SELECT * FROM t1
----
1
2
3
4

statement error
INSERT INTO t1 VALUES (1, 2)

statement ok
UPDATE t1 SET a = 5
";

    fn judged<C: Cache + 'static>(cache: impl Fn() -> C) -> Result<Vec<Pass>, Ended> {
        let folder = tempfile::tempdir().unwrap();
        for file in ["one.test", "other.test"] {
            fs::write(folder.path().join(file), SCRIPT).unwrap();
        }
        let corpus = folder.path().to_owned();
        judge(&Judging { corpus, seed: 1, records: usize::MAX, only: None, alone: true }, cache)
    }

    #[test]
    fn a_cache_that_tells_the_truth_passes_and_the_table_says_what_was_judged() {
        let passes = judged(|| Quick::new(&QuickConfig::default()).unwrap()).unwrap();
        let Counts { files, statements, queries, .. } = passes[0].counts;
        assert_eq!((passes.len(), files, statements, queries), (2, 2, 8, 2));
        let table = table(&passes);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0].last(), Some(&"mismatches"));
        assert_eq!(lines[1][..5], ["one", "client", "2", "8", "2"]);
    }

    #[test]
    fn a_cache_that_serves_old_rows_is_found_out_with_both_answers_and_the_way_to_repeat_it() {
        let Ended { error, file } = judged(OldRows::default).unwrap_err();
        let mismatch = error.downcast_ref::<Mismatch>().unwrap();
        assert!(mismatch.cached && mismatch.manager != mismatch.sqlite, "{mismatch}");
        assert_eq!(file.as_deref(), Some("one.test"));
        assert!(mismatch.to_string().contains("from the cache: "), "{mismatch}");
    }

    #[test]
    fn several_clients_find_such_a_cache_out_as_well() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("one.test"), SCRIPT).unwrap();
        let corpus = folder.path().to_owned();
        let judging = Judging { corpus, seed: 1, records: usize::MAX, only: None, alone: true };
        let scripts = passes::scripts(&judging).unwrap();
        let ended = several_clients(&judging, &scripts, OldRows::default(), |_, _| {}).unwrap_err();
        assert!(ended.error.downcast_ref::<Mismatch>().is_some_and(|mismatch| mismatch.cached), "{ended:?}");
    }
}
