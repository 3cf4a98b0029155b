//! The soak of the log, which runs for long and is no part of CI.

use crate::{
    error::{Error, Result},
    invocation::Invocation,
    metadata::Metadata,
};

/// How long `--wal` runs unless it is told, in seconds.
const SECONDS: u32 = 60;

/// `cargo xtask soak --wal [--seconds N]`: how long the log becomes, and who waits for it.
pub(crate) fn run(metadata: &Metadata, arguments: &[String]) -> Result<()> {
    let seconds = asked(arguments)?;
    wal(metadata, seconds).run()
}

fn wal(metadata: &Metadata, seconds: u32) -> Invocation {
    Invocation::cargo(&metadata.root, "run --release --package ecm-sqlite --example wal_soak --").argument(seconds)
}

fn asked(arguments: &[String]) -> Result<u32> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["--wal"] => Ok(SECONDS),
        ["--wal", "--seconds", seconds] => seconds
            .parse()
            .map_err(|_| Error::Usage(format!("--seconds takes a number of seconds, but was given `{seconds}`"))),
        _ => Err(Error::Usage(format!(
            "`cargo xtask soak` takes `--wal [--seconds N]`, but was given `{}`",
            arguments.join(" ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Result<u32> {
        asked(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn it_runs_for_as_long_as_it_is_told() {
        assert_eq!((call("--wal").unwrap(), call("--wal --seconds 7").unwrap()), (SECONDS, 7));
        let command = wal(&Metadata::default(), 7).to_string();
        assert_eq!(command, "cargo run --release --package ecm-sqlite --example wal_soak -- 7");
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_would_be() {
        for (line, told) in [
            ("", "`cargo xtask soak` takes `--wal [--seconds N]`, but was given ``"),
            ("--wall", "`cargo xtask soak` takes `--wal [--seconds N]`, but was given `--wall`"),
            ("--wal --seconds soon", "--seconds takes a number of seconds, but was given `soon`"),
        ] {
            assert_eq!(call(line).unwrap_err().to_string(), told);
        }
    }
}
