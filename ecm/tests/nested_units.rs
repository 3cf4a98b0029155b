//! Random units of work, nested and ended in every way, over real SQLite against a map.
#![cfg(feature = "sqlite")]

#[path = "support/waiting.rs"]
mod waiting;

use ecm::{ConnectionManager, Database, Failure, UnitOfWork, core::testing::TestClock, sqlite::Sqlite};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Mutex},
};
use waiting::together;

/// What a random unit does.
#[derive(Clone, Debug)]
enum Step {
    Put(i64, i64),
    Remove(i64),
    Read(i64),
    Hooks,
    Nested { steps: Vec<Self>, end: End, caught: bool },
}

/// How a random unit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Commit,
    Rollback,
    Panic,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![3 => Just(End::Commit), 1 => Just(End::Rollback), 1 => Just(End::Panic)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let leaf = prop_oneof![
        4 => (0..6_i64, any::<i64>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => (0..6_i64).prop_map(Step::Remove),
        2 => (0..6_i64).prop_map(Step::Read),
        1 => Just(Step::Hooks),
    ];
    let step = leaf.prop_recursive(4, 40, 6, |step| {
        (prop::collection::vec(step, 0..6), end(), prop::bool::weighted(0.9))
            .prop_map(|(steps, end, caught)| Step::Nested { steps, end, caught })
    });
    prop::collection::vec(step, 0..8)
}

/// What is expected of the table, and of the hooks of one unit.
#[derive(Clone, Debug, Default)]
struct Model {
    rows: BTreeMap<i64, i64>,
    hooks: Vec<(usize, Hook)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hook {
    Both,
    OnlyRollback,
}

impl Model {
    fn undo(&mut self, before: Self) {
        let part = self.hooks.split_off(before.hooks.len());
        self.hooks.extend(part.into_iter().map(|(number, _)| (number, Hook::OnlyRollback)));
        self.rows = before.rows;
    }

    /// What the hooks say, after the unit has ended.
    fn said(&self, committed: bool) -> Vec<String> {
        let line = |(number, hook): &(usize, Hook)| {
            let word = if committed && *hook == Hook::Both { "commit" } else { "rollback" };
            format!("{word} {number}")
        };
        self.hooks.iter().map(line).collect()
    }
}

type Said = Arc<Mutex<Vec<String>>>;

fn apply(uow: UnitOfWork<'_>, steps: &[Step], end: End, model: &mut Model, said: &Said) -> Result<(), Failure> {
    for step in steps {
        match step {
            Step::Put(key, value) => {
                uow.execute("INSERT OR REPLACE INTO pair VALUES (?1, ?2)", [key, value])?;
                model.rows.insert(*key, *value);
            }
            Step::Remove(key) => {
                uow.execute("DELETE FROM pair WHERE key = ?1", [key])?;
                model.rows.remove(key);
            }
            Step::Read(key) => {
                let found = uow.query("SELECT value FROM pair WHERE key = ?1", [key], |row| row.get::<_, i64>(0))?;
                assert_eq!(found, model.rows.get(key).copied().into_iter().collect::<Vec<_>>());
            }
            Step::Hooks => {
                let number = model.hooks.len();
                let (committed, rolled_back) = (Arc::clone(said), Arc::clone(said));
                uow.after_commit(move |_| committed.lock().unwrap().push(format!("commit {number}")));
                uow.after_rollback(move || rolled_back.lock().unwrap().push(format!("rollback {number}")));
                model.hooks.push((number, Hook::Both));
            }
            Step::Nested { steps, end, caught } => {
                let before = model.clone();
                let nested = catch_unwind(AssertUnwindSafe(|| uow.nested(|uow| apply(uow, steps, *end, model, said))));
                if !matches!(nested, Ok(Ok(()))) {
                    model.undo(before);
                }
                match nested {
                    Ok(Err(failure)) if !caught => return Err(failure),
                    Err(panic) if !caught => resume_unwind(panic),
                    _ => {}
                }
            }
        }
    }
    match end {
        End::Commit => Ok(()),
        End::Rollback => Err(Failure::msg("rolled back")),
        End::Panic => resume_unwind(Box::new("a panic")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Units, one alone or several in one transaction, against a map that is copied at every beginning and
    /// put back at every rollback.
    #[test]
    fn random_nested_units_do_what_a_copied_map_does(units in prop::collection::vec((steps(), end()), 1..4)) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::new("main", Sqlite::open(folder.path().join("a.db")));
        // Its clock stands still, so that no transaction becomes too old to take in another unit.
        let manager = &ConnectionManager::builder().database(database).clock(TestClock::new()).build().unwrap();
        manager.execute("CREATE TABLE pair (key INTEGER PRIMARY KEY, value INTEGER)").wait().unwrap();
        let rows = &Mutex::new(BTreeMap::new());
        let run = |steps: &[Step], end: End| {
            let said = Said::default();
            let mut ended = None;
            let unit = manager.unit_of_work(|uow| {
                // Only one unit runs at a time.
                let mut rows = rows.lock().unwrap();
                let mut model = Model { rows: rows.clone(), hooks: Vec::new() };
                let before = model.rows.clone();
                let applied = catch_unwind(AssertUnwindSafe(|| apply(uow, steps, end, &mut model, &said)));
                *rows = if matches!(applied, Ok(Ok(()))) { model.rows.clone() } else { before };
                ended = Some(model);
                drop(rows);
                applied.unwrap_or_else(|panic| resume_unwind(panic))
            });
            let committed = matches!(catch_unwind(AssertUnwindSafe(|| unit.wait())), Ok(Ok(())));
            assert_eq!(*said.lock().unwrap(), ended.unwrap().said(committed));
        };
        let run = &run;
        match &units[..] {
            [(steps, end)] => run(steps, *end),
            many => {
                let calls = many.iter().map(|(steps, end)| Box::new(|| run(steps, *end)) as Box<dyn FnOnce() + Send + '_>);
                together(manager, calls.collect());
            }
        }
        let found: Vec<(i64, i64)> = manager.query("SELECT key, value FROM pair ORDER BY key").all().wait().unwrap();
        let expected: Vec<_> = rows.lock().unwrap().clone().into_iter().collect();
        prop_assert_eq!(found, expected);
    }
}
