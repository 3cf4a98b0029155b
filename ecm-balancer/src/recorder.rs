use ecm_core::{Decision, Node, Score};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

/// How many decisions are kept.
pub(crate) const KEPT: usize = 32;

/// How many decisions are written down after somebody has asked.
const ARMED: u32 = 1_000;

/// How many databases one decision compares at most.
pub(crate) const COMPARED: usize = 8;

/// The last decisions of a balancer, written down for some time after somebody has asked for them.
///
/// Until then a decision costs one load of a word that nobody writes.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    left: AtomicU32,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    decisions: Vec<Written>,
    next: usize,
}

#[derive(Debug)]
struct Written {
    picked: Arc<str>,
    scores: [Option<(Arc<str>, f64)>; COMPARED],
}

impl Recorder {
    #[inline]
    pub(crate) fn is_armed(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    /// Writes a decision down, unless somebody else is about to.
    #[cold]
    pub(crate) fn record(&self, nodes: &[Node], picked: usize, scores: impl Iterator<Item = (usize, f64)>) {
        let Ok(mut kept) = self.kept.try_lock() else { return };
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let name = |index: usize| Arc::clone(&nodes[index].name);
        let mut written = Written { picked: name(picked), scores: Default::default() };
        for (place, (index, score)) in written.scores.iter_mut().zip(scores) {
            *place = Some((name(index), score));
        }
        let next = kept.next;
        if kept.decisions.len() < KEPT {
            kept.decisions.push(written);
        } else {
            kept.decisions[next] = written;
        }
        kept.next = (next + 1) % KEPT;
    }

    /// What was written down, the oldest first. From now on the next decisions are.
    pub(crate) fn decisions(&self) -> Vec<Decision> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Room for all of them, so that a pick does not ask for any.
        let room = KEPT - kept.decisions.len();
        kept.decisions.reserve_exact(room);
        self.left.store(ARMED, Ordering::Relaxed);
        let oldest = if kept.decisions.len() < KEPT { 0 } else { kept.next };
        let (newer, older) = kept.decisions.split_at(oldest);
        older.iter().chain(newer).map(Written::told).collect()
    }
}

impl Written {
    fn told(&self) -> Decision {
        let scores = self.scores.iter().flatten().map(|(name, score)| Score::new(&**name, *score)).collect();
        Decision::new(&*self.picked, scores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_it_stops_when_nobody_comes_back() {
        let (recorder, nodes) = (Recorder::default(), ["a", "b"].map(Node::new));
        assert!(!recorder.is_armed());
        assert_eq!(recorder.decisions(), []);
        let mut written = 0;
        while recorder.is_armed() {
            recorder.record(&nodes, written % 2, [(0, written as f64), (1, 0.5)].into_iter());
            written += 1;
        }
        assert_eq!(written, ARMED as usize);
        let decisions = recorder.decisions();
        assert_eq!(decisions.len(), KEPT);
        let last = Decision::new("b", vec![Score::new("a", (written - 1) as f64), Score::new("b", 0.5)]);
        assert_eq!(decisions.last(), Some(&last));
        assert_eq!(decisions[0].scores[0].score, (written - KEPT) as f64);
    }
}
