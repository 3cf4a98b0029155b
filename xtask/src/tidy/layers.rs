use super::{House, Violation};
use crate::metadata::{Dependency, Member, Metadata};

/// Siblings never depend on siblings: each crate knows those that the table allows.
pub(crate) fn siblings(metadata: &Metadata, house: &House) -> Vec<Violation> {
    let mut violations = Vec::new();
    for member in &metadata.members {
        let Some((_, known)) = house.may_know.iter().find(|(name, _)| *name == member.name) else {
            violations.push(violation(
                member,
                "who may know whom",
                format!("`{}` is not in the table of crates", member.name),
                "add a line to `may_know` in xtask/src/tidy/house.rs: the crate, and what it may depend on".into(),
            ));
            continue;
        };
        for dependency in normal(member) {
            let inside = metadata.member(&dependency.name).is_some()
                || house.may_know.iter().any(|(name, _)| *name == dependency.name);
            if inside && !known.contains(&dependency.name.as_str()) {
                let allowed = if known.is_empty() { "nothing of this workspace".into() } else { known.join(", ") };
                violations.push(violation(
                    member,
                    "who may know whom",
                    format!("`{}` depends on `{}`", member.name, dependency.name),
                    format!(
                        "it may know {allowed}: move what both need into {}, or let the facade join them",
                        house.core
                    ),
                ));
            }
        }
    }
    violations
}

/// One door per foreign crate.
pub(crate) fn doors(metadata: &Metadata, house: &House) -> Vec<Violation> {
    let mut violations = Vec::new();
    for member in &metadata.members {
        for dependency in normal(member) {
            let door = house.doors.iter().find(|(foreign, _)| *foreign == dependency.name);
            if let Some((foreign, doors)) = door
                && !doors.contains(&member.name.as_str())
            {
                violations.push(violation(
                    member,
                    "one door per foreign crate",
                    format!("`{}` depends on `{foreign}`", member.name),
                    format!("use what {} offers instead, or extend that", doors.join(" or ")),
                ));
            }
        }
    }
    violations
}

/// The core requires nothing: what it depends on is optional.
pub(crate) fn required_dependencies(metadata: &Metadata, house: &House) -> Vec<Violation> {
    let Some(core) = metadata.member(house.core) else { return Vec::new() };
    let required = normal(core).filter(|dependency| !dependency.optional);
    let violations = required.map(|dependency| {
        violation(
            core,
            "a core without dependencies",
            format!("`{}` requires `{}`", core.name, dependency.name),
            "do without it, make it optional behind a feature, or move what needs it into another crate".into(),
        )
    });
    violations.collect()
}

/// Dev-dependencies on members have a path and no version: cargo leaves such entries out when it
/// publishes, which is what lets a crate test itself against one that depends on it.
pub(crate) fn dev_dependencies(metadata: &Metadata) -> Vec<Violation> {
    let mut violations = Vec::new();
    for member in &metadata.members {
        let internal = member
            .dependencies
            .iter()
            .filter(|dependency| dependency.dev && (dependency.path || metadata.member(&dependency.name).is_some()));
        for dependency in internal.filter(|dependency| !dependency.path || dependency.version != "*") {
            violations.push(violation(
                member,
                "dev-dependencies by path",
                format!("`{}` has the version requirement `{}`", dependency.name, dependency.version),
                format!(
                    "write it as {0} = {{ path = \"../{0}\" }}, without `version` and without `workspace`",
                    dependency.name
                ),
            ));
        }
    }
    violations
}

fn normal(member: &Member) -> impl Iterator<Item = &Dependency> {
    member.dependencies.iter().filter(|dependency| !dependency.dev)
}

fn violation(member: &Member, rule: &'static str, what: String, remedy: String) -> Violation {
    Violation { rule, place: member.manifest_place(), line: None, what, remedy }
}

#[cfg(test)]
mod tests {
    use super::{super::HOUSE, *};

    fn needs(name: &str) -> Dependency {
        Dependency { name: name.into(), dev: false, optional: false, version: "^1".into(), path: false }
    }

    fn workspace(members: &[(&str, &[Dependency])]) -> Metadata {
        let members = members.iter().map(|(name, dependencies)| Member {
            name: String::from(*name),
            folder: String::from(*name),
            dependencies: dependencies.to_vec(),
            ..Member::default()
        });
        Metadata { members: members.collect(), ..Metadata::default() }
    }

    fn found(violations: &[Violation]) -> Vec<&str> {
        violations.iter().map(|violation| violation.what.as_str()).collect()
    }

    #[test]
    fn a_sibling_may_be_tested_against_but_not_depended_on() {
        let dev = Dependency { dev: true, ..needs("ecm-pool") };
        let metadata = workspace(&[("ecm-cache", &[needs("ecm-core"), dev]), ("ecm-pool", &[needs("ecm-cache")])]);
        let violations = siblings(&metadata, &HOUSE);
        assert_eq!(found(&violations), ["`ecm-pool` depends on `ecm-cache`"]);
        assert!(violations[0].remedy.starts_with("it may know ecm-core:"), "{}", violations[0].remedy);
    }

    #[test]
    fn an_optional_dependency_on_a_sibling_is_one_too() {
        let optional = Dependency { optional: true, ..needs("ecm-metrics") };
        assert_eq!(
            found(&siblings(&workspace(&[("ecm-breaker", &[optional])]), &HOUSE)),
            ["`ecm-breaker` depends on `ecm-metrics`"]
        );
    }

    #[test]
    fn the_core_and_the_chores_know_nobody_and_the_edge_not_the_inside() {
        let metadata = workspace(&[
            ("ecm-core", &[needs("ecm-pool")]),
            ("xtask", &[needs("ecm")]),
            ("ecm-cli", &[needs("ecm"), needs("ecm-sqlite")]),
        ]);
        assert_eq!(
            found(&siblings(&metadata, &HOUSE)),
            ["`ecm-core` depends on `ecm-pool`", "`xtask` depends on `ecm`", "`ecm-cli` depends on `ecm-sqlite`"]
        );
    }

    #[test]
    fn a_crate_that_nobody_has_placed_is_refused() {
        assert_eq!(
            found(&siblings(&workspace(&[("ecm-extra", &[])]), &HOUSE)),
            ["`ecm-extra` is not in the table of crates"]
        );
    }

    #[test]
    fn each_foreign_crate_is_refused_beside_its_door_and_accepted_in_it() {
        for (foreign, behind) in HOUSE.doors {
            assert_eq!(found(&doors(&workspace(&[(behind[0], &[needs(foreign)])]), &HOUSE)), [""; 0]);
            let elsewhere = if behind.contains(&"ecm") { "ecm-pool" } else { "ecm" };
            let wrong = workspace(&[(elsewhere, &[needs(foreign)])]);
            assert_eq!(found(&doors(&wrong, &HOUSE)), [format!("`{elsewhere}` depends on `{foreign}`")]);
        }
    }

    #[test]
    fn the_core_may_have_optional_and_dev_dependencies_only() {
        let optional = Dependency { optional: true, ..needs("serde") };
        let dev = Dependency { dev: true, ..needs("proptest") };
        let metadata = workspace(&[("ecm-core", &[optional, dev, needs("libc")])]);
        assert_eq!(found(&required_dependencies(&metadata, &HOUSE)), ["`ecm-core` requires `libc`"]);
    }

    #[test]
    fn a_dev_dependency_on_a_member_from_the_registry_is_refused() {
        let registry = Dependency { dev: true, ..needs("ecm-core") };
        let folder = Dependency { dev: true, path: true, version: "*".into(), ..needs("ecm-core") };
        let foreign = Dependency { dev: true, ..needs("proptest") };
        let metadata = workspace(&[("ecm-core", &[]), ("ecm-pool", &[registry]), ("ecm", &[folder, foreign])]);
        assert_eq!(found(&dev_dependencies(&metadata)), ["`ecm-core` has the version requirement `^1`"]);
    }
}
