use super::*;
use crate::{
    Abilities, Access, Analysis, Changes, CheckIn, Clock, Commit, Connection, Durability, Failure, Fault, FaultKind,
    Flow, Interrupt, Limit, Loan, Member, Position, Prepared, Row, Time, ValueRef,
    testing::{Fake, FakeConnection, FakeDb, conformance::promise::each_is_caught_by_name},
};
use std::{
    cell::Cell,
    error::Error as StdError,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, ThreadId},
};

/// A [`Fake`] that is wrong in the promise that it breaks.
#[derive(Debug)]
pub(super) struct Bent {
    breaks: &'static str,
    fake: Fake,
    made_by: ThreadId,
}

#[derive(Debug)]
pub(super) struct BentConnection {
    pub(super) breaks: &'static str,
    pub(super) fake: FakeConnection,
    /// How many parts are open.
    pub(super) parts: Cell<u32>,
    /// Whether the member that is under way is kept whatever is wanted.
    pub(super) clings: Cell<bool>,
    clock: Arc<dyn Clock>,
    limit: Limit,
    begun: bool,
    interrupted: Arc<AtomicBool>,
    alive: Arc<()>,
}

#[derive(Debug)]
struct BentInterrupt {
    breaks: &'static str,
    fake: Arc<dyn Interrupt>,
    interrupted: Arc<AtomicBool>,
    connection: Weak<()>,
}

struct BentRow<'a>(&'a dyn Row);

impl Row for BentRow<'_> {
    fn columns(&self) -> &Arc<crate::Columns> {
        self.0.columns()
    }

    fn value(&self, column: usize) -> Result<ValueRef<'_>, Failure> {
        Ok(match self.0.value(column)? {
            ValueRef::Real(number) => ValueRef::Real(f64::from(number as f32)),
            value => value,
        })
    }
}

impl Bent {
    pub(super) fn new(breaks: &'static str) -> Self {
        Self { breaks, fake: Fake::new(), made_by: thread::current().id() }
    }
}

impl Backend for Bent {
    type Connection = BentConnection;

    fn connect(&self, access: Access, clock: &Arc<dyn Clock>) -> Result<BentConnection, Failure> {
        if self.breaks == THREADS && self.made_by != thread::current().id() {
            return Err(Failure::msg("not my thread"));
        }
        let access = if self.breaks == REFUSES { Access::Write } else { access };
        let fake = self.fake.connect(access, clock)?;
        Ok(BentConnection {
            breaks: self.breaks,
            fake,
            parts: Cell::new(0),
            clings: Cell::new(false),
            clock: Arc::clone(clock),
            limit: Limit::None,
            begun: false,
            interrupted: Arc::default(),
            alive: Arc::default(),
        })
    }

    fn classify(&self, error: &(dyn StdError + 'static)) -> Option<Fault> {
        let storage = Fault { kind: FaultKind::Storage, code: 0 };
        match self.fake.classify(error) {
            Some(fault) if self.breaks == STATEMENTS && fault.kind == FaultKind::Statement => Some(storage),
            None if self.breaks == FOREIGN && error.is::<std::io::Error>() => Some(storage),
            fault => fault,
        }
    }

    fn abilities(&self) -> Abilities {
        self.fake.abilities()
    }

    fn describe(&self) -> String {
        self.fake.describe()
    }

    fn upkeep(&self, writer: &mut BentConnection, now: Time) -> Option<Time> {
        let again = self.fake.upkeep(&mut writer.fake, now);
        if self.breaks == UPKEEP { Some(now) } else { again }
    }
}

impl Interrupt for BentInterrupt {
    fn interrupt(&self) {
        match self.breaks {
            INTERRUPTS => {}
            IDLE => {
                self.interrupted.store(true, Ordering::SeqCst);
                self.fake.interrupt();
            }
            CLOSED => {
                assert!(self.connection.strong_count() > 0, "the connection is closed");
                self.fake.interrupt();
            }
            _ => self.fake.interrupt(),
        }
    }
}

impl BentConnection {
    fn limited(&self) -> bool {
        matches!(self.limit, Limit::Until(end) if end <= self.clock.now())
    }
}

impl Connection for BentConnection {
    type Db = FakeDb;
    /// Itself, to be wrong about parts.
    type Tx = Self;
    type Raw = FakeDb;

    fn db(&mut self) -> &FakeDb {
        self.fake.db()
    }

    fn tx(&mut self) -> &Self {
        self
    }

    fn raw(&mut self) -> &mut FakeDb {
        self.fake.raw()
    }

    fn check_out(&mut self, loan: Loan) -> Result<(), Failure> {
        let loan = if self.breaks == STABLE { Loan::Statement } else { loan };
        self.fake.check_out(loan)?;
        if self.breaks == OUTLIVED {
            self.fake.limit(self.limit);
        }
        Ok(())
    }

    fn check_in(&mut self) -> CheckIn {
        let open = std::mem::take(&mut self.begun);
        if self.breaks == LEFT && open {
            let _lost = self.fake.commit();
        }
        match (self.breaks, self.fake.check_in()) {
            (CLEAN, CheckIn::Clean) => CheckIn::Reset,
            (WHOLE, CheckIn::Discard) => CheckIn::Clean,
            (_, left) => left,
        }
    }

    fn limit(&mut self, limit: Limit) {
        self.limit = limit;
        if self.breaks != LIMITS {
            self.fake.limit(limit);
        }
    }

    fn stopped(&self) -> bool {
        self.fake.stopped() || self.breaks == UNREACHED && self.limit != Limit::None
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.fake.reset()
    }

    fn ping(&mut self) -> Result<(), Failure> {
        if self.breaks == OPENS { Err(Failure::msg("no answer")) } else { self.fake.ping() }
    }

    fn interrupter(&self) -> Arc<dyn Interrupt> {
        Arc::new(BentInterrupt {
            breaks: self.breaks,
            fake: self.fake.interrupter(),
            interrupted: Arc::clone(&self.interrupted),
            connection: Arc::downgrade(&self.alive),
        })
    }

    fn analyse(&mut self, sql: &str) -> Result<Analysis, Failure> {
        let analysis = self.fake.analyse(sql)?;
        Ok(match self.breaks {
            ANALYSES => Analysis { cacheable: true, ..analysis },
            TABLES => {
                Analysis { reads: analysis.reads.iter().map(|name| name.to_uppercase().into()).collect(), ..analysis }
            }
            _ => analysis,
        })
    }

    fn execute(&mut self, statement: &Prepared, parameters: &[ValueRef<'_>]) -> Result<Changes, Failure> {
        let first = [parameters.first().copied().unwrap_or(ValueRef::Integer(0))];
        let parameters = if self.breaks == PARAMETERS { &first } else { parameters };
        let changes = self.fake.execute(statement, parameters)?;
        if self.breaks == HIDDEN {
            let _committed = self.fake.commit();
            self.fake.begin(Durability::Configured)?;
        }
        Ok(if self.breaks == CHANGES { Changes::default() } else { changes })
    }

    fn query(
        &mut self,
        statement: &Prepared,
        parameters: &[ValueRef<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<Flow, Failure>,
    ) -> Result<(), Failure> {
        if self.breaks == IDLE && self.interrupted.swap(false, Ordering::SeqCst) {
            return Err(Failure::msg("interrupted"));
        }
        let breaks = self.breaks;
        let queried = self.fake.query(statement, parameters, &mut |row| match breaks {
            VALUES => each(&BentRow(row)),
            ENOUGH => each(row).map(|_| Flow::Continue),
            _ => each(row),
        });
        queried.map_err(|failure| if breaks == OWN { Failure::msg(failure) } else { failure })
    }
}

impl Transact for BentConnection {
    fn begin(&mut self, durability: Durability) -> Result<(), Failure> {
        self.fake.begin(durability)?;
        self.begun = true;
        Ok(())
    }

    fn enter(&mut self) -> Result<(), Failure> {
        self.fake.enter()
    }

    fn leave(&mut self, keep: bool) -> Member {
        let clings = self.clings.take() || self.breaks == MEMBERS;
        match self.fake.leave(keep || clings) {
            Member::Kept if !keep => Member::Undone,
            left => left,
        }
    }

    fn commit(&mut self) -> Commit {
        self.begun = false;
        if self.breaks == VISIBLE || self.breaks == UNSTOPPED && self.limited() {
            let _lost = self.fake.roll_back();
        }
        match self.fake.commit() {
            Commit::Done(_) if self.breaks == POSITIONS => Commit::Done(Position::default()),
            committed => committed,
        }
    }

    fn roll_back(&mut self) -> Result<(), Failure> {
        self.begun = false;
        if self.breaks == UNDONE {
            let _kept = self.fake.commit();
        }
        self.fake.roll_back()
    }
}

#[test]
fn each_promise_catches_the_backend_that_breaks_it() {
    each_is_caught_by_name(PROMISES, |breaks| backend(|| Bent::new(breaks), &BackendScript::fake()));
}

#[test]
fn a_backend_that_breaks_none_passes() {
    backend(|| Bent::new("none"), &BackendScript::fake());
    backend(Fake::new, &BackendScript::fake());
}
