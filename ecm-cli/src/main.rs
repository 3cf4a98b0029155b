//! The program `ecm`: `ecm demo` shows on a fresh machine what ECM does, `ecm bench` measures a user's
//! own SQL on a user's own SQLite file.

mod args;
mod bench;
mod demo;
mod errors;
mod interrupt;
mod latency;
mod output;
mod problem;
mod table;
mod tidy;

use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = args::read().and_then(|command| {
        interrupt::install()?;
        match command {
            args::Command::Demo(options) => demo::run(&options),
            args::Command::Bench(options) => bench::run(&options),
            args::Command::Damage { file } => demo::damage::run(&file),
        }
    });
    outcome.unwrap_or_else(|problem| problem.report())
}
