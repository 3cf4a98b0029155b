use crate::{output, problem::Problem};
use clap::{Args, Parser, Subcommand, error::ErrorKind};
use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

const LONGEST_SECONDS: f64 = 86_400.0;

#[derive(Debug, Parser)]
#[command(name = "ecm", version, about = "A data access layer for SQLite: see what it does, measure your own SQL.")]
#[command(
    after_help = "Exit codes: 0 done, 1 something failed while running, 2 the command line or a file is not acceptable,
130 ended by Ctrl-C (the results so far are printed; a second Ctrl-C ends at once)."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fill a store of notes, copy it to a replica, and run a mixed load on both.
    Demo(DemoOptions),
    /// Run SQL on a SQLite file from several clients, in the manner of pgbench.
    Bench(BenchOptions),
    /// Put garbage into every page of a database until standard input is closed: a part of the demo.
    #[command(hide = true)]
    Damage {
        /// The SQLite file
        file: PathBuf,
    },
}

/// The options of `ecm demo`.
#[derive(Args, Debug)]
pub(crate) struct DemoOptions {
    /// Notes to fill the primary with, 1 to 100000000
    #[arg(long, value_name = "N", default_value = "100000", allow_negative_numbers = true, value_parser = |text: &str| whole(text, 1..=100_000_000))]
    pub(crate) rows: u64,
    /// Seconds of load; fractions are allowed
    #[arg(short = 'T', long, value_name = "S", default_value = "10", allow_negative_numbers = true, value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Threads that call at the same time, 1 to 1000
    #[arg(long, value_name = "T", default_value = "16", allow_negative_numbers = true, value_parser = |text: &str| whole(text, 1..=1000))]
    pub(crate) threads: u64,
    /// Folder for the files, which are kept then [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Where the pseudo-random text and load start: the same seed, the same text
    #[arg(long, value_name = "N", default_value = "1", allow_negative_numbers = true, value_parser = |text: &str| whole(text, 0..=u64::MAX))]
    pub(crate) seed: u64,
    /// Print one JSON object instead of the table; latencies in nanoseconds
    #[arg(long)]
    pub(crate) json: bool,
}

/// The options of `ecm bench`.
#[derive(Args, Debug)]
#[command(after_help = r"A script holds statements, each ended by `;`, comments, and lines of the form
    \set id random(1, 3503)
    \set page (:id - 1) / 20 * 20
with whole numbers, + - * / % ( ), earlier variables as :name and random(lowest, highest). A statement
uses a variable as :name, @name or $name. One pass through a script is what is counted; of several
scripts each pass picks one at random. Without a script, queries are derived from the tables of the
file and printed. Each statement is a call of its own: BEGIN and COMMIT are refused.

Without --allow-writes the file is opened for reading only and is not changed. Both systems of
--compare read every column of every row; they take turns, and each gets the whole time, so that the
run takes twice as long. A warm-up goes before the run and is not counted; with --allow-writes it
writes as well.

Exit codes: 0 done, 1 a statement failed while running, 2 the command line or a file is not
acceptable, 130 ended by Ctrl-C (the results so far are printed).")]
pub(crate) struct BenchOptions {
    /// The SQLite file
    #[arg(value_name = "DATABASE")]
    pub(crate) database: PathBuf,
    /// A script to run; may be given several times [default: queries derived from the tables]
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) script: Vec<PathBuf>,
    /// Clients, each a thread, 1 to 1000
    #[arg(short, long, value_name = "N", default_value = "4", allow_negative_numbers = true, value_parser = |text: &str| whole(text, 1..=1000))]
    pub(crate) clients: u64,
    /// Seconds to run; fractions are allowed
    #[arg(short = 'T', long, value_name = "S", default_value = "10", allow_negative_numbers = true, value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Run the same through plain rusqlite as well, in turns, and print the ratio
    #[arg(long)]
    pub(crate) compare: bool,
    /// Let ECM keep answers, as a manager does by default; needs a file with a write-ahead log
    #[arg(long)]
    pub(crate) cache: bool,
    /// Run statements that write; the file keeps its journal mode
    #[arg(long)]
    pub(crate) allow_writes: bool,
    /// Where the pseudo-random numbers start
    #[arg(long, value_name = "N", default_value = "1", allow_negative_numbers = true, value_parser = |text: &str| whole(text, 0..=u64::MAX))]
    pub(crate) seed: u64,
    /// Print one JSON object instead of the tables; latencies in nanoseconds
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the command line asks for; help and version are printed here.
pub(crate) fn read() -> Result<Command, Problem> {
    Cli::try_parse().map(|cli| cli.command).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output::print(&error.render().to_string()).err().unwrap_or_else(|| Problem::quiet(0))
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            Problem::input("a command is needed: `ecm demo` or `ecm bench DATABASE` (see `ecm --help`)")
        }
        _ => Problem::input(sentence(&error.render().to_string())),
    })
}

/// The first paragraph of what clap says: usage and hints are for `--help`.
fn sentence(rendered: &str) -> String {
    let rendered = rendered.trim_start().trim_start_matches("error: ");
    let first = rendered.split("\n\n").next().unwrap_or(rendered);
    format!("{first} (see `ecm --help`)")
}

fn whole(text: &str, accepted: RangeInclusive<u64>) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| accepted.contains(number));
    number.ok_or_else(|| format!("expected a whole number from {} to {}", accepted.start(), accepted.end()))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0.0 && *seconds <= LONGEST_SECONDS);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|seconds| !seconds.is_zero())
        .ok_or_else(|| format!("expected a number of seconds above 0, up to {LONGEST_SECONDS}, like 10 or 0.5"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn refused(words: &[&str]) -> String {
        sentence(&Cli::try_parse_from(words).unwrap_err().render().to_string())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn absurd_numbers_are_refused_by_name_and_value_with_what_would_be_accepted() {
        for (option, value, accepted) in [
            ("--rows", "0", "from 1 to"),
            ("--rows", "-1", "from 1 to"),
            ("--threads", "0", "from 1 to 1000"),
            ("--seconds", "0", "above 0"),
            ("--seconds", "-1", "above 0"),
            ("--seconds", "NaN", "above 0"),
            ("--seconds", "inf", "above 0"),
            ("--seconds", "1e-30", "above 0"),
            ("--seconds", "soon", "above 0"),
            ("--seed", "-1", "from 0 to"),
        ] {
            let message = refused(&["ecm", "demo", option, value]);
            for part in [option, value, accepted] {
                assert!(message.contains(part), "{message:?} does not say {part:?}");
            }
        }
    }

    #[test]
    fn several_databases_are_refused() {
        let message = refused(&["ecm", "bench", "a.db", "b.db"]);
        assert!(message.contains("unexpected argument 'b.db'"), "{message}");
    }

    #[test]
    fn half_a_second_is_acceptable() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
    }
}
