use crate::problem::Problem;
use std::io::{self, ErrorKind, IsTerminal, Write};

/// Writes to stdout. A reader that has gone away (`ecm demo | head -1`) ends the program quietly.
pub(crate) fn print(text: &str) -> Result<(), Problem> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Problem::quiet(0),
        _ => Problem::failure(format_args!("cannot write to stdout: {error}")),
    })
}

/// Where a run says how far it is: a live line on a terminal, plain lines elsewhere, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// A line on stderr that is drawn over and over.
    Live,
    /// A line on stderr now and then.
    Plain,
    /// Nothing: with `--json` only the answer is written.
    Silent,
}

impl Progress {
    pub(crate) fn new(json: bool) -> Self {
        match (json, io::stderr().is_terminal()) {
            (true, _) => Self::Silent,
            (false, true) => Self::Live,
            (false, false) => Self::Plain,
        }
    }

    /// Says something once. A closed stderr is no reason to stop.
    pub(crate) fn say(self, line: impl std::fmt::Display) {
        if self != Self::Silent {
            let _closed = writeln!(io::stderr().lock(), "{line}");
        }
    }
}
