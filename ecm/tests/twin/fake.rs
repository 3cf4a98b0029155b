//! The same question of the fake backend, of which it is known what it holds.

use crate::{CASES, Seen, add, cases, old_rows::OldRows, quick, runner};
use ecm::{
    ConnectionManager, Database, Failure, PoolConfig,
    core::{Cache, FaultKind, Value, testing::Fake},
};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestCaseError, TestError},
};

use crate::judging::{Hits, ask, values};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

type Set = (&'static str, i64);

#[derive(Clone, Debug)]
enum Step {
    Execute(Set),
    /// A commit of which nobody knows whether it took place.
    Lost(Set),
    /// A statement that fails.
    Failing(Set),
    Closure {
        sets: Vec<Set>,
        undone: bool,
    },
    /// A unit, and a part of it.
    Unit {
        sets: Vec<Set>,
        part: Vec<Set>,
        part_undone: bool,
        undone: bool,
    },
    Borrow,
}

impl Step {
    fn any() -> impl Strategy<Value = Self> {
        let set = || (prop::sample::select(&NAMES[..]), 0_i64..9);
        let sets = || vec(set(), 1..=3);
        prop_oneof![
            6 => set().prop_map(Self::Execute),
            1 => set().prop_map(Self::Lost),
            1 => set().prop_map(Self::Failing),
            3 => (sets(), any::<bool>()).prop_map(|(sets, undone)| Self::Closure { sets, undone }),
            3 => (sets(), sets(), any::<bool>(), prop::bool::weighted(0.3))
                .prop_map(|(sets, part, part_undone, undone)| Self::Unit { sets, part, part_undone, undone }),
            1 => Just(Self::Borrow),
        ]
    }

    /// Whether it has succeeded.
    fn perform(&self, manager: &ConnectionManager<Fake>, fake: &Fake) -> bool {
        let execute = |(name, number): Set| manager.execute(&format!("set {name}")).bind(number).wait().is_ok();
        let end = |undone: bool| if undone { Err(Failure::msg("undone")) } else { Ok(()) };
        match self {
            Self::Execute(set) => execute(*set),
            Self::Lost(set) => {
                fake.lose_commits(1);
                execute(*set)
            }
            Self::Failing(set) => {
                fake.fail_statements(FaultKind::Constraint, 1);
                execute(*set)
            }
            Self::Closure { sets, undone } => {
                let write = manager.write(|tx| {
                    sets.iter().try_for_each(|(name, number)| tx.set(name, *number))?;
                    end(*undone)
                });
                write.wait().is_ok()
            }
            Self::Unit { sets, part, part_undone, undone } => {
                let unit = manager.unit_of_work(|uow| {
                    sets.iter().try_for_each(|(name, number)| uow.tx().set(name, *number))?;
                    let part = uow.nested(|uow| {
                        part.iter().try_for_each(|(name, number)| uow.tx().set(name, *number))?;
                        end(*part_undone)
                    });
                    assert_eq!(part.is_err(), *part_undone);
                    end(*undone)
                });
                unit.wait().is_ok()
            }
            Self::Borrow => manager.connection().wait().is_ok(),
        }
    }
}

fn judge(manager: &ConnectionManager<Fake>, fake: &Fake, hits: &Hits, seen: &Seen) -> Result<(), TestCaseError> {
    let number = |name: &str| fake.committed(name).map_or(Value::Null, Value::Integer);
    let all = |names: &[&str]| -> Vec<Vec<Value>> {
        let there = names.iter().filter(|name| fake.committed(name).is_some());
        there.map(|name| vec![Value::Text((*name).into()), number(name)]).collect()
    };
    let truths = NAMES.map(|name| (format!("get {name}"), vec![vec![number(name)]]));
    for (sql, truth) in truths.into_iter().chain([("all".into(), all(&NAMES))]) {
        for turn in ["first", "second"] {
            let before = hits.count();
            let answer = values(&ask(manager, &sql, &[]).expect("a fake that is not told to fail answers"));
            let found = hits.count() - before;
            add(&seen.asked, 1);
            add(&seen.hits, found);
            add(&seen.outlived, if turn == "first" { found } else { 0 });
            let from = if found > 0 { "the cache" } else { "the database" };
            prop_assert_eq!(answer, truth.clone(), "{} asked a {} time, from {}", sql, turn, from);
        }
    }
    Ok(())
}

fn run<C: Cache + 'static>(cache: impl Fn() -> C, config: Config) -> (Result<(), TestError<Vec<Step>>>, Seen) {
    let seen = Seen::default();
    let outcome = runner(config).run(&vec(Step::any(), 1..40), |steps| {
        let (fake, hits) = (Fake::new(), Hits::default());
        let database = Database::new("main", fake.clone()).pool(PoolConfig::untended());
        let builder = ConnectionManager::<Fake>::builder_for().database(database);
        let manager = builder.cache(cache()).observer(hits.clone()).build().unwrap();
        judge(&manager, &fake, &hits, &seen)?;
        for step in steps {
            add(&seen.steps, 1);
            add(&seen.failed, (!step.perform(&manager, &fake)).into());
            judge(&manager, &fake, &hits, &seen)?;
        }
        Ok(())
    });
    (outcome, seen)
}

#[test]
fn every_answer_is_what_the_fake_holds_whatever_the_manager_has_written() {
    let (outcome, seen) = run(quick, cases(CASES * 4));
    outcome.unwrap_or_else(|error| panic!("{error}"));
    seen.enough();
}

#[test]
fn a_cache_that_serves_old_numbers_is_found_out() {
    let (outcome, _) = run(OldRows::default, Config { max_shrink_iters: 0, ..cases(CASES) });
    let Err(TestError::Fail(reason, _)) = outcome else { panic!("nobody has noticed: {outcome:?}") };
    assert!(reason.message().contains("from the cache"), "{reason}");
}
