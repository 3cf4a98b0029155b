use crate::{
    conformance,
    error::{Error, Result},
    features,
    invocation::Invocation,
    metadata::Metadata,
    table::aligned,
    tidy,
};
use std::time::{Duration, Instant};

/// The facade is left out where each package is linted alone: `features` does that in every set.
const FACADE: &str = "ecm";

/// The prefix of the test targets that hold a model of concurrency.
const MODEL_PREFIX: &str = "shuttle_";

struct Step {
    name: &'static str,
    work: fn(&Metadata) -> Result<Work>,
}

/// What a step does.
enum Work {
    /// Runs these, one after the other.
    Commands(Vec<Invocation>),
    /// Runs another chore.
    Chore(&'static str, fn(&Metadata, &[String]) -> Result<()>),
    /// Cannot be done here, for this reason.
    Skipped(String),
}

/// In this order. Only `docs`, `features` and `models` change the compiler's flags or features, and
/// each builds apart from the rest: the others use again what `cargo test` has built.
const STEPS: &[Step] = &[
    Step { name: "format", work: |metadata| Ok(Work::Commands(vec![cargo(metadata, "fmt --all --check")])) },
    Step { name: "clippy", work: |metadata| Ok(Work::Commands(lints(metadata))) },
    Step { name: "docs", work: |metadata| Ok(Work::Commands(documentation(metadata))) },
    Step { name: "tidy", work: |_| Ok(Work::Chore("cargo xtask tidy", tidy::run)) },
    Step { name: "features", work: |_| Ok(Work::Chore("cargo xtask features", features::run)) },
    Step { name: "models", work: |metadata| models(metadata).map(Work::Commands) },
    Step {
        name: "examples",
        work: |metadata| Ok(Work::Commands(vec![cargo(metadata, "build --examples --workspace")])),
    },
    Step {
        name: "conformance",
        work: |metadata| {
            Ok(conformance::part(metadata).map_or_else(Work::Skipped, |command| Work::Commands(vec![command])))
        },
    },
    Step { name: "bench", work: |metadata| Ok(Work::Commands(comparison(metadata))) },
];

/// Carries out `cargo xtask ci`, or one step of it with `--only STEP`.
///
/// # Errors
/// [`Error::Step`] for the first step that fails, [`Error::Usage`] for other arguments.
pub(crate) fn run(metadata: &Metadata, arguments: &[String]) -> Result<()> {
    let mut durations = Vec::new();
    let mut outcome = Ok(());
    for step in chosen(arguments)? {
        println!("== {}", step.name);
        let started = Instant::now();
        outcome = carry_out(step, metadata).map_err(|source| Error::Step { step: step.name, source: Box::new(source) });
        let elapsed = started.elapsed();
        let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("== {}: {verdict} after {elapsed:.1?}\n", step.name);
        durations.push((step.name, verdict, elapsed));
        if outcome.is_err() {
            break;
        }
    }
    println!("{}", summary(&durations));
    outcome
}

fn chosen(arguments: &[String]) -> Result<&'static [Step]> {
    let names = || STEPS.iter().map(|step| step.name).collect::<Vec<_>>().join(", ");
    match arguments {
        [] => Ok(STEPS),
        [flag, name] if flag == "--only" => match STEPS.iter().position(|step| step.name == name) {
            Some(index) => Ok(&STEPS[index..=index]),
            None => Err(Error::Usage(format!("there is no step `{name}`; there are: {}", names()))),
        },
        _ => Err(Error::Usage(format!(
            "`cargo xtask ci` takes no arguments or `--only STEP`, but was given `{}`; the steps are: {}",
            arguments.join(" "),
            names()
        ))),
    }
}

fn carry_out(step: &Step, metadata: &Metadata) -> Result<()> {
    match (step.work)(metadata)? {
        Work::Chore(command, run) => {
            println!("$ {command}");
            run(metadata, &[])
        }
        Work::Skipped(reason) => {
            println!("skipped: {reason}");
            Ok(())
        }
        Work::Commands(commands) => commands.iter().try_for_each(|command| {
            println!("$ {command}");
            command.run()
        }),
    }
}

fn summary(durations: &[(&str, &str, Duration)]) -> String {
    let mut rows = vec![["step", "result", "seconds"].map(String::from)];
    let seconds = |duration: Duration| format!("{:>7.1}", duration.as_secs_f64());
    rows.extend(durations.iter().map(|(name, verdict, taken)| [(*name).into(), (*verdict).into(), seconds(*taken)]));
    let sum = durations.iter().map(|(_, _, taken)| *taken).sum();
    rows.push(["all".into(), String::new(), seconds(sum)]);
    aligned(&rows)
}

fn cargo(metadata: &Metadata, arguments: &str) -> Invocation {
    Invocation::cargo(&metadata.root, arguments)
}

/// Clippy over everything, then over each package alone: in a build of the whole workspace a
/// package sees the features that others have asked for, and can miss one of its own unnoticed.
/// Warnings are denied here, to clippy alone, so that no other step has to change `RUSTFLAGS`.
fn lints(metadata: &Metadata) -> Vec<Invocation> {
    let mut commands = vec![cargo(metadata, "clippy --workspace --all-targets -- -D warnings")];
    for member in metadata.members.iter().filter(|member| member.name != FACADE) {
        commands.push(cargo(metadata, &format!("clippy --package {} -- -D warnings", member.name)));
        if !member.features.is_empty() {
            let all = format!("clippy --package {} --all-features --all-targets -- -D warnings", member.name);
            commands.push(cargo(metadata, &all));
        }
    }
    commands
}

fn documentation(metadata: &Metadata) -> Vec<Invocation> {
    vec![cargo(metadata, "doc --workspace --no-deps").variable("RUSTDOCFLAGS", "-Dwarnings")]
}

/// The comparison with other systems: that it compiles, and its tests. It is not run; what it compares with in
/// programs of their own is not even built, which would take minutes.
fn comparison(metadata: &Metadata) -> Vec<Invocation> {
    ["fmt --package ecm-bench --package workload --check --manifest-path", "test --workspace --manifest-path"]
        .map(|command| cargo(metadata, command).argument("bench/Cargo.toml"))
        .into()
}

/// The models of concurrency, one command for each. Their flag reaches every dependency, therefore
/// they build in a target folder of their own; without default features, so that none of them waits for
/// SQLite to be compiled.
fn models(metadata: &Metadata) -> Result<Vec<Invocation>> {
    let mut commands = Vec::new();
    for member in &metadata.members {
        let tests = member.targets.iter().filter(|(kind, name)| kind == "test" && name.starts_with(MODEL_PREFIX));
        commands.extend(tests.map(|(_, name)| {
            cargo(metadata, &format!("test --package {} --no-default-features --test {name} --target-dir", member.name))
                .argument(metadata.target.join("shuttle").display())
                .variable("RUSTFLAGS", "--cfg shuttle -Dwarnings")
        }));
    }
    if commands.is_empty() {
        return Err(Error::Check(format!(
            "no package has a model of its concurrency: write one as ecm-pool/tests/{MODEL_PREFIX}handoff.rs"
        )));
    }
    Ok(commands)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Member;

    fn words(arguments: &[&str]) -> Vec<String> {
        arguments.iter().map(|argument| String::from(*argument)).collect()
    }

    fn printed(commands: &[Invocation]) -> Vec<String> {
        commands.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_step_can_be_repeated_alone() {
        assert_eq!(chosen(&[]).unwrap().len(), STEPS.len());
        for step in STEPS {
            let one = chosen(&words(&["--only", step.name])).unwrap();
            assert_eq!(one.iter().map(|step| step.name).collect::<Vec<_>>(), [step.name]);
        }
    }

    #[test]
    fn an_unknown_step_is_refused_with_the_known_ones() {
        let error = chosen(&words(&["--only", "lint"])).err().unwrap().to_string();
        assert_eq!(
            error,
            "there is no step `lint`; there are: format, clippy, docs, tidy, features, models, examples, conformance, bench"
        );
        let error = chosen(&words(&["clippy"])).err().unwrap().to_string();
        assert!(
            error.starts_with("`cargo xtask ci` takes no arguments or `--only STEP`, but was given `clippy`"),
            "{error}"
        );
    }

    #[test]
    fn a_failing_step_names_itself_and_its_command() {
        let metadata = Metadata { root: ".".into(), ..Metadata::default() };
        let failing = |_: &Metadata| Ok(Work::Commands(vec![Invocation::cargo(".".as_ref(), "no-such-subcommand")]));
        let error = carry_out(&Step { name: "format", work: failing }, &metadata).unwrap_err();
        assert!(matches!(error, Error::Failed { command, .. } if command == "cargo no-such-subcommand"));
    }

    #[test]
    fn a_package_is_linted_alone_and_with_all_of_its_own_features() {
        let member = |name: &str, features: &[&str]| Member {
            name: name.into(),
            features: features.iter().map(|feature| (String::from(*feature), Vec::new())).collect(),
            ..Member::default()
        };
        let members = vec![member("ecm", &["sqlite"]), member("ecm-core", &["testing"]), member("ecm-pool", &[])];
        assert_eq!(
            printed(&lints(&Metadata { members, ..Metadata::default() })),
            [
                "cargo clippy --workspace --all-targets -- -D warnings",
                "cargo clippy --package ecm-core -- -D warnings",
                "cargo clippy --package ecm-core --all-features --all-targets -- -D warnings",
                "cargo clippy --package ecm-pool -- -D warnings",
            ]
        );
    }

    #[test]
    fn every_model_is_run_apart_and_no_model_at_all_is_a_failure() {
        let targets =
            [("lib", "ecm_pool"), ("test", "shuttle_handoff"), ("test", "fairness"), ("test", "shuttle_close")];
        let targets = targets.map(|(kind, name)| (kind.into(), name.into())).into();
        let mut pool = Member { name: "ecm-pool".into(), targets, ..Member::default() };
        let metadata =
            |pool: &Member| Metadata { target: "/t".into(), members: vec![pool.clone()], ..Metadata::default() };
        assert_eq!(
            printed(&models(&metadata(&pool)).unwrap()),
            ["handoff", "close"].map(|name| format!(
                "RUSTFLAGS='--cfg shuttle -Dwarnings' cargo test --package ecm-pool --no-default-features --test shuttle_{name} --target-dir /t/shuttle"
            ))
        );
        pool.targets.truncate(1);
        let error = models(&metadata(&pool)).unwrap_err().to_string();
        assert!(error.contains("ecm-pool/tests/shuttle_handoff.rs"), "{error}");
    }

    #[test]
    fn the_comparison_is_tested_and_not_run() {
        let commands = printed(&comparison(&Metadata::default()));
        assert!(commands.iter().all(|command| command.ends_with("--manifest-path bench/Cargo.toml")), "{commands:?}");
        assert!(commands[1].starts_with("cargo test ") && !commands.join(" ").contains(" run "));
    }

    #[test]
    fn the_summary_adds_up() {
        let second = Duration::from_secs(1);
        let text = summary(&[("format", "ok", second), ("clippy", "FAILED", second * 90)]);
        assert_eq!(text.lines().last(), Some("all    |        |    91.0"));
        assert!(text.contains("clippy | FAILED |    90.0"), "{text}");
    }
}
