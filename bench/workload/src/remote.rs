use crate::{Case, Contestant, Line, Problem, Settings};
use std::{
    io::{BufRead, BufReader, Lines, Write, stdin, stdout},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};
use tokio::runtime::{Handle, Runtime};

/// Opens the file for a case, for a system whose callers run on this runtime.
pub type Open = fn(&Settings, &Handle) -> Result<Box<dyn Contestant>, String>;

/// A system of a program that hosts it because it links an SQLite of its own.
#[derive(Clone, Copy)]
pub struct Hosted {
    /// Its name.
    pub name: &'static str,
    /// How it is opened.
    pub open: Open,
}

/// The end of an answer.
const END: &str = ".";

/// The whole of a program that hosts systems.
///
/// Called with `about` it tells its conditions, a line each. Called with `SYSTEM SUITE CASE PATH` it opens the
/// file, and then obeys its standard input: `round MICROSECONDS`, `forget`, `finish`; each answer ends with a
/// line that holds a dot alone. What goes wrong is told on standard error, and ends it.
///
/// # Errors
/// Everything that goes wrong.
pub fn host(about: &[Line], systems: &[Hosted]) -> Result<(), Problem> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (system, suite, case, path) = match arguments[..] {
        ["about"] => return say(about),
        [system, suite, case, path] => (system, suite, case, path),
        _ => return Err(Problem(format!("expected `about` or `SYSTEM SUITE CASE PATH`, not {arguments:?}"))),
    };
    let case = Case::named(suite, case).ok_or_else(|| Problem(format!("there is no case {suite} {case}")))?;
    let hosted = systems.iter().find(|hosted| hosted.name == system);
    let hosted = hosted.ok_or_else(|| Problem(format!("there is no system {system} here")))?;
    let runtime = Runtime::new().map_err(|error| Problem::during("starting the runtime", error))?;
    let settings = Settings { path: path.into(), case };
    let opened = (hosted.open)(&settings, runtime.handle());
    let mut contestant = opened.map_err(|error| Problem::during(format_args!("opening {system}"), error))?;
    say(&[])?;
    for command in stdin().lines() {
        let command = command.map_err(|error| Problem::during("reading a command", error))?;
        match command.split_once(' ').unwrap_or((&command, "")) {
            ("round", length) => {
                let micros = length.parse().map_err(|error| Problem::during(format_args!("round {length}"), error))?;
                contestant.round(Duration::from_micros(micros))?;
                say(&[])?;
            }
            ("forget", _) => {
                contestant.forget()?;
                say(&[])?;
            }
            ("finish", _) => return say(&contestant.finish()?),
            _ => return Err(Problem(format!("the command {command:?} is none of round, forget, finish"))),
        }
    }
    Ok(())
}

fn say(lines: &[Line]) -> Result<(), Problem> {
    let mut out = stdout().lock();
    let mut text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    text += END;
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| Problem::during("answering", error))
}

/// A system in another process, which takes its turns like the others.
#[derive(Debug)]
pub struct Remote {
    system: String,
    child: Child,
    commands: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Remote {
    /// What a program says about the systems that it hosts.
    ///
    /// # Errors
    /// It cannot be run, or does not answer.
    pub fn about(program: &Path) -> Result<Vec<Line>, Problem> {
        let mut remote = Self::start(program, "about", Command::new(program).arg("about"))?;
        let lines = remote.answer();
        remote.end();
        lines
    }

    /// Opens the file for a case.
    ///
    /// # Errors
    /// The program cannot be run, or cannot open the file.
    pub fn open(program: &Path, system: &str, settings: &Settings) -> Result<Self, Problem> {
        let mut command = Command::new(program);
        command.args([system, settings.case.suite, settings.case.name]).arg(&settings.path);
        let mut remote = Self::start(program, system, &mut command)?;
        remote.answer()?;
        Ok(remote)
    }

    fn start(program: &Path, system: &str, command: &mut Command) -> Result<Self, Problem> {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.map_err(|error| Problem::during(program.display(), error))?;
        let (Some(commands), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Problem::during(program.display(), "it has no standard input or output"));
        };
        Ok(Self { system: system.into(), child, commands: Some(commands), answers: BufReader::new(answers).lines() })
    }

    fn ask(&mut self, command: &str) -> Result<Vec<Line>, Problem> {
        let commands = self.commands.as_mut().ok_or_else(|| Problem::during(&self.system, "it has ended"))?;
        let sent = writeln!(commands, "{command}").and_then(|()| commands.flush());
        sent.map_err(|error| Problem::during(format_args!("asking {}", self.system), error))?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Vec<Line>, Problem> {
        let mut lines = Vec::new();
        for text in &mut self.answers {
            let text = text.map_err(|error| Problem::during(format_args!("{} answers", self.system), error))?;
            if text == END {
                return Ok(lines);
            }
            let line = serde_json::from_str(&text);
            lines.push(line.map_err(|error| Problem::during(format_args!("{}: {text}", self.system), error))?);
        }
        Err(Problem(format!("{} ended without an answer: it has said why on standard error", self.system)))
    }

    /// Ends the process by closing its standard input, and waits for it.
    fn end(&mut self) {
        drop(self.commands.take());
        let _ended = self.child.wait();
    }
}

impl Contestant for Remote {
    fn system(&self) -> &str {
        &self.system
    }

    fn round(&mut self, length: Duration) -> Result<(), Problem> {
        self.ask(&format!("round {}", length.as_micros())).map(drop)
    }

    fn forget(&mut self) -> Result<(), Problem> {
        self.ask("forget").map(drop)
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<Line>, Problem> {
        let lines = self.ask("finish");
        self.end();
        lines
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.end();
    }
}
