//! ECM beside what its users would pick instead. `cargo xtask peers` builds and runs it.
//!
//! Each line on standard output is one JSON object, see [`workload::Line`]; progress goes to standard error.

#[global_allocator]
static ALLOCATOR: workload::Counting = workload::Counting;

mod arguments;
mod balancer;
mod bench;
mod breaker;
mod budget;
mod cache;
mod conditions;
mod fairness;
mod memory;
mod plot;
mod pool;
mod slow_vfs;
mod sql;
mod systems;

pub(crate) use rusqlite::ffi;

use arguments::Command;
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = Command::parse(std::env::args().skip(1)).and_then(|command| match command {
        Command::Run(run) => bench::run(run),
        Command::Plot { folder } => plot::plot(&folder),
        Command::Grow { system, path } => memory::grow(&system, &path),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}
