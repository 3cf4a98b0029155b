use ecm_core::{Position, Time};
use std::sync::{Mutex, PoisonError};

/// What a session has seen, in each group.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Vec<(u32, Mark)>>);

/// What it has seen in one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// It has seen nothing that was written later.
    pub(crate) at: Time,
    /// The copy that has shown all of it; `None` if no single one has.
    pub(crate) from: Option<u64>,
    /// Its own last commit.
    pub(crate) position: Position,
    /// Which primary the group had.
    pub(crate) term: u64,
}

impl Seen {
    pub(crate) fn in_group(&self, group: u32) -> Option<Mark> {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.iter().find_map(|(of, mark)| (*of == group).then_some(*mark))
    }

    /// Something was read or written.
    pub(crate) fn saw(&self, group: u32, saw: Mark) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match marks.iter_mut().find(|(of, _)| *of == group) {
            Some((_, mark)) => *mark = mark.and(saw),
            None => marks.push((group, saw)),
        }
    }
}

impl Mark {
    /// Both.
    fn and(self, saw: Self) -> Self {
        let position = self.position.max(saw.position);
        if saw.term > self.term || saw.at > self.at {
            return Self { position, ..saw };
        }
        // Of two that were seen at one moment it is not known which is the later one.
        let from = if saw.at < self.at { self.from } else { self.from.filter(|_| self.from == saw.from) };
        Self { position, from, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn mark(millis: u64, from: Option<u64>) -> Mark {
        Mark { at: Time::START + Duration::from_millis(millis), from, position: Position::default(), term: 0 }
    }

    #[test]
    fn what_was_seen_never_goes_back_and_groups_do_not_mix() {
        let seen = Seen::default();
        let position = Position { epoch: 0, commit: 3 };
        assert_eq!(seen.in_group(0), None);
        seen.saw(0, Mark { position, ..mark(5, None) });
        seen.saw(0, mark(4, Some(1)));
        seen.saw(1, mark(1, Some(1)));
        assert_eq!(seen.in_group(0), Some(Mark { position, ..mark(5, None) }));
        assert_eq!(seen.in_group(1), Some(mark(1, Some(1))));
        seen.saw(0, mark(6, Some(1)));
        assert_eq!(seen.in_group(0), Some(Mark { position, ..mark(6, Some(1)) }));
        let later = Mark { position, term: 1, ..mark(2, None) };
        seen.saw(0, later);
        assert_eq!(seen.in_group(0), Some(later));
    }

    #[test]
    fn two_that_were_seen_at_one_moment_are_shown_by_neither_alone() {
        for (other, from) in [(Some(1), Some(1)), (Some(2), None), (None, None)] {
            let seen = Seen::default();
            seen.saw(0, mark(5, Some(1)));
            seen.saw(0, mark(5, other));
            assert_eq!(seen.in_group(0), Some(mark(5, from)));
        }
    }
}
