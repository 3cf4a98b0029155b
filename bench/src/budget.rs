use crate::{bench::Bench, sql, systems};
use ecm::{
    ConnectionManager, Database, ManagerConfig,
    core::{
        Access, Admission, Backend, Balancer, CallKind, CallReport, CheckIn, Clock, Connection, Context, Error, Event,
        Failure, Intent, Interest, Loan, Mask, Node, Observer, SystemClock, Time, block_on, testing::Nothing,
    },
    sqlite::{Sqlite, SqliteConnection},
};
use ecm_balancer::RoundRobin;
use ecm_breaker::ConsecutiveFailures;
use ecm_pool::{Pool, PoolConfig, PoolParts};
use std::{
    hint::black_box,
    panic::Location,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::runtime::Handle;
use workload::{Caller, Contest, Contestant, Keys, Line, Problem, READ, Record, take_turns};

/// Calls that are timed together.
const BATCH: u32 = 100;

/// How many databases a pick chooses from.
const NODES: usize = 3;

/// The parts of a blocking read of one of three databases with an observer, and how often it has each. The last
/// one is what a bare connection has too.
const PARTS: [(&str, u32); 8] = [
    ("clock", 2),
    ("pick", 1),
    ("admit", 1),
    ("slot", 1),
    ("report", 1),
    ("check-out", 1),
    ("check-in", 1),
    ("statement", 1),
];

/// Runs the suite `budget`: what each part of a blocking read costs, what a read costs in all, and two things that
/// differ much between machines.
pub(crate) fn run(bench: &mut Bench) -> Result<(), Problem> {
    bench.begin("budget")?;
    let failed = |error: &dyn std::fmt::Display| Problem::during("preparing the budget", error);
    let folder = TempDir::new().map_err(|error| failed(&error))?;
    let path = folder.path().join("budget.db");
    sql::fill(&path).map_err(|error| failed(&error))?;
    let uncached = ManagerConfig { enable_query_cache: false, ..ManagerConfig::default() };
    let manager =
        ConnectionManager::standard().configure(&uncached).database(Database::new("main", Sqlite::open(&path)));
    let manager = manager.build().map_err(|error| failed(&error))?;
    let runtime = bench.runtime();
    let contestants = contestants(&runtime, &path, manager)?;
    let mut lines = take_turns("budget of a read", &bench.plan(), contestants)?;
    lines.extend(summary(&lines));
    for line in lines {
        let times = PARTS.iter().find(|(part, _)| *part == line.case).map(|(_, times)| *times);
        let line = times.into_iter().fold(line, |line, times| line.with("times", times));
        bench.tell(&line)?;
    }
    Ok(())
}

fn contestants(runtime: &Handle, path: &Path, manager: ConnectionManager) -> Result<Vec<Box<dyn Contestant>>, Problem> {
    let failed = |error: &dyn std::fmt::Display| Problem::during("preparing the budget", error);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut connection = Sqlite::open(path).connect(Access::Read, &clock).map_err(|error| failed(&error))?;
    // As a pool does now and then: without it no snapshot is held between loans.
    let _nothing_held_yet = connection.idle(clock.now());
    let bare = || systems::bare(path).map_err(|error| failed(&error));
    let three = (1..NODES).fold(ConnectionManager::standard().observer(Deaf), |builder, number| {
        builder.database(Database::new(format!("copy-{number}"), Sqlite::open(path)).read_only(true))
    });
    let three = three.database(Database::new("main", Sqlite::open(path))).build().map_err(|error| failed(&error))?;
    let over_nothing = |observed: bool| {
        let builder = ConnectionManager::<Nothing>::builder_for().database(Database::new("nothing", Nothing));
        let builder = if observed { builder.observer(Deaf) } else { builder };
        builder.build().map_err(|error| failed(&error))
    };
    let pool = Pool::new(
        Arc::new(Nothing),
        PoolConfig { max_connections: 1, ..PoolConfig::default() },
        PoolParts::new("nothing", Arc::clone(&clock)),
    );
    // Opens the one connection: what is measured later never does.
    drop(block_on(pool.lend(Loan::Upkeep, clock.now(), Time::NEVER)).map_err(|error| failed(&error))?);
    let (nodes, balancer) = ([(); NODES].map(|()| Node::new("node")), RoundRobin::new());
    let breaker: Box<dyn ecm::core::Breaker> = Box::new(ConsecutiveFailures::new(5));
    let (quiet, observed) = (over_nothing(false)?, over_nothing(true)?);
    let (mut autocommit, mut begun) = ((bare()?, Keys::of(0)), (bare()?, Keys::of(0)));
    let (mut keys, mut keys_of_three) = (Keys::of(0), Keys::of(0));
    let observer: Box<dyn Observer> = Box::new(Deaf);
    let (ticking, counter) = (Arc::clone(&clock), AtomicU64::new(0));
    Ok(vec![
        part(runtime, "clock", move || black_box(ticking.now()) > Time::START),
        part(runtime, "pick", move || {
            let intent = Intent::new(CallKind::Read, &Context::NONE);
            black_box((&balancer as &dyn Balancer).pick(&nodes, black_box(Mask::first(NODES)), &intent)).is_some()
        }),
        part(runtime, "admit", move || {
            let now = black_box(Time::from_nanos(1_000));
            Admission::ask(&*breaker, now).map(|admission| admission.succeeded(now)).is_ok()
        }),
        part(runtime, "slot", move || black_box(pool.lend_now(Loan::Read, Time::START)).is_some()),
        Box::new(Loaned::new(connection)),
        part(runtime, "report", move || {
            let mut report = CallReport::new(CallKind::Read, "default", Location::caller(), &Context::NONE);
            report.took = black_box(Duration::from_nanos(3_000));
            observer.event(&Event::Call(black_box(&report)));
            true
        }),
        part(runtime, "over-nothing", move || black_box(quiet.read(|db| Ok(*db)).wait()).is_ok()),
        part(runtime, "over-nothing-observed", move || black_box(observed.read(|db| Ok(*db)).wait()).is_ok()),
        part(runtime, "read-bare", move || {
            let (connection, keys) = &mut autocommit;
            black_box(systems::read(connection, keys.next_key())).is_ok()
        }),
        part(runtime, "read-bare-begun", move || {
            let (connection, keys) = &mut begun;
            black_box(systems::read_begun(connection, keys.next_key())).is_ok()
        }),
        part(runtime, "read-alone", move || black_box(read(&manager, keys.next_key())).is_ok()),
        part(runtime, "read-ecm", move || black_box(read(&three, keys_of_three.next_key())).is_ok()),
        part(runtime, "atomic-add", move || black_box(&counter).fetch_add(1, Ordering::SeqCst) < u64::MAX),
        Box::new(Contest::new("budget", "thread-hop", "ecm", runtime, vec![Hop::new()])),
    ])
}

/// The sum of the parts, what is left of a read through ECM, and what it costs more than a bare one. Of medians,
/// which a thread that is stopped now and then does not move.
fn summary(lines: &[Line]) -> Vec<Line> {
    let median = |case: &str| lines.iter().find(|line| line.case == case).and_then(|line| line.p50_ns);
    let line = |case: &str, median: Option<f64>| Line { p50_ns: median, ..Line::empty("budget", case, "ecm") };
    let parts = PARTS.iter().map(|(part, times)| median(part).map(|median| median * f64::from(*times)));
    let sum: Option<f64> = parts.sum();
    let more = |than: Option<f64>| median("read-ecm").zip(than).map(|(ecm, than)| ecm - than);
    vec![
        line("sum", sum),
        line("rest", more(sum)),
        line("whole", more(median("read-bare"))),
        line("whole-begun", more(median("read-bare-begun"))),
    ]
}

fn read(manager: &ConnectionManager, key: i64) -> Result<String, Error> {
    manager.read(|db| Ok(db.prepare_cached(READ)?.query_row([key], |row| row.get(0))?)).wait()
}

/// Work that answers whether it has worked.
fn part(runtime: &Handle, case: &'static str, work: impl FnMut() -> bool + Send + 'static) -> Box<dyn Contestant> {
    Box::new(Contest::new("budget", case, "ecm", runtime, vec![Part(work)]).batch(BATCH))
}

struct Part<F>(F);

impl<F: FnMut() -> bool + Send + 'static> Caller for Part<F> {
    async fn call(&mut self) -> Result<(), String> {
        if (self.0)() { Ok(()) } else { Err("it does not work".into()) }
    }
}

/// An observer that wants everything, and does nothing with it.
#[derive(Debug)]
struct Deaf;

impl Observer for Deaf {
    fn interest(&self) -> Interest {
        Interest::ALL
    }

    fn event(&self, event: &Event<'_>) {
        black_box(event);
    }
}

/// A round trip to another thread, where both sides sleep while they wait: what an answer from another thread
/// costs at least.
struct Hop {
    there: mpsc::Sender<u32>,
    back: mpsc::Receiver<u32>,
}

impl Hop {
    fn new() -> Self {
        let (there, asked) = mpsc::channel();
        let (answer, back) = mpsc::channel();
        // Ends when the sender is dropped.
        thread::spawn(move || asked.into_iter().try_for_each(|number| answer.send(number)));
        Self { there, back }
    }
}

impl Caller for Hop {
    async fn call(&mut self) -> Result<(), String> {
        self.there.send(7).map_err(|error| error.to_string())?;
        self.back.recv().map(drop).map_err(|error| error.to_string())
    }
}

/// What a connection does at the start of a loan, for the statement, and at the end. They cannot be repeated
/// apart from each other, so each is timed alone, less what a look at the clock costs.
struct Loaned {
    connection: SqliteConnection,
    keys: Keys,
    parts: [(&'static str, Record); 3],
}

impl Loaned {
    fn new(connection: SqliteConnection) -> Self {
        Self { connection, keys: Keys::of(0), parts: Self::nothing_yet() }
    }

    fn nothing_yet() -> [(&'static str, Record); 3] {
        ["check-out", "statement", "check-in"].map(|part| (part, Record::default()))
    }

    fn loan(&mut self, look: Duration) -> Result<(), Failure> {
        let key = self.keys.next_key();
        let began = Instant::now();
        self.connection.check_out(Loan::Read)?;
        let lent = Instant::now();
        let value: String = self.connection.db().prepare_cached(READ)?.query_row([key], |row| row.get(0))?;
        let read = Instant::now();
        let clean = self.connection.check_in() == CheckIn::Clean;
        let back = Instant::now();
        black_box(value);
        for ((_, record), took) in self.parts.iter_mut().zip([lent - began, read - lent, back - read]) {
            record.add(took.saturating_sub(look), 1);
        }
        if clean { Ok(()) } else { Err(std::io::Error::other("the connection came back unfit").into()) }
    }
}

/// What the clock adds to a time that it was looked at around.
fn look() -> Duration {
    const LOOKS: u32 = 10_000;
    let began = Instant::now();
    for _ in 0..LOOKS {
        black_box(Instant::now());
    }
    began.elapsed() / LOOKS
}

impl Contestant for Loaned {
    fn system(&self) -> &str {
        "ecm"
    }

    fn round(&mut self, length: Duration) -> Result<(), Problem> {
        let look = look();
        let began = Instant::now();
        while began.elapsed() < length {
            if let Err(failure) = self.loan(look) {
                self.parts[0].1.fail(|| failure.to_string());
            }
        }
        let elapsed = began.elapsed() / 3;
        self.parts.iter_mut().for_each(|(_, record)| record.ran(elapsed));
        Ok(())
    }

    fn forget(&mut self) -> Result<(), Problem> {
        self.parts = Self::nothing_yet();
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<Line>, Problem> {
        Ok(self.parts.iter().map(|(part, record)| record.line("budget", part, "ecm")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_counts_each_part_as_often_as_a_read_has_it() {
        let line = |case: &str, median| Line { p50_ns: Some(median), ..Line::empty("budget", case, "ecm") };
        let mut lines: Vec<Line> = PARTS.iter().map(|(part, _)| line(part, 10.0)).collect();
        lines.extend([line("read-ecm", 500.0), line("read-bare", 300.0)]);
        let told: Vec<_> = summary(&lines).into_iter().map(|line| (line.case, line.p50_ns)).collect();
        let expected = [("sum", Some(90.0)), ("rest", Some(410.0)), ("whole", Some(200.0)), ("whole-begun", None)];
        assert_eq!(told, expected.map(|(case, median)| (case.to_owned(), median)));
    }
}
