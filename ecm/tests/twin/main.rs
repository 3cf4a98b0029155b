//! A manager with a cache beside plain SQLite: random schemas, random steps, and the same answers after each.
//!
//! Both are given the same steps. After each one every question is asked three times: once of plain SQLite, and
//! twice of the manager, so that the second answer, and the first where the step has not touched it, come from the
//! cache. A run in which too few did would prove nothing, and fails; and a judge that would not notice an old row
//! fails too, since it is given a cache that serves some.
//!
//! `ECM_SEED=N` repeats a run; `PROPTEST_CASES=N` asks for more cases. What fails is shrunk.
#![cfg(all(feature = "sqlite", feature = "cache-quick"))]

mod fake;
#[path = "../support/judging.rs"]
mod judging;
#[path = "../support/old_rows.rs"]
mod old_rows;
mod perform;
#[path = "../support/plain.rs"]
mod plain;
mod question;
mod schema;
mod step;

use ecm::{
    ConnectionManager, Database,
    cache::{Quick, QuickConfig},
    core::{Cache, Value},
    sqlite::{Sqlite, rusqlite::Connection},
};
use ecm_core::testing::{Random, seed};
use judging::{Hits, ask, values};
use old_rows::OldRows;
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use question::Question;
use schema::Schema;
use std::cell::{Cell, RefCell};
use step::Step;

/// What all cases of a run have seen.
#[derive(Debug, Default)]
struct Seen {
    asked: Cell<u64>,
    hits: Cell<u64>,
    /// Hits of the first question after a step: only these could have been old rows.
    outlived: Cell<u64>,
    failed: Cell<u64>,
    steps: Cell<u64>,
}

impl Seen {
    /// Fails if too little has been seen to prove anything.
    fn enough(&self) {
        let [asked, hits, outlived] = [&self.asked, &self.hits, &self.outlived].map(Cell::get);
        let (steps, failed) = (self.steps.get(), self.failed.get());
        eprintln!(
            "{steps} steps, of which {failed} failed; {asked} questions, {hits} hits, {outlived} kept over a step"
        );
        assert!(hits * 3 > asked, "of {asked} answers only {hits} came from the cache: this proves nothing");
        assert!(outlived * 50 > asked, "of {asked} answers only {outlived} were kept over a step: this proves nothing");
        assert!(failed * 2 < steps, "of {steps} steps {failed} failed, and changed nothing: this proves little");
    }
}

fn add(count: &Cell<u64>, by: u64) {
    count.set(count.get() + by);
}

/// Where the manager's database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    File,
    Memory,
}

struct Pair {
    manager: ConnectionManager,
    hits: Hits,
    other: Option<Connection>,
    twin: Connection,
    /// Sees of the twin what is committed.
    beside: Connection,
    questions: Vec<Question>,
    // The last to go.
    _folder: tempfile::TempDir,
}

impl Pair {
    fn new(place: Place, schema: &Schema, cache: impl Cache + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name| folder.path().join(name);
        let sqlite = if place == Place::File { Sqlite::open(file("judged.db")) } else { Sqlite::memory() };
        let hits = Hits::default();
        let builder = ConnectionManager::builder().database(Database::new("main", sqlite));
        let manager = builder.cache(cache).observer(hits.clone()).build().unwrap();
        let twin = plain::connect(&file("twin.db")).unwrap();
        let made = twin.execute_batch(&format!("BEGIN; {}; COMMIT", schema.sql()));
        made.unwrap_or_else(|error| panic!("{error}: {}", schema.sql()));
        manager.write(|tx| Ok(tx.execute_batch(&schema.sql())?)).wait().unwrap();
        for sql in schema.rows() {
            let made = twin.execute_batch(&format!("BEGIN; {sql}; COMMIT"));
            if !twin.is_autocommit() {
                twin.execute_batch("ROLLBACK").unwrap();
            }
            assert_eq!(manager.execute(&sql).wait().is_ok(), made.is_ok(), "{sql}");
        }
        let other = (place == Place::File).then(|| plain::connect(&file("judged.db")).unwrap());
        let beside = plain::connect(&file("twin.db")).unwrap();
        Self { manager, hits, other, twin, beside, questions: Question::all(schema), _folder: folder }
    }

    /// Asks each question of both.
    fn judge(&self, seen: &Seen, after: &str) -> Result<(), TestCaseError> {
        for Question { sql, parameters } in &self.questions {
            let truth = plain::query(&self.beside, sql, parameters).map(sorted);
            for turn in ["first", "second"] {
                let before = self.hits.count();
                let answer = ask(&self.manager, sql, parameters).map(|rows| sorted(values(&rows)));
                let hits = self.hits.count() - before;
                add(&seen.asked, 1);
                add(&seen.hits, hits);
                add(&seen.outlived, if turn == "first" { hits } else { 0 });
                let same = match (&answer, &truth) {
                    (Ok(answer), Ok(truth)) => answer == truth,
                    (Err(_), Err(_)) => true,
                    _ => false,
                };
                let from = if hits > 0 { "the cache" } else { "the database" };
                prop_assert!(
                    same,
                    "{sql} {parameters:?}, asked a {turn} time after {after}:\n  from {from}: {answer:?}\n  SQLite: {truth:?}"
                );
            }
        }
        Ok(())
    }

    fn step(&self, schema: &Schema, step: &Step, seen: &Seen) -> Result<(), TestCaseError> {
        let midway = RefCell::new(Ok(()));
        // In memory nobody else can read while somebody writes.
        let ask_midway = || {
            if self.other.is_some() {
                *midway.borrow_mut() = self.judge(seen, "all that the transaction has not committed");
            }
        };
        let done = perform::on_manager(&self.manager, self.other.as_ref(), schema, step, &ask_midway);
        midway.into_inner()?;
        let truth = perform::on_twin(&self.twin, schema, step);
        prop_assert_eq!(done.is_ok(), truth.is_ok(), "the manager says {:?}, SQLite {:?}", done, truth);
        add(&seen.steps, 1);
        add(&seen.failed, done.is_err().into());
        self.judge(seen, &format!("{step:?} ({done:?})"))
    }
}

fn sorted(mut rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    rows.sort_by_cached_key(|row| format!("{row:?}"));
    rows
}

type Outcome = Result<(), TestError<(Schema, Vec<Step>)>>;

/// Cases of a run, unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 40;

fn runner(config: Config) -> TestRunner {
    let mut random = Random::new(seed());
    let bytes: Vec<u8> = (0..32).map(|_| random.below(256) as u8).collect();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    TestRunner::new_with_rng(Config { failure_persistence: None, ..config }, rng)
}

fn run<C: Cache + 'static>(place: Place, others: bool, cache: impl Fn() -> C, config: Config) -> (Outcome, Seen) {
    let cases = (Schema::any(), prop::collection::vec(Step::any(others), 1..24));
    let seen = Seen::default();
    let outcome = runner(config).run(&cases, |(schema, steps)| {
        let pair = Pair::new(place, &schema, cache());
        pair.judge(&seen, "nothing")?;
        steps.iter().try_for_each(|step| pair.step(&schema, step, &seen))
    });
    (outcome, seen)
}

fn cases(cases: u32) -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok().map(|text| text.parse().expect("PROPTEST_CASES is a number"));
    Config { cases: asked.unwrap_or(cases), ..Config::default() }
}

fn quick() -> Quick {
    Quick::new(&QuickConfig::default()).unwrap()
}

fn prove(place: Place, others: bool) {
    let (outcome, seen) = run(place, others, quick, cases(CASES));
    outcome.unwrap_or_else(|error| panic!("{error}"));
    seen.enough();
}

#[test]
fn every_answer_is_the_one_of_plain_sqlite_whatever_the_manager_has_written() {
    prove(Place::File, false);
}

#[test]
fn every_answer_from_memory_is_the_one_of_plain_sqlite_whatever_the_manager_has_written() {
    prove(Place::Memory, false);
}

#[test]
fn every_answer_is_the_one_of_plain_sqlite_whatever_somebody_else_has_written() {
    prove(Place::File, true);
}

#[test]
fn a_cache_that_serves_old_rows_is_found_out() {
    for place in [Place::File, Place::Memory] {
        let (outcome, _) = run(place, false, OldRows::default, Config { max_shrink_iters: 0, ..cases(CASES) });
        let Err(TestError::Fail(reason, _)) = outcome else { panic!("nobody has noticed: {outcome:?}") };
        assert!(reason.message().contains("from the cache"), "{reason}");
    }
}
