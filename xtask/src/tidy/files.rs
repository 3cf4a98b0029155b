use super::{House, Tree, Violation};
use crate::metadata::Metadata;

const NAMELESS: [&str; 6] = ["utils", "util", "helpers", "helper", "common", "misc"];

/// A file is named for its one thing.
pub(crate) fn names(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in &tree.sources {
        let module = source.path.strip_suffix("/mod.rs").or_else(|| source.path.strip_suffix(".rs"));
        let name = module.and_then(|path| path.rsplit('/').next()).unwrap_or("");
        if NAMELESS.contains(&name) {
            violations.push(Violation {
                rule: "a file is named for its one thing",
                place: source.path.clone(),
                line: None,
                what: format!("`{name}` names nothing that it could hold"),
                remedy: "give each thing in it a file of its own name: backoff.rs, window.rs".into(),
            });
        }
    }
    violations
}

/// Files stay short.
pub(crate) fn lengths(tree: &Tree, house: &House) -> Vec<Violation> {
    let rule = "files stay short";
    let mut violations = Vec::new();
    for source in &tree.sources {
        let lines = source.text.lines().count();
        let listed = house.long_files.iter().any(|(path, _)| *path == source.path);
        if lines > house.max_lines && !listed {
            violations.push(Violation {
                rule,
                place: source.path.clone(),
                line: None,
                what: format!("it has {lines} lines, more than {}", house.max_lines),
                remedy: "split it by nouns; or list it with a reason under `long_files` in xtask/src/tidy/house.rs"
                    .into(),
            });
        }
        if lines <= house.max_lines && listed {
            violations.push(Violation {
                rule,
                place: source.path.clone(),
                line: None,
                what: format!("it is listed as a long file, but has only {lines} lines"),
                remedy: "take it off the list in xtask/src/tidy/house.rs".into(),
            });
        }
    }
    violations
}

/// A `lib.rs` is a table of contents.
pub(crate) fn tables_of_contents(metadata: &Metadata, tree: &Tree, house: &House) -> Vec<Violation> {
    let mut violations = Vec::new();
    for member in &metadata.members {
        let path = format!("{}/src/lib.rs", member.folder);
        let Some(source) = tree.sources.iter().find(|source| source.path == path) else { continue };
        let counts = |line: &&str| {
            let line = line.trim_start();
            !line.is_empty() && !line.starts_with("//!") && !line.starts_with("///")
        };
        let lines = source.text.lines().filter(counts).count();
        if lines > house.max_lib_lines {
            violations.push(Violation {
                rule: "lib.rs is a table of contents",
                place: path,
                line: None,
                what: format!("it has {lines} lines besides documentation, more than {}", house.max_lib_lines),
                remedy: "leave modules and re-exports there, and move the rest into files named for it".into(),
            });
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::{super::HOUSE, *};
    use crate::metadata::Member;

    #[test]
    fn a_file_without_a_name_of_its_own_is_found_also_as_a_folder() {
        let paths =
            ["a/src/utils.rs", "a/tests/common/mod.rs", "a/src/helpers.rs", "a/src/backoff.rs", "common/src/x.rs"];
        let found: Vec<String> = names(&Tree::of(&paths.map(|path| (path, "")))).into_iter().map(|v| v.place).collect();
        assert_eq!(found, &paths[..3]);
    }

    #[test]
    fn a_long_file_needs_a_reason_and_a_reason_needs_a_long_file() {
        let house = House { max_lines: 2, long_files: &[("b.rs", "a table"), ("c.rs", "a table")], ..HOUSE };
        let tree = Tree::of(&[("a.rs", "1\n2\n3\n"), ("b.rs", "1\n2\n3\n"), ("c.rs", "1\n2\n"), ("d.rs", "1\n2\n")]);
        let found: Vec<String> =
            lengths(&tree, &house).into_iter().map(|v| format!("{} {}", v.place, v.what)).collect();
        assert_eq!(
            found,
            ["a.rs it has 3 lines, more than 2", "c.rs it is listed as a long file, but has only 2 lines"]
        );
    }

    #[test]
    fn a_lib_that_is_more_than_a_table_of_contents_is_found() {
        let member = Member { name: "a".into(), folder: "a".into(), ..Member::default() };
        let metadata = Metadata { members: vec![member], ..Metadata::default() };
        let documentation = "//! Words.\n\n".repeat(400);
        let found = |lines: usize| {
            let text = format!("{documentation}{}", "mod a;\n".repeat(lines));
            tables_of_contents(&metadata, &Tree::of(&[("a/src/lib.rs", &text)]), &HOUSE).len()
        };
        assert_eq!((found(150), found(151)), (0, 1));
    }
}
