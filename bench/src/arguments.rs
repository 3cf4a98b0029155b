use crate::bench::SUITES;
use std::path::PathBuf;
use workload::{Plan, Problem};

/// What this program is asked for.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    /// To measure.
    Run(Run),
    /// To draw the lines on standard input, a picture for each suite, into this folder.
    Plot { folder: PathBuf },
    /// To open the readers of this system on this file, and to tell how much the process grows by them.
    Grow { system: String, path: PathBuf },
}

/// What to measure.
#[derive(Debug, PartialEq)]
pub(crate) struct Run {
    /// The suites; all if there are none.
    pub(crate) suites: Vec<String>,
    /// The cases of these suites; all if there are none.
    pub(crate) cases: Vec<String>,
    pub(crate) plan: Plan,
    /// Programs that host systems with an SQLite of their own.
    pub(crate) peers: Vec<PathBuf>,
}

impl Command {
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, Problem> {
        let mut arguments = arguments.into_iter();
        let mut run = Run { suites: Vec::new(), cases: Vec::new(), plan: Plan::of_seconds(1.5)?, peers: Vec::new() };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| Problem(format!("{argument} needs a value")));
            match argument.as_str() {
                "plot" => return Ok(Self::Plot { folder: value()?.into() }),
                "grow" => {
                    let system = value()?;
                    return Ok(Self::Grow { system, path: value()?.into() });
                }
                "--suite" => run.suites.push(value()?),
                "--case" => run.cases.push(value()?),
                "--seconds" => {
                    let text = value()?;
                    let seconds = text.parse().map_err(|error| Problem(format!("--seconds {text}: {error}")))?;
                    run.plan = Plan::of_seconds(seconds)?;
                }
                "--peer" => run.peers.push(value()?.into()),
                _ => {
                    return Err(Problem(format!(
                        "the argument {argument} is none of --suite NAME, --case NAME, --seconds N, --peer PROGRAM, plot FOLDER"
                    )));
                }
            }
        }
        let known: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
        if let Some(unknown) = run.suites.iter().find(|suite| !known.contains(&suite.as_str())) {
            return Err(Problem(format!("there is no suite {unknown}; there are: {}", known.join(", "))));
        }
        Ok(Self::Run(run))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, Problem> {
        Command::parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_would_be() {
        assert!(parse("--suite polo").unwrap_err().0.contains("there are: pool, read, write, breaker"));
        assert!(parse("--sweet pool").unwrap_err().0.contains("none of --suite NAME"));
        assert_eq!(parse("--seconds").unwrap_err().0, "--seconds needs a value");
        assert!(parse("--seconds 0").unwrap_err().0.contains("between"));
    }

    #[test]
    fn suites_and_peers_add_up() {
        let Ok(Command::Run(run)) = parse("--suite pool --suite read --peer a --peer b --seconds 0.5") else {
            panic!("it is right")
        };
        assert_eq!((run.suites.len(), run.peers.len(), run.plan.time.as_millis()), (2, 2, 500));
    }
}
