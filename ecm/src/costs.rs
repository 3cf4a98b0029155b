use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// What the statements of a group have cost, roughly, and which answers were asked for lately: what decides whether it
/// pays to keep an answer, or to wait for somebody else's.
///
/// Plain figures that may be overwritten by those of another statement or key: a wrong guess costs time, nothing else.
#[derive(Debug)]
pub(crate) struct Costs {
    /// How long a statement took last, in microseconds and one more; 0 for one that did not run yet.
    took: [AtomicU32; STATEMENTS],
    /// What was asked for lately and not kept, by its hash.
    asked: OnceLock<Box<[AtomicU32]>>,
}

const STATEMENTS: usize = 256;
const ASKED: usize = 1 << 16;

/// Below this nobody waits for an answer of somebody else: waking a thread takes as long.
const SHARED_FROM: u32 = 50;

/// Below this an answer is kept only if it was asked for before: keeping one takes about half a microsecond.
const KEPT_AT_ONCE_FROM: u32 = 20;

impl Default for Costs {
    fn default() -> Self {
        Self { took: [const { AtomicU32::new(0) }; STATEMENTS], asked: OnceLock::new() }
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

    /// Whether callers who want the same answer should wait for one of them.
    pub(crate) fn are_worth_waiting_for(&self, statement: u32) -> bool {
        matches!(class(self.of(statement).load(Ordering::Relaxed)), Class::Unknown | Class::Long)
    }

    /// Whether an answer that depends on single rows should be kept now: not where it costs next to nothing, unless it
    /// was asked for before.
    pub(crate) fn are_worth_keeping(&self, statement: u32, hash: u64) -> bool {
        if class(self.of(statement).load(Ordering::Relaxed)) != Class::Short {
            return true;
        }
        let asked = self.asked.get_or_init(|| std::iter::repeat_with(AtomicU32::default).take(ASKED).collect());
        let [high, low] = [hash >> 32, hash & 0xffff_ffff].map(|half| u32::try_from(half).unwrap_or(0));
        let (place, mark) = (&asked[low as usize % ASKED], high | 1);
        if place.load(Ordering::Relaxed) == mark {
            return true;
        }
        place.store(mark, Ordering::Relaxed);
        false
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Unknown,
    Short,
    Middling,
    Long,
}

fn class(micros: u32) -> Class {
    match micros {
        0 => Class::Unknown,
        short if short <= KEPT_AT_ONCE_FROM => Class::Short,
        middling if middling <= SHARED_FROM => Class::Middling,
        _ => Class::Long,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_kept_when_it_is_asked_for_again_and_never_waited_for() {
        let costs = Costs::default();
        assert!(costs.are_worth_keeping(1, 7) && costs.are_worth_waiting_for(1), "nothing is known yet");
        costs.took(1, Duration::from_micros(3));
        assert!(!costs.are_worth_waiting_for(1));
        assert_eq!([costs.are_worth_keeping(1, 7), costs.are_worth_keeping(1, 7)], [false, true]);
        assert!(!costs.are_worth_keeping(1, 8));
        costs.took(1, Duration::from_micros(30));
        assert!(costs.are_worth_keeping(1, 9) && !costs.are_worth_waiting_for(1));
        costs.took(1, Duration::from_millis(3));
        assert!(costs.are_worth_keeping(1, 10) && costs.are_worth_waiting_for(1));
        costs.took(1, Duration::from_secs(100_000));
        assert!(costs.are_worth_waiting_for(1));
    }
}
