use crate::error::{Error, Result};

/// The seconds of one system in one case.
const SECONDS: &str = "1.2";
/// The same for a look whether everything works: the figures say little.
const QUICK: &str = "0.1";

/// What `cargo xtask peers` is asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Arguments {
    /// The suites; all if there are none. Their names are checked by the program that runs them.
    pub(crate) suites: Vec<String>,
    pub(crate) seconds: String,
    /// Whether lines of JSON go to standard output, and nothing else.
    pub(crate) json: bool,
    /// Whether the page and the pictures are remade.
    pub(crate) write: bool,
}

impl Arguments {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self> {
        let mut parsed = Self { suites: Vec::new(), seconds: SECONDS.into(), json: false, write: false };
        let mut length = None;
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| Error::Usage(format!("{argument} needs a value")));
            match argument.as_str() {
                "--suite" => parsed.suites.push(value()?.clone()),
                "--seconds" | "--quick" => {
                    if let Some(earlier) = length.replace(argument) {
                        return Err(Error::Usage(format!(
                            "{earlier} and {argument} both say how long to run: give one"
                        )));
                    }
                    parsed.seconds = if argument == "--quick" { QUICK.into() } else { seconds(value()?)? };
                }
                "--json" => parsed.json = true,
                "--write" => parsed.write = true,
                _ => {
                    return Err(Error::Usage(format!(
                        "`cargo xtask peers` takes --suite NAME, --seconds N or --quick, --json, --write, but was given \
                         `{argument}`"
                    )));
                }
            }
        }
        if parsed.write && length.is_some_and(|flag| flag == "--quick") {
            return Err(Error::Usage("--write keeps figures, and those of --quick say little: give one".into()));
        }
        Ok(parsed)
    }
}

fn seconds(text: &str) -> Result<String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.01..=3_600.0).contains(&seconds) => Ok(text.into()),
        _ => Err(Error::Usage(format!("--seconds {text} is not acceptable: a number from 0.01 to 3600"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments> {
        Arguments::parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn without_arguments_everything_runs_for_a_while() {
        let expected = Arguments { suites: Vec::new(), seconds: "1.2".into(), json: false, write: false };
        assert_eq!(parse("").unwrap(), expected);
        let parsed = parse("--suite pool --suite read --seconds 0.5 --json --write").unwrap();
        assert_eq!((parsed.suites.join(" "), &*parsed.seconds), ("pool read".into(), "0.5"));
        assert!(parsed.json && parsed.write);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (line, reason) in [
            ("--suite", "--suite needs a value"),
            ("--seconds none", "from 0.01 to 3600"),
            ("--seconds 0", "from 0.01 to 3600"),
            ("--seconds NaN", "from 0.01 to 3600"),
            ("--quick --seconds 2", "--quick and --seconds both say how long"),
            ("--quick --write", "say little"),
            ("pool", "but was given `pool`"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }
}
