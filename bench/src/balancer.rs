use crate::bench::Bench;
use ecm_balancer::{Adaptive, LeastConnections, PeakEwma, Priority, Random, RoundRobin};
use ecm_core::{Balancer, CallKind, Context, FirstFit, Intent, Mask, Node, Sample, Time};
use std::{
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    hint::black_box,
    task::Poll,
    time::Duration,
};
use tower::{Service, balance::p2c::Balance, discover::ServiceList, load::Constant};
use workload::{Caller, Contest, Contestant, Problem};

/// Picks that are timed together.
const BATCH: u32 = 100;

const CASES: [(&str, usize); 3] = [("pick-2", 2), ("pick-8", 8), ("pick-64", 64)];

type Make = fn() -> Box<dyn Balancer>;

/// ECM's balancers: the name of the system, and how one is made.
const OURS: [(&str, Make); 7] = [
    ("ecm-performance", || Box::new(PeakEwma::new())),
    ("ecm-adaptive", || Box::new(Adaptive::new())),
    ("ecm-round-robin", || Box::new(RoundRobin::new())),
    ("ecm-first-fit", || Box::new(FirstFit)),
    ("ecm-priority", || Box::new(Priority::new())),
    ("ecm-least-connections", || Box::new(LeastConnections::new())),
    ("ecm-random", || Box::new(Random::with_seed(1))),
];

/// Runs the suite `balancer`: one of so many, of which all are fit.
pub(crate) fn run(bench: &mut Bench) -> Result<(), Problem> {
    bench.begin("balancer")?;
    bench.versions("balancer", &["tower"])?;
    let runtime = bench.runtime();
    for (case, count) in CASES {
        let mut contestants: Vec<Box<dyn Contestant>> = Vec::new();
        for (system, make) in OURS {
            let caller = Ours::new(make(), count);
            contestants.push(Box::new(Contest::new("balancer", case, system, &runtime, vec![caller]).batch(BATCH)));
        }
        let services: Vec<_> = (0..count).map(|_| Constant::new(Nothing, 0_u32)).collect();
        let p2c = P2c(Balance::new(ServiceList::new::<()>(services)));
        contestants.push(Box::new(Contest::new("balancer", case, "tower-p2c", &runtime, vec![p2c]).batch(BATCH)));
        bench.compete("balancer", case, contestants)?;
    }
    Ok(())
}

struct Ours {
    balancer: Box<dyn Balancer>,
    nodes: Vec<Node>,
}

impl Ours {
    fn new(balancer: Box<dyn Balancer>, count: usize) -> Self {
        let nodes: Vec<_> = (0..count).map(|index| Node::new(format!("node-{index}"))).collect();
        // All have been asked, and long enough ago that none of them is new.
        for minutes in 1..3 {
            let sample = Sample::new(Duration::from_millis(1), false);
            let sample = sample.ended(Time::START + Duration::from_secs(60) * minutes);
            (0..count).for_each(|index| balancer.settled(&nodes, index, &sample));
        }
        Self { balancer, nodes }
    }
}

impl Caller for Ours {
    async fn call(&mut self) -> Result<(), String> {
        let intent = Intent::new(CallKind::Read, &Context::NONE);
        match black_box(self.balancer.pick(&self.nodes, black_box(Mask::first(self.nodes.len())), &intent)) {
            Some(_) => Ok(()),
            None => Err("nothing was picked".into()),
        }
    }
}

/// Power of two choices of `tower`: a pick is `poll_ready` and a call of what it has picked.
struct P2c(Balance<ServiceList<Vec<Constant<Nothing, u32>>>, ()>);

impl Caller for P2c {
    async fn call(&mut self) -> Result<(), String> {
        poll_fn(|context| self.0.poll_ready(context)).await.map_err(|error| error.to_string())?;
        self.0.call(()).await.map_err(|error| error.to_string())
    }
}

/// A service that does nothing.
#[derive(Debug)]
struct Nothing;

impl Service<()> for Nothing {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}
