//! Callers in virtual time: each picks a database, waits for its answer, and calls again.

use ecm_core::{Balancer, CallKind, Context, Intent, Mask, Node, Sample, Time};
use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

pub(crate) const INTENT: Intent<'_> = Intent::new(CallKind::Read, &Context::NONE);

/// How a database answers: after how long, and whether with a failure, from the number of its call.
pub(crate) type Answer = fn(u32) -> (Duration, bool);

pub(crate) struct Simulation {
    pub(crate) nodes: Vec<Node>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) now: Time,
    /// Calls that have been sent to each database since the last time that somebody asked.
    pub(crate) sent: Vec<u32>,
    /// The most calls that were in flight in each database at the same time.
    pub(crate) most: Vec<u32>,
    calls: Vec<u32>,
    flying: BinaryHeap<Reverse<(Time, usize, Duration, bool)>>,
}

impl Simulation {
    pub(crate) fn new(answers: &[Answer]) -> Self {
        let mut simulation = Self {
            nodes: Vec::new(),
            answers: Vec::new(),
            now: Time::from_nanos(1_000_000_000),
            sent: Vec::new(),
            most: Vec::new(),
            calls: Vec::new(),
            flying: BinaryHeap::new(),
        };
        answers.iter().for_each(|&answer| simulation.join(answer));
        simulation
    }

    /// One more database, of which nothing is known.
    pub(crate) fn join(&mut self, answer: Answer) {
        self.nodes.push(Node::new(format!("node-{}", self.nodes.len())));
        self.answers.push(answer);
        self.sent.push(0);
        self.most.push(0);
        self.calls.push(0);
    }

    /// So many callers for so long; what each database was sent meanwhile.
    pub(crate) fn run(&mut self, balancer: &dyn Balancer, callers: usize, span: Duration) -> Vec<u32> {
        let end = self.now + span;
        self.sent.fill(0);
        self.most.fill(0);
        while self.flying.len() < callers {
            self.send(balancer);
        }
        while let Some(Reverse((at, index, took, failed))) = self.flying.pop() {
            self.now = at;
            self.nodes[index].load.ended();
            balancer.settled(&self.nodes, index, &Sample::new(took, failed).ended(at));
            if at < end {
                self.send(balancer);
            }
        }
        self.now = self.now.max(end);
        self.sent.clone()
    }

    /// Nobody calls.
    pub(crate) fn rest(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    fn send(&mut self, balancer: &dyn Balancer) {
        let index = balancer.pick(&self.nodes, Mask::first(self.nodes.len()), &INTENT).expect("all are fit");
        let load = &self.nodes[index].load;
        load.started();
        self.sent[index] += 1;
        self.most[index] = self.most[index].max(load.pending());
        self.calls[index] += 1;
        let (took, failed) = (self.answers[index])(self.calls[index]);
        self.flying.push(Reverse((self.now + took, index, took, failed)));
    }
}
