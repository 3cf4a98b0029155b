use crate::{Call, away::Away, call::Course, job::Awaitable, route::Progress, topology::Topology};
use ecm_core::{Backend, Error, Time, Transact};
use std::{
    cell::Cell,
    fmt,
    future::{Future, IntoFuture},
    mem,
    pin::Pin,
    task::{Context, Poll},
};

/// A call that is awaited: what `.await` makes of a [`Call`].
///
/// It answers as [`wait`](Call::wait) does, and goes the same way: cache, balancer, breaker, failover, lane. It needs no
/// runtime, and works with each of them: it is woken by whoever has what it waits for, and its deadlines are kept by the
/// manager's clock.
///
/// # Where it runs
/// An answer from the cache is ready at the first poll. A query that is known to be short is answered inside the poll,
/// within [`inline_budget`](crate::ManagerConfig::inline_budget), where a connection is free. Everything else runs on other
/// threads: reads and closures on one of the database's [`reader_threads`](crate::ManagerConfig::reader_threads),
/// statements that write on a thread of the group's writer, where those that wait share a transaction. No closure ever
/// runs inside a poll. A closure that itself blocks on an awaited call can wait for the thread that it occupies; make
/// calls by [`wait`](Call::wait) inside of closures.
///
/// A future that is always ready would never let others of its thread go on: after 16 answers in polls, or 20 µs of
/// them, the next call on the thread yields once.
///
/// # Cancellation
/// It may be dropped at any moment, on any thread. Where it waits it leaves the queue. A read that runs is stopped,
/// and its connection goes back. A write that has not begun is not run. A closure that writes is stopped and rolled back
/// if it runs; hooks of a unit of work run as after any roll back. A commit that is under way goes on to its end, which
/// nobody hears of then: look at the data to learn how it has ended. So does a statement that was sent to the writer, once it runs.
///
/// # Panics
/// A panic of a closure goes on from the poll. Polling it after it has answered panics.
///
/// ```
/// # #[cfg(feature = "standard")] {
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ecm::{ConnectionManager, core::block_on};
///
/// let manager = ConnectionManager::open(":memory:")?;
/// // On any executor; this one is the smallest.
/// let titles = block_on(async {
///     manager.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT)").await?;
///     manager.write(|tx| Ok(tx.execute("INSERT INTO note (title) VALUES (?1)", ["bread"])?)).await?;
///     manager.query("SELECT title FROM note WHERE id = ?1").bind(1).all::<String>().await
/// })?;
/// assert_eq!(titles, ["bread"]);
/// # Ok(()) }
/// # main().unwrap();
/// # }
/// ```
#[must_use = "nothing happens until it is awaited"]
pub struct Awaited<'m, B: Backend<Connection: Transact>, J, T>(State<'m, B, J, T>);

enum State<'m, B: Backend<Connection: Transact>, J, T> {
    Fresh {
        call: Call<'m, B, J>,
        /// A pointer, so that nothing here depends on what a job can do: the compiler cannot tell for whoever holds
        /// this over an `.await` that it is `Send` otherwise.
        begin: Begin<'m, B, J, T>,
    },
    UnderWay(UnderWay<'m, T>),
    Over,
}

/// A call is moved before it is polled for the first time, and then in a box.
impl<B: Backend<Connection: Transact>, J, T> Unpin for Awaited<'_, B, J, T> {}

impl<'m, B: Backend<Connection: Transact>, J: Awaitable<B> + 'm> IntoFuture for Call<'m, B, J> {
    type Output = Result<J::Output, Error>;
    type IntoFuture = Awaited<'m, B, J, J::Output>;

    #[inline(always)]
    fn into_future(self) -> Awaited<'m, B, J, J::Output> {
        Awaited(State::Fresh { call: self, begin: Self::begin })
    }
}

impl<'m, B: Backend<Connection: Transact>, J, T> Future for Awaited<'m, B, J, T> {
    type Output = Result<T, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let state = &mut self.get_mut().0;
        if let State::Fresh { .. } = state {
            if Streak::ends() {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let State::Fresh { call, begin } = mem::replace(state, State::Over) else {
                unreachable!("it was looked at")
            };
            match begin(call) {
                Ok(answer) => return Poll::Ready(answer),
                Err(under_way) => *state = State::UnderWay(under_way),
            }
        }
        let State::UnderWay(under_way) = state else { panic!("a call was polled after it had answered") };
        let answer = under_way.as_mut().poll(context);
        if answer.is_ready() {
            *state = State::Over;
        }
        answer
    }
}

/// Answers in the poll, or says how it goes on.
type Begin<'m, B, J, T> = fn(Call<'m, B, J>) -> Result<Result<T, Error>, UnderWay<'m, T>>;

type UnderWay<'m, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'm>>;

impl<'m, B: Backend<Connection: Transact>, J: Awaitable<B> + 'm> Call<'m, B, J> {
    /// Answers in the poll, or goes on elsewhere.
    #[inline]
    fn begin(mut self) -> Result<Result<J::Output, Error>, UnderWay<'m, J::Output>> {
        let began = self.manager.clock.now();
        let topology = self.manager.topologies.current();
        let mut progress = Progress::default();
        let away = Away::by(&topology.config);
        let result = match self.set_out(&away, topology, began, &mut progress) {
            Ok(Course::Ended(result)) => result,
            Ok(course) => {
                return Err(Box::pin(async move {
                    let result = self.go_on(&away, course, &mut progress).await;
                    self.end(away, topology, began, progress, result).await
                }));
            }
            Err(error) => Err(error),
        };
        if result.as_ref().is_err_and(|error| self.moved_on(topology, error).is_some()) {
            return Err(Box::pin(self.end(away, topology, began, progress, result)));
        }
        Streak::goes_on(began, progress.ended);
        Ok(self.finish(topology, began, &progress, result))
    }

    /// Ends the call, once it has not only found that its database has been replaced.
    async fn end(
        mut self,
        away: Away,
        mut topology: &'m Topology<B>,
        began: Time,
        mut progress: Progress<'m>,
        mut result: Result<J::Output, Error>,
    ) -> Result<J::Output, Error> {
        while let Err(error) = &result
            && let Some(next) = self.moved_on(topology, error)
        {
            topology = next;
            result = match self.set_out(&away, topology, began, &mut progress) {
                Ok(Course::Ended(result)) => result,
                Ok(course) => self.go_on(&away, course, &mut progress).await,
                Err(error) => Err(error),
            };
        }
        self.finish(topology, began, &progress, result)
    }
}

/// How much a thread has answered in polls since a call has let others go on.
#[derive(Clone, Copy, Default)]
struct Streak {
    answers: u32,
    nanos: u64,
}

const MOST_ANSWERS: u32 = 16;
const MOST_NANOS: u64 = 20_000;

thread_local! {
    static STREAK: Cell<Streak> = const { Cell::new(Streak { answers: 0, nanos: 0 }) };
}

impl Streak {
    /// Whether others have to go on first; then a new one begins.
    #[inline]
    fn ends() -> bool {
        let Self { answers, nanos } = STREAK.get();
        let ends = answers >= MOST_ANSWERS || nanos >= MOST_NANOS;
        if ends {
            STREAK.set(Self::default());
        }
        ends
    }

    /// Something was answered; when it had ended, if somebody has looked.
    #[inline]
    fn goes_on(began: Time, ended: Option<Time>) {
        let Self { answers, nanos } = STREAK.get();
        let took = ended.map_or(0, |ended| u64::try_from(ended.since(began).as_nanos()).unwrap_or(u64::MAX));
        STREAK.set(Self { answers: answers + 1, nanos: nanos.saturating_add(took) });
    }
}

impl<B: Backend<Connection: Transact>, J, T> fmt::Debug for Awaited<'_, B, J, T> {
    /// By hand: jobs may not print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Awaited")
            .field(&match self.0 {
                State::Fresh { .. } => "not polled yet",
                State::UnderWay(_) => "under way",
                State::Over => "over",
            })
            .finish()
    }
}
