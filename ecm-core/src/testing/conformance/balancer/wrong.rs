use super::*;
use crate::{Decision, Explanation, FirstFit, testing::conformance::promise::each_is_caught};
use std::sync::atomic::{AtomicU32, AtomicUsize};

/// Picks the first fit database, but for one flaw.
#[derive(Debug, Default)]
struct Flawed {
    flaw: Option<Flaw>,
    picks: AtomicU32,
    groups: AtomicUsize,
    last: AtomicUsize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    IgnoresTheMask,
    WantsNone,
    LikesTheIll,
    NeedBeatsFitness,
    ExplainsOthers,
    AddsWeightsUp,
    CountsInFlight,
    WaitsForEnds,
    TakesEndsOff,
    RemembersTheGroup,
    SharesItsAnswer,
}

const FLAWS: [(Flaw, &str); 11] = [
    (Flaw::IgnoresTheMask, "picks only what is fit"),
    (Flaw::WantsNone, "picks one of plain databases"),
    (Flaw::LikesTheIll, "serves who is ill only in need"),
    (Flaw::NeedBeatsFitness, "picks what is fit even in need"),
    (Flaw::ExplainsOthers, "explains itself at any time"),
    (Flaw::AddsWeightsUp, "bears every figure"),
    (Flaw::CountsInFlight, "leaves counting the calls in flight to the caller"),
    (Flaw::WaitsForEnds, "bears picks that never end"),
    (Flaw::TakesEndsOff, "bears ends of calls that it did not pick"),
    (Flaw::RemembersTheGroup, "takes the group as it is given each time"),
    (Flaw::SharesItsAnswer, "picks for many threads as for one"),
];

impl Flawed {
    fn with(flaw: Flaw) -> Self {
        Self { flaw: Some(flaw), ..Self::default() }
    }
}

impl Balancer for Flawed {
    fn pick(&self, nodes: &[Node], fit: Mask, _intent: &Intent<'_>) -> Option<usize> {
        let first = fit.lowest()?;
        match self.flaw {
            Some(Flaw::IgnoresTheMask) => return Some(0),
            Some(Flaw::WantsNone) => return None,
            Some(Flaw::AddsWeightsUp) => {
                let sum = nodes.iter().try_fold(0_u32, |sum, node| sum.checked_add(node.weight));
                return sum.expect("weights add up").checked_sub(1).map(|_| first);
            }
            Some(Flaw::CountsInFlight) => nodes[first].load.started(),
            Some(Flaw::WaitsForEnds | Flaw::TakesEndsOff) => {
                let unsettled = self.picks.fetch_add(1, Ordering::Relaxed);
                return (unsettled < 9_000 || self.flaw == Some(Flaw::TakesEndsOff)).then_some(first);
            }
            Some(Flaw::RemembersTheGroup) => {
                let known = self.groups.fetch_max(nodes.len(), Ordering::Relaxed).max(nodes.len());
                return if fit.len() == nodes.len() { Some(known - 1) } else { Some(first) };
            }
            Some(Flaw::SharesItsAnswer) => {
                self.last.store(first, Ordering::Relaxed);
                thread::yield_now();
                return Some(self.last.load(Ordering::Relaxed));
            }
            _ => {}
        }
        Some(first)
    }

    fn choose(&self, nodes: &[Node], fit: Mask, healthy: Mask, intent: &Intent<'_>) -> Option<usize> {
        let well = fit.and(healthy);
        match self.flaw {
            Some(Flaw::LikesTheIll) => self.pick(nodes, fit, intent),
            Some(Flaw::NeedBeatsFitness) if well.is_empty() => (nodes.len() > fit.len()).then(|| nodes.len() - 1),
            _ => self.pick(nodes, if well.is_empty() { fit } else { well }, intent),
        }
    }

    fn explain(&self) -> Explanation {
        let mut explanation = Explanation::default();
        if self.flaw == Some(Flaw::ExplainsOthers) {
            explanation.decisions.push(Decision::new("somebody else", Vec::new()));
        }
        explanation
    }

    fn settled(&self, _nodes: &[Node], _node: usize, _sample: &Sample) {
        if matches!(self.flaw, Some(Flaw::WaitsForEnds | Flaw::TakesEndsOff)) {
            let left = self.picks.load(Ordering::Relaxed).checked_sub(1);
            let left = if self.flaw == Some(Flaw::WaitsForEnds) { left.unwrap_or(0) } else { left.expect("a pick") };
            self.picks.store(left, Ordering::Relaxed);
        }
    }
}

#[test]
fn what_breaks_a_promise_is_caught_by_its_name() {
    each_is_caught(PROMISES.iter().map(|promise| promise.name), FLAWS, |flaw| balancer(move || Flawed::with(flaw)));
}

#[test]
fn what_keeps_all_promises_passes() {
    balancer(|| FirstFit);
    balancer(Flawed::default);
    balancer_except(&[BalancerException::Declines], || Flawed::with(Flaw::WantsNone));
}
