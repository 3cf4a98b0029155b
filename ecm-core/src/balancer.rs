use crate::{CallKind, Context, Explanation, Mask, Node, Position, Time};
use std::{fmt::Debug, sync::Arc, time::Duration};

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
    /// And not every end was picked: a call for one database alone asks no balancer. The ends of calls to a group
    /// that has no other database are not told: there is nothing to choose.
    fn settled(&self, _nodes: &[Node], _node: usize, _sample: &Sample) {}

    /// As [`pick`](Balancer::pick), where only those in `healthy` are known to be well.
    ///
    /// They alone are asked for first. Need overrides that: where none of them is fit, or the balancer wants
    /// none, it picks among all that are fit. It never overrides `fit`, which is why there are two sets: who is
    /// ill may still serve, who lags behind or has another role must not. What is in `healthy` and not in
    /// `fit` does not count; `fit` is never empty.
    fn choose(&self, nodes: &[Node], fit: Mask, healthy: Mask, intent: &Intent<'_>) -> Option<usize> {
        let well = fit.and(healthy);
        if well.is_empty() || well == fit {
            return self.pick(nodes, fit, intent);
        }
        let picked = self.pick(nodes, well, intent).filter(|&index| well.contains(index));
        picked.or_else(|| self.pick(nodes, fit, intent))
    }

    /// Why it has picked what it has picked last, for people. *Default:* nothing.
    ///
    /// Bounded in size, and free for as long as nobody asks: a balancer may begin to write down what it does
    /// when it is asked for the first time, and stop when nobody has come back for some decisions.
    fn explain(&self) -> Explanation {
        Explanation::default()
    }
}

/// Shared: a recipe that gives a clone of it to a manager leaves its maker with a handle to the balancer.
impl<B: Balancer + ?Sized> Balancer for Arc<B> {
    fn pick(&self, nodes: &[Node], fit: Mask, intent: &Intent<'_>) -> Option<usize> {
        (**self).pick(nodes, fit, intent)
    }

    fn settled(&self, nodes: &[Node], node: usize, sample: &Sample) {
        (**self).settled(nodes, node, sample);
    }

    fn choose(&self, nodes: &[Node], fit: Mask, healthy: Mask, intent: &Intent<'_>) -> Option<usize> {
        (**self).choose(nodes, fit, healthy, intent)
    }

    fn explain(&self) -> Explanation {
        (**self).explain()
    }
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
    /// When it ended, by the clock of the manager; `None` if whoever tells has not looked at it.
    pub ended: Option<Time>,
}

impl Sample {
    /// A call that took so long.
    #[must_use]
    pub const fn new(took: Duration, failed: bool) -> Self {
        Self { took, failed, position: None, ended: None }
    }

    /// The same, with the position of its commit.
    #[must_use]
    pub const fn at(mut self, position: Option<Position>) -> Self {
        self.position = position;
        self
    }

    /// The same, with the moment of its end.
    #[must_use]
    pub const fn ended(mut self, at: Time) -> Self {
        self.ended = Some(at);
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
    fn need_overrides_what_is_ill_and_never_what_is_unfit() {
        let nodes = [node("a", 9), node("b", 5), node("c", 1)];
        let (intent, all) = (Intent::new(CallKind::Read, &Context::NONE), Mask::first(3));
        let choose = |fit, healthy| Arc::new(FirstFit).choose(&nodes, fit, healthy, &intent);
        assert_eq!(choose(all, all), Some(0));
        assert_eq!(choose(all, all.without(0)), Some(1));
        assert_eq!(choose(all.without(1), Mask::NONE.with(1)), Some(0), "the healthy one is unfit");
        assert_eq!(choose(all, Mask::NONE), Some(0), "in need");

        #[derive(Debug)]
        struct Writable;
        impl Balancer for Writable {
            fn pick(&self, nodes: &[Node], fit: Mask, _: &Intent<'_>) -> Option<usize> {
                fit.iter().find(|&index| nodes[index].writable)
            }
        }
        let nodes = [Node { writable: true, ..node("a", 0) }, node("b", 0)];
        let healthy = Mask::NONE.with(1);
        assert_eq!(Writable.choose(&nodes, Mask::first(2), healthy, &intent), Some(0), "it wants none of the healthy");
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
