//! The chores of this workspace: `cargo xtask` lists them.
//!
//! It depends on no crate of the workspace, so that it runs while they do not compile.

#![expect(clippy::print_stdout, reason = "a program that reports on standard output")]

mod asan;
mod ci;
mod conformance;
mod error;
mod features;
mod invocation;
mod metadata;
mod peers;
mod soak;
mod soak_wal;
mod table;
mod tidy;
mod wiring;

use error::{Error, Result};
use metadata::Metadata;
use std::{env, fmt::Write as _, path::PathBuf, process::ExitCode};

/// One chore: its name, its options, one line on what it is for, and what carries it out.
struct Chore {
    name: &'static str,
    options: &'static str,
    about: &'static str,
    run: fn(&Metadata, &[String]) -> Result<()>,
}

const CHORES: &[Chore] = &[
    Chore {
        name: "ci",
        options: "[--only STEP]",
        about: "everything that CI checks besides `cargo test --workspace`; stops at the first failure",
        run: ci::run,
    },
    Chore {
        name: "tidy",
        options: "",
        about: "the rules of the house: who may know whom, where unsafe code lives, what a file may look like",
        run: tidy::run,
    },
    Chore {
        name: "features",
        options: "",
        about: "the facade in each set of features: it compiles, and `builder()` wires the same in all",
        run: features::run,
    },
    Chore {
        name: "asan",
        options: "",
        about: "the tests of the crates with unsafe code under AddressSanitizer (needs nightly)",
        run: asan::run,
    },
    Chore {
        name: "peers",
        options: "[--suite NAME] ..",
        about: "ECM beside what its users would pick instead (--seconds N, --quick, --json; --write keeps it in BENCHMARKS.md)",
        run: peers::run,
    },
    Chore {
        name: "conformance",
        options: "--corpus DIR ..",
        about: "SQLite's own test corpus through a manager with a cache, against plain SQLite (--seed N, --records N, --only FILE, --alone)",
        run: conformance::run,
    },
    Chore {
        name: "soak",
        options: "[--kills N] | --schedules N | --wal [--seconds N]",
        about: "for longer than CI can wait: a process that is killed a thousand times while 16 callers write, the log under readers that never pause, or the model of the cache in more schedules",
        run: soak::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.with_causes());
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", overview());
        return Ok(());
    };
    if ["help", "--help", "-h"].contains(&name.as_str()) {
        print!("{}", overview());
        return Ok(());
    }
    let Some(chore) = CHORES.iter().find(|chore| chore.name == name) else {
        let names: Vec<&str> = CHORES.iter().map(|chore| chore.name).collect();
        return Err(Error::Usage(format!("there is no command `{name}`; there are: {}", names.join(", "))));
    };
    if chore.options.is_empty()
        && let Some(extra) = rest.first()
    {
        return Err(Error::Usage(format!("`cargo xtask {name}` takes no arguments, but was given `{extra}`")));
    }
    (chore.run)(&Metadata::load(&manifest_path())?, rest)
}

fn overview() -> String {
    let mut text = String::from("cargo xtask COMMAND\n\n");
    for chore in CHORES {
        let call = format!("{} {}", chore.name, chore.options);
        let _ = writeln!(text, "  {call:<24} {}", chore.about);
    }
    text
}

/// The root manifest of the checkout that this program is run from, not of the one where it was
/// built: the two differ where checkouts share a target folder.
fn manifest_path() -> PathBuf {
    let own =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.parent().map_or_else(|| own.clone(), PathBuf::from).join("Cargo.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(arguments: &[&str]) -> Result<()> {
        dispatch(&arguments.iter().map(|argument| String::from(*argument)).collect::<Vec<_>>())
    }

    #[test]
    fn the_overview_has_one_line_for_each_command() {
        let lines: Vec<String> = overview().lines().skip(2).map(String::from).collect();
        assert_eq!(lines.len(), CHORES.len());
        for (line, chore) in lines.iter().zip(CHORES) {
            assert!(line.trim_start().starts_with(chore.name) && line.ends_with(chore.about), "{line}");
        }
    }

    #[test]
    fn an_unknown_command_is_refused_with_the_known_ones() {
        let error = call(&["tidyy"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no command `tidyy`; there are: ci, tidy, features, asan, peers, conformance, soak"
        );
    }

    #[test]
    fn an_argument_where_none_is_taken_is_refused_rather_than_ignored() {
        let error = call(&["tidy", "--fix"]).unwrap_err();
        assert_eq!(error.to_string(), "`cargo xtask tidy` takes no arguments, but was given `--fix`");
    }
}
