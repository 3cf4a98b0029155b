use std::collections::{BTreeMap, BTreeSet};

/// A set of features of the facade that the probe is built with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FeatureSet {
    /// What tables and messages call it.
    pub(crate) name: String,
    /// What cargo is told.
    pub(crate) flags: String,
    /// The features that are on in it, those that others bring included.
    pub(crate) on: BTreeSet<String>,
}

/// The sets that are probed: none, each feature alone, all, and what is on by default.
pub(crate) fn feature_sets(features: &BTreeMap<String, Vec<String>>) -> Vec<FeatureSet> {
    let set =
        |name: &str, flags: String, with: &[&str]| FeatureSet { name: name.into(), flags, on: closure(features, with) };
    let names: Vec<&str> = features.keys().map(String::as_str).collect();
    let mut sets = vec![set("none", "--no-default-features".into(), &[])];
    sets.extend(
        names
            .iter()
            .filter(|name| **name != "default")
            .map(|name| set(name, format!("--no-default-features --features {name}"), &[name])),
    );
    sets.push(set("all", "--all-features".into(), &names));
    sets.push(set("default", String::new(), &["default"]));
    sets
}

/// The features that these bring, themselves included. What they switch on elsewhere
/// (`dep:name`, `name/feature`) is none of them.
fn closure(features: &BTreeMap<String, Vec<String>>, with: &[&str]) -> BTreeSet<String> {
    let mut on = BTreeSet::new();
    let mut open: Vec<&str> = with.to_vec();
    while let Some(name) = open.pop() {
        if let Some(brings) = features.get(name)
            && on.insert(name.to_owned())
        {
            open.extend(brings.iter().map(String::as_str));
        }
    }
    on
}

/// What the probe printed, in order: a line `strategy = TypeName` for each strategy.
///
/// Its line `standard = ..` is left out: whether `standard()` exists is what a feature may change.
/// `None` if there is no wiring, or another kind of line: then it is not the probe that was run.
pub(crate) fn parse(output: &str) -> Option<Vec<String>> {
    let mut wiring = Vec::new();
    for line in output.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (strategy, name) = line.split_once(" = ")?;
        if strategy.is_empty() || name.is_empty() {
            return None;
        }
        if strategy != "standard" {
            wiring.push(line.to_owned());
        }
    }
    (!wiring.is_empty()).then_some(wiring)
}

/// Where the wirings differ from the first one, a line each; empty if the features only supply.
pub(crate) fn differences(wirings: &[(String, Vec<String>)]) -> Vec<String> {
    let Some(((first, expected), others)) = wirings.split_first() else { return Vec::new() };
    let mut differences = Vec::new();
    for (name, wiring) in others.iter().filter(|(_, wiring)| wiring != expected) {
        let missing = |here: &[String], there: &[String]| -> Vec<String> {
            there.iter().filter(|line| !here.contains(line)).cloned().collect()
        };
        let (more, less) = (missing(expected, wiring), missing(wiring, expected));
        let words = |lines: &[String]| if lines.is_empty() { "nothing else".into() } else { lines.join(", ") };
        differences.push(if more.is_empty() && less.is_empty() {
            format!("with `{name}` builder() wires in another order than with `{first}`")
        } else {
            format!("with `{name}` builder() wires {}, with `{first}` {}", words(&more), words(&less))
        });
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features() -> BTreeMap<String, Vec<String>> {
        let table: [(&str, &[&str]); 4] = [
            ("default", &["standard"]),
            ("standard", &["sqlite", "balancer"]),
            ("sqlite", &["dep:ecm-sqlite", "ecm-sqlite/bundled"]),
            ("balancer", &["dep:ecm-balancer"]),
        ];
        table.map(|(name, brings)| (name.to_owned(), brings.iter().map(|b| String::from(*b)).collect())).into()
    }

    #[test]
    fn none_each_all_and_default_are_probed() {
        let sets = feature_sets(&features());
        let names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
        assert_eq!(names, ["none", "balancer", "sqlite", "standard", "all", "default"]);
        assert_eq!(sets[1].flags, "--no-default-features --features balancer");
        assert_eq!((sets[4].flags.as_str(), sets[5].flags.as_str()), ("--all-features", ""));
    }

    #[test]
    fn what_a_feature_brings_is_on_too_and_the_rest_is_not() {
        let sets = feature_sets(&features());
        let standard: Vec<&str> = sets.iter().filter(|s| s.on.contains("standard")).map(|s| s.name.as_str()).collect();
        assert_eq!(standard, ["standard", "all", "default"]);
        assert_eq!(sets[2].on.iter().collect::<Vec<_>>(), ["sqlite"]);
        assert!(sets[5].on.contains("balancer") && sets[0].on.is_empty());
    }

    #[test]
    fn features_that_bring_each_other_come_to_an_end() {
        let circle = BTreeMap::from([("a".into(), vec!["b".into()]), ("b".into(), vec![String::from("a")])]);
        assert_eq!(feature_sets(&circle)[1].on.len(), 2);
    }

    #[test]
    fn output_that_is_not_a_wiring_is_refused() {
        assert_eq!(
            parse("balancer = FirstFit\n\n cache = NoCache\n").unwrap(),
            ["balancer = FirstFit", "cache = NoCache"]
        );
        for output in
            ["", "\n", "standard = off\n", "Hello, world!\n", "balancer = \n", "balancer = FirstFit\nwarning\n"]
        {
            assert_eq!(parse(output), None, "{output:?}");
        }
    }

    #[test]
    fn whether_standard_exists_is_no_part_of_the_wiring() {
        let printed =
            ["off", "available"].map(|word| parse(&format!("balancer = FirstFit\nstandard = {word}\n")).unwrap());
        assert_eq!(printed, [["balancer = FirstFit"], ["balancer = FirstFit"]]);
    }

    fn wiring(set: &str, lines: &[&str]) -> (String, Vec<String>) {
        (set.to_owned(), lines.iter().map(|line| String::from(*line)).collect())
    }

    #[test]
    fn a_feature_that_changes_what_builder_wires_is_found() {
        let none = wiring("none", &["balancer = FirstFit", "cache = NoCache"]);
        let same = wiring("sqlite", &["balancer = FirstFit", "cache = NoCache"]);
        let changed = wiring("balancer", &["balancer = RoundRobin", "cache = NoCache"]);
        let more = wiring("all", &["balancer = FirstFit", "cache = NoCache", "metrics = Prometheus"]);
        assert_eq!(
            differences(&[none, same, changed, more]),
            [
                "with `balancer` builder() wires balancer = RoundRobin, with `none` balancer = FirstFit",
                "with `all` builder() wires metrics = Prometheus, with `none` nothing else",
            ]
        );
    }

    #[test]
    fn another_order_is_another_wiring() {
        let found = differences(&[wiring("none", &["a = A", "b = B"]), wiring("all", &["b = B", "a = A"])]);
        assert_eq!(found, ["with `all` builder() wires in another order than with `none`"]);
    }
}
