//! A fake whose every method can be told to panic, once.

use ecm_core::{
    Abilities, Access, Analysis, Backend, Changes, CheckIn, Clock, Commit, Connection, Durability, Failure, Fault,
    FaultKind, Flow, Interrupt, Limit, Loan, Member, Prepared, Row, Time, Transact, ValueRef,
    testing::{Fake, FakeConnection, FakeDb, FakeError, FakeTx},
};
use std::{
    error::Error as StdError,
    sync::{Arc, Mutex},
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Moment {
    Connect,
    Interrupter,
    CheckOut,
    CheckIn,
    Begin,
    Enter,
    Leave,
    Commit,
    Reset,
    Close,
    Idle,
    Ping,
    Upkeep,
    /// Fails instead of panicking.
    RollBack,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Rough {
    pub(crate) fake: Fake,
    plan: Plan,
}

#[derive(Clone, Debug, Default)]
struct Plan(Arc<Mutex<Vec<Moment>>>);

impl Plan {
    fn has(&self, moment: Moment) -> bool {
        let mut plan = self.0.lock().unwrap();
        let found = plan.iter().position(|planned| *planned == moment);
        found.map(|at| plan.remove(at)).is_some()
    }

    fn reach(&self, moment: Moment) {
        assert!(!self.has(moment), "told to panic: {moment:?}");
    }
}

impl Rough {
    pub(crate) fn fails_at(&self, moments: &[Moment]) {
        self.plan.0.lock().unwrap().extend(moments);
    }

    /// Whether everything that was planned has happened.
    pub(crate) fn is_through(&self) -> bool {
        self.plan.0.lock().unwrap().is_empty()
    }
}

#[derive(Debug)]
pub(crate) struct RoughConnection {
    inner: FakeConnection,
    plan: Plan,
}

impl Drop for RoughConnection {
    fn drop(&mut self) {
        self.plan.reach(Moment::Close);
    }
}

impl Backend for Rough {
    type Connection = RoughConnection;

    fn connect(&self, access: Access, clock: &Arc<dyn Clock>) -> Result<RoughConnection, Failure> {
        self.plan.reach(Moment::Connect);
        Ok(RoughConnection { inner: self.fake.connect(access, clock)?, plan: self.plan.clone() })
    }

    fn classify(&self, error: &(dyn StdError + 'static)) -> Option<Fault> {
        self.fake.classify(error)
    }

    fn abilities(&self) -> Abilities {
        self.fake.abilities()
    }

    fn keeps(&self, access: Access) -> bool {
        self.fake.keeps(access)
    }

    fn describe(&self) -> String {
        self.fake.describe()
    }

    /// Once is enough: answers that it need never come again.
    fn upkeep(&self, writer: &mut RoughConnection, now: Time) -> Option<Time> {
        self.plan.reach(Moment::Upkeep);
        self.fake.upkeep(&mut writer.inner, now);
        None
    }
}

impl Connection for RoughConnection {
    type Db = FakeDb;
    type Tx = FakeTx;
    type Raw = FakeDb;

    fn db(&mut self) -> &FakeDb {
        self.inner.db()
    }

    fn tx(&mut self) -> &FakeTx {
        self.inner.tx()
    }

    fn raw(&mut self) -> &mut FakeDb {
        self.inner.raw()
    }

    fn check_out(&mut self, loan: Loan) -> Result<(), Failure> {
        self.plan.reach(Moment::CheckOut);
        self.inner.check_out(loan)
    }

    fn check_in(&mut self) -> CheckIn {
        self.plan.reach(Moment::CheckIn);
        self.inner.check_in()
    }

    fn limit(&mut self, limit: Limit) {
        self.inner.limit(limit);
    }

    fn stopped(&self) -> bool {
        self.inner.stopped()
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.plan.reach(Moment::Reset);
        self.inner.reset()
    }

    fn idle(&mut self, now: Time) -> Option<Time> {
        self.plan.reach(Moment::Idle);
        self.inner.idle(now)
    }

    fn ping(&mut self) -> Result<(), Failure> {
        self.plan.reach(Moment::Ping);
        self.inner.ping()
    }

    fn interrupter(&self) -> Arc<dyn Interrupt> {
        self.plan.reach(Moment::Interrupter);
        self.inner.interrupter()
    }

    fn analyse(&mut self, sql: &str) -> Result<Analysis, Failure> {
        self.inner.analyse(sql)
    }

    fn execute(&mut self, statement: &Prepared, parameters: &[ValueRef<'_>]) -> Result<Changes, Failure> {
        self.inner.execute(statement, parameters)
    }

    fn query(
        &mut self,
        statement: &Prepared,
        parameters: &[ValueRef<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<Flow, Failure>,
    ) -> Result<(), Failure> {
        self.inner.query(statement, parameters, each)
    }
}

impl Transact for RoughConnection {
    fn begin(&mut self, durability: Durability) -> Result<(), Failure> {
        self.plan.reach(Moment::Begin);
        self.inner.begin(durability)
    }

    fn enter(&mut self) -> Result<(), Failure> {
        self.plan.reach(Moment::Enter);
        self.inner.enter()
    }

    fn leave(&mut self, keep: bool) -> Member {
        self.plan.reach(Moment::Leave);
        self.inner.leave(keep)
    }

    fn commit(&mut self) -> Commit {
        self.plan.reach(Moment::Commit);
        self.inner.commit()
    }

    fn roll_back(&mut self) -> Result<(), Failure> {
        if self.plan.has(Moment::RollBack) {
            return Err(FakeError::new(FaultKind::Storage).into());
        }
        self.inner.roll_back()
    }
}
