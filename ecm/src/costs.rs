use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

/// What the statements of a group have cost, roughly: what decides whether it pays to wait for somebody else's answer.
///
/// Plain figures that may be overwritten by those of another statement: a wrong guess costs time, nothing else.
#[derive(Debug)]
pub(crate) struct Costs {
    /// How long a statement took last, in microseconds and one more; 0 for one that did not run yet.
    took: [AtomicU32; STATEMENTS],
    /// How many short runs of a statement have to be seen before it runs where it is polled; 0 for one that may.
    owes: [AtomicU32; STATEMENTS],
    /// How many answers were kept that others may have waited for.
    kept: AtomicU64,
}

const STATEMENTS: usize = 256;

/// How many short runs a statement owes that was stopped where it was polled: it is long for some parameters.
const OWES_ONCE_STOPPED: u32 = 16;

/// Below this nobody waits for an answer of somebody else: waking a thread takes as long.
const SHARED_FROM: u32 = 50;

impl Default for Costs {
    fn default() -> Self {
        Self {
            took: [const { AtomicU32::new(0) }; STATEMENTS],
            owes: [const { AtomicU32::new(1) }; STATEMENTS],
            kept: AtomicU64::new(0),
        }
    }
}

impl Costs {
    fn of(&self, statement: u32) -> &AtomicU32 {
        &self.took[statement as usize % STATEMENTS]
    }

    pub(crate) fn took(&self, statement: u32, span: Duration) {
        let micros = u32::try_from(span.as_micros()).unwrap_or(u32::MAX).saturating_add(1);
        let known = self.of(statement);
        // Threads that run the same statement share the line: it is only written where it changes what is decided.
        if class(known.load(Ordering::Relaxed)) != class(micros) {
            known.store(micros, Ordering::Relaxed);
        }
    }

    /// Whether every run of late has shown that a statement takes less than going to another thread.
    pub(crate) fn is_short(&self, statement: u32) -> bool {
        self.owes(statement).load(Ordering::Relaxed) == 0
    }

    /// A statement has run to its end in this time, without any wait.
    pub(crate) fn ran(&self, statement: u32, span: Duration) {
        let owes = self.owes(statement);
        let before = owes.load(Ordering::Relaxed);
        let long = span > Duration::from_micros(SHARED_FROM.into());
        let after = if long { before.max(1) } else { before.saturating_sub(1) };
        if after != before {
            owes.store(after, Ordering::Relaxed);
        }
    }

    /// A statement was stopped where it was polled.
    pub(crate) fn was_stopped(&self, statement: u32) {
        self.owes(statement).store(OWES_ONCE_STOPPED, Ordering::Relaxed);
    }

    fn owes(&self, statement: u32) -> &AtomicU32 {
        &self.owes[statement as usize % STATEMENTS]
    }

    /// An answer was kept that others may have waited for.
    pub(crate) fn has_kept(&self) {
        self.kept.fetch_add(1, Ordering::Release);
    }

    /// How many there were: whoever looks for an answer afterwards finds them.
    pub(crate) fn kept(&self) -> u64 {
        self.kept.load(Ordering::Acquire)
    }

    /// Whether callers who want the same answer should wait for one of them.
    pub(crate) fn are_worth_waiting_for(&self, statement: u32) -> bool {
        matches!(class(self.of(statement).load(Ordering::Relaxed)), Class::Unknown | Class::Long)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Unknown,
    Short,
    Long,
}

fn class(micros: u32) -> Class {
    match micros {
        0 => Class::Unknown,
        short if short <= SHARED_FROM => Class::Short,
        _ => Class::Long,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_to_show_that_it_is_short_and_for_longer_once_it_was_stopped() {
        let costs = Costs::default();
        let short = Duration::from_micros(3);
        assert!(!costs.is_short(1), "nothing is known yet");
        costs.ran(1, Duration::from_millis(9));
        assert!(!costs.is_short(1));
        costs.ran(1, short);
        assert!(costs.is_short(1) && !costs.is_short(2));
        costs.ran(1, Duration::from_millis(9));
        assert!(!costs.is_short(1), "one long run ends it");
        costs.was_stopped(1);
        (1..OWES_ONCE_STOPPED).for_each(|_| costs.ran(1, short));
        assert!(!costs.is_short(1));
        costs.ran(1, short);
        assert!(costs.is_short(1));
    }

    #[test]
    fn what_is_short_is_never_waited_for() {
        let costs = Costs::default();
        assert!(costs.are_worth_waiting_for(1), "nothing is known yet");
        for (micros, worth) in [(3, false), (30, false), (3_000, true), (49, false), (100_000_000_000, true)] {
            costs.took(1, Duration::from_micros(micros));
            assert_eq!(costs.are_worth_waiting_for(1), worth, "{micros}");
            assert!(costs.are_worth_waiting_for(2));
        }
    }
}
