use crate::{
    Lent, Pool,
    caller::{Caller, Shortage, Standing},
    opening::{Opening, Purpose},
    sync::yield_now,
};
use ecm_core::{Backend, Error, Event, Interest, Kind, Loan, Time};
use std::{
    panic::Location,
    task::{Context, Poll},
};

/// A caller on its way to a connection: what both kinds of lendings wait with.
#[derive(Debug)]
pub(crate) struct Asking {
    loan: Loan,
    from: &'static Location<'static>,
    asked: Time,
    deadline: Time,
    until: Time,
    progress: Progress,
}

#[derive(Clone, Copy, Debug)]
enum Progress {
    New,
    Waiting { ticket: u64 },
    Done,
}

impl Asking {
    pub(crate) fn new(loan: Loan, now: Time, deadline: Time, from: &'static Location<'static>) -> Self {
        Self { loan, from, asked: now, deadline, until: deadline, progress: Progress::New }
    }

    pub(crate) fn poll<'p, B: Backend>(
        &mut self,
        pool: &'p Pool<B>,
        context: &Context<'_>,
    ) -> Poll<Result<Lent<'p, B>, Error>> {
        if let Progress::New = self.progress
            && let Some(lent) = pool.take_at_once(self.asked, self.from)
        {
            self.progress = Progress::Done;
            if let Some(answer) = self.begin(lent) {
                return Poll::Ready(self.told(pool, answer));
            }
            self.progress = Progress::New;
        }
        let standing = loop {
            match self.stand(pool, context) {
                Standing::Retry => yield_now(),
                standing => break standing,
            }
        };
        self.progress = Progress::Done;
        let answer = match standing {
            Standing::Wait(ticket) => {
                self.progress = Progress::Waiting { ticket };
                return Poll::Pending;
            }
            Standing::Lend(loaned) => self.begin(Lent::of(pool, loaned)),
            Standing::Open(vacancy) => self.open(Opening::new(pool, vacancy)),
            Standing::TimedOut(shortage) => Some(Err(too_late(pool, self.asked, &shortage))),
            Standing::QueueFull(shortage) => Some(Err(queue_full(pool, &shortage))),
            Standing::Retry => unreachable!("it was retried above"),
            Standing::Closed => Some(Err(pool.shared().closed())),
        };
        match answer {
            Some(answer) => Poll::Ready(self.told(pool, answer)),
            None => {
                self.progress = Progress::New;
                self.poll(pool, context)
            }
        }
    }

    fn told<'p, B: Backend>(&self, pool: &Pool<B>, answer: Result<Lent<'p, B>, Error>) -> Result<Lent<'p, B>, Error> {
        answer.inspect_err(|error| {
            let location = self.from;
            pool.shared().tell(Interest::LOANS, |_| Event::NotLent { database: &pool.shared().name, error, location });
        })
    }

    /// Leaves the queue; what was handed over already goes to the next.
    pub(crate) fn leave<B: Backend>(&self, pool: &Pool<B>) {
        if let Progress::Waiting { ticket } = self.progress {
            pool.shared().locked(|state, after| state.leave(ticket, after));
        }
    }

    fn stand<B: Backend>(&mut self, pool: &Pool<B>, context: &Context<'_>) -> Standing<B::Connection> {
        let shared = pool.shared();
        let (waker, asked, from) = (context.waker(), self.asked, self.from);
        let late = asked >= self.deadline;
        match self.progress {
            Progress::New => shared.locked(|state, after| {
                self.until = self.deadline.min(asked + state.config().connection_timeout);
                state.ask(&Caller { waker, asked, until: self.until, late, from }, after)
            }),
            Progress::Waiting { ticket } => {
                if let Some(loaned) = shared.locked_alone(|state| state.take_granted(ticket, from)) {
                    return Standing::Lend(loaned);
                }
                let caller = Caller { waker, asked, until: self.until, late, from };
                shared.locked(|state, after| state.ask_again(ticket, &caller, after))
            }
            Progress::Done => panic!("a lending was polled after it had answered"),
        }
    }

    fn begin<'p, B: Backend>(&self, mut lent: Lent<'p, B>) -> Option<Result<Lent<'p, B>, Error>> {
        match lent.start(self.loan) {
            Ok(()) => Some(Ok(lent)),
            // A pooled connection may have gone bad at any time since its last use; only what a fresh
            // one says is about the database.
            Err(_) => self.open(lent.reopen()),
        }
    }

    fn open<'p, B: Backend>(&self, opening: Opening<'p, B>) -> Option<Result<Lent<'p, B>, Error>> {
        let Self { loan, from, asked, deadline, .. } = *self;
        opening.open(&Purpose { loan, from, asked, deadline })
    }
}

pub(crate) fn too_late<B: Backend>(pool: &Pool<B>, asked: Time, shortage: &Shortage) -> Error {
    let shared = pool.shared();
    let waited = shared.clock.now().since(asked);
    Error::timeout(shortage.stage(), waited, describe(shortage)).in_database(&shared.name)
}

pub(crate) fn queue_full<B: Backend>(pool: &Pool<B>, shortage: &Shortage) -> Error {
    let message = format!("as many callers wait for a connection as may: {}", describe(shortage));
    Error::new(Kind::QueueFull, message).in_database(&pool.shared().name)
}

pub(crate) fn describe(shortage: &Shortage) -> String {
    let Shortage { status, oldest_loan_from, opening_for, last_failure } = shortage;
    let mut detail = format!(
        "{} of at most {} connections are open, {} idle, {} lent, {} being opened, {} waiting",
        status.open, status.max_connections, status.idle, status.lent, status.opening, status.waiting,
    );
    if let Some(age) = status.oldest_loan {
        detail += &format!("; the oldest loan has lasted {age:.1?}");
    }
    if let Some(from) = oldest_loan_from {
        detail += &format!(", made at {from}");
    }
    if let Some(span) = opening_for {
        detail += &format!("; an opening has lasted {span:.1?}");
    }
    if let Some(failure) = last_failure {
        detail += &format!("; the last attempt to open one failed: {failure}");
    }
    detail
}
