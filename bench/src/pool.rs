use crate::{bench::Bench, fairness::Fair};
use ecm_core::{Clock, Loan, SystemClock, Time, testing::Nothing};
use ecm_pool::{Fairness, Pool, PoolConfig, PoolParts};
use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};
use tokio::{runtime::Handle, task::yield_now};
use workload::{Caller, Contest, Contestant, Line, Problem, Shape};

/// Calls that are timed together where nobody waits.
const BATCH: u32 = 100;

/// A pool that lends connections which do nothing.
pub(crate) trait Loans: Send + Sync + 'static {
    /// Borrows, waits for `held`, gives back. A pool that blocks does so, and is ready at once.
    fn hold(&self, held: impl Future<Output = ()> + Send) -> impl Future<Output = Result<(), String>> + Send;
}

/// One case: how many callers on how many connections, and who may take part.
struct Lending {
    case: &'static str,
    callers: usize,
    connections: u32,
    shape: Shape,
    /// Whether guards must not borrow from the pool.
    owned: bool,
}

const CASES: [Lending; 6] = [
    Lending { case: "cycle-1", callers: 1, connections: 1, shape: Shape::Threads, owned: false },
    Lending { case: "cycle-1-owned", callers: 1, connections: 1, shape: Shape::Threads, owned: true },
    Lending { case: "threads-8-on-8", callers: 8, connections: 8, shape: Shape::Threads, owned: false },
    Lending { case: "threads-8-on-2", callers: 8, connections: 2, shape: Shape::Threads, owned: false },
    Lending { case: "tasks-8-on-2", callers: 8, connections: 2, shape: Shape::Tasks, owned: false },
    Lending { case: "tasks-256-on-16", callers: 256, connections: 16, shape: Shape::Tasks, owned: false },
];

/// What there is of a system in a case.
type Entry = Result<Box<dyn Contestant>, &'static str>;

type Open = fn(&Lending, &Handle) -> Result<Entry, Problem>;

/// Who takes part; a system that cannot says why.
const SYSTEMS: [(&str, Open); 8] = [
    ("ecm", |case, runtime| Ok(Ok(enter_ecm("ecm", case, runtime, PoolConfig::default().fairness)))),
    ("ecm-strict", |case, runtime| Ok(only_contended("ecm-strict", case, runtime, Fairness::Strict))),
    ("ecm-bounded", |case, runtime| {
        Ok(only_contended("ecm-bounded", case, runtime, Fairness::Bounded(Duration::from_micros(500))))
    }),
    ("ecm-free", |case, runtime| Ok(only_contended("ecm-free", case, runtime, Fairness::Free))),
    ("r2d2", |case, runtime| {
        if case.shape == Shape::Tasks {
            return Ok(Err("it blocks its caller, which a task must not"));
        }
        let pool = r2d2::Pool::builder().max_size(case.connections).build(Empty);
        let pool = pool.map_err(|error| Problem::during("opening r2d2", error))?;
        Ok(Ok(enter("r2d2", case, runtime, R2d2(pool))))
    }),
    ("deadpool", |case, runtime| {
        let pool = deadpool::managed::Pool::builder(Empty).max_size(case.connections as usize).build();
        let pool = pool.map_err(|error| Problem::during("opening deadpool", error))?;
        Ok(Ok(enter("deadpool", case, runtime, Deadpool(pool))))
    }),
    ("bb8", |case, runtime| {
        let pool = runtime.block_on(bb8::Pool::builder().max_size(case.connections).build(Empty));
        let pool = pool.map_err(|never| match never {})?;
        Ok(Ok(if case.owned {
            enter("bb8", case, runtime, Bb8Owned(pool))
        } else {
            enter("bb8", case, runtime, Bb8(pool))
        }))
    }),
    ("fast_pool", |case, runtime| {
        let pool = fast_pool::Pool::new(Empty);
        pool.set_max_open(case.connections.into());
        Ok(Ok(enter("fast_pool", case, runtime, FastPool(pool))))
    }),
];

/// Runs the suite `pool`.
pub(crate) fn run(bench: &mut Bench) -> Result<(), Problem> {
    bench.begin("pool")?;
    bench.versions("pool", &["r2d2", "deadpool", "bb8", "fast_pool"])?;
    let runtime = bench.runtime();
    for case in &CASES {
        let mut contestants = Vec::new();
        for (system, open) in SYSTEMS {
            match open(case, &runtime)? {
                Ok(contestant) => contestants.push(contestant),
                Err(why) => bench.tell(&Line::absent("pool", case.case, system, why))?,
            }
        }
        bench.compete("pool", case.case, contestants)?;
    }
    Ok(())
}

/// ECM in this setting of fairness, which matters only where callers wait.
fn only_contended(system: &str, case: &Lending, runtime: &Handle, fairness: Fairness) -> Entry {
    if case.callers <= case.connections as usize {
        return Err("nobody waits, so fairness changes nothing");
    }
    Ok(enter_ecm(system, case, runtime, fairness))
}

fn enter_ecm(system: &str, case: &Lending, runtime: &Handle, fairness: Fairness) -> Box<dyn Contestant> {
    let ecm = Ecm::new(case.connections, fairness);
    match (case.owned, case.shape) {
        (true, _) => enter(system, case, runtime, Owning(ecm)),
        (false, Shape::Threads) => enter(system, case, runtime, Blocked(ecm)),
        (false, Shape::Tasks) => enter(system, case, runtime, ecm),
    }
}

fn enter<L: Loans>(system: &str, case: &Lending, runtime: &Handle, pool: L) -> Box<dyn Contestant> {
    let pool = Arc::new(pool);
    let nobody_waits = case.callers <= case.connections as usize;
    let yields = case.shape == Shape::Tasks;
    let callers = (0..case.callers).map(|_| Cycle { pool: Arc::clone(&pool), yields }).collect();
    let contest = Contest::new("pool", case.case, system, runtime, callers).shape(case.shape).batch(if nobody_waits {
        BATCH
    } else {
        1
    });
    if nobody_waits || yields {
        return Box::new(contest);
    }
    Box::new(Fair::new(Box::new(contest), &pool, case.callers, runtime))
}

/// Borrows and gives back at once. A task lets others run while it holds, or no two would ever meet.
struct Cycle<L> {
    pool: Arc<L>,
    yields: bool,
}

impl<L: Loans> Caller for Cycle<L> {
    async fn call(&mut self) -> Result<(), String> {
        if self.yields { self.pool.hold(yield_now()).await } else { self.pool.hold(async {}).await }
    }
}

/// Makes connections that do nothing, for every pool.
#[derive(Debug)]
struct Empty;

struct Ecm {
    pool: Arc<Pool<Nothing>>,
    clock: Arc<dyn Clock>,
}

impl Ecm {
    fn new(connections: u32, fairness: Fairness) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let config = PoolConfig { max_connections: connections, fairness, ..PoolConfig::default() };
        let pool = Pool::new(Arc::new(Nothing), config, PoolParts::new("nothing", Arc::clone(&clock)));
        Self { pool: Arc::new(pool), clock }
    }
}

/// As a manager does: what is idle is taken without a look at the clock.
impl Loans for Ecm {
    async fn hold(&self, held: impl Future<Output = ()> + Send) -> Result<(), String> {
        let lent = match self.pool.lend_now(Loan::Read, Time::START) {
            Some(lent) => lent,
            None => {
                let lending = self.pool.lend(Loan::Read, self.clock.now(), Time::NEVER);
                lending.await.map_err(|error| error.to_string())?
            }
        };
        held.await;
        drop(lent);
        Ok(())
    }
}

/// ECM's pool for callers that block: the thread polls its own wait.
struct Blocked(Ecm);

impl Loans for Blocked {
    async fn hold(&self, held: impl Future<Output = ()> + Send) -> Result<(), String> {
        let Ecm { pool, clock } = &self.0;
        let lent = match pool.lend_now(Loan::Read, Time::START) {
            Some(lent) => lent,
            None => {
                let lent = ecm_core::block_on(pool.lend(Loan::Read, clock.now(), Time::NEVER));
                lent.map_err(|error| error.to_string())?
            }
        };
        held.await;
        drop(lent);
        Ok(())
    }
}

/// ECM's pool by guards that keep the pool alive.
struct Owning(Ecm);

impl Loans for Owning {
    async fn hold(&self, held: impl Future<Output = ()> + Send) -> Result<(), String> {
        let Ecm { pool, clock } = &self.0;
        let lent = match pool.lend_owned_now(Loan::Read, Time::START) {
            Some(lent) => lent,
            None => {
                let lending = pool.lend_owned(Loan::Read, clock.now(), Time::NEVER);
                lending.await.map_err(|error| error.to_string())?
            }
        };
        held.await;
        drop(lent);
        Ok(())
    }
}

struct R2d2(r2d2::Pool<Empty>);

impl r2d2::ManageConnection for Empty {
    type Connection = ();
    type Error = std::fmt::Error;

    fn connect(&self) -> Result<(), Self::Error> {
        Ok(())
    }
    fn is_valid(&self, (): &mut ()) -> Result<(), Self::Error> {
        Ok(())
    }
    fn has_broken(&self, (): &mut ()) -> bool {
        false
    }
}

impl Loans for R2d2 {
    async fn hold(&self, held: impl Future<Output = ()> + Send) -> Result<(), String> {
        let lent = self.0.get().map_err(|error| error.to_string())?;
        held.await;
        drop(lent);
        Ok(())
    }
}

struct Deadpool(deadpool::managed::Pool<Empty>);

impl deadpool::managed::Manager for Empty {
    type Type = ();
    type Error = Infallible;

    async fn create(&self) -> Result<(), Infallible> {
        Ok(())
    }
    async fn recycle(
        &self,
        (): &mut (),
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<Infallible> {
        Ok(())
    }
}

impl Loans for Deadpool {
    async fn hold(&self, held: impl Future<Output = ()> + Send) -> Result<(), String> {
        let lent = self.0.get().await.map_err(|error| error.to_string())?;
        held.await;
        drop(lent);
        Ok(())
    }
}

struct Bb8(bb8::Pool<Empty>);
struct Bb8Owned(bb8::Pool<Empty>);

impl bb8::ManageConnection for Empty {
    type Connection = ();
    type Error = Infallible;

    async fn connect(&self) -> Result<(), Infallible> {
        Ok(())
    }
    async fn is_valid(&self, (): &mut ()) -> Result<(), Infallible> {
        Ok(())
    }
    fn has_broken(&self, (): &mut ()) -> bool {
        false
    }
}

impl Loans for Bb8 {
    async fn hold(&self, held: impl Future<Output = ()> + Send) -> Result<(), String> {
        let lent = self.0.get().await.map_err(|error| error.to_string())?;
        held.await;
        drop(lent);
        Ok(())
    }
}

impl Loans for Bb8Owned {
    async fn hold(&self, held: impl Future<Output = ()> + Send) -> Result<(), String> {
        let lent = self.0.get_owned().await.map_err(|error| error.to_string())?;
        held.await;
        drop(lent);
        Ok(())
    }
}

struct FastPool(fast_pool::Pool<Empty>);

impl fast_pool::Manager for Empty {
    type Connection = ();
    type Error = String;

    async fn connect(&self) -> Result<(), String> {
        Ok(())
    }
    async fn check(&self, (): &mut ()) -> Result<(), String> {
        Ok(())
    }
}

impl Loans for FastPool {
    async fn hold(&self, held: impl Future<Output = ()> + Send) -> Result<(), String> {
        let lent = self.0.get().await?;
        held.await;
        drop(lent);
        Ok(())
    }
}
