//! Names of a script's own, so that several scripts can share a database.

use std::{borrow::Cow, collections::BTreeSet};

/// What the statements of a script create: tables, indices, views and triggers.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeSet<String>);

impl Names {
    pub(crate) fn created_by<'s>(statements: impl IntoIterator<Item = &'s str>) -> Self {
        let mut names = BTreeSet::new();
        for statement in statements {
            let words: Vec<String> =
                words(statement).filter(|(_, name)| *name).map(|(word, _)| word.to_lowercase()).collect();
            let mut words = words.iter().map(String::as_str).peekable();
            while let Some(word) = words.next() {
                if word != "create" {
                    continue;
                }
                let _unique = words.next_if_eq(&"unique");
                if words.next_if(|kind| ["table", "index", "view", "trigger"].contains(kind)).is_none() {
                    continue;
                }
                while words.next_if(|word| ["if", "not", "exists"].contains(word)).is_some() {}
                names.extend(words.next().map(String::from));
            }
        }
        Self(names)
    }

    /// The same statement with each of the names made this script's own, wherever it stands: a column or a text of
    /// that name changes as well, everywhere in the same way.
    pub(crate) fn own<'s>(&self, statement: &'s str, script: usize) -> Cow<'s, str> {
        if !words(statement).any(|(word, name)| name && self.0.contains(&word.to_lowercase())) {
            return statement.into();
        }
        let own = words(statement).map(|(word, name)| {
            let own = name && self.0.contains(&word.to_lowercase());
            if own { Cow::from(format!("{word}_of_{script}")) } else { word.into() }
        });
        own.collect::<String>().into()
    }
}

/// The statement in pieces, each with whether it is a word.
fn words(statement: &str) -> impl Iterator<Item = (&str, bool)> {
    let part_of_a_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut left = statement;
    std::iter::from_fn(move || {
        let first = left.chars().next()?;
        let is_word = part_of_a_word(first);
        let end = left.find(|c| part_of_a_word(c) != is_word).unwrap_or(left.len());
        let (piece, rest) = left.split_at(end);
        left = rest;
        Some((piece, is_word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_creates_is_its_own_wherever_it_is_named() {
        let names = Names::created_by([
            "CREATE TABLE t1(a, t10)",
            "create unique index if not exists I1 on t1(a)",
            "CREATE VIEW v AS SELECT 1; CREATE TRIGGER g AFTER INSERT ON t1 BEGIN SELECT 1; END",
            "INSERT INTO t1 VALUES ('create')",
        ]);
        let own = names.own("SELECT t1.a, T1.t10 FROM v, t1 WHERE x = 'g' -- i1", 3);
        assert_eq!(own, "SELECT t1_of_3.a, T1_of_3.t10 FROM v_of_3, t1_of_3 WHERE x = 'g_of_3' -- i1_of_3");
        assert!(matches!(names.own("SELECT 1 FROM t", 3), Cow::Borrowed("SELECT 1 FROM t")));
    }
}
