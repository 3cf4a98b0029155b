use std::{
    error::Error,
    fmt,
    io::{self, Write},
    process::ExitCode,
};

/// Why the program stops: one line for people, and an exit code.
#[derive(Debug)]
pub(crate) struct Problem {
    line: String,
    code: u8,
}

impl Problem {
    /// What was asked for cannot be done: the caller has to ask for something else. Exit code 2.
    pub(crate) fn input(line: impl fmt::Display) -> Self {
        Self { line: one_line(&line.to_string()), code: 2 }
    }

    /// What was asked for has failed. Exit code 1.
    pub(crate) fn failure(line: impl fmt::Display) -> Self {
        Self { line: one_line(&line.to_string()), code: 1 }
    }

    /// A wish to end quietly with this code: the text was printed, or nobody reads it.
    pub(crate) fn quiet(code: u8) -> Self {
        Self { line: String::new(), code }
    }

    /// Says it on stderr; answers the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if !self.line.is_empty() {
            // Nobody is left to tell where stderr is closed; the exit code still says it.
            let _closed = writeln!(io::stderr().lock(), "ecm: {self}");
        }
        ExitCode::from(self.code)
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_several_lines_becomes_one() {
        assert_eq!(Problem::input("near \"x\":\n  syntax error").to_string(), "near \"x\": syntax error");
    }
}
