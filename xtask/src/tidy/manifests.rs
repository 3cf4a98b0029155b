use super::Violation;
use crate::metadata::{Member, Metadata};

/// The fewest words that say what a crate is.
const DESCRIPTION_WORDS: usize = 3;

/// Each crate has a description, the licence and the lints of the workspace.
pub(crate) fn packages(metadata: &Metadata) -> Vec<Violation> {
    let mut violations = Vec::new();
    for member in &metadata.members {
        let mut missing = |what: String, remedy: &str| {
            let rule = "a crate says what it is and inherits the rest";
            violations.push(Violation {
                rule,
                place: member.manifest_place(),
                line: None,
                what,
                remedy: remedy.into(),
            });
        };
        if member.description.split_whitespace().count() < DESCRIPTION_WORDS {
            missing(
                format!("the description `{}` does not say what the crate is", member.description),
                "write one sentence for someone who finds the crate in the registry",
            );
        }
        if !inherits(member, "package", "license") {
            missing("the licence is not that of the workspace".into(), "write license.workspace = true");
        }
        if !says(&member.manifest, "lints", "workspace=true") && !says(&member.manifest, "", "lints.workspace=true") {
            missing("the lints are not those of the workspace".into(), "write [lints] and below it workspace = true");
        }
    }
    violations
}

/// Each member has a comment of one line in the root manifest.
pub(crate) fn member_comments(metadata: &Metadata) -> Vec<Violation> {
    let mut violations = Vec::new();
    for member in metadata.members.iter().filter(|member| !member.folder.is_empty()) {
        let quoted = format!("\"{}\"", member.folder);
        let rest = metadata.manifest.lines().find_map(|line| line.trim_start().strip_prefix(&quoted));
        let comment = rest.and_then(|rest| rest.split_once('#')).map_or("", |(_, comment)| comment.trim());
        if comment.is_empty() {
            violations.push(Violation {
                rule: "the root manifest tells what each member is",
                place: "Cargo.toml".into(),
                line: None,
                what: format!("the member `{}` has no comment", member.folder),
                remedy: format!("write in `members`, on a line of its own: {quoted}, # what it is"),
            });
        }
    }
    violations
}

fn inherits(member: &Member, section: &str, key: &str) -> bool {
    says(&member.manifest, section, &format!("{key}.workspace=true"))
        || says(&member.manifest, section, &format!("{key}={{workspace=true}}"))
}

/// Whether a section of a manifest holds this line, apart from blanks and comments.
fn says(manifest: &str, section: &str, line: &str) -> bool {
    let header = format!("[{section}]");
    let mut inside = section.is_empty();
    for text in manifest.lines() {
        let text = text.split('#').next().unwrap_or("");
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        if text.starts_with('[') {
            inside = text == header;
        } else if inside && text == line {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]\nlicense.workspace = true # both\n\n[lints]\nworkspace = true\n";

    fn found(description: &str, manifest: &str) -> Vec<String> {
        let member = Member {
            name: "ecm".into(),
            folder: "ecm".into(),
            description: description.into(),
            manifest: manifest.into(),
            ..Member::default()
        };
        let metadata = Metadata { members: vec![member], ..Metadata::default() };
        packages(&metadata).into_iter().map(|violation| violation.what).collect()
    }

    #[test]
    fn a_crate_that_describes_and_inherits_is_left_alone() {
        assert_eq!(found("Access to databases.", GOOD), [""; 0]);
        let table = GOOD.replace("license.workspace = true", "license = { workspace = true }");
        assert_eq!(found("Access to databases.", &table), [""; 0]);
    }

    #[test]
    fn a_placeholder_is_no_description() {
        assert_eq!(found("stub", GOOD), ["the description `stub` does not say what the crate is"]);
        assert_eq!(found("", GOOD), ["the description `` does not say what the crate is"]);
    }

    #[test]
    fn a_licence_or_lints_of_its_own_are_refused() {
        let own = GOOD.replace("license.workspace = true", "license = \"GPL-3.0\"");
        assert_eq!(found("Access to databases.", &own), ["the licence is not that of the workspace"]);
        let own = GOOD.replace("[lints]", "[badges]");
        assert_eq!(found("Access to databases.", &own), ["the lints are not those of the workspace"]);
        let commented = GOOD.replace("workspace = true\n", "# workspace = true\n");
        assert!(found("Access to databases.", &commented).contains(&"the lints are not those of the workspace".into()));
    }

    #[test]
    fn a_member_without_a_comment_is_found() {
        let member = |name: &str| Member { name: name.into(), folder: name.into(), ..Member::default() };
        let metadata = Metadata {
            manifest: "members = [\n    \"ecm\", # the facade\n    \"ecm-core\", #\n    \"ecm-pool\",\n]\n".into(),
            members: ["ecm", "ecm-core", "ecm-pool"].map(member).into(),
            ..Metadata::default()
        };
        let found: Vec<String> = member_comments(&metadata).into_iter().map(|violation| violation.what).collect();
        assert_eq!(found, ["the member `ecm-core` has no comment", "the member `ecm-pool` has no comment"]);
    }
}
