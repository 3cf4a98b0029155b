//! What the program is told on its command line.

use std::{
    hash::{BuildHasher, RandomState},
    path::PathBuf,
};

pub(crate) const USAGE: &str = "\
conformance --corpus DIR [--seed N] [--records N] [--only FILE] [--alone]

  --corpus DIR   the folder of the sqllogictest files
  --seed N       the seed of all that is drawn by chance; a new one each time unless given
  --records N    the first N records of each file only
  --only FILE    one file only, as it is named in the output
  --alone        without another process that writes the same database";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    Judge(Judging),
    /// The other process, which writes this file.
    OtherProcess(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judging {
    pub(crate) corpus: PathBuf,
    pub(crate) seed: u64,
    pub(crate) records: usize,
    pub(crate) only: Option<String>,
    pub(crate) alone: bool,
}

impl Arguments {
    /// # Errors
    /// What is not understood, with what would be.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let (mut corpus, mut seed, mut records, mut only, mut alone) = (None, None, usize::MAX, None, false);
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} takes a value\n\n{USAGE}"));
            let number = |text: String| {
                text.parse::<u64>().map_err(|_| format!("{argument} takes a number from 0, but was given `{text}`"))
            };
            match argument.as_str() {
                "--corpus" => corpus = Some(PathBuf::from(value()?)),
                "--seed" => seed = Some(number(value()?)?),
                "--records" => records = usize::try_from(number(value()?)?).unwrap_or(usize::MAX),
                "--only" => only = Some(value()?),
                "--alone" => alone = true,
                "--other-process" => return value().map(|file| Self::OtherProcess(file.into())),
                _ => return Err(format!("`{argument}` is not understood\n\n{USAGE}")),
            }
        }
        let corpus = corpus.ok_or_else(|| format!("--corpus is missing\n\n{USAGE}"))?;
        if !corpus.is_dir() {
            return Err(format!(
                "--corpus takes the folder of the sqllogictest files, but there is none at {corpus:?}"
            ));
        }
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one("seed") % 1_000_000);
        Ok(Self::Judge(Judging { corpus, seed, records, only, alone }))
    }
}

impl Judging {
    /// How to run this again; with one file only where that is enough.
    pub(crate) fn again(&self, file: Option<&str>) -> String {
        let mut line = format!("cargo xtask conformance --corpus {:?} --seed {}", self.corpus, self.seed);
        if self.records < usize::MAX {
            line += &format!(" --records {}", self.records);
        }
        if let Some(file) = file.or(self.only.as_deref()) {
            line += &format!(" --only {file}");
        }
        line + if self.alone { " --alone" } else { "" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn a_run_says_how_to_repeat_it() {
        let Ok(Arguments::Judge(judging)) = parse("--corpus / --seed 7 --records 20 --alone") else { panic!() };
        let line = "cargo xtask conformance --corpus \"/\" --seed 7 --records 20";
        assert_eq!(judging.again(None), format!("{line} --alone"));
        assert_eq!(judging.again(Some("a.test")), format!("{line} --only a.test --alone"));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_would_be() {
        for (line, told) in [
            ("", "--corpus is missing"),
            ("--corpus", "--corpus takes a value"),
            ("--corpus /no/such/folder", "but there is none at \"/no/such/folder\""),
            ("--corpus / --seed x", "--seed takes a number from 0, but was given `x`"),
            ("--corpse /", "`--corpse` is not understood"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(told), "{line}: {error}");
        }
    }
}
