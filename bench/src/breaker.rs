use crate::bench::Bench;
use ecm_breaker::{ConsecutiveFailures, FailureRate};
use ecm_core::{Admission, Breaker, NeverOpen, Time};
use failsafe::{CircuitBreaker, backoff, failure_policy};
use recloser::Recloser;
use std::{convert::Infallible, future::poll_fn, sync::Arc, time::Duration};
use tokio::runtime::Handle;
use tower::{Layer, Service, service_fn};
use tower_resilience_circuitbreaker::CircuitBreakerLayer;
use workload::{Caller, Contest, Contestant, Problem};

/// Calls that are timed together.
const BATCH: u32 = 100;

/// How many failures in a row open a breaker, where that is how it decides.
const FAILURES: u32 = 5;

/// How long an open breaker refuses, which never happens here.
const PAUSE: Duration = Duration::from_secs(30);

const CASES: [(&str, usize); 2] = [("closed-1", 1), ("closed-8", 8)];

type Make = fn() -> Box<dyn Breaker>;

/// ECM's breakers: the name of the system, and how one is made.
const OURS: [(&str, Make); 3] = [
    ("ecm", || Box::new(ConsecutiveFailures::new(FAILURES))),
    ("ecm-failure-rate", || Box::new(FailureRate::new(0.5))),
    ("ecm-never-open", || Box::new(NeverOpen)),
];

/// Runs the suite `breaker`: a call that does nothing and succeeds, through a breaker that is closed.
pub(crate) fn run(bench: &mut Bench) -> Result<(), Problem> {
    bench.begin("breaker")?;
    bench.versions("breaker", &["recloser", "failsafe", "tower-resilience-circuitbreaker"])?;
    let runtime = bench.runtime();
    for (case, callers) in CASES {
        let mut contestants: Vec<Box<dyn Contestant>> = Vec::new();
        for (system, make) in OURS {
            let breaker: Arc<dyn Breaker> = make().into();
            contestants.push(enter(case, system, &runtime, callers, || Ours(Arc::clone(&breaker))));
        }
        let recloser = Arc::new(Recloser::custom().open_wait(PAUSE).build());
        contestants.push(enter(case, "recloser", &runtime, callers, || Reclosing(Arc::clone(&recloser))));
        let policy = failure_policy::consecutive_failures(FAILURES, backoff::constant(PAUSE));
        let failsafe = failsafe::Config::new().failure_policy(policy).build();
        contestants.push(enter(case, "failsafe", &runtime, callers, || Failsafe(failsafe.clone())));
        let layer = CircuitBreakerLayer::builder().consecutive_failures(FAILURES as usize).build();
        let layer = layer.map_err(|error| Problem::during("building tower-resilience", format_args!("{error:?}")))?;
        let service = layer.layer(service_fn(|()| async { Ok::<(), Infallible>(()) }));
        contestants.push(enter(case, "tower-resilience", &runtime, callers, || Tower(service.clone())));
        bench.compete("breaker", case, contestants)?;
    }
    Ok(())
}

fn enter<C: Caller>(
    case: &'static str,
    system: &str,
    runtime: &Handle,
    callers: usize,
    make: impl Fn() -> C,
) -> Box<dyn Contestant> {
    let callers = (0..callers).map(|_| make()).collect();
    Box::new(Contest::new("breaker", case, system, runtime, callers).batch(BATCH))
}

/// As a manager does: time is passed in, since it has read the clock anyway. The others read it themselves.
struct Ours(Arc<dyn Breaker>);

impl Caller for Ours {
    async fn call(&mut self) -> Result<(), String> {
        let now = Time::from_nanos(1_000_000_000);
        let admission = Admission::ask(&*self.0, now).map_err(|refused| format!("{refused:?}"))?;
        admission.succeeded(now);
        Ok(())
    }
}

struct Reclosing(Arc<Recloser>);

impl Caller for Reclosing {
    async fn call(&mut self) -> Result<(), String> {
        self.0.call(|| Ok::<(), Infallible>(())).map_err(|error| format!("{error:?}"))
    }
}

struct Failsafe<B>(B);

impl<B: CircuitBreaker + Send + 'static> Caller for Failsafe<B> {
    async fn call(&mut self) -> Result<(), String> {
        self.0.call(|| Ok::<(), Infallible>(())).map_err(|error| format!("{error:?}"))
    }
}

struct Tower<S>(S);

impl<S> Caller for Tower<S>
where
    S: Service<(), Response = (), Error: std::fmt::Debug, Future: Send> + Send + 'static,
{
    async fn call(&mut self) -> Result<(), String> {
        let ready = poll_fn(|context| self.0.poll_ready(context)).await;
        ready.map_err(|error| format!("{error:?}"))?;
        self.0.call(()).await.map_err(|error| format!("{error:?}"))
    }
}
