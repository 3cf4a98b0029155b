use serde::Serialize;
use std::collections::BTreeMap;

const SHOWN: usize = 5;

/// The errors of a load: how many of each kind, and what the first few said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Errors {
    by_kind: BTreeMap<String, u64>,
    first: Vec<String>,
}

impl Errors {
    pub(crate) fn add(&mut self, kind: impl Into<String>, message: impl FnOnce() -> String) {
        *self.by_kind.entry(kind.into()).or_default() += 1;
        if self.first.len() < SHOWN {
            self.first.push(message());
        }
    }

    /// Counts an error of ECM by its kind.
    pub(crate) fn add_error(&mut self, error: &ecm::Error) {
        self.add(format!("{:?}", error.kind()), || error.to_string());
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (kind, count) in other.by_kind {
            *self.by_kind.entry(kind).or_default() += count;
        }
        let room = SHOWN - self.first.len();
        self.first.extend(other.first.into_iter().take(room));
    }

    pub(crate) fn count(&self) -> u64 {
        self.by_kind.values().sum()
    }

    /// Lines for people; nothing if there was no error.
    pub(crate) fn lines(&self) -> String {
        let mut lines = String::new();
        for (kind, count) in &self.by_kind {
            lines += &format!("errors: {count} x {kind}\n");
        }
        for message in &self.first {
            lines += &format!("  {}\n", message.replace('\n', " "));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_errors_is_counted_in_full_but_shown_in_part() {
        let mut errors = Errors::default();
        for number in 0..7 {
            errors.add("Busy", || format!("busy {number}"));
        }
        let mut more = Errors::default();
        more.add("Closed", || "closed".into());
        errors.merge(more);
        assert_eq!(errors.count(), 8);
        let lines = errors.lines();
        assert!(lines.contains("errors: 7 x Busy\nerrors: 1 x Closed\n"), "{lines}");
        assert!(lines.contains("busy 4") && !lines.contains("busy 5"), "{lines}");
    }
}
