use super::{
    Tree, Violation,
    source::{line, words},
};

const MARKERS: [&str; 3] = ["TODO", "FIXME", "XXX"];

/// No marker of unfinished work in comments, documentation or manifests.
pub(crate) fn markers(tree: &Tree) -> Vec<Violation> {
    let comments = tree.sources.iter().map(|source| (&source.path, &source.comments));
    let texts = tree.texts.iter().map(|(path, text)| (path, text));
    let mut violations = Vec::new();
    for (path, text) in comments.chain(texts) {
        for (offset, word) in words(text).filter(|(_, word)| MARKERS.contains(word)) {
            violations.push(Violation {
                rule: "no marker of unfinished work",
                place: path.clone(),
                line: Some(line(text, offset)),
                what: format!("`{word}`"),
                remedy: "do it now, or open an issue; say in a comment only what holds for the code as it is".into(),
            });
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_in_comments_documentation_and_manifests() {
        let mut tree = Tree::of(&[("a.rs", "let x = \"TODO\"; // TODO: more\n/// FIXME\nfn f() { XXX }\n")]);
        tree.texts.push(("README.md".into(), "one\ntwo XXX\n".into()));
        tree.texts.push(("Cargo.toml".into(), "description = \"TODO\"\n".into()));
        let found: Vec<_> = markers(&tree).into_iter().map(|v| (v.place, v.line.unwrap(), v.what)).collect();
        let expected = [("a.rs", 1, "TODO"), ("a.rs", 2, "FIXME"), ("README.md", 2, "XXX"), ("Cargo.toml", 1, "TODO")];
        assert_eq!(found, expected.map(|(place, line, word)| (place.into(), line, format!("`{word}`"))));
    }

    #[test]
    fn a_word_that_only_contains_a_marker_is_left_alone() {
        assert_eq!(markers(&Tree::of(&[("a.rs", "// TODOS, todo, MAXXX, XXX_1\n")])), []);
    }
}
