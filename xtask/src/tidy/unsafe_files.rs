use super::{House, Tree, Violation, source::Source};

/// Unsafe code stands only in the files of the list, and every file of the list has some.
pub(crate) fn listed(tree: &Tree, house: &House) -> Vec<Violation> {
    let rule = "unsafe code only where it is listed";
    let mut violations = Vec::new();
    for source in &tree.sources {
        let first = source.words().find(|(_, word)| ["unsafe", "unsafe_code"].contains(word));
        let listed = house.unsafe_files.iter().any(|(path, _)| *path == source.path);
        if let Some((offset, word)) = first
            && !listed
        {
            violations.push(Violation {
                rule,
                place: source.path.clone(),
                line: Some(source.line(offset)),
                what: format!("`{word}` in a file that is not listed"),
                remedy: "do without it; or list the file with a reason in xtask/src/tidy/house.rs, \
                         where reviewers and `cargo xtask asan` find it"
                    .into(),
            });
        }
    }
    for (path, _) in house.unsafe_files {
        let source = tree.sources.iter().find(|source| source.path == *path);
        if !source.is_some_and(|source| source.words().any(|(_, word)| word == "unsafe")) {
            violations.push(Violation {
                rule,
                place: String::from(*path),
                line: None,
                what: "is listed as a file with unsafe code, but has none".into(),
                remedy: "take it off the list in xtask/src/tidy/house.rs".into(),
            });
        }
    }
    violations
}

/// Each unsafe block and implementation has a comment `// SAFETY:` directly above.
pub(crate) fn justified(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in &tree.sources {
        for (offset, _) in source.words().filter(|(_, word)| *word == "unsafe") {
            let next = source.code[offset + "unsafe".len()..].trim_start();
            let needs_reason = next.starts_with('{') || next.starts_with("impl");
            if needs_reason && !has_reason(source, source.line(offset) - 1) {
                violations.push(Violation {
                    rule: "unsafe code says why it is sound",
                    place: source.path.clone(),
                    line: Some(source.line(offset)),
                    what: "an unsafe block or implementation without its reason".into(),
                    remedy: "write // SAFETY: directly above it, with what is required and why it holds here".into(),
                });
            }
        }
    }
    violations
}

/// Whether the comment on this line (from 0), or the one directly above its statement, gives a
/// reason. Attributes and the beginning of the same statement may stand between.
fn has_reason(source: &Source, line: usize) -> bool {
    let code: Vec<&str> = source.code.lines().map(str::trim).collect();
    let comments: Vec<&str> = source.comments.lines().map(str::trim).collect();
    let gives_reason = |line: usize| comments[line].contains("SAFETY:");
    if gives_reason(line) {
        return true;
    }
    let mut above = line;
    while above > 0 {
        above -= 1;
        let is_comment = code[above].is_empty() && !comments[above].is_empty();
        if is_comment {
            let block = (0..=above).rev().take_while(|&at| code[at].is_empty() && !comments[at].is_empty());
            return block.into_iter().any(gives_reason);
        }
        let goes_on = code[above].starts_with("#[") || code[above].ends_with(['=', '(']);
        if !goes_on {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{super::HOUSE, *};

    const HOUSE_OF_ONE: House = House { unsafe_files: &[("a/src/raw.rs", "speaks to C")], ..HOUSE };

    #[test]
    fn unsafe_code_in_a_file_that_is_not_listed_is_found_at_its_line() {
        let raw = ("a/src/raw.rs", "#![expect(unsafe_code, reason = \"x\")]\nunsafe fn f() {}\n");
        let tree = Tree::of(&[raw, ("a/src/b.rs", "// unsafe is not\nlet x = unsafe { f() };\n")]);
        let found = listed(&tree, &HOUSE_OF_ONE);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].place.as_str(), found[0].line), ("a/src/b.rs", Some(2)));
    }

    #[test]
    fn a_lint_that_is_switched_off_counts_as_unsafe_code() {
        let tree = Tree::of(&[("a/src/b.rs", "#![expect(unsafe_code, reason = \"x\")]\n")]);
        let found = listed(&tree, &House { unsafe_files: &[], ..HOUSE });
        assert_eq!(found[0].what, "`unsafe_code` in a file that is not listed");
    }

    #[test]
    fn a_listed_file_that_has_become_safe_must_leave_the_list() {
        for files in [&[("a/src/raw.rs", "fn f() {}")][..], &[]] {
            let found = listed(&Tree::of(files), &HOUSE_OF_ONE);
            assert_eq!(found[0].what, "is listed as a file with unsafe code, but has none");
        }
    }

    fn unjustified(text: &str) -> Vec<Option<usize>> {
        justified(&Tree::of(&[("a/src/raw.rs", text)])).into_iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn a_block_or_implementation_without_its_reason_is_found() {
        assert_eq!(unjustified("fn f() {\n    unsafe { g() }\n}\n"), [Some(2)]);
        assert_eq!(unjustified("struct S;\nunsafe impl Send for S {}\n"), [Some(2)]);
        assert_eq!(unjustified("// It is fine.\nunsafe { g() }\n"), [Some(2)]);
    }

    #[test]
    fn the_reason_of_one_block_does_not_cover_the_next() {
        assert_eq!(unjustified("// SAFETY: g is.\nunsafe { g() };\nunsafe { h() };\n"), [Some(3)]);
        assert_eq!(unjustified("// SAFETY: g is.\n\nunsafe { g() };\n"), [Some(3)]);
    }

    #[test]
    fn the_reason_may_stand_above_the_statement_and_its_attributes() {
        assert_eq!(unjustified("// SAFETY: it lives\n// as long.\n#[cfg(x)]\nlet y =\n    unsafe { g() };\n"), []);
        assert_eq!(unjustified("let y = unsafe { g() }; // SAFETY: it lives.\n"), []);
    }

    #[test]
    fn a_declaration_puts_the_duty_on_its_caller_instead() {
        assert_eq!(unjustified("unsafe fn f() {}\nunsafe extern \"C\" fn g() {}\ntype F = unsafe fn();\n"), []);
    }
}
