use super::{
    FakeError,
    fake::{Ended, Shared},
};
use crate::{
    Access, Analysis, Changes, CheckIn, Clock, Columns, Commit, Connection, Durability, Failure, FaultKind, Flow,
    Interrupt, Limit, Loan, Member, Position, Prepared, Row, RowKeys, Stamp, Time, Transact, ValueRef, Written,
    WrittenRows, WrittenTable,
};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    ops,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// An open handle to a [`Fake`](super::Fake).
#[derive(Debug)]
pub struct FakeConnection {
    pub(super) tx: FakeTx,
}

/// What a read closure over a [`Fake`](super::Fake) is given.
#[derive(Debug)]
pub struct FakeDb {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    access: Access,
    id: u64,
    limit: Cell<Limit>,
    steps_left: Cell<u64>,
    stopped: Cell<bool>,
    left: Cell<CheckIn>,
    interrupted: Arc<AtomicBool>,
    lent: Cell<bool>,
    kept: Cell<Kept>,
    /// What a read sees from its start to its end.
    seen: RefCell<Option<BTreeMap<String, i64>>>,
    pub(super) written: RefCell<Option<BTreeMap<String, i64>>>,
    savepoint: RefCell<Option<BTreeMap<String, i64>>>,
    /// Whether the rows of this transaction are to be told.
    follows_rows: Cell<bool>,
    /// What the last transaction has written.
    told: RefCell<Written>,
    /// The same of it alone, and the version that it was committed to; `None` unless that is to be told.
    own: RefCell<Option<(Stamp, Written)>>,
    /// The version right after it.
    own_version: Cell<Option<u64>>,
    /// What was written before each part that is under way, the innermost last.
    pub(super) parts: RefCell<Vec<BTreeMap<String, i64>>>,
}

/// What a write closure over a [`Fake`](super::Fake) is given.
#[derive(Debug)]
pub struct FakeTx {
    db: FakeDb,
}

/// Stops a statement of a [`Fake`](super::Fake) that hangs or is slow.
#[derive(Debug)]
pub struct FakeInterrupt {
    shared: Arc<Shared>,
    interrupted: Arc<AtomicBool>,
}

/// What a connection keeps between loans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Nothing,
    SinceTheLoan,
    SeenAt(Time),
}

impl FakeConnection {
    pub(super) fn new(shared: &Arc<Shared>, access: Access, clock: Arc<dyn Clock>, id: u64) -> Self {
        let db = FakeDb {
            shared: Arc::clone(shared),
            clock,
            access,
            id,
            limit: Cell::default(),
            steps_left: Cell::new(u64::MAX),
            stopped: Cell::new(false),
            left: Cell::new(CheckIn::Clean),
            interrupted: Arc::default(),
            lent: Cell::new(false),
            kept: Cell::new(Kept::Nothing),
            seen: RefCell::default(),
            written: RefCell::default(),
            follows_rows: Cell::new(false),
            told: RefCell::default(),
            own: RefCell::default(),
            own_version: Cell::new(None),
            savepoint: RefCell::default(),
            parts: RefCell::default(),
        };
        Self { tx: FakeTx { db } }
    }
}

impl FakeDb {
    /// Which connection this is: they are numbered from 1 in the order of opening.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How the connection was opened.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// The number under a name.
    ///
    /// # Errors
    /// As the database was told.
    pub fn get(&self, name: &str) -> Result<Option<i64>, FakeError> {
        self.statement()?;
        let written = self.written.borrow().as_ref().and_then(|written| written.get(name).copied());
        let seen = || self.seen.borrow().as_ref().map(|seen| seen.get(name).copied());
        Ok(written.or_else(|| seen().unwrap_or_else(|| self.shared.lock().data.get(name).copied())))
    }

    /// What the check-in shall say about this connection.
    pub fn leave(&self, state: CheckIn) {
        self.left.set(state);
    }

    fn statement(&self) -> Result<(), FakeError> {
        self.shared.lock().counts.statements += 1;
        self.step()?;
        let interrupted = || self.interrupted.swap(false, Ordering::SeqCst);
        match self.shared.take_time(&*self.clock, self.limit.get(), &interrupted) {
            Ended::ByLimit => {
                self.stopped.set(true);
                Err(FakeError::new(FaultKind::Interrupted))
            }
            Ended::ByInterrupt => Err(FakeError::new(FaultKind::Interrupted)),
            Ended::AtItsEnd => {
                let failed = self.shared.lock().fail_statements.next();
                failed.map_err(|failure| failure.downcast().expect("a fake fails with its own error"))
            }
        }
    }

    /// One step: a statement, or a row of one that has no end.
    fn step(&self) -> Result<(), FakeError> {
        let left = self.steps_left.get();
        let past = matches!(self.limit.get(), Limit::Until(end) if end <= self.clock.now());
        if left == 0 || past {
            self.stopped.set(true);
            return Err(FakeError::new(FaultKind::Interrupted));
        }
        self.steps_left.set(left - u64::from(left != u64::MAX));
        if self.interrupted.swap(false, Ordering::SeqCst) {
            return Err(FakeError::new(FaultKind::Interrupted));
        }
        Ok(())
    }

    fn keep(&self, kept: Kept) {
        let before = self.kept.replace(kept);
        let counts = &mut self.shared.lock().counts;
        counts.kept = counts.kept + u64::from(kept != Kept::Nothing) - u64::from(before != Kept::Nothing);
    }

    fn set_limit(&self, limit: Limit) {
        self.limit.set(limit);
        self.steps_left.set(if let Limit::Steps(steps) = limit { steps } else { u64::MAX });
    }
}

impl FakeTx {
    /// Puts a number under a name.
    ///
    /// # Errors
    /// As the database was told, and on a connection that cannot write.
    pub fn set(&self, name: &str, number: i64) -> Result<(), FakeError> {
        self.statement()?;
        if self.access == Access::Read || self.shared.lock().read_only {
            return Err(FakeError::new(FaultKind::ReadOnly));
        }
        match &mut *self.written.borrow_mut() {
            Some(written) => drop(written.insert(name.into(), number)),
            None => drop(self.shared.lock().data.insert(name.into(), number)),
        }
        Ok(())
    }
}

impl FakeTx {
    /// The table, with these rows of it where those are told.
    fn numbers<'a>(&self, names: impl Iterator<Item = &'a String>) -> Written {
        let rows: Option<BTreeSet<i64>> = names.map(|name| name.parse().ok()).collect();
        let rows = match rows.filter(|_| self.follows_rows.get()) {
            Some(rows) => WrittenRows::Only(rows.into_iter().collect()),
            None => WrittenRows::Any,
        };
        Written::Tables(Arc::new([WrittenTable { name: "numbers".into(), rows }]))
    }
}

impl ops::Deref for FakeTx {
    type Target = FakeDb;

    fn deref(&self) -> &FakeDb {
        &self.db
    }
}

impl Drop for FakeDb {
    fn drop(&mut self) {
        self.keep(Kept::Nothing);
        self.shared.lock().counts.closes += 1;
    }
}

impl Interrupt for FakeInterrupt {
    fn interrupt(&self) {
        self.shared.lock().counts.interrupts += 1;
        self.interrupted.store(true, Ordering::SeqCst);
        self.shared.wake_sleepers();
    }
}

struct FakeRow<'a>(&'a Arc<Columns>, &'a [ValueRef<'a>]);

impl Row for FakeRow<'_> {
    fn columns(&self) -> &Arc<Columns> {
        self.0
    }

    fn value(&self, column: usize) -> Result<ValueRef<'_>, Failure> {
        self.1.get(column).copied().ok_or_else(|| Failure::msg(format_args!("there is no column {column}")))
    }
}

impl Connection for FakeConnection {
    type Db = FakeDb;
    type Tx = FakeTx;
    type Raw = FakeDb;

    fn db(&mut self) -> &FakeDb {
        &self.tx.db
    }

    fn tx(&mut self) -> &FakeTx {
        &self.tx
    }

    fn raw(&mut self) -> &mut FakeDb {
        self.tx.db.left.set(CheckIn::Discard);
        &mut self.tx.db
    }

    fn check_out(&mut self, loan: Loan) -> Result<(), Failure> {
        // An interrupt stops what runs; between two loans nothing does.
        self.tx.interrupted.store(false, Ordering::SeqCst);
        self.tx.lent.set(true);
        let mut state = self.tx.shared.lock();
        state.counts.check_outs += 1;
        state.fail_check_outs.next()?;
        self.tx.db.seen.replace((loan == Loan::Read).then(|| state.data.clone()));
        Ok(())
    }

    fn check_in(&mut self) -> CheckIn {
        self.tx.shared.lock().counts.check_ins += 1;
        self.tx.lent.set(false);
        let keeps = self.tx.access == Access::Read && self.tx.shared.lock().keep.is_some();
        self.tx.keep(if keeps { Kept::SinceTheLoan } else { Kept::Nothing });
        self.tx.set_limit(Limit::None);
        self.tx.stopped.set(false);
        self.tx.seen.take();
        self.tx.interrupted.store(false, Ordering::SeqCst);
        if self.tx.written.borrow().is_some() {
            return CheckIn::Reset;
        }
        self.tx.left.replace(CheckIn::Clean)
    }

    fn limit(&mut self, limit: Limit) {
        self.tx.set_limit(limit);
    }

    fn stopped(&self) -> bool {
        self.tx.stopped.get()
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.tx.db.written.take();
        self.tx.db.savepoint.take();
        self.tx.shared.lock().counts.resets += 1;
        self.tx.shared.be_reset(&*self.tx.clock);
        let mut state = self.tx.shared.lock();
        state.fail_resets.next()
    }

    /// As the trait says.
    ///
    /// # Panics
    /// On a connection that is lent.
    fn idle(&mut self, now: Time) -> Option<Time> {
        assert!(!self.tx.lent.get(), "a connection that is lent is not idle");
        let mut state = self.tx.shared.lock();
        state.counts.idles += 1;
        let keep = state.keep?;
        drop(state);
        self.tx.shared.be_idle(&*self.tx.clock);
        let (kept, again) = match self.tx.kept.get() {
            Kept::Nothing => return None,
            Kept::SinceTheLoan => (Kept::SeenAt(now), Some(now + keep)),
            Kept::SeenAt(at) if now < at + keep => (Kept::SeenAt(at), Some(at + keep)),
            Kept::SeenAt(_) => (Kept::Nothing, None),
        };
        self.tx.keep(kept);
        again
    }

    fn ping(&mut self) -> Result<(), Failure> {
        self.tx.shared.lock().counts.pings += 1;
        self.tx.shared.be_checked(&*self.tx.clock);
        let mut state = self.tx.shared.lock();
        state.fail_pings.next()
    }

    fn interrupter(&self) -> Arc<dyn Interrupt> {
        let (shared, interrupted) = (Arc::clone(&self.tx.shared), Arc::clone(&self.tx.interrupted));
        Arc::new(FakeInterrupt { shared, interrupted })
    }

    fn analyse(&mut self, sql: &str) -> Result<Analysis, Failure> {
        self.tx.shared.lock().counts.analyses += 1;
        let mut words = sql.split_whitespace();
        let (columns, parameters, read_only) = match (words.next(), words.next(), words.next()) {
            (Some("get"), None, None) => (Columns::new(["number"]), 1, true),
            (Some("get"), Some(name), None) => (Columns::new([name]), 0, true),
            (Some("all"), None, None) => (Columns::new(["name", "number"]), 0, true),
            (Some("echo"), None, None) => (Columns::new(["value"]), 1, true),
            (Some("endless"), None, None) => (Columns::new(["number"]), 0, true),
            (Some("set"), Some(_), None) => (Columns::default(), 1, false),
            _ => return Err(FakeError::new(FaultKind::Statement).into()),
        };
        let of_numbers = matches!(sql.split_whitespace().next(), Some("get" | "all" | "set"));
        Ok(Analysis {
            read_only,
            columns: Arc::new(columns),
            parameters,
            reads: if read_only && of_numbers { Box::new(["numbers".into()]) } else { Box::default() },
            writes: if read_only { Box::default() } else { Box::new(["numbers".into()]) },
            deterministic: true,
            cacheable: read_only && of_numbers,
            rows: (sql == "get").then(|| RowKeys { table: "numbers".into(), parameters: Box::new([0]) }),
            ..Analysis::default()
        })
    }

    fn execute(&mut self, statement: &Prepared, parameters: &[ValueRef<'_>]) -> Result<Changes, Failure> {
        match (statement.sql.split_whitespace().nth(1), parameters) {
            (Some(name), [ValueRef::Integer(number)]) if !statement.analysis.read_only => {
                self.tx.set(name, *number)?;
                Ok(Changes { rows: 1, last_insert_rowid: None })
            }
            _ => Err(FakeError::new(FaultKind::Statement).into()),
        }
    }

    fn query(
        &mut self,
        statement: &Prepared,
        parameters: &[ValueRef<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<Flow, Failure>,
    ) -> Result<(), Failure> {
        if !statement.analysis.read_only {
            return self.execute(statement, parameters).map(drop);
        }
        if parameters.len() != statement.analysis.parameters {
            return Err(FakeError::new(FaultKind::Statement).into());
        }
        let columns = &statement.analysis.columns;
        let of_parameter = match (&*statement.sql, parameters) {
            ("get", [ValueRef::Integer(row)]) => Some(row.to_string()),
            _ => None,
        };
        if let Some(name) = of_parameter.as_deref().or_else(|| statement.sql.strip_prefix("get ")) {
            let number = self.tx.get(name.trim())?;
            each(&FakeRow(columns, &[number.map_or(ValueRef::Null, ValueRef::Integer)]))?;
            return Ok(());
        }
        self.tx.statement()?;
        match &*statement.sql {
            "echo" => drop(each(&FakeRow(columns, parameters))?),
            "endless" => {
                for number in 0.. {
                    self.tx.step()?;
                    if each(&FakeRow(columns, &[ValueRef::Integer(number)]))? == Flow::Stop {
                        break;
                    }
                }
            }
            _ => {
                let seen = self.tx.seen.borrow().clone();
                let data = seen.unwrap_or_else(|| self.tx.shared.lock().data.clone());
                for (name, number) in data {
                    if each(&FakeRow(columns, &[ValueRef::Text(&name), ValueRef::Integer(number)]))? == Flow::Stop {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Transact for FakeConnection {
    fn begin(&mut self, _durability: Durability) -> Result<(), Failure> {
        let mut state = self.tx.shared.lock();
        if state.read_only || self.tx.access == Access::Read {
            return Err(FakeError::new(FaultKind::ReadOnly).into());
        }
        state.counts.begins += 1;
        self.tx.follows_rows.set(state.follows_rows);
        self.tx.db.written.replace(Some(BTreeMap::new()));
        self.tx.db.parts.take();
        Ok(())
    }

    fn enter(&mut self) -> Result<(), Failure> {
        let written = self.tx.written.borrow().clone();
        self.tx.db.savepoint.replace(written);
        Ok(())
    }

    fn leave(&mut self, keep: bool) -> Member {
        if self.tx.written.borrow().is_none() {
            return Member::BatchLost;
        }
        let savepoint = self.tx.db.savepoint.take();
        self.tx.db.parts.take();
        if keep {
            return Member::Kept;
        }
        self.tx.db.written.replace(savepoint);
        Member::Undone
    }

    fn commit(&mut self) -> Commit {
        let mut state = self.tx.shared.lock();
        if let Err(failure) = state.fail_commits.next() {
            self.tx.db.written.take();
            return Commit::RolledBack(failure);
        }
        let written = self.tx.db.written.take().unwrap_or_default();
        let is_known = state.tells_writes && self.tx.own_version.get() == Some(state.version);
        let numbers = self.tx.numbers(written.keys());
        let own = state.tells_writes.then(|| (Stamp([state.version, 0, 0, 0, 0, 0]), numbers.clone()));
        self.tx.own.replace(own);
        self.tx.told.replace(if is_known { numbers } else { Written::Everything });
        state.data.extend(written);
        state.counts.commits += 1;
        state.version += 1;
        self.tx.own_version.set((state.lose_commits == 0).then_some(state.version));
        let position = Position { epoch: 0, commit: state.counts.commits };
        match state.lose_commits.checked_sub(1) {
            Some(left) => {
                state.lose_commits = left;
                Commit::Unknown(FakeError::new(FaultKind::Storage).into())
            }
            None => Commit::Done(position),
        }
    }

    fn writing(&mut self) -> Written {
        let state = self.tx.shared.lock();
        let is_known = state.tells_writes && self.tx.own_version.get() == Some(state.version);
        if is_known { Written::Tables(Arc::new([WrittenTable::any("numbers")])) } else { Written::Everything }
    }

    fn written(&mut self) -> Written {
        self.tx.told.borrow().clone()
    }

    fn written_from(&mut self) -> Option<(Stamp, Written)> {
        self.tx.own.take()
    }

    fn stamp(&self) -> Option<Stamp> {
        let version = self.tx.own_version.get().filter(|_| self.tx.shared.lock().tells_writes)?;
        Some(Stamp([version, 0, 0, 0, 0, 0]))
    }

    fn roll_back(&mut self) -> Result<(), Failure> {
        self.tx.db.written.take();
        self.tx.shared.lock().counts.roll_backs += 1;
        Ok(())
    }
}
