use std::fmt;

/// A rule that is not kept: which, where, how, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The rule, as `CONTRIBUTING.md` calls it.
    pub(crate) rule: &'static str,
    /// The file, relative to the root.
    pub(crate) place: String,
    /// The line, from 1, where there is one.
    pub(crate) line: Option<usize>,
    /// What was found.
    pub(crate) what: String,
    /// What to do.
    pub(crate) remedy: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}\n  rule: {}\n  do: {}", self.what, self.rule, self.remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where_which_rule_and_what_to_do() {
        let violation = Violation {
            rule: "files stay short",
            place: "ecm/src/manager.rs".into(),
            line: Some(601),
            what: "it has 900 lines".into(),
            remedy: "split it by nouns".into(),
        };
        assert_eq!(
            violation.to_string(),
            "ecm/src/manager.rs:601: it has 900 lines\n  rule: files stay short\n  do: split it by nouns"
        );
    }
}
