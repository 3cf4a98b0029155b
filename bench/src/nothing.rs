use ecm_core::{
    Abilities, Access, Analysis, Backend, Changes, CheckIn, Clock, Commit, Connection, Durability, Failure, Fault,
    Flow, Interrupt, Limit, Loan, Member, Position, Prepared, Row, Transact, ValueRef,
};
use std::{error::Error, sync::Arc};

/// A backend that does nothing, so that all that is measured over it is ECM's own.
#[derive(Debug)]
pub(crate) struct Nothing;

/// A connection of [`Nothing`].
#[derive(Debug)]
pub(crate) struct Idle;

impl Backend for Nothing {
    type Connection = Idle;

    fn connect(&self, _: Access, _: &Arc<dyn Clock>) -> Result<Idle, Failure> {
        Ok(Idle)
    }
    fn classify(&self, _: &(dyn Error + 'static)) -> Option<Fault> {
        None
    }
    fn abilities(&self) -> Abilities {
        Abilities { one_writer: true, answers_in_process: true, group_commit: true }
    }
    fn describe(&self) -> String {
        "nothing".into()
    }
}

impl Interrupt for Idle {
    fn interrupt(&self) {}
}

impl Connection for Idle {
    type Db = u8;
    type Tx = u8;
    type Raw = Self;

    fn db(&mut self) -> &u8 {
        &7
    }
    fn tx(&mut self) -> &u8 {
        &7
    }
    fn raw(&mut self) -> &mut Self {
        self
    }
    fn check_out(&mut self, _: Loan) -> Result<(), Failure> {
        Ok(())
    }
    fn check_in(&mut self) -> CheckIn {
        CheckIn::Clean
    }
    fn limit(&mut self, _: Limit) {}
    fn stopped(&self) -> bool {
        false
    }
    fn reset(&mut self) -> Result<(), Failure> {
        Ok(())
    }
    fn ping(&mut self) -> Result<(), Failure> {
        Ok(())
    }
    fn interrupter(&self) -> Arc<dyn Interrupt> {
        Arc::new(Self)
    }
    fn analyse(&mut self, _: &str) -> Result<Analysis, Failure> {
        Ok(Analysis { read_only: true, ..Analysis::default() })
    }
    fn execute(&mut self, _: &Prepared, _: &[ValueRef<'_>]) -> Result<Changes, Failure> {
        Ok(Changes::default())
    }
    fn query(
        &mut self,
        _: &Prepared,
        _: &[ValueRef<'_>],
        _: &mut dyn FnMut(&dyn Row) -> Result<Flow, Failure>,
    ) -> Result<(), Failure> {
        Ok(())
    }
}

impl Transact for Idle {
    fn begin(&mut self, _: Durability) -> Result<(), Failure> {
        Ok(())
    }
    fn enter(&mut self) -> Result<(), Failure> {
        Ok(())
    }
    fn leave(&mut self, _: bool) -> Member {
        Member::Kept
    }
    fn commit(&mut self) -> Commit {
        Commit::Done(Position::default())
    }
    fn roll_back(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}
