use crate::{
    PoolConfig, PoolParts, Workers,
    after::{After, Closing, Watch},
    front::Front,
    state::{Chore, State},
    sync::{Mutex, lock},
};
use ecm_core::{Access, Alarm, Backend, Clock, Connection, Error, Event, Failure, Interest, Kind, Observer};
use std::{
    mem,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Weak},
    task::{Wake, Waker},
    thread,
};

/// What a pool, its lendings and its revoker have in common.
pub(crate) struct Shared<B: Backend> {
    pub(crate) backend: Arc<B>,
    pub(crate) name: Arc<str>,
    pub(crate) access: Access,
    pub(crate) clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    /// What the observer wants.
    interest: Interest,
    state: Apart<Mutex<State<B::Connection>>>,
    pub(crate) workers: Arc<dyn Workers>,
    revoker: Bell,
    timer: Bell,
    tender: Bell,
    visitor: Bell,
    guard: Bell,
    this: Weak<Self>,
}

/// In cache lines of its own: what is read without the lock is not taken from other processors by those who take it.
#[repr(align(128))]
struct Apart<T>(T);

/// What an alarm of the clock wakes, and the one that is set.
struct Bell {
    waker: Waker,
    alarm: Mutex<(u64, Alarm)>,
}

impl<B: Backend> Shared<B> {
    pub(crate) fn new(
        backend: Arc<B>,
        config: PoolConfig,
        cap: u32,
        parts: PoolParts,
    ) -> (Arc<Self>, Arc<Front<B::Connection>>) {
        let PoolParts { name, access, sizing, clock, observer, workers, seed } = parts;
        let interest = observer.interest();
        let front = Arc::new(Front::new(interest.wants(Interest::LOANS)));
        let keeps = backend.keeps(access);
        let state = State::new(Arc::clone(&front), config, cap, sizing, keeps, Arc::clone(&clock), seed);
        let shared = Arc::new_cyclic(|shared| Self {
            backend,
            name,
            access,
            clock,
            interest,
            observer,
            state: Apart(Mutex::new(state)),
            workers,
            revoker: Bell::new(Ringing { shared: Weak::clone(shared), work: State::ring }),
            timer: Bell::new(Ringing { shared: Weak::clone(shared), work: State::expire }),
            tender: Bell::new(Ringing { shared: Weak::clone(shared), work: State::tend }),
            visitor: Bell::new(Ringing { shared: Weak::clone(shared), work: State::tick }),
            guard: Bell::new(Ringing { shared: Weak::clone(shared), work: State::take_over }),
            this: Weak::clone(shared),
        });
        (shared, front)
    }

    /// Runs an operation under the lock, then what it leaves to be done without it: all of it, also if a waker
    /// panics. That panic goes on afterwards, unless the answer may hold a place of the pool, which
    /// would be lost with it; the panic hook has told.
    #[inline]
    pub(crate) fn locked<T>(
        &self,
        operation: impl FnOnce(&mut State<B::Connection>, &mut After<B::Connection>) -> T,
    ) -> T {
        self.locked_and(operation, Self::bury)
    }

    /// As [`locked`](Self::locked), with another way to close connections.
    #[inline]
    fn locked_and<T>(
        &self,
        operation: impl FnOnce(&mut State<B::Connection>, &mut After<B::Connection>) -> T,
        bury: impl FnOnce(&Self, Vec<Closing<B::Connection>>),
    ) -> T {
        let mut after = After::default();
        let mut state = lock(&self.state.0);
        #[cfg(shuttle)]
        state.drain();
        let answer = operation(&mut state, &mut after);
        drop(state);
        let mut panic = None;
        for waker in after.wakers {
            if let Err(caught) = panic::catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                panic.get_or_insert(caught);
            }
        }
        if let Some(watch) = after.watch {
            self.revoker.set(&*self.clock, &watch);
        }
        if let Some(watch) = after.expire {
            self.timer.set(&*self.clock, &watch);
        }
        if let Some(watch) = after.tend {
            self.tender.set(&*self.clock, &watch);
        }
        if let Some(watch) = after.visit {
            self.visitor.set(&*self.clock, &watch);
        }
        if let Some(watch) = after.guard {
            self.guard.set(&*self.clock, &watch);
        }
        for why in after.demoted {
            self.tell_aside(|database| Event::Demoted { database, why });
        }
        if let Some(worker) = after.work {
            self.employ(worker);
        }
        if !after.closing.is_empty() {
            bury(self, after.closing);
        }
        match panic {
            Some(panic) if !mem::needs_drop::<T>() && !thread::panicking() => panic::resume_unwind(panic),
            _ => answer,
        }
    }

    /// Runs an operation under the lock that leaves nothing to be done without it.
    #[inline]
    pub(crate) fn locked_alone<T>(&self, operation: impl FnOnce(&mut State<B::Connection>) -> T) -> T {
        let mut state = lock(&self.state.0);
        #[cfg(shuttle)]
        state.drain();
        operation(&mut state)
    }

    /// Tells an event of this kind, if the observer wants it.
    pub(crate) fn tell<'s>(&'s self, kind: Interest, event: impl FnOnce(&'s str) -> Event<'s>) {
        if self.interest.wants(kind) {
            self.observer.event(&event(&self.name));
        }
    }

    pub(crate) fn closed(&self) -> Error {
        Error::new(Kind::Closed, "the pool is closed and lends nothing any more").in_database(&self.name)
    }

    fn employ(&self, worker: u64) {
        let shared = Weak::clone(&self.this);
        let work = move || {
            // Upgraded for each chore, so that a pool can go meanwhile.
            while let Some(shared) = shared.upgrade() {
                match panic::catch_unwind(AssertUnwindSafe(|| shared.work_once(worker))) {
                    Ok(true) => {}
                    Ok(false) => break,
                    // An observer, of which the panic hook has told: nobody else would ever be called to
                    // work while this one counts as at work.
                    Err(_) => {
                        shared.locked(|state, after| state.work_refused(worker, after));
                        break;
                    }
                }
            }
        };
        if !self.workers.run(Box::new(work)) {
            self.locked(|state, after| state.work_refused(worker, after));
        }
    }

    /// Does one chore; answers whether there was one.
    fn work_once(&self, worker: u64) -> bool {
        let Some(chore) = self.locked(|state, after| state.next_chore(worker, after)) else { return false };
        match chore {
            Chore::Open(number) => self.open_ahead(number),
            Chore::Check(mut loaned) => {
                let check = || loaned.connection.ping().is_ok();
                let works = panic::catch_unwind(AssertUnwindSafe(check)).unwrap_or(false);
                self.locked(|state, after| state.checked(loaned, works, after));
            }
            Chore::Visit(mut loaned) => {
                let now = self.clock.now();
                let visit = || loaned.connection.idle(now);
                let again = panic::catch_unwind(AssertUnwindSafe(visit)).map_err(drop);
                self.locked(|state, after| state.visited(loaned, again, after));
            }
            Chore::Report { location, age } => self.tell_aside(|database| Event::Overdue { database, location, age }),
        }
        true
    }

    fn open_ahead(&self, number: u64) {
        let begun = self.clock.now();
        let connect = || {
            let connection = Box::new(self.backend.connect(self.access, &self.clock)?);
            let interrupter = connection.interrupter();
            Ok::<_, Failure>((connection, interrupter))
        };
        let opened = panic::catch_unwind(AssertUnwindSafe(connect));
        let opened = opened.unwrap_or_else(|_| Err(Failure::msg("the backend panicked")));
        let took = self.clock.now().since(begun);
        match opened {
            Ok((connection, interrupter)) => {
                self.locked(|state, after| state.opened_ahead(number, connection, interrupter, took, after));
                self.tell_aside(|database| Event::Opened { database, connection: number, took });
            }
            Err(failure) => {
                let message = failure.to_string().into();
                self.locked(|state, after| state.failed_ahead(number, message, after));
            }
        }
    }

    /// Tells from a thread of the pool's own: a panic of the observer, of which the panic hook tells,
    /// does not end the work.
    fn tell_aside<'s>(&'s self, event: impl FnOnce(&'s str) -> Event<'s>) {
        let _ = panic::catch_unwind(AssertUnwindSafe(|| self.tell(Interest::CONNECTIONS, event)));
    }

    /// Closes connections on a thread of the workers: closing may take as long as the backend takes, and the thread
    /// that rings has the alarms of all pools to ring.
    fn bury_aside(&self, closing: Vec<Closing<B::Connection>>) {
        let burial = self.this.upgrade().map(|shared| Burial { shared, closing });
        // Refused work is dropped, which closes them here.
        self.workers.run(Box::new(move || drop(burial)));
    }

    fn bury(&self, closing: Vec<Closing<B::Connection>>) {
        let count = closing.len();
        let close = |Closing { connection, number, interrupter, why }| {
            // The borrower may be panicking already, and the others still have to be closed; the
            // panic hook has told of this one.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| drop((connection, interrupter))));
            (number, why)
        };
        let reasons: Vec<_> = closing.into_iter().map(close).collect();
        self.locked(|state, after| state.buried(count, after));
        for (connection, why) in reasons {
            let tell = || self.tell(Interest::CONNECTIONS, |database| Event::Closed { database, connection, why });
            if thread::panicking() {
                let _ = panic::catch_unwind(AssertUnwindSafe(tell));
            } else {
                tell();
            }
        }
    }
}

impl Bell {
    fn new<B: Backend>(ringing: Ringing<B>) -> Self {
        Self { waker: Waker::from(Arc::new(ringing)), alarm: Mutex::new((0, Alarm::none())) }
    }

    fn set(&self, clock: &dyn Clock, watch: &Watch) {
        let alarm = clock.wake_at(watch.at, &self.waker);
        let mut current = lock(&self.alarm);
        let old =
            if watch.number > current.0 { std::mem::replace(&mut *current, (watch.number, alarm)).1 } else { alarm };
        drop(current);
        drop(old);
    }
}

/// Connections that are closed when it is dropped.
struct Burial<B: Backend> {
    shared: Arc<Shared<B>>,
    closing: Vec<Closing<B::Connection>>,
}

impl<B: Backend> Drop for Burial<B> {
    fn drop(&mut self) {
        let closing = mem::take(&mut self.closing);
        // An observer may panic, of which the panic hook has told.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| self.shared.bury(closing)));
    }
}

/// What happens when an alarm rings.
struct Ringing<B: Backend> {
    shared: Weak<Shared<B>>,
    work: fn(&mut State<B::Connection>, &mut After<B::Connection>),
}

impl<B: Backend> Wake for Ringing<B> {
    fn wake(self: Arc<Self>) {
        if let Some(shared) = self.shared.upgrade() {
            // Whoever sets an alarm may be the one who rings it, and has other things to do as well.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| shared.locked_and(self.work, Shared::bury_aside)));
        }
    }
}
