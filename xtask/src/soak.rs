use crate::{
    error::{Error, Result},
    invocation::Invocation,
    metadata::Metadata,
    soak_wal,
};

/// How often a process is killed without `--kills`.
const KILLS: u32 = 1_000;

/// The test that kills, and how often: it reads this variable.
const TEST: &str = "nothing_that_was_acknowledged_is_lost_when_the_process_is_killed";
const VARIABLE: &str = "ECM_KILLS";

/// The model of the cache, and how many times as many schedules as in CI: it reads this variable.
const MODEL: &str = "shuttle_cache";
const SCHEDULES: &str = "ECM_SCHEDULES";

/// Carries out `cargo xtask soak`: the test that kills a process while callers write, for longer than CI can wait;
/// with `--wal` the soak of the log, with `--schedules` the model of the cache.
///
/// # Errors
/// [`Error::Usage`] for other arguments, [`Error::Failed`] if something acknowledged was lost.
pub(crate) fn run(metadata: &Metadata, arguments: &[String]) -> Result<()> {
    if arguments.first().is_some_and(|first| first == "--wal") {
        return soak_wal::run(metadata, arguments);
    }
    if let [flag, times] = arguments
        && flag == "--schedules"
    {
        return model(metadata, times)?.run();
    }
    command(metadata, kills(arguments)?).run()
}

fn model(metadata: &Metadata, times: &str) -> Result<Invocation> {
    if !times.parse().is_ok_and(|times: u32| times > 0) {
        let what = format!("`cargo xtask soak --schedules N` takes a number from 1, but was given `{times}`");
        return Err(Error::Usage(what));
    }
    let test = format!("test --package ecm --no-default-features --test {MODEL} --target-dir");
    Ok(Invocation::cargo(&metadata.root, &test)
        .argument(metadata.target.join("shuttle").display())
        .arguments("-- --nocapture")
        .variable("RUSTFLAGS", "--cfg shuttle -Dwarnings")
        .variable(SCHEDULES, times))
}

fn command(metadata: &Metadata, kills: u32) -> Invocation {
    Invocation::cargo(&metadata.root, "test -p ecm --test killed -- --nocapture --exact")
        .argument(TEST)
        .variable(VARIABLE, kills.to_string())
}

fn kills(arguments: &[String]) -> Result<u32> {
    let usage = |what: String| {
        Error::Usage(format!("`cargo xtask soak` takes --kills N, a number from 1, --schedules N, or --wal, {what}"))
    };
    match arguments {
        [] => Ok(KILLS),
        [flag, number] if flag == "--kills" => match number.parse() {
            Ok(kills) if kills > 0 => Ok(kills),
            _ => Err(usage(format!("but was given `--kills {number}`"))),
        },
        other => Err(usage(format!("but was given `{}`", other.join(" ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<u32> {
        kills(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_number_of_kills_is_a_thousand_or_what_was_asked_for() {
        assert_eq!(parse("").unwrap(), 1_000);
        assert_eq!(parse("--kills 7").unwrap(), 7);
    }

    #[test]
    fn what_is_no_number_of_kills_is_refused_with_what_would_be() {
        for line in ["--kills", "--kills none", "--kills 0", "--kills -1", "7", "--kills 7 8"] {
            let error = parse(line).unwrap_err().to_string();
            assert!(
                error.contains("--kills N, a number from 1, --schedules N, or --wal")
                    && error.ends_with(&format!("`{line}`")),
                "{error}"
            );
        }
    }

    #[test]
    fn the_model_of_the_cache_is_there_and_reads_the_variable_that_is_set() {
        let metadata = Metadata { target: "/t".into(), ..Metadata::default() };
        let command = model(&metadata, "50").unwrap().to_string();
        assert!(command.contains("ECM_SCHEDULES=50 ") && command.contains("--test shuttle_cache "), "{command}");
        for times in ["0", "many", "-1"] {
            let error = model(&metadata, times).unwrap_err().to_string();
            assert!(error.contains("a number from 1") && error.ends_with(&format!("`{times}`")), "{error}");
        }
        let root = crate::manifest_path();
        let test = std::fs::read_to_string(root.parent().unwrap().join(format!("ecm/tests/{MODEL}.rs"))).unwrap();
        assert!(test.contains(&format!("env::var(\"{SCHEDULES}\")")));
    }

    #[test]
    fn the_test_that_kills_has_the_name_that_is_run_and_reads_the_variable_that_is_set() {
        let root = crate::manifest_path();
        let root = root.parent().unwrap();
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
        let test = read("ecm/tests/killed.rs");
        assert!(test.contains(&format!("#[test]\nfn {TEST}()")) && test.contains("killing::times("), "{TEST}");
        assert!(read("ecm-core/src/testing/killing.rs").contains(&format!("= \"{VARIABLE}\";")));
    }
}
