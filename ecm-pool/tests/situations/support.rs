//! A pool over a fake, and callers that are polled by hand.

use ecm_core::{
    Backend, Clock, Connection, Error, Event, Interest, Loan, Observer, PoolStatus, Time,
    testing::{Fake, TestClock},
};
use ecm_pool::{Lending, Lent, Pool, PoolConfig, PoolParts, Workers};
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);

pub(crate) struct Bench {
    pub(crate) fake: Fake,
    pub(crate) clock: TestClock,
    pub(crate) pool: Pool<Fake>,
}

impl Bench {
    pub(crate) fn of(max_connections: u32) -> Self {
        Self::configured(PoolConfig { max_connections, ..PoolConfig::untended() })
    }

    pub(crate) fn configured(config: PoolConfig) -> Self {
        let (fake, clock) = (Fake::new(), TestClock::new());
        let pool = Pool::new(Arc::new(fake.clone()), config, parts(&clock));
        Self { fake, clock, pool }
    }

    /// Blocks until so many callers queue.
    pub(crate) fn wait_for_waiting(&self, count: usize) {
        while (self.status().waiting as usize) < count {
            std::thread::yield_now();
        }
    }

    /// A caller without a deadline of its own, not polled yet.
    #[track_caller]
    pub(crate) fn asks(&self) -> Asked<'_, Fake> {
        Asked::new(self.pool.lend(Loan::Read, self.clock.now(), Time::NEVER))
    }

    /// A caller who waits.
    #[track_caller]
    pub(crate) fn waits(&self) -> Asked<'_, Fake> {
        let mut asked = self.asks();
        assert!(asked.poll().is_pending(), "{:?}", self.pool);
        asked
    }

    /// A caller who is served at once.
    #[track_caller]
    pub(crate) fn lends(&self) -> Lent<'_, Fake> {
        self.asks().served()
    }

    #[track_caller]
    pub(crate) fn lends_now(&self) -> Option<Lent<'_, Fake>> {
        self.pool.lend_now(Loan::Read, self.clock.now())
    }

    pub(crate) fn status(&self) -> PoolStatus {
        let status = self.pool.status();
        assert_eq!(status.open, status.idle + status.lent + status.opening, "{status:?}");
        status
    }

    /// Idle, lent, being opened, waiting.
    pub(crate) fn figures(&self) -> [u32; 4] {
        let status = self.status();
        [status.idle, status.lent, status.opening, status.waiting]
    }
}

pub(crate) fn parts(clock: &TestClock) -> PoolParts {
    PoolParts::new("main", Arc::new(clock.clone()))
}

/// Does the work of a pool at once, on the thread that has caused it.
#[derive(Debug)]
pub(crate) struct Inline;

impl Workers for Inline {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> bool {
        work();
        true
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// Keeps the work of a pool until the test does it.
#[derive(Clone, Default)]
pub(crate) struct Later(Arc<Mutex<Vec<Work>>>);

impl Later {
    pub(crate) fn take(&self) -> Option<Work> {
        self.0.lock().unwrap().pop()
    }
}

impl Workers for Later {
    fn run(&self, work: Work) -> bool {
        self.0.lock().unwrap().push(work);
        true
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Later")
    }
}

/// An observer that writes down what it is told.
#[derive(Debug)]
pub(crate) struct Told(Interest, Mutex<Vec<String>>);

impl Told {
    pub(crate) fn about(interest: Interest) -> Self {
        Self(interest, Mutex::default())
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.1.lock().unwrap())
    }
}

impl Observer for Told {
    fn interest(&self) -> Interest {
        self.0
    }

    fn event(&self, event: &Event<'_>) {
        let line = match event {
            Event::Opened { database, .. } => format!("{database} opened"),
            Event::Closed { database, why, .. } => format!("{database} closed: {why}"),
            Event::Demoted { database, why } => format!("{database} demoted: {why}"),
            Event::Overdue { database, location: Some(location), age } => {
                format!("{database} overdue after {age:?} from {location}")
            }
            other => format!("{other:?}"),
        };
        self.1.lock().unwrap().push(line);
    }
}

/// Which connection of the fake this is.
pub(crate) fn id(lent: &mut Lent<'_, Fake>) -> u64 {
    lent.db().id()
}

/// A caller that is polled by hand and counts how often it is woken.
pub(crate) struct Asked<'p, B: Backend> {
    pub(crate) lending: Lending<'p, B>,
    bell: Arc<Bell>,
}

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl<'p, B: Backend> Asked<'p, B> {
    pub(crate) fn new(lending: Lending<'p, B>) -> Self {
        Self { lending, bell: Arc::default() }
    }

    pub(crate) fn poll(&mut self) -> Poll<Result<Lent<'p, B>, Error>> {
        let waker = Waker::from(Arc::clone(&self.bell));
        Pin::new(&mut self.lending).poll(&mut Context::from_waker(&waker))
    }

    /// How often it was woken.
    pub(crate) fn rings(&self) -> usize {
        self.bell.0.load(Ordering::Relaxed)
    }

    pub(crate) fn served(mut self) -> Lent<'p, B> {
        match self.poll() {
            Poll::Ready(answer) => answer.expect("it is served"),
            Poll::Pending => panic!("it still waits"),
        }
    }

    pub(crate) fn refused(mut self) -> Error {
        match self.poll() {
            Poll::Ready(answer) => answer.expect_err("it is refused"),
            Poll::Pending => panic!("it still waits"),
        }
    }
}

/// Polls a future once, with a waker that does nothing.
pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
