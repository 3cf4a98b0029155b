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
    /// Its own last commit.
    pub(crate) position: Position,
}

impl Seen {
    pub(crate) fn in_group(&self, group: u32) -> Option<Mark> {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.iter().find_map(|(of, mark)| (*of == group).then_some(*mark))
    }

    /// Something was read or written, by `at` at the latest; it was committed at this position, if it was.
    pub(crate) fn saw(&self, group: u32, at: Time, position: Option<Position>) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let position = position.unwrap_or_default();
        match marks.iter_mut().find(|(of, _)| *of == group) {
            Some((_, mark)) => *mark = Mark { at: mark.at.max(at), position: mark.position.max(position) },
            None => marks.push((group, Mark { at, position })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_was_seen_never_goes_back_and_groups_do_not_mix() {
        let seen = Seen::default();
        let at = |millis| Time::START + Duration::from_millis(millis);
        let position = |commit| Position { epoch: 0, commit };
        assert_eq!(seen.in_group(0), None);
        seen.saw(0, at(5), Some(position(3)));
        seen.saw(0, at(4), None);
        seen.saw(1, at(1), None);
        assert_eq!(seen.in_group(0), Some(Mark { at: at(5), position: position(3) }));
        assert_eq!(seen.in_group(1), Some(Mark { at: at(1), position: Position::default() }));
    }
}
