use super::{Tree, Violation, source::Source, source::words};

/// A lint is expected, with a reason, and never allowed: an expectation that is no longer met is
/// reported by the compiler, a permission stays for ever.
pub(crate) fn allowed(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in &tree.sources {
        for offset in attributes(source, "allow") {
            violations.push(Violation {
                rule: "expect, never allow",
                place: source.path.clone(),
                line: Some(source.line(offset)),
                what: "an `allow` attribute".into(),
                remedy: "mend what the lint says, or write #[expect(the_lint, reason = \"why it is wrong here\")]"
                    .into(),
            });
        }
    }
    violations
}

/// An expectation says why.
pub(crate) fn reasons(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in &tree.sources {
        for offset in attributes(source, "expect") {
            if words(in_brackets(&source.code[offset..])).all(|(_, word)| word != "reason") {
                violations.push(Violation {
                    rule: "an expectation says why",
                    place: source.path.clone(),
                    line: Some(source.line(offset)),
                    what: "an `expect` attribute without a reason".into(),
                    remedy: "add reason = \"why the lint is wrong here\"".into(),
                });
            }
        }
    }
    violations
}

/// The offsets of the attributes of this name, those inside `cfg_attr` included.
fn attributes<'a>(source: &'a Source, name: &str) -> impl Iterator<Item = usize> + 'a {
    let name = name.to_owned();
    let named = source.words().filter(move |(_, word)| *word == name);
    named.map(|(offset, _)| offset).filter(|&offset| {
        let called =
            source.code[offset..].trim_start_matches(|c: char| c.is_alphanumeric()).trim_start().starts_with('(');
        let before = source.code[..offset].trim_end();
        let outer = before.strip_suffix('[').is_some_and(|hash| hash.trim_end().ends_with(['#', '!']));
        let inner = before.ends_with([',', '('])
            && before.rfind('#').is_some_and(|hash| {
                let attribute = &before[hash..];
                attribute.contains("cfg_attr") && !attribute.contains(']')
            });
        called && (outer || inner)
    })
}

/// What stands between the first bracket and the one that closes it.
fn in_brackets(text: &str) -> &str {
    let Some(start) = text.find('(') else { return "" };
    let mut depth = 0_usize;
    for (offset, c) in text[start..].char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return &text[start + 1..start + offset],
            ')' => depth -= 1,
            _ => {}
        }
    }
    &text[start + 1..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(rule: fn(&Tree) -> Vec<Violation>, text: &str) -> Vec<usize> {
        rule(&Tree::of(&[("a.rs", text)])).into_iter().filter_map(|violation| violation.line).collect()
    }

    #[test]
    fn an_allow_is_found_in_every_form() {
        assert_eq!(lines(allowed, "#![allow(x)]\n\n#[allow(\n    y,\n)]\n# [ allow (z)]\n"), [1, 3, 6]);
        assert_eq!(lines(allowed, "#[cfg_attr(\n    test,\n    allow(y)\n)]\n"), [3]);
    }

    #[test]
    fn what_only_looks_like_an_allow_is_left_alone() {
        assert_eq!(lines(allowed, "// #[allow(x)]\nlet s = \"#[allow(x)]\";\nfn allow(x: u8) {}\n"), [0; 0]);
        assert_eq!(lines(allowed, "breaker.allow(x);\nf(allow(x), allow(y));\n#[deny(x)]\nv![a, allow(x)];\n"), [0; 0]);
    }

    #[test]
    fn an_expectation_without_a_reason_is_found() {
        assert_eq!(lines(reasons, "#[expect(x)]\nfn f() {}\n#![expect(a, b)]\n"), [1, 3]);
        assert_eq!(lines(reasons, "#[cfg_attr(test, expect(x))] fn reason() {}\n"), [1]);
        assert_eq!(lines(reasons, "#[expect(x, reason = \"of (this)\")]\nlock.expect(\"reason\");\n"), [0; 0]);
    }
}
