//! One client: it runs a script on the manager and on plain SQLite, and judges every answer.

use crate::{
    corpus::{Kind, Record},
    judging::{Hits, ask, values},
    mismatch::{Answer, Mismatch},
    names::Names,
    plain,
    process::Process,
    together::Together,
};
use ecm::{
    ConnectionManager, Failure,
    core::Value,
    sqlite::{
        Tx,
        rusqlite::{self, Connection, params_from_iter},
    },
};
use ecm_core::testing::Random;
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How often a query of the script is asked when it comes.
const TIMES: usize = 3;

/// How often after a write: once to see what the cache makes of it, and once more.
const TIMES_AGAIN: usize = 2;

/// How many queries are asked again after each write: half of them the last ones, half by chance.
const AGAIN: usize = 24;

/// After how many queries without a write of the script something is written all the same.
const STIRRED: u64 = 20;

/// What makes a connection read the schema, if somebody else has changed it.
pub(crate) const SCHEMA: &str = "SELECT count(*) FROM sqlite_schema";

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What is asked, now and after writes.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) sql: String,
    pub(crate) parameters: Vec<Value>,
    /// Whether the rows come in an order that says nothing.
    pub(crate) unordered: bool,
    /// The table, if single rows of it decide the answer.
    rows_of: Option<String>,
    /// How many writes this table had seen when this was last asked.
    asked_at: u64,
}

/// What a client has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) files: u64,
    pub(crate) statements: u64,
    pub(crate) queries: u64,
    pub(crate) asked: u64,
    pub(crate) hits: u64,
    /// Hits after a write to the very table: only a cache that tells rows apart has any.
    pub(crate) row_precise: u64,
}

/// Where a client works, and with whom.
pub(crate) struct Work<'w> {
    pub(crate) manager: &'w ConnectionManager,
    pub(crate) hits: &'w Hits,
    pub(crate) twin: Connection,
    /// Half of the writes go through it; all of them if the client is not alone.
    pub(crate) process: Option<Process>,
    pub(crate) together: Option<&'w Together>,
    pub(crate) seed: u64,
    /// The number of the script, which is part of its names if it is not alone.
    pub(crate) script: usize,
}

pub(crate) struct Client<'w> {
    work: Work<'w>,
    file: &'w str,
    random: Random,
    questions: Vec<Question>,
    /// Those about single rows.
    points: Vec<usize>,
    /// The columns of the tables of this script.
    tables: BTreeMap<String, Vec<String>>,
    /// How often the rows of each table have been written, as the twin tells.
    written: Arc<Mutex<BTreeMap<String, u64>>>,
    asked_before: BTreeSet<(String, String)>,
    line: usize,
    after: String,
    since_write: u64,
    counts: Counts,
}

impl<'w> Client<'w> {
    pub(crate) fn new(mut work: Work<'w>, file: &'w str) -> Result<Self> {
        let written = Arc::new(Mutex::new(BTreeMap::<String, u64>::new()));
        let told = Arc::clone(&written);
        work.twin.update_hook(Some(move |_, _: &str, table: &str, _| {
            *told.lock().unwrap_or_else(PoisonError::into_inner).entry(table.into()).or_default() += 1;
        }))?;
        Ok(Self {
            random: Random::new(work.seed),
            work,
            file,
            questions: Vec::new(),
            points: Vec::new(),
            tables: BTreeMap::new(),
            written,
            asked_before: BTreeSet::new(),
            line: 0,
            after: "nothing".into(),
            since_write: 0,
            counts: Counts { files: 1, ..Counts::default() },
        })
    }

    /// # Errors
    /// The first [`Mismatch`], and whatever keeps the run from going on.
    pub(crate) fn run(mut self, records: &[Record<'_>]) -> Result<Counts> {
        let hits = self.work.hits.count();
        let names = match self.work.together {
            Some(_) => Names::created_by(records.iter().map(|record| &*record.sql)),
            None => Names::default(),
        };
        for Record { line, kind, sql } in records {
            if self.work.together.is_some_and(Together::is_over) {
                break;
            }
            let _busy = self.work.together.map(Together::busy);
            self.line = *line;
            let sql = names.own(sql, self.work.script);
            match kind {
                Kind::Statement { .. } => {
                    self.counts.statements += 1;
                    self.write(&sql, &[])?;
                }
                Kind::Query { sort, .. } => {
                    self.counts.queries += 1;
                    let number = self.add(&sql, &[], *sort != "nosort", None);
                    self.ask(number, TIMES)?;
                    self.since_write += 1;
                    if self.since_write >= STIRRED {
                        self.stir()?;
                    }
                }
            }
        }
        self.counts.hits = self.work.hits.count() - hits;
        Ok(self.counts)
    }

    fn add(&mut self, sql: &str, parameters: &[Value], unordered: bool, rows_of: Option<&str>) -> usize {
        let (sql, rows_of) = (sql.to_owned(), rows_of.map(String::from));
        let question = Question { sql, parameters: parameters.to_vec(), unordered, rows_of, asked_at: 0 };
        if let Some(together) = self.work.together {
            together.tell(question.clone());
        }
        self.questions.push(question);
        self.questions.len() - 1
    }

    /// Asks plain SQLite once, and the manager so many times.
    fn ask(&mut self, number: usize, times: usize) -> Result<()> {
        let question = &self.questions[number];
        let truth = question.truth(&self.work.twin);
        let before = self.work.hits.count();
        for time in 0..times {
            let hits = self.work.hits.count();
            let manager = question.answer(self.work.manager);
            if !same(&manager, &truth) {
                let cached = self.work.hits.count() > hits;
                let place = format!("{}:{}", self.file, self.line);
                return Err(question.mismatch(place, self.after.clone(), cached, manager, truth).into());
            }
            self.counts.asked += 1;
            // Others hit as well where there are any.
            let hit = time == 0 && self.work.together.is_none() && self.work.hits.count() > before;
            let written = |table: &String| self.written().get(table).copied();
            if let Some(written) = question.rows_of.as_ref().and_then(written) {
                self.counts.row_precise += u64::from(hit && question.asked_at != written);
            }
        }
        if let Some(table) = &question.rows_of {
            let written = self.written().get(table).copied().unwrap_or(0);
            self.questions[number].asked_at = written;
        }
        Ok(())
    }

    fn written(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes on both, and asks again.
    fn write(&mut self, sql: &str, parameters: &[Value]) -> Result<()> {
        let together = self.work.together.is_some();
        let by_process =
            self.work.process.is_some() && parameters.is_empty() && (together || self.random.below(2) == 0);
        let undone = !by_process && self.random.below(8) == 0;
        if self.work.process.is_some() && !by_process {
            // SQLite says what there is, and what there is not, by the schema that it has read last.
            let look = |tx: &Tx| Ok(tx.query_row(SCHEMA, [], |row| row.get::<_, i64>(0))?);
            self.work.manager.write(look).wait()?;
        }
        let manager = match &mut self.work.process {
            Some(process) if by_process => process.write(sql)?,
            _ => by_manager(self.work.manager, sql, parameters, undone),
        };
        let alone = self.work.together.map(Together::alone);
        let written = self.written().clone();
        let sqlite = transact(&self.work.twin, sql, parameters).map_err(|error| error.to_string());
        drop(alone);
        if sqlite.is_err() {
            // What it had told was rolled back.
            *self.written() = written;
        }
        let who = if by_process { "the other process" } else { "the manager" };
        self.after = format!("{sql} {parameters:?} by {who}");
        if manager.is_ok() != sqlite.is_ok() {
            let question = Question {
                sql: sql.into(),
                parameters: parameters.to_vec(),
                unordered: true,
                rows_of: None,
                asked_at: 0,
            };
            let place = format!("{}:{}", self.file, self.line);
            let [manager, sqlite] = [manager, sqlite].map(|done| done.map(|()| Vec::new()));
            return Err(question.mismatch(place, self.after.clone(), false, manager, sqlite).into());
        }
        self.since_write = 0;
        if sql.to_lowercase().contains("table") {
            self.look_at_tables()?;
        }
        self.again()
    }

    fn again(&mut self) -> Result<()> {
        let all = self.questions.len();
        let mut numbers: BTreeSet<usize> = (all.saturating_sub(AGAIN / 2)..all).collect();
        if all > 0 {
            numbers.extend((0..AGAIN / 2).map(|_| self.random.below(all as u64) as usize));
        }
        numbers.extend(&self.points);
        numbers.into_iter().try_for_each(|number| self.ask(number, TIMES_AGAIN))
    }

    /// Writes by chance, where the script only reads.
    fn stir(&mut self) -> Result<()> {
        self.since_write = 0;
        let tables: Vec<&String> = self.tables.keys().collect();
        if tables.is_empty() {
            return Ok(());
        }
        let table = tables[self.random.below(tables.len() as u64) as usize].clone();
        let columns = &self.tables[&table];
        let column = &columns[self.random.below(columns.len() as u64) as usize];
        let one = format!("rowid = (SELECT rowid FROM {table} ORDER BY rowid LIMIT 1 OFFSET ?1)");
        let offset = Value::Integer(self.random.below(8).cast_signed());
        let (sql, parameters) = match self.random.below(12) {
            0 => (format!("DELETE FROM {table} WHERE {one}"), vec![offset]),
            1 => (format!("REPLACE INTO {table} SELECT * FROM {table} WHERE {one}"), vec![offset]),
            2 => (format!("UPDATE {table} SET {column} = {column} + 1"), Vec::new()),
            3 => (format!("UPDATE OR REPLACE {table} SET {column} = ?1 WHERE rowid = 3"), vec![offset]),
            _ => (format!("UPDATE {table} SET {column} = {column} + 1 WHERE {one}"), vec![offset]),
        };
        self.write(&sql, &parameters)
    }

    /// Learns which tables there are, and asks for rows of those that have keys.
    fn look_at_tables(&mut self) -> Result<()> {
        let columns = "SELECT m.name, c.name, c.pk = 1 AND upper(c.type) = 'INTEGER'
            FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c
            WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND (?1 IS NULL OR m.name LIKE '%\\_of\\_' || ?1 ESCAPE '\\')";
        let own = self.work.together.map_or(Value::Null, |_| Value::Text(self.work.script.to_string().into()));
        self.tables.clear();
        for row in plain::query(&self.work.twin, columns, &[own])? {
            let [Value::Text(table), Value::Text(column), Value::Integer(key)] = &row[..] else { continue };
            self.tables.entry(table.to_string()).or_default().push(column.to_string());
            if *key == 0 || !self.asked_before.insert((table.to_string(), column.to_string())) {
                continue;
            }
            for key in [0, 1, 3, 7] {
                let sql = format!("SELECT * FROM {table} WHERE {column} = ?1");
                self.point(&sql, &[Value::Integer(key)], Some(table));
            }
            let sql = format!("SELECT * FROM {table} WHERE {column} IN (?1, ?2)");
            self.point(&sql, &[Value::Integer(2), Value::Integer(8)], Some(table));
            self.point(&sql, &[Value::Text("3".into()), Value::Real(5.0)], None);
        }
        Ok(())
    }

    fn point(&mut self, sql: &str, parameters: &[Value], rows_of: Option<&str>) {
        let number = self.add(sql, parameters, true, rows_of);
        self.points.push(number);
    }
}

impl Question {
    /// What plain SQLite answers.
    pub(crate) fn truth(&self, twin: &Connection) -> Answer {
        let rows = plain::query(twin, &self.sql, &self.parameters);
        rows.map(|rows| self.arranged(rows)).map_err(|error| error.to_string())
    }

    /// What the manager answers, perhaps from its cache.
    pub(crate) fn answer(&self, manager: &ConnectionManager) -> Answer {
        let rows = ask(manager, &self.sql, &self.parameters);
        rows.map(|rows| self.arranged(values(&rows))).map_err(|error| error.to_string())
    }

    fn arranged(&self, mut rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
        if self.unordered {
            rows.sort_by_cached_key(|row| format!("{row:?}"));
        }
        rows
    }

    pub(crate) fn mismatch(
        &self,
        place: String,
        after: String,
        cached: bool,
        manager: Answer,
        sqlite: Answer,
    ) -> Mismatch {
        Mismatch { place, sql: self.sql.clone(), parameters: self.parameters.clone(), after, cached, manager, sqlite }
    }
}

/// Whether both have answered the same, or both have failed.
pub(crate) fn same(manager: &Answer, sqlite: &Answer) -> bool {
    match (manager, sqlite) {
        (Ok(manager), Ok(sqlite)) => manager == sqlite,
        (Err(_), Err(_)) => true,
        _ => false,
    }
}

/// Writes by the manager; what is to be undone first, in a transaction that fails.
fn by_manager(
    manager: &ConnectionManager,
    sql: &str,
    parameters: &[Value],
    undone: bool,
) -> std::result::Result<(), String> {
    // Some records hold two statements.
    let several = sql.trim_end_matches(';').contains(";\n");
    if undone {
        let written = manager.write(|tx| {
            let parameters = params_from_iter(parameters.iter().map(plain::theirs));
            let _written = if several { tx.execute_batch(sql) } else { tx.execute(sql, parameters).map(drop) };
            Err::<(), _>(Failure::msg("undone"))
        });
        let _undone = written.wait();
    }
    let done = if several {
        manager.write(|tx| Ok(tx.execute_batch(sql)?)).wait()
    } else {
        manager.execute(sql).bind_all(parameters.iter().map(Value::borrow)).wait().map(drop)
    };
    done.map_err(|error| error.to_string())
}

/// Writes by a plain connection, in one transaction, as the manager does.
pub(crate) fn transact(connection: &Connection, sql: &str, parameters: &[Value]) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let done = if parameters.is_empty() {
        connection.execute_batch(sql)
    } else {
        connection.execute(sql, params_from_iter(parameters.iter().map(plain::theirs))).map(drop)
    };
    let done = done.and_then(|()| connection.execute_batch("COMMIT"));
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    done
}
