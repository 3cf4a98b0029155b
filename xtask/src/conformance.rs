//! SQLite's own test corpus through a manager with a cache, against plain SQLite.

use crate::{
    error::{Error, Result},
    invocation::Invocation,
    metadata::Metadata,
};

/// The program that judges.
const PROGRAM: &str = "--package ecm --example conformance --";

/// Where CI looks for the corpus, beside the checkout.
const CORPUS: &str = "../shared/data/sqllogictest";

/// What CI runs: the beginning of each file, which takes less than a minute unoptimized.
const PART: &str = "--records 800";

/// Carries out `cargo xtask conformance --corpus DIR [..]`; the program itself judges the rest of its arguments.
///
/// # Errors
/// [`Error::Usage`] without a corpus, [`Error::Failed`] if an answer was not that of plain SQLite.
pub(crate) fn run(metadata: &Metadata, arguments: &[String]) -> Result<()> {
    if !arguments.iter().any(|argument| argument == "--corpus") {
        let given = arguments.join(" ");
        return Err(Error::Usage(format!(
            "`cargo xtask conformance` takes --corpus DIR, the folder of the sqllogictest files, but was given `{given}`"
        )));
    }
    let program = Invocation::cargo(&metadata.root, "run --release").arguments(PROGRAM);
    arguments.iter().fold(program, Invocation::argument).run()
}

/// The part that CI runs; where there is no corpus, the reason for which it does not.
pub(crate) fn part(metadata: &Metadata) -> std::result::Result<Invocation, String> {
    let corpus = metadata.root.join(CORPUS);
    if !corpus.is_dir() {
        return Err(format!("there is no corpus at {}", corpus.display()));
    }
    let program = Invocation::cargo(&metadata.root, "run").arguments(PROGRAM);
    Ok(program.argument("--corpus").argument(corpus.display()).arguments(PART))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn without_a_corpus_it_is_refused() {
        let error = run(&Metadata::default(), &["--seed".into(), "7".into()]).unwrap_err().to_string();
        assert!(error.contains("takes --corpus DIR") && error.ends_with("`--seed 7`"), "{error}");
    }

    #[test]
    fn ci_runs_a_part_where_the_corpus_is_and_says_so_where_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let metadata = Metadata { root: folder.path().join("checkout"), ..Metadata::default() };
        fs::create_dir(&metadata.root).unwrap();
        assert!(part(&metadata).unwrap_err().starts_with("there is no corpus at "));
        fs::create_dir_all(folder.path().join("shared/data/sqllogictest")).unwrap();
        let command = part(&metadata).unwrap().to_string();
        assert!(command.starts_with("cargo run --package ecm --example conformance -- --corpus "), "{command}");
        assert!(command.ends_with("/../shared/data/sqllogictest --records 800"), "{command}");
    }
}
