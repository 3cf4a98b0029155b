use crate::{CallKind, Context, Mask, Node, Position};
use std::{fmt::Debug, time::Duration};

/// Picks the database that serves a call. One balancer per group.
///
/// # Concurrency
/// Called by every thread that calls; a pick should cost tens of nanoseconds and never block.
///
/// # Tests
/// With the feature `testing`, `testing::conformance::balancer` holds an implementation to all this.
pub trait Balancer: Send + Sync + Debug {
    /// The index in `nodes` of a database of `fit`; `None` if it wants none of them.
    ///
    /// `fit` is never empty and names only indices of `nodes`. An answer outside of it is taken as
    /// `None`: what is unfit is never made fit by need.
    fn pick(&self, nodes: &[Node], fit: Mask, intent: &Intent<'_>) -> Option<usize>;

    /// A call that was sent to `nodes[node]` has ended.
    ///
    /// Not every pick comes to this: a call may be refused or given up before it reaches the database.
    /// And not every end was picked: a call for one database alone asks no balancer.
    fn settled(&self, _nodes: &[Node], _node: usize, _sample: &Sample) {}
}

/// What a balancer may know about a call before it is sent.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Intent<'a> {
    /// What is asked for.
    pub kind: CallKind,
    /// Databases of this call that have failed already.
    pub attempt: u32,
    /// What the caller has sent along.
    pub context: &'a Context,
}

impl<'a> Intent<'a> {
    /// The first attempt of a call of this kind.
    #[must_use]
    pub const fn new(kind: CallKind, context: &'a Context) -> Self {
        Self { kind, attempt: 0, context }
    }

    /// The same call after so many failed attempts.
    #[must_use]
    pub const fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }
}

/// How a call ended, for the balancer that sent it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// From the pick to the end, waiting for a connection included.
    pub took: Duration,
    /// Whether the database failed: not the statement, not the closure.
    pub failed: bool,
    /// Where the commit stands, if there was one.
    pub position: Option<Position>,
}

impl Sample {
    /// A call that took so long.
    #[must_use]
    pub const fn new(took: Duration, failed: bool) -> Self {
        Self { took, failed, position: None }
    }

    /// The same, with the position of its commit.
    #[must_use]
    pub const fn at(mut self, position: Option<Position>) -> Self {
        self.position = position;
        self
    }
}

/// The null balancer: the fit database of the highest priority, the first registered among equals.
#[derive(Clone, Copy, Debug, Default)]
pub struct FirstFit;

impl Balancer for FirstFit {
    fn pick(&self, nodes: &[Node], fit: Mask, _intent: &Intent<'_>) -> Option<usize> {
        fit.iter().min_by_key(|&index| std::cmp::Reverse(nodes[index].priority))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, priority: i32) -> Node {
        Node { priority, ..Node::new(name) }
    }

    #[test]
    fn the_null_balancer_prefers_priority_then_order() {
        let nodes = [node("a", 1), node("b", 5), node("c", 5)];
        let intent = Intent::new(CallKind::Read, &Context::NONE);
        assert_eq!(FirstFit.pick(&nodes, Mask::first(3), &intent), Some(1));
        assert_eq!(FirstFit.pick(&nodes, Mask::first(3).without(1), &intent), Some(2));
        assert_eq!(FirstFit.pick(&nodes, Mask::first(1), &intent), Some(0));
    }

    #[test]
    fn a_balancer_of_a_third_party_learns_how_its_picks_ended() {
        #[derive(Debug)]
        struct LeastPending;
        impl Balancer for LeastPending {
            fn pick(&self, nodes: &[Node], fit: Mask, _: &Intent<'_>) -> Option<usize> {
                fit.iter().min_by_key(|&index| nodes[index].load.pending())
            }
            fn settled(&self, nodes: &[Node], node: usize, sample: &Sample) {
                let nanos = u64::try_from(sample.took.as_nanos()).unwrap();
                nodes[node].load.ewma().store(nanos, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let nodes = [node("a", 0), node("b", 0)];
        nodes[0].load.started();
        let picked = LeastPending.pick(&nodes, Mask::first(2), &Intent::new(CallKind::Read, &Context::NONE));
        assert_eq!(picked, Some(1));
        LeastPending.settled(&nodes, 1, &Sample::new(Duration::from_nanos(7), false));
        assert_eq!(nodes[1].load.ewma().load(std::sync::atomic::Ordering::Relaxed), 7);
        nodes[0].load.ended();
        assert_eq!(nodes[0].load.pending(), 0);
    }
}
