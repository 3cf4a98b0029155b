use super::{House, Tree, Violation, source::Source};
use crate::metadata::Metadata;

/// The core re-exports nothing foreign: a new major version of another crate must not be one of ours.
pub(crate) fn foreign(metadata: &Metadata, tree: &Tree, house: &House) -> Vec<Violation> {
    let Some(core) = metadata.member(house.core) else { return Vec::new() };
    let folder = format!("{}/src/", core.folder);
    let mut violations = Vec::new();
    for source in tree.sources.iter().filter(|source| source.path.starts_with(&folder)) {
        for (offset, name) in re_exports(source) {
            violations.push(Violation {
                rule: "a core that re-exports nothing foreign",
                place: source.path.clone(),
                line: Some(source.line(offset)),
                what: format!("`{name}` is re-exported"),
                remedy: "define a type of our own that holds or converts it".into(),
            });
        }
    }
    violations
}

/// The public re-exports from another crate: (offset, name of the crate).
fn re_exports(source: &Source) -> Vec<(usize, String)> {
    let words: Vec<(usize, &str)> = source.words().collect();
    let declared = |name: &str| words.windows(2).any(|pair| pair[0].1 == "mod" && pair[1].1 == name);
    let ours = |name: &str| {
        let reserved = ["crate", "self", "super", "std", "core", "alloc"].contains(&name);
        reserved || declared(name) || name.starts_with(char::is_uppercase)
    };
    let mut found = Vec::new();
    for pair in words.windows(2) {
        let [(start, "pub"), (offset, keyword @ ("use" | "extern"))] = *pair else { continue };
        // `pub(crate) use` is not public.
        if !source.code[start + "pub".len()..offset].trim().is_empty() {
            continue;
        }
        let rest = &source.code[offset + keyword.len()..];
        let statement = rest.split(';').next().unwrap_or(rest).trim();
        if keyword == "extern" {
            if let Some(name) = statement.strip_prefix("crate ") {
                found.push((start, name.trim().to_owned()));
            }
            continue;
        }
        let foreign = roots(statement).into_iter().filter(|(name, absolute)| *absolute || !ours(name));
        found.extend(foreign.map(|(name, _)| (start, name)));
    }
    found
}

/// The first parts of the paths of a `use`: (name, whether it starts with `::`).
fn roots(tree: &str) -> Vec<(String, bool)> {
    let group = tree.strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
    let mut depth = 0_usize;
    let branches = group.unwrap_or(tree).split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    let roots = branches.map(str::trim).filter(|branch| !branch.is_empty()).map(|branch| {
        let path = branch.strip_prefix("::");
        let name = path.unwrap_or(branch).split([':', ' ', '{', ',']).next().unwrap_or(branch);
        (name.to_owned(), path.is_some())
    });
    roots.collect()
}

#[cfg(test)]
mod tests {
    use super::{super::HOUSE, *};
    use crate::metadata::Member;

    fn found(path: &str, text: &str) -> Vec<String> {
        let core = Member { name: "ecm-core".into(), folder: "ecm-core".into(), ..Member::default() };
        let metadata = Metadata { members: vec![core], ..Metadata::default() };
        let violations = foreign(&metadata, &Tree::of(&[(path, text)]), &HOUSE);
        violations.into_iter().map(|violation| violation.what).collect()
    }

    #[test]
    fn a_foreign_re_export_is_found_in_every_form() {
        let forms = [
            "pub use serde;",
            "pub use serde::Serialize;",
            "pub use ::serde::{Serialize, Deserialize};",
            "pub use serde as ser;",
            "pub use {crate::A, serde::{Serialize, de::Error}};",
            "pub extern crate serde;",
        ];
        for form in forms {
            assert_eq!(found("ecm-core/src/value.rs", form), ["`serde` is re-exported"], "{form}");
        }
    }

    #[test]
    fn our_own_names_are_left_alone() {
        let text = "mod backend;\npub use backend::{Backend, Access};\npub use self::backend::X;\npub use std::sync::Arc;\n\
                    pub use Kind::*;\nuse serde::Serialize;\npub(crate) use serde::Deserialize;\npub extern \"C\" fn f() {}\n";
        assert_eq!(found("ecm-core/src/lib.rs", text), [""; 0]);
        assert_eq!(found("ecm-sqlite/src/lib.rs", "pub use rusqlite;"), [""; 0]);
    }
}
