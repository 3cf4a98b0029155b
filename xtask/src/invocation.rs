use crate::error::{Error, Result};
use std::{
    fmt,
    io::{BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
};

/// A command with its arguments and its additions to the environment, which prints as a line that
/// a shell takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invocation {
    program: String,
    arguments: Vec<String>,
    variables: Vec<(&'static str, String)>,
    folder: PathBuf,
}

impl Invocation {
    /// `cargo` with these arguments, separated by blanks, to be run in `folder`.
    ///
    /// It is the `cargo` of the search path, never that of the variable `CARGO`: only rustup's
    /// understands `+nightly`.
    pub(crate) fn cargo(folder: &Path, arguments: &str) -> Self {
        Self::new("cargo", folder, arguments)
    }

    /// A program with these arguments, separated by blanks, to be run in `folder`.
    pub(crate) fn new(program: &str, folder: &Path, arguments: &str) -> Self {
        Self { program: program.into(), arguments: Vec::new(), variables: Vec::new(), folder: folder.into() }
            .arguments(arguments)
    }

    /// With more arguments, separated by blanks.
    pub(crate) fn arguments(mut self, arguments: &str) -> Self {
        self.arguments.extend(arguments.split_whitespace().map(String::from));
        self
    }

    /// With one more argument, which may hold blanks.
    pub(crate) fn argument(mut self, argument: impl fmt::Display) -> Self {
        self.arguments.push(argument.to_string());
        self
    }

    /// With a variable set.
    pub(crate) fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Runs it with this program's input and output.
    ///
    /// # Errors
    /// [`Error::Start`] if there is no such program, [`Error::Failed`] if it ends with a failure.
    pub(crate) fn run(&self) -> Result<()> {
        let status = self.command().status().map_err(|source| Error::Start { command: self.to_string(), source })?;
        self.judge(status)
    }

    fn judge(&self, status: ExitStatus) -> Result<()> {
        if status.success() {
            Ok(())
        } else {
            Err(Error::Failed { command: self.to_string(), status, stderr: String::new() })
        }
    }

    /// Runs it with `input`, and with this program's output.
    ///
    /// # Errors
    /// [`Error::Start`] if there is no such program or it does not take the input, [`Error::Failed`] if it ends
    /// with a failure.
    pub(crate) fn run_with(&self, input: &str) -> Result<()> {
        let failed = |source| Error::Start { command: self.to_string(), source };
        let mut child = self.command().stdin(Stdio::piped()).spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).map_err(failed)?;
        }
        self.judge(child.wait().map_err(failed)?)
    }

    /// Runs it without input, and gives each line that it writes on standard output at once; standard error is
    /// this program's.
    ///
    /// # Errors
    /// [`Error::Start`] if there is no such program, [`Error::Failed`] if it ends with a failure, and what `each`
    /// fails with, which ends the program by closing its output.
    pub(crate) fn each_line(&self, mut each: impl FnMut(&str) -> Result<()>) -> Result<()> {
        let failed = |source| Error::Start { command: self.to_string(), source };
        let mut child = self.command().stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let lines = child.stdout.take().into_iter().flat_map(|output| BufReader::new(output).lines());
        let given = lines.map(|line| line.map_err(failed)).try_for_each(|line| each(&line?));
        let status = child.wait().map_err(failed)?;
        given.and_then(|()| self.judge(status))
    }

    /// Runs it without input and returns what it wrote, whether it failed or not.
    ///
    /// # Errors
    /// [`Error::Start`] if there is no such program.
    pub(crate) fn try_output(&self) -> Result<Output> {
        let output = self.command().stdin(Stdio::null()).output();
        output.map_err(|source| Error::Start { command: self.to_string(), source })
    }

    /// Runs it without input and returns what it wrote on standard output.
    ///
    /// # Errors
    /// [`Error::Start`] if there is no such program, [`Error::Failed`] if it ends with a failure.
    pub(crate) fn output(&self) -> Result<String> {
        let output = self.try_output()?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::Failed { command: self.to_string(), status: output.status, stderr });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.folder);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.variables {
            write!(f, "{name}={} ", quoted(value))?;
        }
        f.write_str(&self.program)?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {}", quoted(argument)))
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=/.,:+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_a_line_that_a_shell_takes() {
        let models = Invocation::cargo(Path::new("."), "test -p ecm-pool").variable("RUSTFLAGS", "--cfg shuttle");
        assert_eq!(models.to_string(), "RUSTFLAGS='--cfg shuttle' cargo test -p ecm-pool");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn a_failing_command_gives_its_own_words_and_the_line_to_repeat_it() {
        let error = Invocation::cargo(Path::new("."), "no-such-subcommand").output().unwrap_err();
        let Error::Failed { command, stderr, .. } = error else { panic!("{error:?}") };
        assert_eq!(command, "cargo no-such-subcommand");
        assert!(stderr.contains("no-such-subcommand"), "{stderr}");
    }

    #[test]
    fn lines_are_given_one_by_one_until_one_is_refused() {
        let printing = Invocation::new("printf", Path::new("."), "").argument("a\\nb\\nc\\n");
        let mut seen = Vec::new();
        let mut note = |line: &str| {
            seen.push(line.to_owned());
            if line == "b" { Err(Error::Usage("no b".into())) } else { Ok(()) }
        };
        assert_eq!(printing.each_line(&mut note).unwrap_err().to_string(), "no b");
        assert_eq!(seen, ["a", "b"]);
        let failing = Invocation::new("false", Path::new("."), "").each_line(|_| Ok(()));
        assert!(matches!(failing, Err(Error::Failed { .. })));
    }

    #[test]
    fn input_reaches_the_program() {
        let wanting = Invocation::new("grep", Path::new("."), "--quiet wanted");
        assert!(wanting.run_with("what is wanted\n").is_ok());
        assert!(matches!(wanting.run_with("nothing\n"), Err(Error::Failed { .. })));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let missing = Invocation::new("ecm-no-such-program", Path::new("."), "");
        assert!(matches!(missing.run(), Err(Error::Start { command, .. }) if command == "ecm-no-such-program"));
    }
}
