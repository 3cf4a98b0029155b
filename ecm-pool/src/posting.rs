use crate::{
    Lane, Terms, Transacted, asking,
    batch::Stand,
    errand::{Desk, Errand},
    lane::Held,
    line::Joined,
    seat::{End, Host, News, Turn, Waiting},
    sync::{Mutex, block_on, lock},
};
use ecm_core::{Backend, Error, Failure, Transact};
use std::{
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    task::Waker,
};

/// What a lane's own thread has to do. There is one turn, so that there is one next.
pub(crate) struct Clerk<B: Backend<Connection: Transact>> {
    next: Option<Turn<B>>,
    works: bool,
}

impl<B: Backend<Connection: Transact>> Default for Clerk<B> {
    /// By hand: a derive would ask the backend for a default.
    fn default() -> Self {
        Self { next: None, works: false }
    }
}

impl<B: Backend> Lane<B>
where
    B::Connection: Transact,
{
    /// As [`send`](Self::send), for a caller whose thread must neither wait nor run anybody's job: whoever has the writer
    /// runs it, or else a thread of the lane, which is there while there is something to do and for two seconds
    /// after.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn post<T, J>(self: &Arc<Self>, terms: &Terms, job: J) -> Result<Transacted<T>, Error>
    where
        T: Send + 'static,
        J: FnMut(&mut B::Connection) -> Result<T, Failure> + Send + 'static,
    {
        let desk = Arc::new(Desk::new(job));
        let errand: Arc<dyn Errand<B::Connection>> = Arc::<Desk<J, T>>::clone(&desk);
        let host: Arc<dyn Host<B>> = Arc::<Self>::clone(self);
        let me = Waiting::new(terms, Some(errand)).hosted_by(host);
        let (seat, until, most) = (Arc::clone(&me.seat), self.patience(terms), self.most_waiting());
        match self.line.join(me, most) {
            Joined::Turn(me) => Arc::<Self>::clone(self).use_turn(Turn { me, batch: None, quick: false }),
            Joined::Queued => {}
            Joined::Full => return Err(asking::queue_full(&self.pool, &self.shortage(false))),
            Joined::Closed => return Err(self.pool.shared().closed()),
        }
        let news = self.hear(&seat, terms, until, false).await;
        let answer = desk.clear();
        match news? {
            News::Ended(End::Closed) => Err(self.pool.shared().closed()),
            News::Ended(End::Unlent(error)) => Err(error),
            News::Ended(end) => Ok(end.with(answer)),
            News::Turn(_) => unreachable!("its turn is used by the lane"),
        }
    }

    /// Uses turns one after the other, as long as the next one comes to this thread.
    fn serve(&self, mut turn: Turn<B>) {
        loop {
            let _told = panic::catch_unwind(AssertUnwindSafe(|| self.use_up(turn)));
            let mut clerk = lock(&self.clerk);
            match clerk.next.take() {
                Some(next) => turn = next,
                None => {
                    clerk.works = false;
                    return;
                }
            }
        }
    }

    /// Uses the turn of a write that waits for nothing but its end.
    fn use_up(&self, turn: Turn<B>) {
        let seat = Arc::clone(&turn.me.seat);
        if seat.is_abandoned() {
            return self.line.pass();
        }
        let errand = Arc::clone(turn.me.errand.as_ref().expect("what is posted can be run by others"));
        let until = self.patience(&turn.me.terms);
        // Caught, because whoever has posted it would never hear of it.
        let ran = panic::catch_unwind(AssertUnwindSafe(|| {
            block_on(self.hold(turn, until, &mut |connection: &mut B::Connection| errand.run(connection)))
        }));
        let end = match ran {
            Ok(Ok(Held::Shared(Stand::Part(_) | Stand::Again))) => return,
            Ok(Ok(Held::Shared(Stand::Ended(end)))) => end,
            Ok(Ok(Held::Alone(outcome))) => outcome.into(),
            Ok(Err(error)) => End::Unlent(error),
            Err(panic) => End::Panicked(panic),
        };
        seat.tell(News::Ended(end)).ok().flatten().into_iter().for_each(Waker::wake);
    }
}

impl<B: Backend<Connection: Transact>> Host<B> for Lane<B> {
    fn use_turn(self: Arc<Self>, turn: Turn<B>) {
        let mut clerk = lock(&self.clerk);
        if clerk.works {
            clerk.next = Some(turn);
            return;
        }
        clerk.works = true;
        drop(clerk);
        let slot = Arc::new(Mutex::new(Some(turn)));
        let (lane, handed) = (Arc::clone(&self), Arc::clone(&slot));
        let serve = move || {
            let turn = lock(&handed).take();
            if let Some(turn) = turn {
                lane.serve(turn);
            }
        };
        if !self.pool.shared().workers.run(Box::new(serve)) {
            // Better slow than never: there is no other thread.
            let turn = lock(&slot).take();
            if let Some(turn) = turn {
                self.serve(turn);
            }
        }
    }
}

impl From<Transacted<()>> for End {
    fn from(outcome: Transacted<()>) -> Self {
        match outcome {
            Transacted::Committed((), position) => Self::Committed(position),
            Transacted::NotBegun(failure) => Self::NotBegun(failure),
            Transacted::Undone(failure) => Self::Undone(failure),
            Transacted::Stopped => Self::Stopped,
            Transacted::Unknown(failure) => Self::Unknown(failure),
        }
    }
}
