//! `ecm bench`: the user's own SQL on the user's own file, in the manner of pgbench.

mod client;
mod expression;
mod open;
mod report;
mod run;
mod schema;
mod script;
mod splitter;
mod target;

use crate::{
    args::BenchOptions,
    interrupt,
    latency::{rate, span},
    output::{self, Progress},
    problem::Problem,
    tidy::Companions,
};
use client::EcmClient;
use ecm::sqlite::rusqlite;
use indicatif::{ProgressBar, ProgressStyle};
use report::{Measured, Ratio, Report, Source};
use run::{Outcome, System};
use script::Script;
use std::{fs, path::Path, process::ExitCode, time::Duration};
use target::Target;

/// How long calls that still run at the end may take before they are interrupted.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the bench and prints its report.
pub(crate) fn run(options: &BenchOptions) -> Result<ExitCode, Problem> {
    let companions = Companions::of(&options.database);
    let measured = measure(options);
    if !options.allow_writes {
        companions.tidy();
    }
    let report = measured?;
    if options.json {
        let json = serde_json::to_string(&report);
        let json =
            json.map_err(|error| Problem::failure(format_args!("the report cannot be written as JSON: {error}")))?;
        output::print(&(json + "\n"))?;
    } else {
        output::print(&report.to_string())?;
    }
    Ok(ExitCode::from(match (report.is_clean(), report.interrupted) {
        (false, _) => 1,
        (true, true) => interrupt::EXIT_CODE,
        (true, false) => 0,
    }))
}

fn measure(options: &BenchOptions) -> Result<Report, Problem> {
    let target = Target::open(&options.database)?;
    let derived = options.script.is_empty();
    let sources = if derived { derive(&target)? } else { read(&options.script)? };
    let parsed: Result<Vec<_>, _> = sources.iter().map(|source| Script::parse(&source.name, &source.text)).collect();
    let scripts = parsed?;
    scripts.iter().try_for_each(|script| target.check(script, options.allow_writes))?;

    let manager = open::manager(&target, options)?;
    let stopped = manager.clone();
    // Interrupts what runs; it is closed again, and with more patience, at the end.
    interrupt::at_request(move || drop(stopped.close(Duration::ZERO)));
    let clients = options.clients as usize;
    let mut systems = vec![System {
        name: "ecm",
        clients: (0..clients).map(|_| Box::new(EcmClient(manager.clone())) as Box<_>).collect(),
    }];
    if options.compare {
        let plain: Result<Vec<Box<dyn client::Client>>, _> = (0..clients)
            .map(|_| open::plain(&target, options.allow_writes).map(|client| Box::new(client) as Box<_>))
            .collect();
        systems.push(System { name: "rusqlite", clients: plain? });
    }
    run::rehearse(&mut *systems[0].clients[0], &scripts, options.seed)?;
    let outcomes = run_systems(&mut systems, &scripts, options);
    drop(systems);
    let closed = manager.close(PATIENCE);
    closed.map_err(|error| Problem::failure(format_args!("closing failed: {error}")))?;

    let systems: Vec<_> = outcomes.into_iter().map(|outcome| Measured::new(outcome, &scripts, derived)).collect();
    Ok(Report {
        ecm: env!("CARGO_PKG_VERSION"),
        sqlite: rusqlite::version(),
        database: target.name,
        bytes: target.bytes,
        journal_mode: target.journal_mode,
        clients: options.clients,
        seconds: options.seconds.as_secs_f64(),
        seed: options.seed,
        writes_allowed: options.allow_writes,
        interrupted: interrupt::requested(),
        scripts: sources,
        ratio: if let [ecm, plain] = &*systems { Ratio::of(&ecm.passes, &plain.passes) } else { None },
        systems,
    })
}

fn derive(target: &Target) -> Result<Vec<Source>, Problem> {
    let scripts = schema::scripts(target.connection(), &target.name)?;
    Ok(scripts.into_iter().map(|(name, text)| Source { name, text, derived: true }).collect())
}

fn read(files: &[impl AsRef<Path>]) -> Result<Vec<Source>, Problem> {
    let source = |file: &Path| {
        let name = file.display().to_string();
        let text = fs::read_to_string(file);
        let unreadable = |error| {
            Problem::input(format_args!("{name}: cannot be read ({error}): expected a script, a text in UTF-8"))
        };
        Ok(Source { text: text.map_err(unreadable)?, name: name.clone(), derived: false })
    };
    files.iter().map(|file| source(file.as_ref())).collect()
}

fn run_systems(systems: &mut [System<'_>], scripts: &[Script], options: &BenchOptions) -> Vec<Outcome> {
    let progress = Progress::new(options.json);
    let bar = (progress == Progress::Live).then(|| ProgressBar::new_spinner().with_style(style()));
    progress.say(format_args!("running {} clients for {:?}", options.clients, options.seconds));
    let outcomes = run::run(systems, scripts, options.seconds, options.seed, |outcome, done| {
        let Some(bar) = &bar else { return };
        let figures = outcome.passes.figures(outcome.elapsed);
        let (rate, p50, p99) = (rate(figures.per_second), span(figures.p50_ns), span(figures.p99_ns));
        bar.set_message(format!(
            "{:.0} % {}: {rate} passes a second, p50 {p50}, p99 {p99}",
            100.0 * done,
            outcome.name
        ));
        bar.tick();
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    outcomes
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg}").expect("the template is a constant that a test has drawn")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_of_the_live_line_is_well_formed() {
        drop(style());
    }

    #[test]
    fn a_script_that_is_no_text_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), [0xff, 0xfe, 0x00]).unwrap();
        let message = read(&[file.path()]).unwrap_err().to_string();
        assert!(message.contains("UTF-8") && message.contains(&*file.path().display().to_string()), "{message}");
    }
}
