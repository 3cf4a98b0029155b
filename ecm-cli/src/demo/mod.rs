//! `ecm demo`: a store of notes on a fresh machine, a copy of it, a mixed load on both, and garbage in the
//! copy half way.

pub(crate) mod damage;
mod files;
mod incident;
mod load;
mod operation;
mod report;
mod store;
mod text;

use crate::{
    args::DemoOptions,
    interrupt,
    latency::{grouped, rate, span},
    output::{self, Progress},
    problem::Problem,
};
use ecm::{
    ConnectionManager, Database, LoadBalanceStrategy, ManagerConfig, PoolConfig,
    breaker::{ConsecutiveFailures, ConsecutiveFailuresConfig},
    sqlite::{Sqlite, rusqlite},
};
use files::Files;
use incident::{Cost, Incident, Watch};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use load::{Load, Recipe};
use report::{Checked, Report};
use std::{
    fmt,
    process::ExitCode,
    time::{Duration, Instant},
};

/// How long calls that still run at the end may take before they are interrupted.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the demo and prints its report.
pub(crate) fn run(options: &DemoOptions) -> Result<ExitCode, Problem> {
    let progress = Progress::new(options.json);
    let files = Files::new(options.dir.as_deref())?;
    let report = measure(options, &files, progress)?;
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

fn measure(options: &DemoOptions, files: &Files, progress: Progress) -> Result<Report, Problem> {
    let failed = |what: &'static str| move |error: ecm::Error| Problem::failure(format_args!("{what} failed: {error}"));
    progress.say(format_args!(
        "ecm demo: {} notes, seed {}, in {}",
        grouped(options.rows),
        options.seed,
        files.folder().display()
    ));
    let watch = Watch::default();
    // By performance, the default, nobody would ask the broken replica often enough for its breaker to open.
    let strategy = LoadBalanceStrategy::RoundRobin;
    let manager = ConnectionManager::standard()
        .configure(&ManagerConfig { load_balance_strategy: strategy, ..ManagerConfig::default() })
        .name("demo")
        .breaker(|_| breaker())
        .observer(watch.clone())
        .database(Database::new("primary", Sqlite::open(files.primary())))
        .build()
        .map_err(|error| Problem::failure(format_args!("the primary cannot be opened: {error}")))?;
    let began = Instant::now();
    store::create(&manager).map_err(failed("making the tables"))?;
    let rows = fill(&manager, options, progress).map_err(failed("filling the primary"))?;
    let fill_seconds = began.elapsed().as_secs_f64();

    let mut load = Load::default();
    let mut replica = None;
    let mut incident = None;
    let replica_file = files.replica();
    let mut before = manager.status();
    if !interrupt::requested() {
        progress.say("copying the primary to the replica while it is in use, by online backup");
        store::copy(&manager, files)?;
        replica = Some(files.replica_companions());
        // Unchecked: a check would find the damage, and leave it to people to take the replica back into use. Here it is
        // the breaker that is shown.
        let pool = PoolConfig { health_check_interval: Duration::ZERO, ..PoolConfig::default() };
        let database = Database::new("replica", Sqlite::open(files.replica())).read_only(true).pool(pool);
        manager.register(database).map_err(failed("registering the replica"))?;
        before = manager.status();
        let mut damage = Incident::new(&replica_file, &watch, options.seconds);
        load = put_load(&manager, options, rows, &mut damage, progress);
        incident = damage.end(|| store::integrity(&replica_file))?;
    }
    let after = manager.status();
    manager.close(PATIENCE).map_err(failed("closing"))?;
    if let Some(replica) = replica {
        replica.tidy();
    }
    progress.say("checking the primary");
    let found =
        store::look(files).map_err(|error| Problem::failure(format_args!("checking the primary failed: {error}")))?;

    let (operations, total) = report::lines(&load);
    Ok(Report {
        ecm: env!("CARGO_PKG_VERSION"),
        sqlite: rusqlite::version(),
        seed: options.seed,
        threads: options.threads,
        rows,
        fill_seconds,
        load_seconds: load.elapsed.as_secs_f64(),
        interrupted: interrupt::requested(),
        folder: files.folder().display().to_string(),
        kept: files.are_kept(),
        operations,
        total,
        databases: report::shares(&before, &after),
        from_cache: after.cache.hits - before.cache.hits,
        incident,
        checked: Checked::new(found, rows + load.inserted, load.unknown),
        errors: load.errors,
    })
}

/// A breaker that tries again soon: a run is short.
fn breaker() -> ConsecutiveFailures {
    let (recovery_timeout, max_recovery_timeout) = (Duration::from_millis(100), Duration::from_millis(200));
    let soon = ConsecutiveFailuresConfig { recovery_timeout, max_recovery_timeout, ..Default::default() };
    ConsecutiveFailures::with_config(&soon).expect("a tenth of a second is within the limits")
}

fn fill(manager: &ConnectionManager, options: &DemoOptions, progress: Progress) -> Result<u64, ecm::Error> {
    let bar = (progress == Progress::Live).then(|| {
        let template = "filling [{bar:40}] {human_pos}/{human_len} notes, {rate} a second, {eta} left";
        let rated = style(template).with_key("rate", |state: &ProgressState, to: &mut dyn fmt::Write| {
            // A live line that cannot be drawn is not worth ending a run.
            let _undrawn = to.write_str(&rate(state.per_sec()));
        });
        ProgressBar::new(options.rows).with_style(rated)
    });
    let mut told = 0;
    let rows = store::fill(manager, options.rows, options.seed, |done| {
        if let Some(bar) = &bar {
            bar.set_position(done);
        } else if done * 10 / options.rows > told {
            told = done * 10 / options.rows;
            progress.say(format_args!("filled {} of {} notes", grouped(done), grouped(options.rows)));
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    rows
}

fn put_load(
    manager: &ConnectionManager,
    options: &DemoOptions,
    rows: u64,
    incident: &mut Incident<'_>,
    progress: Progress,
) -> Load {
    let bar = (progress == Progress::Live).then(|| ProgressBar::new_spinner().with_style(style("{spinner} {msg}")));
    let DemoOptions { threads, seconds, seed, .. } = *options;
    progress.say(format_args!("load: {threads} threads for {seconds:?}, one call in ten writes"));
    let mut told = Duration::ZERO;
    let load = load::run(manager, Recipe { threads, seconds, seed, rows }, |elapsed, since| {
        if let Some(news) = incident.tick(elapsed, since) {
            match &bar {
                Some(bar) => bar.println(news),
                None => progress.say(news),
            }
        }
        if bar.is_none() && (progress == Progress::Silent || elapsed < told + Duration::from_secs(1)) {
            return;
        }
        let figures = since.total().figures(since.elapsed);
        let line = format!(
            "{:.1} s: {} calls a second, p50 {}, p99 {}, {} errors",
            elapsed.as_secs_f64(),
            rate(figures.per_second),
            span(figures.p50_ns),
            span(figures.p99_ns),
            since.errors.count()
        );
        if let Some(bar) = &bar {
            bar.set_message(line);
            bar.tick();
        } else {
            told = elapsed;
            progress.say(line);
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    load
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant that a test has drawn")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_of_the_live_lines_are_well_formed() {
        for template in
            ["filling [{bar:40}] {human_pos}/{human_len} notes, {rate} a second, {eta} left", "{spinner} {msg}"]
        {
            drop(style(template));
        }
    }
}
