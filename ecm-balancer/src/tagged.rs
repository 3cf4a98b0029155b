use ecm_core::{Balancer, Explanation, Intent, Mask, Node, Sample};

/// The fit databases with a tag, as another balancer picks among them; the others only when none of these is
/// fit: reads stay nearby as long as somebody there can serve them.
///
/// A pick compares the tags of each fit database on top of what the other balancer does.
///
/// ```
/// use ecm_balancer::{PreferTag, RoundRobin};
/// use ecm_core::{Balancer, CallKind, Context, Intent, Mask, Node};
///
/// let nodes = ["eu", "us", "eu"].map(|tag| Node { tags: [tag.into()].into(), ..Node::new(tag) });
/// let (balancer, intent) = (PreferTag::new("eu", RoundRobin::new()), Intent::new(CallKind::Read, &Context::NONE));
/// let picks = |fit| (0..3).filter_map(|_| balancer.pick(&nodes, fit, &intent)).collect::<Vec<_>>();
/// assert_eq!(picks(Mask::first(3)), [0, 2, 0]);
/// assert_eq!(picks(Mask::NONE.with(1)), [1, 1, 1]);
/// ```
#[derive(Debug)]
pub struct PreferTag<B> {
    tag: Box<str>,
    among: B,
}

/// Only databases with a tag, as another balancer picks among them. Where none of them is fit it wants none, and
/// the call is refused.
///
/// A pick compares the tags of each fit database on top of what the other balancer does.
///
/// ```
/// use ecm_balancer::{RequireTag, RoundRobin};
/// use ecm_core::{Balancer, CallKind, Context, Intent, Mask, Node};
///
/// let nodes = ["eu", "us"].map(|tag| Node { tags: [tag.into()].into(), ..Node::new(tag) });
/// let (balancer, intent) = (RequireTag::new("eu", RoundRobin::new()), Intent::new(CallKind::Read, &Context::NONE));
/// assert_eq!(balancer.pick(&nodes, Mask::first(2), &intent), Some(0));
/// assert_eq!(balancer.pick(&nodes, Mask::NONE.with(1), &intent), None);
/// ```
#[derive(Debug)]
pub struct RequireTag<B> {
    tag: Box<str>,
    among: B,
}

impl<B> PreferTag<B> {
    /// Prefers databases with this tag; `among` decides which of them, and which of the others in need.
    #[must_use]
    pub fn new(tag: impl Into<Box<str>>, among: B) -> Self {
        Self { tag: tag.into(), among }
    }
}

impl<B> RequireTag<B> {
    /// Takes only databases with this tag; `among` decides which of them.
    #[must_use]
    pub fn new(tag: impl Into<Box<str>>, among: B) -> Self {
        Self { tag: tag.into(), among }
    }
}

fn tagged(nodes: &[Node], fit: Mask, tag: &str) -> Mask {
    fit.iter().filter(|&index| nodes[index].tags.iter().any(|other| **other == *tag)).collect()
}

impl<B: Balancer> Balancer for PreferTag<B> {
    fn pick(&self, nodes: &[Node], fit: Mask, intent: &Intent<'_>) -> Option<usize> {
        let tagged = tagged(nodes, fit, &self.tag);
        self.among.pick(nodes, if tagged.is_empty() { fit } else { tagged }, intent)
    }

    fn settled(&self, nodes: &[Node], node: usize, sample: &Sample) {
        self.among.settled(nodes, node, sample);
    }

    fn explain(&self) -> Explanation {
        explained(self.among.explain(), "preferring the tag", &self.tag)
    }
}

impl<B: Balancer> Balancer for RequireTag<B> {
    fn pick(&self, nodes: &[Node], fit: Mask, intent: &Intent<'_>) -> Option<usize> {
        let tagged = tagged(nodes, fit, &self.tag);
        if tagged.is_empty() { None } else { self.among.pick(nodes, tagged, intent) }
    }

    fn settled(&self, nodes: &[Node], node: usize, sample: &Sample) {
        self.among.settled(nodes, node, sample);
    }

    fn explain(&self) -> Explanation {
        explained(self.among.explain(), "requiring the tag", &self.tag)
    }
}

fn explained(mut explanation: Explanation, how: &str, tag: &str) -> Explanation {
    let strategy = std::mem::take(&mut explanation.strategy);
    explanation.strategy = format!("{strategy}, {how} {tag:?}").trim_start_matches(", ").to_owned();
    explanation
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PeakEwma;
    use ecm_core::{CallKind, Context};
    use std::time::Duration;

    #[test]
    fn the_balancer_within_learns_how_calls_ended_and_tells_why() {
        let nodes = ["eu", "eu", "us"].map(|tag| Node { tags: [tag.into(), "ssd".into()].into(), ..Node::new(tag) });
        let intent = Intent::new(CallKind::Read, &Context::NONE);
        let within: [Box<dyn Balancer>; 2] =
            [Box::new(PreferTag::new("eu", PeakEwma::new())), Box::new(RequireTag::new("eu", PeakEwma::new()))];
        for (balancer, told) in within.into_iter().zip(["preferring", "requiring"]) {
            for (node, millis) in [(0, 50), (1, 20), (2, 1)] {
                balancer.settled(&nodes, node, &Sample::new(Duration::from_millis(millis), false));
            }
            assert_eq!(balancer.pick(&nodes, Mask::first(3), &intent), Some(1), "the faster one in Europe");
            assert_eq!(balancer.explain().strategy, format!("performance, {told} the tag \"eu\""));
            nodes.iter().for_each(|node| node.load.ewma().store(0, std::sync::atomic::Ordering::Relaxed));
        }
    }

    #[test]
    fn what_is_unfit_is_not_picked_for_its_tag() {
        let nodes = ["eu", "us"].map(|tag| Node { tags: [tag.into()].into(), ..Node::new(tag) });
        let intent = Intent::new(CallKind::Read, &Context::NONE);
        let prefers = PreferTag::new("eu", crate::RoundRobin::new());
        assert_eq!(prefers.pick(&nodes, Mask::NONE.with(1), &intent), Some(1));
        let requires = RequireTag::new("eu", crate::RoundRobin::new());
        assert_eq!(requires.pick(&nodes, Mask::NONE.with(1), &intent), None);
        assert_eq!(requires.choose(&nodes, Mask::first(2), Mask::NONE.with(1), &intent), Some(0), "ill, but required");
    }
}
