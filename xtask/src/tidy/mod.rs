//! The rules of the house that no compiler checks, as functions over plain data.
//!
//! Each rule has a line in `CONTRIBUTING.md` with its reason; the tables that the rules read are in
//! [`house`].

mod attributes;
mod exports;
mod files;
mod house;
mod layers;
mod manifests;
mod source;
mod tree;
mod unsafe_files;
mod violation;
mod words;

pub(crate) use house::{HOUSE, packages_with_unsafe_code};

use crate::{
    error::{Error, Result},
    metadata::Metadata,
};
use house::House;
use std::fmt::Write as _;
use tree::Tree;
use violation::Violation;

/// Carries out `cargo xtask tidy`.
///
/// # Errors
/// [`Error::Check`] with every violation, [`Error::Read`] if a file cannot be read.
pub(crate) fn run(metadata: &Metadata, _: &[String]) -> Result<()> {
    let tree = Tree::read(&metadata.root)?;
    let violations = check(metadata, &tree, &HOUSE);
    if violations.is_empty() {
        println!("tidy: {} members and {} source files keep the rules", metadata.members.len(), tree.sources.len());
        return Ok(());
    }
    let plural = if violations.len() == 1 { "" } else { "s" };
    let mut report = format!("{} violation{plural} of the rules of the house\n", violations.len());
    for violation in &violations {
        let _ = write!(report, "\n{violation}\n");
    }
    Err(Error::Check(report))
}

/// Every violation, by place.
fn check(metadata: &Metadata, tree: &Tree, house: &House) -> Vec<Violation> {
    let mut violations = Vec::new();
    violations.extend(layers::siblings(metadata, house));
    violations.extend(layers::doors(metadata, house));
    violations.extend(layers::required_dependencies(metadata, house));
    violations.extend(layers::dev_dependencies(metadata));
    violations.extend(manifests::packages(metadata));
    violations.extend(manifests::member_comments(metadata));
    violations.extend(exports::foreign(metadata, tree, house));
    violations.extend(unsafe_files::listed(tree, house));
    violations.extend(unsafe_files::justified(tree));
    violations.extend(attributes::allowed(tree));
    violations.extend(attributes::reasons(tree));
    violations.extend(files::names(tree));
    violations.extend(files::lengths(tree, house));
    violations.extend(files::tables_of_contents(metadata, tree, house));
    violations.extend(words::markers(tree));
    violations.sort_by(|a, b| (&a.place, a.line).cmp(&(&b.place, b.line)));
    violations
}

#[cfg(test)]
mod tests {
    //! A small workspace on disk, asked about by the real cargo: the rules must find what is wrong
    //! there, and nothing else.

    use super::*;
    use std::{fs, path::Path};
    use tempfile::TempDir;

    const ROOT: &str = r#"
[workspace]
resolver = "3"
members = [
    "ecm-balancer", # picks a database
    "ecm-core",     # the traits
    "ecm-pool",     # lends connections
]
[workspace.package]
license = "MIT"
"#;

    fn manifest(name: &str, rest: &str) -> String {
        format!(
            "[package]\nname = \"{name}\"\ndescription = \"A crate of a test.\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
             license.workspace = true\n[lints]\nworkspace = true\n{rest}"
        )
    }

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn workspace() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "Cargo.toml", &format!("{ROOT}[workspace.lints]\n"));
        for name in ["ecm-core", "ecm-pool", "ecm-balancer"] {
            let core = if name == "ecm-core" { "" } else { "[dependencies]\necm-core = { path = \"../ecm-core\" }\n" };
            write(folder.path(), &format!("{name}/Cargo.toml"), &manifest(name, core));
            write(folder.path(), &format!("{name}/src/lib.rs"), "//! A crate of a test.\n");
        }
        folder
    }

    fn violations(folder: &TempDir) -> Vec<String> {
        let metadata = Metadata::load(&folder.path().join("Cargo.toml")).unwrap();
        let tree = Tree::read(&metadata.root).unwrap();
        let house = House { unsafe_files: &[], ..HOUSE };
        check(&metadata, &tree, &house)
            .iter()
            .map(|violation| format!("{}: {}", violation.rule, violation.what))
            .collect()
    }

    #[test]
    fn a_workspace_that_keeps_the_rules_is_left_alone() {
        assert_eq!(violations(&workspace()), [""; 0]);
    }

    #[test]
    fn a_sibling_that_imports_a_sibling_is_found() {
        let folder = workspace();
        let sibling = "[dependencies]\necm-pool = { path = \"../ecm-pool\" }\n";
        write(folder.path(), "ecm-balancer/Cargo.toml", &manifest("ecm-balancer", sibling));
        assert_eq!(violations(&folder), ["who may know whom: `ecm-balancer` depends on `ecm-pool`"]);
    }

    #[test]
    fn rusqlite_outside_its_door_is_found() {
        let folder = workspace();
        let door = "[dependencies]\nrusqlite = \"0.41\"\n";
        write(folder.path(), "ecm-pool/Cargo.toml", &manifest("ecm-pool", door));
        assert_eq!(violations(&folder), ["one door per foreign crate: `ecm-pool` depends on `rusqlite`"]);
    }

    #[test]
    fn a_required_dependency_of_the_core_is_found() {
        let folder = workspace();
        let needs = "[dependencies]\nsmallvec = \"1\"\nserde = { version = \"1\", optional = true }\n";
        write(folder.path(), "ecm-core/Cargo.toml", &manifest("ecm-core", needs));
        assert_eq!(violations(&folder), ["a core without dependencies: `ecm-core` requires `smallvec`"]);
    }

    #[test]
    fn a_dev_dependency_with_a_version_is_found() {
        let folder = workspace();
        let cycle = "[dev-dependencies]\necm-pool = { path = \"../ecm-pool\", version = \"0.1.0\" }\n";
        write(folder.path(), "ecm-core/Cargo.toml", &manifest("ecm-core", cycle));
        assert_eq!(violations(&folder), ["dev-dependencies by path: `ecm-pool` has the version requirement `^0.1.0`"]);
    }

    #[test]
    fn what_is_wrong_in_sources_is_found_by_file_and_line() {
        let folder = workspace();
        write(folder.path(), "ecm-pool/src/slots/utils.rs", "#[allow(dead_code)]\nfn f() { unsafe { g() } }\n");
        write(folder.path(), "target/debug/build/generated.rs", "#[allow(dead_code)] fn f() {}\n");
        let metadata = Metadata::load(&folder.path().join("Cargo.toml")).unwrap();
        let found = check(&metadata, &Tree::read(&metadata.root).unwrap(), &House { unsafe_files: &[], ..HOUSE });
        let places: Vec<_> = found.iter().map(|v| (v.rule, v.place.as_str(), v.line)).collect();
        assert_eq!(
            places,
            [
                ("a file is named for its one thing", "ecm-pool/src/slots/utils.rs", None),
                ("expect, never allow", "ecm-pool/src/slots/utils.rs", Some(1)),
                ("unsafe code only where it is listed", "ecm-pool/src/slots/utils.rs", Some(2)),
                ("unsafe code says why it is sound", "ecm-pool/src/slots/utils.rs", Some(2)),
            ]
        );
    }
}
