//! The pool beside one that only counts: whatever happens in whatever order, both say the same.

use crate::support::{Asked, Bench, poll_once};
use ecm_core::{CheckIn, Connection, FaultKind, Kind, Time, testing::Fake};
use ecm_pool::{Lent, PoolConfig};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, VecDeque},
    pin::pin,
    task::Poll,
};

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask,
    AskNow,
    Poll(usize),
    Leave(usize),
    GiveBack(usize),
    Discard(usize),
    /// It has to be put into order first, which may fail.
    GiveBackDirty(usize, bool),
    /// The next opening fails.
    FailOpening,
    /// The next loan that would begin cannot.
    FailLoan,
    /// Asks whether all is quiet, and goes away.
    Drain,
    AdvanceEpoch,
    Evict,
    Resize(u32),
    Suspend,
    Resume,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Ask),
        4 => Just(Step::AskNow),
        8 => any::<usize>().prop_map(Step::Poll),
        3 => any::<usize>().prop_map(Step::Leave),
        8 => any::<usize>().prop_map(Step::GiveBack),
        2 => any::<usize>().prop_map(Step::Discard),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(number, fails)| Step::GiveBackDirty(number, fails)),
        1 => Just(Step::FailOpening),
        1 => Just(Step::FailLoan),
        1 => Just(Step::Drain),
        1 => Just(Step::AdvanceEpoch),
        1 => Just(Step::Evict),
        2 => (1..6_u32).prop_map(Step::Resize),
        1 => Just(Step::Suspend),
        2 => Just(Step::Resume),
        // One story in a hundred steps or so ends early.
        1 => prop_oneof![9 => Just(Step::Ask), 1 => Just(Step::Close)],
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Handed {
    Connection,
    Room,
}

/// Idle connections are all alike, so it is enough to count them.
#[derive(Debug, Default)]
struct Counted {
    most: usize,
    idle: usize,
    suspended: bool,
    closed: bool,
    waiting: VecDeque<usize>,
    handed: BTreeMap<usize, Handed>,
    /// Each with whether it is closed when it comes back.
    lent: BTreeMap<usize, bool>,
    opening_fails: bool,
    loan_fails: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Lent,
    Failed,
    Waits,
    Closed,
}

impl Counted {
    fn open(&self) -> usize {
        self.idle + self.lent.len() + self.handed.len()
    }

    fn serve(&mut self) {
        while !self.suspended && !self.waiting.is_empty() {
            let what = if self.idle > 0 {
                self.idle -= 1;
                Handed::Connection
            } else if self.open() < self.most {
                Handed::Room
            } else {
                break;
            };
            let head = self.waiting.pop_front().unwrap();
            self.handed.insert(head, what);
        }
    }

    fn takes_idle(&mut self) -> bool {
        let takes = !self.closed && !self.suspended && self.waiting.is_empty() && self.idle > 0;
        self.idle -= usize::from(takes);
        takes
    }

    fn asks_now(&mut self, caller: usize) -> bool {
        if !self.takes_idle() {
            return false;
        }
        if std::mem::take(&mut self.loan_fails) {
            self.serve();
            return false;
        }
        self.lent.insert(caller, false);
        true
    }

    /// One that was idle is replaced where its loan cannot begin.
    fn lends(&mut self, caller: usize) -> Answer {
        if std::mem::take(&mut self.loan_fails) {
            return self.opens(caller);
        }
        self.lent.insert(caller, false);
        Answer::Lent
    }

    fn opens(&mut self, caller: usize) -> Answer {
        if std::mem::take(&mut self.opening_fails) || std::mem::take(&mut self.loan_fails) {
            self.serve();
            return Answer::Failed;
        }
        self.lent.insert(caller, false);
        Answer::Lent
    }

    fn ask(&mut self, caller: usize) -> Answer {
        if self.closed {
            return Answer::Closed;
        }
        if self.takes_idle() {
            return self.lends(caller);
        }
        self.waiting.push_back(caller);
        self.serve();
        self.poll(caller)
    }

    fn poll(&mut self, caller: usize) -> Answer {
        if self.closed {
            return Answer::Closed;
        }
        match self.handed.remove(&caller) {
            None => Answer::Waits,
            Some(Handed::Connection) => self.lends(caller),
            Some(Handed::Room) => self.opens(caller),
        }
    }

    fn leave(&mut self, caller: usize) {
        match self.handed.remove(&caller) {
            Some(Handed::Connection) => self.comes_back(false),
            Some(Handed::Room) => {}
            None => self.waiting.retain(|other| *other != caller),
        }
        self.serve();
    }

    fn give_back(&mut self, caller: usize, discards: bool) {
        let stale = self.lent.remove(&caller).unwrap();
        self.comes_back(stale || discards);
        self.serve();
    }

    fn comes_back(&mut self, stale: bool) {
        if !(self.closed || stale || self.open() + 1 > self.most) {
            self.idle += 1;
        }
    }

    fn clear_out(&mut self) {
        self.idle = 0;
        self.lent.values_mut().for_each(|stale| *stale = true);
        self.handed.values_mut().for_each(|what| *what = Handed::Room);
        self.serve();
    }

    fn resize(&mut self, most: u32) {
        self.most = most as usize;
        while self.open() > self.most && self.idle > 0 {
            self.idle -= 1;
        }
        self.serve();
    }

    fn close(&mut self) {
        self.closed = true;
        self.idle = 0;
        self.waiting.clear();
        self.handed.clear();
    }

    fn figures(&self) -> [u32; 4] {
        let rooms = self.handed.values().filter(|what| **what == Handed::Room).count();
        let lent = self.lent.len() + self.handed.len() - rooms;
        [self.idle, lent, rooms, self.waiting.len()].map(|figure| u32::try_from(figure).unwrap())
    }
}

struct Both<'b> {
    bench: &'b Bench,
    counted: Counted,
    callers: usize,
    asked: BTreeMap<usize, Asked<'b, Fake>>,
    lent: BTreeMap<usize, Lent<'b, Fake>>,
}

fn chosen<T>(among: &BTreeMap<usize, T>, number: usize) -> Option<usize> {
    among.keys().copied().nth(number.checked_rem(among.len())?)
}

impl<'b> Both<'b> {
    fn polled(&mut self, caller: usize, mut asked: Asked<'b, Fake>) -> Answer {
        match asked.poll() {
            Poll::Ready(Ok(lent)) => {
                self.lent.insert(caller, lent);
                Answer::Lent
            }
            Poll::Ready(Err(error)) => {
                if error.kind() == Kind::Closed {
                    return Answer::Closed;
                }
                assert_eq!(error.fault().map(|fault| fault.kind), Some(FaultKind::Storage));
                Answer::Failed
            }
            Poll::Pending => {
                self.asked.insert(caller, asked);
                Answer::Waits
            }
        }
    }

    fn take(&mut self, step: Step) {
        let (pool, counted) = (&self.bench.pool, &mut self.counted);
        match step {
            Step::Ask => {
                self.callers += 1;
                let expected = counted.ask(self.callers);
                let asked = self.bench.asks();
                assert_eq!(self.polled(self.callers, asked), expected);
            }
            Step::AskNow => {
                self.callers += 1;
                let expected = counted.asks_now(self.callers);
                let lent = self.bench.lends_now();
                assert_eq!(lent.is_some(), expected);
                self.lent.extend(lent.map(|lent| (self.callers, lent)));
            }
            Step::Poll(number) => {
                let Some(caller) = chosen(&self.asked, number) else { return };
                let expected = counted.poll(caller);
                let asked = self.asked.remove(&caller).unwrap();
                assert_eq!(self.polled(caller, asked), expected);
            }
            Step::Leave(number) => {
                let Some(caller) = chosen(&self.asked, number) else { return };
                counted.leave(caller);
                self.asked.remove(&caller);
            }
            Step::GiveBack(number) => {
                let Some(caller) = chosen(&self.lent, number) else { return };
                counted.give_back(caller, false);
                self.lent.remove(&caller);
            }
            Step::Discard(number) => {
                let Some(caller) = chosen(&self.lent, number) else { return };
                counted.give_back(caller, true);
                self.lent.remove(&caller).unwrap().discard();
            }
            Step::GiveBackDirty(number, fails) => {
                let Some(caller) = chosen(&self.lent, number) else { return };
                counted.give_back(caller, fails);
                self.bench.fake.fail_resets(FaultKind::Storage, u32::from(fails));
                let mut lent = self.lent.remove(&caller).unwrap();
                lent.db().leave(CheckIn::Reset);
            }
            Step::FailOpening => {
                counted.opening_fails = true;
                self.bench.fake.fail_connects(FaultKind::Storage, 1);
            }
            Step::FailLoan => {
                counted.loan_fails = true;
                self.bench.fake.fail_check_outs(FaultKind::Storage, 1);
            }
            Step::Drain => {
                let is_quiet = counted.lent.is_empty() && counted.handed.is_empty();
                assert_eq!(poll_once(pin!(pool.drained(Time::NEVER))).is_ready(), is_quiet);
            }
            Step::AdvanceEpoch => {
                counted.clear_out();
                pool.advance_epoch();
            }
            Step::Evict => {
                counted.clear_out();
                pool.evict();
            }
            Step::Resize(max_connections) => {
                counted.resize(max_connections);
                pool.reconfigure(PoolConfig { max_connections, ..PoolConfig::untended() }).unwrap();
            }
            Step::Suspend => {
                counted.suspended = true;
                pool.suspend();
            }
            Step::Resume => {
                counted.suspended = false;
                counted.serve();
                pool.resume();
            }
            Step::Close => {
                counted.close();
                pool.close();
            }
        }
    }
}

proptest! {
    #[test]
    fn the_pool_does_what_one_that_only_counts_would_do(
        most in 1..5_u32,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let bench = Bench::of(most);
        let counted = Counted { most: most as usize, ..Counted::default() };
        let mut both =
            Both { bench: &bench, counted, callers: 0, asked: BTreeMap::new(), lent: BTreeMap::new() };
        for step in steps {
            both.take(step);
            prop_assert_eq!(bench.figures(), both.counted.figures(), "after {:?}", step);
            let status = bench.status();
            prop_assert_eq!(bench.fake.counts().open(), u64::from(status.idle + status.lent));
            prop_assert_eq!(status.opened - status.closed, u64::from(status.idle + status.lent));
        }
        drop(both);
        prop_assert_eq!(bench.status().waiting, 0);
        prop_assert_eq!(bench.clock.alarms(), 0);
    }
}
