use crate::{
    PoolConfig, PoolParts,
    after::{After, Closing, Watch},
    front::Front,
    state::State,
    sync::{Mutex, lock},
};
use ecm_core::{Access, Alarm, Backend, Clock, Error, Event, Interest, Kind, Observer};
use std::{
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
    /// `None` for one that does not want to know of connections.
    observer: Option<Arc<dyn Observer>>,
    state: Mutex<State<B::Connection>>,
    revoker: Waker,
    alarm: Mutex<(u64, Alarm)>,
}

impl<B: Backend> Shared<B> {
    pub(crate) fn new(
        backend: Arc<B>,
        front: Arc<Front<B::Connection>>,
        config: PoolConfig,
        cap: u32,
        parts: PoolParts,
    ) -> Arc<Self> {
        let PoolParts { name, access, sizing, clock, observer } = parts;
        let state = State::new(front, config, cap, sizing, Arc::clone(&clock));
        Arc::new_cyclic(|shared| Self {
            backend,
            name,
            access,
            clock,
            observer: observer.interest().wants(Interest::CONNECTIONS).then_some(observer),
            state: Mutex::new(state),
            revoker: Waker::from(Arc::new(Revoker(Weak::clone(shared)))),
            alarm: Mutex::new((0, Alarm::none())),
        })
    }

    /// Runs an operation under the lock, then what it leaves to be done without it.
    pub(crate) fn locked<T>(
        &self,
        operation: impl FnOnce(&mut State<B::Connection>, &mut After<B::Connection>) -> T,
    ) -> T {
        let mut after = After::default();
        let answer = operation(&mut lock(&self.state), &mut after);
        after.wakers.drain(..).for_each(Waker::wake);
        if let Some(watch) = after.watch {
            self.watch(&watch);
        }
        if !after.closing.is_empty() {
            self.bury(after.closing);
        }
        answer
    }

    pub(crate) fn tell(&self, event: impl FnOnce(&str) -> Event<'_>) {
        if let Some(observer) = &self.observer {
            observer.event(&event(&self.name));
        }
    }

    pub(crate) fn closed(&self) -> Error {
        Error::new(Kind::Closed, "the pool is closed and lends nothing any more").in_database(&self.name)
    }

    fn watch(&self, watch: &Watch) {
        let alarm = self.clock.wake_at(watch.at, &self.revoker);
        let mut current = lock(&self.alarm);
        let old =
            if watch.number > current.0 { std::mem::replace(&mut *current, (watch.number, alarm)).1 } else { alarm };
        drop(current);
        drop(old);
    }

    fn bury(&self, closing: Vec<Closing<B::Connection>>) {
        let count = closing.len();
        let close = |Closing { connection, interrupter, why }| {
            // The borrower may be panicking already, and the others still have to be closed; the
            // panic hook has told of this one.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| drop((connection, interrupter))));
            why
        };
        let reasons: Vec<_> = closing.into_iter().map(close).collect();
        self.locked(|state, after| state.buried(count, after));
        for why in reasons {
            let tell = || self.tell(|database| Event::Closed { database, why });
            if thread::panicking() {
                let _ = panic::catch_unwind(AssertUnwindSafe(tell));
            } else {
                tell();
            }
        }
    }
}

/// Takes back hand-overs that were not taken, when its alarm rings.
struct Revoker<B: Backend>(Weak<Shared<B>>);

impl<B: Backend> Wake for Revoker<B> {
    fn wake(self: Arc<Self>) {
        if let Some(shared) = self.0.upgrade() {
            shared.locked(|state, after| state.ring(after));
        }
    }
}
