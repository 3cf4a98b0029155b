use crate::{
    Db, Sqlite, SqliteConfig, Tx,
    analysis::{self, Functions},
    control::Control,
    engine::Engine,
    fault::refused,
    generation::moved,
    governor::Presence,
    guard::{Guard, Mode},
    handle,
    hold::Hold,
    kept::Cached,
    row::{Bound, SqliteRow},
    schema_facts::SchemaFacts,
    sqlite::Shared,
    tally::{self, Tally},
    wal_index::Header,
};
use ecm_core::{
    Access, Analysis, Backend, Changes, CheckIn, Columns, Connection, Failure, Flow, Interrupt, Kind, Limit, Loan,
    Prepared, Row, Time, ValueRef,
};
use rusqlite::InterruptHandle;
use std::{
    cell::OnceCell,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// For how long no reader holds a snapshot after one has held its own for as long as it may.
const BETWEEN_TWO: Duration = Duration::from_millis(1);

/// An open handle to a [`Sqlite`] database.
///
/// Between two loans it is in autocommit mode, outside any transaction, with nothing attached and
/// no statement running: [`check_in`](Connection::check_in) closes or resets what is not.
///
/// One exception makes short reads several times faster, since most of their cost is taking and giving
/// back a lock. A reader of a file with a log keeps its transaction, and serves the next loan from
/// the same snapshot if nobody has committed since, in whatever process; that takes some
/// nanoseconds to see. It does so only where it pays and is in nobody's way: after four loans in a row
/// that found nothing changed, until the first change, at most for 50 ms, for 5 ms when it is not lent,
/// and until somebody who waits for a lock, or [`Sqlite::let_go`], asks; not while the log is being moved into the file.
/// Nothing is held before
/// [`idle`](Connection::idle) was called once on any connection of the database.
pub struct SqliteConnection {
    pub(crate) tx: Tx,
    pub(crate) access: Access,
    pub(crate) config: Arc<SqliteConfig>,
    pub(crate) shared: Arc<Shared>,
    /// Which connection of SQLite's this was made with: a raw borrower can exchange it.
    born: usize,
    /// Which file it is in: the generation of the database in which it was opened.
    generation: u64,
    /// Whether the file may get a log although it had none when it was opened.
    may_get_log: bool,
    loan: Option<Loan>,
    hold: Hold,
    pub(crate) course: Course,
    /// Whether something happened after which it must not be lent again.
    pub(crate) spoilt: bool,
    /// Whether a borrower has had the driver's own connection, and may have committed with it.
    lent_raw: bool,
    /// Whether `PRAGMA synchronous` stands higher than configured, for one transaction.
    pub(crate) synced: bool,
    functions: OnceCell<Functions>,
    /// What telling rows apart asks of the schema.
    pub(crate) facts: SchemaFacts,
    interrupt: Arc<Interrupter>,
    pub(crate) place: String,
    /// Dropped last, when the connection is closed.
    pub(crate) presence: Presence,
}

/// How the log has gone on beside the transactions of one writer.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// The state after the last commit of this connection.
    pub(crate) known: Option<Header>,
    /// The state in which the open transaction has begun.
    pub(crate) begun: Option<Header>,
    /// Whether nobody else has committed since `known`, up to the last commit.
    pub(crate) alone: bool,
    /// Whether nobody else has committed since `begun`, up to the last commit.
    pub(crate) follows: bool,
}

/// Stops what runs on a connection, from another thread.
struct Interrupter(InterruptHandle, Arc<AtomicBool>);

impl SqliteConnection {
    pub(crate) fn new(
        connection: Engine,
        access: Access,
        guard: Arc<Guard>,
        database: &Sqlite,
        presence: Presence,
        generation: u64,
    ) -> Result<Self, Failure> {
        let born = handle::address(&connection);
        let interrupt = Arc::new(Interrupter(connection.get_interrupt_handle(), Arc::clone(guard.interrupted())));
        guard.end_loan();
        Ok(Self {
            tx: Tx { db: Db::new(connection, guard) },
            access,
            config: Arc::clone(&database.config),
            shared: Arc::clone(&database.shared),
            born,
            generation,
            may_get_log: database.keeps(access),
            loan: None,
            hold: Hold::default(),
            course: Course::default(),
            spoilt: false,
            lent_raw: false,
            synced: false,
            functions: OnceCell::new(),
            facts: SchemaFacts::default(),
            interrupt,
            place: database.describe(),
            presence,
        })
    }

    /// Which file it is in.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn db_ref(&self) -> &Db {
        &self.tx.db
    }

    /// Runs a control statement of ECM's own.
    pub(crate) fn control(&self, mode: Mode, control: Control) -> rusqlite::Result<()> {
        let db = self.db_ref();
        let _entered = db.guard.enter(mode);
        db.connection.run(control)
    }

    /// The first damage that SQLite finds in the database, unless there is none.
    pub(crate) fn damage(&self) -> Result<Option<String>, Failure> {
        let db = self.db_ref();
        let _entered = db.guard.enter(Mode::End);
        let found: String = db.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        Ok((found != "ok").then_some(found))
    }

    pub(crate) fn is_autocommit(&self) -> bool {
        self.db_ref().connection.is_autocommit()
    }

    /// Whether no transaction is open, not even one that a forgotten statement keeps.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.db_ref().connection.is_at_rest()
    }

    /// Ends what a forgotten statement keeps open. Such a connection is not lent again.
    pub(crate) fn reset_leaked(&mut self) {
        self.tx.db.connection.reset_running();
        self.spoilt = true;
    }

    /// Leaves every transaction; false if that failed.
    fn come_to_rest(&mut self) -> bool {
        if !self.is_autocommit() {
            let _state_decides = self.control(Mode::End, Control::Rollback);
        }
        if !self.is_at_rest() {
            self.reset_leaked();
            if !self.is_autocommit() {
                let _state_decides = self.control(Mode::End, Control::Rollback);
            }
        }
        self.is_at_rest()
    }

    /// Begins a loan that reads: in the snapshot that was held, if it is the present state, or anew.
    fn begin_read(&mut self, loan: Loan) -> Result<(), Failure> {
        // Before anything is read: a commit from now on makes the next look differ.
        let look = if self.access == Access::Read { self.tx.db.connection.look() } else { None };
        let request = self.shared.requests_to_let_go();
        let mut holds = false;
        if let Some(look) = &look {
            let guard = &self.tx.db.guard;
            if self.hold.serves(look, request, || guard.now()) {
                guard.set_in_transaction(true);
                return Ok(());
            }
            if self.hold.is_pinned() {
                if self.hold.has_aged(look, request) {
                    self.shared.hold_nothing_until(guard.now() + BETWEEN_TWO);
                }
                self.let_go();
            } else {
                self.hold.note(look);
            }
            holds = self.hold.pays() && look.header.is_initialised() && !self.spoilt;
            let guard = &self.tx.db.guard;
            holds = holds && self.shared.is_kept(|| guard.now());
        }
        let guard = &self.tx.db.guard;
        if loan == Loan::InPlace {
            let is_whole = look.as_ref().is_none_or(|look| self.tx.db.connection.is_whole(look));
            if self.presence.readers_wait() || !is_whole {
                guard.decline();
                return self.expect_rest();
            }
        }
        self.presence.wait_to_read(|| guard.time_left());
        self.expect_rest()?;
        if holds || loan == Loan::Read {
            self.control(Mode::Begin, Control::Begin)?;
            self.tx.db.guard.set_in_transaction(true);
        }
        if let Some(look) = &look
            && holds
        {
            let now = self.tx.db.guard.now();
            self.hold.pin(look, request, now);
        }
        Ok(())
    }

    /// Begins a loan that does not only read, outside any transaction.
    fn begin_other(&mut self, loan: Loan) -> Result<(), Failure> {
        if self.hold.is_pinned() {
            self.let_go();
        }
        self.expect_rest()?;
        if matches!(loan, Loan::Raw | Loan::Upkeep) {
            self.tx.db.guard.set_mode(Mode::Open);
        }
        if loan == Loan::Raw {
            self.tx.db.mark();
        }
        Ok(())
    }

    /// Whether a loan may begin that is not served from a held snapshot: whoever finds that the file was exchanged
    /// has those let go of.
    fn expect_rest(&mut self) -> Result<(), Failure> {
        if self.generation != self.shared.generation.number() {
            self.spoilt = true;
            return Err(moved(&self.place));
        }
        if self.is_at_rest() {
            return Ok(());
        }
        self.spoilt = true;
        Err(refused(Kind::Misuse, "the connection is still in a transaction: check it in first"))
    }

    /// Ends the transaction whose snapshot was held between loans.
    fn let_go(&mut self) {
        self.hold.unpin();
        self.end_read();
        // A statement that was forgotten in one of the loans keeps the snapshot: what is begun next
        // would be served from it, under the header of the present.
        if !self.is_at_rest() {
            self.come_to_rest();
        }
    }

    /// Ends a transaction that reads.
    fn end_read(&self) {
        if self.control(Mode::End, Control::Commit).is_err() {
            let _state_decides = self.control(Mode::End, Control::Rollback);
        }
    }

    /// Ends a loan after which no snapshot is held.
    fn end_loan(&mut self, loan: Option<Loan>, begun: bool) -> CheckIn {
        let db = self.db_ref();
        // By far the most frequent end, with nothing asked that the rest asks again.
        if let Some(Loan::Read | Loan::Statement | Loan::InPlace) = loan
            && !(self.spoilt || self.synced || db.is_marked())
            && db.connection.is_plain()
        {
            if begun {
                self.end_read();
            }
            if self.is_at_rest() {
                return CheckIn::Clean;
            }
        }
        // First of all: after an exchange everything below would be asked of another connection.
        if handle::address(&self.db_ref().connection) != self.born {
            self.spoilt = true;
            return CheckIn::Discard;
        }
        self.presence.leave();
        let attached = self.db_ref().connection.db_name(2).is_ok();
        if self.db_ref().is_marked() || attached {
            self.spoilt = true;
        }
        if loan == Some(Loan::Upkeep) {
            // Prepared while everything was allowed; the authorizer would not be asked again.
            self.tx.db.connection.flush();
        }
        if matches!(loan, Some(Loan::Read | Loan::Statement | Loan::InPlace)) && !self.is_autocommit() {
            self.end_read();
        }
        if !self.spoilt && (!self.is_autocommit() || self.synced) {
            return CheckIn::Reset;
        }
        if !self.is_at_rest() {
            self.come_to_rest();
        }
        // An interrupt lasts while any statement runs: a forgotten one would make it last for ever.
        let connection = &self.db_ref().connection;
        if connection.is_interrupted() && connection.is_busy() {
            self.reset_leaked();
        }
        if self.spoilt {
            // A forgotten statement that came from the cache would keep the connection from closing.
            self.tx.db.connection.flush();
            return CheckIn::Discard;
        }
        CheckIn::Clean
    }

    /// Takes a statement of the manager's from the cache, with its parameters.
    fn bound(&self, statement: &Prepared, parameters: &[ValueRef<'_>]) -> Result<Cached<'_>, Failure> {
        let db = self.db_ref();
        db.still_in_transaction()?;
        if db.guard.has_declined() {
            return Err(refused(Kind::Misuse, "it would have had to wait on a thread that must not"));
        }
        let mut prepared = db.take_cached(&statement.sql)?;
        let expected = prepared.parameter_count();
        if expected != parameters.len() {
            let given = parameters.len();
            let message = format!("the statement takes {expected} parameters, and {given} were given: bind each one");
            return Err(refused(Kind::Decode, message));
        }
        // A reader is refused by SQLite itself, inside a transaction or not.
        if self.access == Access::Write
            && db.guard.mode() == Mode::Lent
            && db.connection.is_autocommit()
            && !prepared.readonly()
        {
            return Err(refused(Kind::Misuse, "there is no transaction to write in: begin one first"));
        }
        for (index, value) in parameters.iter().enumerate() {
            prepared.raw_bind_parameter(index + 1, Bound(*value))?;
        }
        Ok(prepared)
    }
}

impl Drop for SqliteConnection {
    fn drop(&mut self) {
        if self.lent_raw {
            self.shared.has_written();
        }
    }
}

impl Connection for SqliteConnection {
    type Db = Db;
    type Tx = Tx;
    type Raw = rusqlite::Connection;

    fn db(&mut self) -> &Db {
        &self.tx.db
    }

    fn tx(&mut self) -> &Tx {
        &self.tx
    }

    fn raw(&mut self) -> &mut rusqlite::Connection {
        if self.access == Access::Write && !std::mem::replace(&mut self.lent_raw, true) {
            self.shared.may_write();
        }
        self.tx.db.mark();
        self.tx.db.connection.expose()
    }

    fn check_out(&mut self, loan: Loan) -> Result<(), Failure> {
        self.loan = Some(loan);
        self.db_ref().guard.end_loan();
        match loan {
            Loan::InPlace => {
                self.db_ref().guard.never_wait();
                self.begin_read(loan)
            }
            Loan::Read | Loan::Statement => self.begin_read(loan),
            _ => self.begin_other(loan),
        }
    }

    fn check_in(&mut self) -> CheckIn {
        let loan = self.loan.take();
        let db = self.db_ref();
        if self.hold.is_pinned() {
            // A transaction that an error or the borrower has ended is not held, whatever we remember. Nor is one that
            // somebody has asked for: the next loan may be a long time away.
            let asked = self.hold.is_asked_for(self.shared.requests_to_let_go());
            if !(asked || self.spoilt || db.is_marked()) && db.connection.can_be_held() {
                db.guard.end_loan();
                return CheckIn::Clean;
            }
            self.hold.unpin();
        }
        let begun = self.db_ref().guard.is_in_transaction();
        self.db_ref().guard.end_loan();
        self.end_loan(loan, begun)
    }

    fn limit(&mut self, limit: Limit) {
        self.db_ref().guard.limit(limit);
    }

    fn stopped(&self) -> bool {
        self.db_ref().guard.stopped()
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.db_ref().guard.end_loan();
        self.hold.unpin();
        self.presence.leave();
        let rested = self.come_to_rest();
        self.lower_synchronous();
        if rested && !self.spoilt {
            return Ok(());
        }
        self.spoilt = true;
        Err(refused(Kind::Misuse, "the connection cannot be mended: a forgotten statement or a setting is left in it"))
    }

    /// As the trait says. What is kept is the snapshot of the last loan.
    fn idle(&mut self, now: Time) -> Option<Time> {
        self.shared.keep();
        if !self.hold.is_pinned() || self.loan.is_some() {
            return None;
        }
        let again = self.hold.rests_until(now);
        if again.is_none() {
            self.let_go();
        }
        again
    }

    /// As the trait says. A file that was exchanged, or has got a log since it was opened, is noticed here.
    fn ping(&mut self) -> Result<(), Failure> {
        if handle::has_moved(&self.db_ref().connection) {
            self.shared.generation.lost(self.generation);
            self.shared.ask_to_let_go();
            self.spoilt = true;
            return Err(moved(&self.place));
        }
        let may_get_log = self.may_get_log;
        let Db { connection, guard, .. } = &mut self.tx.db;
        let _entered = guard.enter(Mode::End);
        connection.pragma_query_value(None, "schema_version", |row| row.get::<_, i64>(0))?;
        if may_get_log {
            connection.notice_log();
        }
        Ok(())
    }

    fn interrupter(&self) -> Arc<dyn Interrupt> {
        Arc::clone(&self.interrupt) as Arc<dyn Interrupt>
    }

    fn analyse(&mut self, sql: &str) -> Result<Analysis, Failure> {
        let db = self.db_ref();
        let functions = match self.functions.get() {
            Some(functions) => functions,
            None => {
                let asked = Functions::of(&db.connection, &db.guard)?;
                self.functions.get_or_init(|| asked)
            }
        };
        analysis::analyse(&db.connection, &db.guard, functions, sql)
    }

    fn execute(&mut self, statement: &Prepared, parameters: &[ValueRef<'_>]) -> Result<Changes, Failure> {
        let db = self.db_ref();
        let mut prepared = self.bound(statement, parameters)?;
        handle::forget_last_insert_rowid(&db.connection);
        let before = db.connection.total_changes();
        let mut tally = Tally::of(db, &prepared);
        let mut rows = prepared.raw_query();
        while rows.next().inspect_err(|_| tally::fail(&mut tally)).map_err(|error| db.explain(error))?.is_some() {}
        drop(rows);
        drop(tally);
        // A statement that is not a change leaves the count of the one before it.
        let changed = db.connection.total_changes() != before;
        let rowid = db.connection.last_insert_rowid();
        Ok(Changes {
            rows: if changed { db.connection.changes() } else { 0 },
            // 0 is what was put there before; a row that is really inserted as number 0 is not told.
            last_insert_rowid: (rowid != 0).then_some(rowid),
        })
    }

    fn query(
        &mut self,
        statement: &Prepared,
        parameters: &[ValueRef<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<Flow, Failure>,
    ) -> Result<(), Failure> {
        let db = self.db_ref();
        let mut prepared = self.bound(statement, parameters)?;
        let mut tally = Tally::of(db, &prepared);
        let mut rows = prepared.raw_query();
        let mut columns: Option<Arc<Columns>> = None;
        while let Some(row) = rows.next().inspect_err(|_| tally::fail(&mut tally)).map_err(|error| db.explain(error))? {
            // The first step may have prepared the statement anew, after a change of the schema.
            let columns = columns.get_or_insert_with(|| {
                let analysed = &statement.analysis.columns;
                let now = row.as_ref();
                let same = now.column_names().eq(analysed.iter().map(|name| &**name));
                if same { Arc::clone(analysed) } else { Arc::new(Columns::new(now.column_names())) }
            });
            if each(&SqliteRow { row, columns })? == Flow::Stop {
                break;
            }
        }
        Ok(())
    }
}

impl Interrupt for Interrupter {
    fn interrupt(&self) {
        // First: a statement that begins in between is stopped by it at its next look at the limit.
        self.1.store(true, Ordering::Relaxed);
        self.0.interrupt();
    }
}

impl fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupter")
    }
}

impl fmt::Debug for SqliteConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SqliteConnection");
        shown.field("at", &self.place).field("access", &self.access).field("loan", &self.loan);
        shown.field("spoilt", &self.spoilt).finish_non_exhaustive()
    }
}
