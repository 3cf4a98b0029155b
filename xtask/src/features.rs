use crate::{
    error::{Error, Result},
    invocation::Invocation,
    metadata::Metadata,
    table::aligned,
    wiring::{FeatureSet, differences, feature_sets, parse},
};

const FACADE: &str = "ecm";
const PROBE: &str = "wiring";

/// Carries out `cargo xtask features`: proves that features supply and never choose.
///
/// In each set of features (none, each alone, all, default) the library must compile without
/// warnings, and the example `wiring`, which prints what `builder()` wires, must print the same.
/// It builds in a target folder of its own, so that other builds keep theirs.
///
/// # Errors
/// [`Error::Check`] if a wiring differs or the probe is missing, [`Error::Failed`] if a set does
/// not compile.
pub(crate) fn run(metadata: &Metadata, _: &[String]) -> Result<()> {
    let facade = metadata.member(FACADE).ok_or_else(|| {
        Error::Check(format!("the workspace has no member `{FACADE}`, whose features are to be proved"))
    })?;
    if !facade.targets.contains(&("example".into(), PROBE.into())) {
        return Err(Error::Check(format!(
            "there is no example `{PROBE}` in `{FACADE}`: write {}/examples/{PROBE}.rs, which needs no feature and prints \
             a line `strategy = TypeName` for each strategy that builder() wires",
            facade.folder
        )));
    }
    let mut rows = vec![["feature set", "wiring of builder()", "standard()"].map(String::from)];
    let mut wirings = Vec::new();
    for set in feature_sets(&facade.features) {
        println!("features: {}", set.name);
        build_on_its_own(metadata, &set, "clippy", "-- -D warnings").run()?;
        let wiring = probe(metadata, &set)?;
        let standard = if set.on.contains("standard") { "available" } else { "" };
        let cell = wiring.as_ref().map_or_else(|| "not linked: this machine has no SQLite".into(), |w| w.join("\n"));
        rows.push([set.name.clone(), cell, standard.into()]);
        wirings.extend(wiring.map(|wiring| (set.name, wiring)));
    }
    println!("\n{}", aligned(&rows));
    let differences = differences(&wirings);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::Check(format!(
        "a feature changes what builder() wires; code chooses, features only supply:\n  {}\n\
         start from the null objects in every set, and name what a feature brings in `standard()` or in a call",
        differences.join("\n  ")
    )))
}

/// What `builder()` wires in this set; `None` where the probe compiles but cannot be linked,
/// because the set asks for the SQLite of a system that has none.
fn probe(metadata: &Metadata, set: &FeatureSet) -> Result<Option<Vec<String>>> {
    let invocation = build_on_its_own(metadata, set, "run", &format!("--example {PROBE}"));
    let output = invocation.try_output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        if stderr.contains("-lsqlite3") && !set.on.is_empty() {
            return Ok(None);
        }
        let (command, status) = (invocation.to_string(), output.status);
        return Err(Error::Failed { command, status, stderr: stderr.into_owned() });
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    match parse(&stdout) {
        Some(wiring) => Ok(Some(wiring)),
        None => Err(Error::Check(format!(
            "the probe `{invocation}` should print lines `strategy = TypeName`, but printed:\n{stdout}"
        ))),
    }
}

fn build_on_its_own(metadata: &Metadata, set: &FeatureSet, command: &str, rest: &str) -> Invocation {
    let folder = metadata.target.join("features");
    Invocation::cargo(&metadata.root, &format!("{command} --quiet --package {FACADE} {} --target-dir", set.flags))
        .argument(folder.display())
        .arguments(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Member;

    #[test]
    fn a_facade_without_the_probe_is_told_what_to_write() {
        let facade = Member { name: FACADE.into(), folder: FACADE.into(), ..Member::default() };
        let metadata = Metadata { members: vec![facade], ..Metadata::default() };
        let error = run(&metadata, &[]).unwrap_err().to_string();
        assert!(error.contains("write ecm/examples/wiring.rs"), "{error}");
    }

    #[test]
    fn a_workspace_without_the_facade_proves_nothing() {
        let error = run(&Metadata::default(), &[]).unwrap_err();
        assert_eq!(error.to_string(), "the workspace has no member `ecm`, whose features are to be proved");
    }

    #[test]
    fn a_set_is_built_in_a_target_folder_of_its_own() {
        let metadata = Metadata { target: "/t".into(), ..Metadata::default() };
        let sets = feature_sets(&[("balancer".to_owned(), Vec::new())].into());
        assert_eq!(
            build_on_its_own(&metadata, &sets[1], "run", "--example wiring").to_string(),
            "cargo run --quiet --package ecm --no-default-features --features balancer --target-dir /t/features --example wiring"
        );
    }
}
