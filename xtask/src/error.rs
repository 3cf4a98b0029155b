use std::{error::Error as StdError, fmt, io, path::PathBuf, process::ExitStatus};

/// The result of a chore.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a chore failed, in words that say what to do.
#[derive(Debug)]
pub(crate) enum Error {
    /// The command line is not one of those that the overview lists.
    Usage(String),
    /// A command could not be started.
    Start {
        /// The command, as a shell takes it.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// A command ended with a failure.
    Failed {
        /// The command, as a shell takes it.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote on standard error, where that was not shown already.
        stderr: String,
    },
    /// A file or folder could not be read.
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `cargo metadata` did not answer with the JSON that this program knows.
    Metadata {
        /// The field that is missing or of another type.
        field: String,
        /// What the parser said, if it was not even JSON.
        source: Option<serde_json::Error>,
    },
    /// A step of `cargo xtask ci` failed.
    Step {
        /// The name of the step.
        step: &'static str,
        /// Why.
        source: Box<Self>,
    },
    /// What was checked is not as it should be; the message says what, where, and what to do.
    Check(String),
}

impl Error {
    /// The message followed by those of its causes, one a line.
    pub(crate) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text = format!("{text}\n  because: {error}");
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::Check(message) => f.write_str(message),
            Self::Start { command, .. } => write!(f, "could not start `{command}`"),
            Self::Failed { command, status, stderr } => {
                write!(f, "`{command}` failed with {status}")?;
                if stderr.is_empty() { Ok(()) } else { write!(f, ":\n{}", stderr.trim_end()) }
            }
            Self::Read { path, .. } => write!(f, "could not read {}", path.display()),
            Self::Metadata { field, .. } => {
                write!(f, "`cargo metadata` gave no usable `{field}`; this program knows format version 1")
            }
            Self::Step { step, .. } => {
                write!(f, "step `{step}` failed; repeat it with: cargo xtask ci --only {step}")
            }
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Start { source, .. } | Self::Read { source, .. } => Some(source),
            Self::Metadata { source, .. } => source.as_ref().map(|source| source as &(dyn StdError + 'static)),
            Self::Step { source, .. } => Some(source.as_ref()),
            Self::Usage(_) | Self::Failed { .. } | Self::Check(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_says_how_to_repeat_it_and_why_it_failed() {
        let cause = Error::Check("two rules are violated".into());
        let error = Error::Step { step: "tidy", source: Box::new(cause) };
        assert_eq!(
            error.with_causes(),
            "step `tidy` failed; repeat it with: cargo xtask ci --only tidy\n  because: two rules are violated"
        );
    }
}
