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
    /// How many answers were kept that others may have waited for.
    kept: AtomicU64,
}

const STATEMENTS: usize = 256;

/// Below this nobody waits for an answer of somebody else: waking a thread takes as long.
const SHARED_FROM: u32 = 50;

impl Default for Costs {
    fn default() -> Self {
        Self { took: [const { AtomicU32::new(0) }; STATEMENTS], kept: AtomicU64::new(0) }
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
