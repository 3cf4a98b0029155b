//! Another process, which writes the same file without ECM.

use crate::{
    client::{SCHEMA, transact},
    plain,
};
use std::{
    env,
    error::Error,
    io::{self, BufRead, BufReader, Write, stdin, stdout},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// Writes for whoever asks; ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Stands for the end of a line within one.
const BREAK: &str = "\u{1}";

const DONE: &str = "done";

impl Process {
    pub(crate) fn start(file: &Path) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("--other-process").arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("the other process has no pipes"));
        };
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    /// Runs statements in a transaction of the other process; answers when it has ended.
    pub(crate) fn write(&mut self, sql: &str) -> io::Result<Result<(), String>> {
        writeln!(self.input, "{}", sql.replace('\n', BREAK))?;
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(io::Error::other("the other process has ended"));
        }
        let said = line.trim_end();
        Ok(if said == DONE { Ok(()) } else { Err(said.into()) })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _it_may_have_ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// The work of the other process, until nobody asks any more.
pub(crate) fn serve(file: &Path) -> Result<(), Box<dyn Error>> {
    let connection = plain::connect(file)?;
    for line in stdin().lines() {
        connection.query_row(SCHEMA, [], |row| row.get::<_, i64>(0))?;
        let done = transact(&connection, &line?.replace(BREAK, "\n"), &[]);
        let said = done.map_or_else(|error| error.to_string().replace('\n', " "), |()| DONE.into());
        writeln!(stdout(), "{said}").and_then(|()| stdout().flush())?;
    }
    Ok(())
}
