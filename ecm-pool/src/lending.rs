use crate::{
    Lent, Pool,
    caller::{Caller, Shortage, Standing},
    opening::{Opening, Purpose},
};
use ecm_core::{Alarm, Backend, Error, Loan, Stage, Time};
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// A loan that is being waited for: what [`Pool::lend`] answers.
///
/// It may be dropped at any moment: a caller who waits leaves the queue, and what was handed to it
/// already goes to the next. A hand-over that is not taken by a poll within a millisecond goes to
/// the next as well while somebody waits; the caller keeps its rank and is served first when it is
/// polled again.
///
/// A wait costs no allocation here besides growth of the queue. A connection is opened inside the
/// poll, which may take as long as the backend takes.
///
/// # Panics
/// Polling it after it has answered.
#[must_use = "nothing is lent until it is awaited"]
pub struct Lending<'p, B: Backend> {
    pool: &'p Pool<B>,
    loan: Loan,
    asked: Time,
    deadline: Time,
    until: Time,
    progress: Progress,
    alarm: Alarm,
}

#[derive(Clone, Copy, Debug)]
enum Progress {
    New,
    Waiting { ticket: u64 },
    Done,
}

impl<'p, B: Backend> Lending<'p, B> {
    pub(crate) fn new(pool: &'p Pool<B>, loan: Loan, now: Time, deadline: Time) -> Self {
        Self { pool, loan, asked: now, deadline, until: deadline, progress: Progress::New, alarm: Alarm::none() }
    }

    fn ask(&mut self, context: &Context<'_>) -> Standing<B::Connection> {
        let shared = self.pool.shared();
        let waker = context.waker();
        match self.progress {
            Progress::New => shared.locked(|state, after| {
                self.until = self.deadline.min(self.asked + state.config().connection_timeout);
                state.ask(&Caller { waker, now: self.asked, until: self.until }, after)
            }),
            Progress::Waiting { ticket } => {
                let caller = Caller { waker, now: shared.clock.now(), until: self.until };
                shared.locked(|state, after| state.ask_again(ticket, &caller, after))
            }
            Progress::Done => panic!("a lending was polled after it had answered"),
        }
    }

    fn open(&self, opening: Opening<'p, B>) -> Result<Lent<'p, B>, Error> {
        opening.open(&Purpose { loan: self.loan, asked: self.asked, deadline: self.deadline })
    }

    fn too_late(&self, shortage: &Shortage) -> Error {
        let shared = self.pool.shared();
        let Shortage { status, last_failure } = shortage;
        let mut detail = format!(
            "{} of at most {} connections are open, {} lent, {} being opened, {} waiting",
            status.open, status.max_connections, status.lent, status.opening, status.waiting,
        );
        if let Some(age) = status.oldest_loan {
            detail += &format!("; the oldest loan has lasted {age:.1?}");
        }
        if let Some(failure) = last_failure {
            detail += &format!("; the last attempt to open one failed: {failure}");
        }
        Error::timeout(Stage::Wait, shared.clock.now().since(self.asked), detail).in_database(&shared.name)
    }
}

impl<'p, B: Backend> Future for Lending<'p, B> {
    type Output = Result<Lent<'p, B>, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let standing = this.ask(context);
        this.progress = Progress::Done;
        let answer = match standing {
            Standing::Wait(ticket) => {
                this.progress = Progress::Waiting { ticket };
                this.alarm = this.pool.shared().clock.wake_at(this.until, context.waker());
                return Poll::Pending;
            }
            Standing::Lend(loaned) => {
                let mut lent = Lent::new(this.pool, loaned);
                match lent.start(this.loan) {
                    Ok(()) => Ok(lent),
                    // A pooled connection may have gone bad at any time since its last use; only
                    // what a fresh one says is about the database.
                    Err(_) => this.open(lent.reopen()),
                }
            }
            Standing::Open(vacancy) => this.open(Opening::new(this.pool, vacancy)),
            Standing::TimedOut(shortage) => Err(this.too_late(&shortage)),
            Standing::Closed => Err(this.pool.shared().closed()),
        };
        this.alarm = Alarm::none();
        Poll::Ready(answer)
    }
}

impl<B: Backend> Drop for Lending<'_, B> {
    fn drop(&mut self) {
        if let Progress::Waiting { ticket } = self.progress {
            self.pool.shared().locked(|state, after| state.leave(ticket, after));
        }
    }
}

impl<B: Backend> fmt::Debug for Lending<'_, B> {
    /// By hand: the pool would print itself, under its lock.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lending")
            .field("loan", &self.loan)
            .field("until", &self.until)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}
