use super::{
    client::{Client, Failed},
    script::{Scope, Script},
};
use crate::{errors::Errors, interrupt, latency::Latency, problem::Problem};
use std::{
    thread,
    time::{Duration, Instant},
};

/// Systems take turns of a second at most, so that a disturbance meets all of them.
const FEWEST_ROUNDS: u32 = 10;

/// What takes its turn: a name, and a client for each thread.
pub(super) struct System<'a> {
    pub(super) name: &'static str,
    pub(super) clients: Vec<Box<dyn Client + 'a>>,
}

/// What came of a system.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) name: &'static str,
    /// The time in which its clients ran, all rounds together.
    pub(super) elapsed: Duration,
    /// How long whole passes took.
    pub(super) passes: Latency,
    /// How long the statements took, by script and then by statement.
    pub(super) statements: Vec<Vec<Latency>>,
    pub(super) errors: Errors,
}

impl Outcome {
    fn new(name: &'static str, scripts: &[Script]) -> Self {
        let latencies = |script: &Script| vec![Latency::default(); script.statements().count()];
        Self {
            name,
            elapsed: Duration::ZERO,
            passes: Latency::default(),
            statements: scripts.iter().map(latencies).collect(),
            errors: Errors::default(),
        }
    }

    fn merge(&mut self, other: Self) {
        self.passes.merge(&other.passes);
        let all = |statements: Vec<Vec<Latency>>| statements.into_iter().flatten();
        let mine = self.statements.iter_mut().flatten();
        mine.zip(all(other.statements)).for_each(|(mine, other)| mine.merge(&other));
        self.errors.merge(other.errors);
    }
}

/// Runs every script once, so that a statement that can never work is refused before the run.
pub(super) fn rehearse(client: &mut dyn Client, scripts: &[Script], seed: u64) -> Result<(), Problem> {
    for script in scripts {
        let pass = script.pass(
            &mut Scope::new(seed),
            |_, statement, values| client.run(statement, values).map_err(|failed| (statement.line, failed)),
            |line, error| (line, Failed { kind: "Expression".into(), message: error.to_string(), of_statement: false }),
        );
        if let Err((line, failed)) = pass
            && failed.of_statement
        {
            return Err(Problem::input(format_args!("{}:{line}: {}", script.name, failed.message)));
        }
    }
    Ok(())
}

/// Runs the scripts on each system for `seconds` in all, in turns; tells `after_round` about each.
pub(super) fn run(
    systems: &mut [System<'_>],
    scripts: &[Script],
    seconds: Duration,
    seed: u64,
    mut after_round: impl FnMut(&Outcome, f64),
) -> Vec<Outcome> {
    let rounds = (seconds.as_secs_f64().ceil() as u32).max(FEWEST_ROUNDS);
    let round = (seconds / rounds).max(Duration::from_nanos(1));
    let mut scopes: Vec<Vec<Scope>> = systems
        .iter()
        .map(|system| (0..system.clients.len()).map(|client| Scope::new(seed.wrapping_add(client as u64))).collect())
        .collect();
    for (system, scopes) in systems.iter_mut().zip(&mut scopes) {
        // What the warm-up does is not counted: it fills caches and opens connections.
        turn(system, scopes, scripts, round);
    }
    let mut outcomes: Vec<_> = systems.iter().map(|system| Outcome::new(system.name, scripts)).collect();
    for number in 1..=rounds {
        for ((system, scopes), outcome) in systems.iter_mut().zip(&mut scopes).zip(&mut outcomes) {
            if interrupt::requested() {
                return outcomes;
            }
            let (elapsed, ran) = turn(system, scopes, scripts, round);
            outcome.elapsed += elapsed;
            outcome.merge(ran);
            after_round(outcome, f64::from(number) / f64::from(rounds));
        }
    }
    outcomes
}

/// One round of one system: all its clients at the same time.
fn turn(system: &mut System<'_>, scopes: &mut [Scope], scripts: &[Script], length: Duration) -> (Duration, Outcome) {
    let name = system.name;
    let began = Instant::now();
    let mut all = Outcome::new(name, scripts);
    thread::scope(|threads| {
        let clients = system.clients.iter_mut().zip(scopes);
        let running: Vec<_> = clients
            .map(|(client, scope)| threads.spawn(move || repeat(name, &mut **client, scope, scripts, began + length)))
            .collect();
        for client in running {
            match client.join() {
                Ok(outcome) => all.merge(outcome),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    (began.elapsed(), all)
}

fn repeat(
    name: &'static str,
    client: &mut dyn Client,
    scope: &mut Scope,
    scripts: &[Script],
    until: Instant,
) -> Outcome {
    let mut outcome = Outcome::new(name, scripts);
    let mut began = Instant::now();
    while began < until && !interrupt::requested() {
        let chosen = if scripts.len() == 1 { 0 } else { scope.pick(scripts.len()) };
        let latencies = &mut outcome.statements[chosen];
        let mut before = began;
        let pass = scripts[chosen].pass(
            scope,
            |number, statement, values| {
                client.run(statement, values)?;
                let after = Instant::now();
                latencies[number].record(after - before);
                before = after;
                Ok(())
            },
            |_, error| Failed { kind: "Expression".into(), message: error.to_string(), of_statement: false },
        );
        match pass {
            Ok(()) => outcome.passes.record(before - began),
            // It was stopped, and says nothing about the statement.
            Err(_) if interrupt::requested() => break,
            Err(failed) => {
                outcome.errors.add(failed.kind, || failed.message);
                before = Instant::now();
            }
        }
        began = before;
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::script::Statement;

    struct Counting(u64);

    impl Client for Counting {
        fn run(&mut self, statement: &Statement, _: &[i64]) -> Result<(), Failed> {
            self.0 += 1;
            if statement.sql.contains("never") {
                return Err(Failed { kind: "Never".into(), message: "never works".into(), of_statement: true });
            }
            Ok(())
        }
    }

    fn systems() -> [System<'static>; 2] {
        ["one", "two"].map(|name| System { name, clients: vec![Box::new(Counting(0)), Box::new(Counting(0))] })
    }

    #[test]
    fn a_pass_that_fails_is_an_error_and_not_a_pass() {
        let scripts = [Script::parse("s", "SELECT 1; SELECT never; SELECT 3;").unwrap()];
        let mut told = 0;
        let outcomes = run(&mut systems(), &scripts, Duration::from_millis(10), 1, |_, _| told += 1);
        assert_eq!(told, 20, "ten rounds each");
        for outcome in outcomes {
            let counts: Vec<_> = outcome.statements[0].iter().map(Latency::count).collect();
            assert_eq!((outcome.passes.count(), counts[1], counts[2]), (0, 0, 0));
            assert_eq!(outcome.errors.count(), counts[0]);
        }
    }

    #[test]
    fn each_statement_of_a_pass_is_counted_once() {
        let scripts = ["SELECT 1; SELECT 2;", "SELECT 3;"].map(|text| Script::parse("s", text).unwrap());
        for outcome in run(&mut systems(), &scripts, Duration::from_millis(20), 1, |_, _| ()) {
            let count = |script: usize, statement: usize| outcome.statements[script][statement].count();
            assert_eq!(count(0, 0), count(0, 1));
            assert_eq!(count(0, 0) + count(1, 0), outcome.passes.count());
            assert_eq!(outcome.errors.count(), 0);
        }
    }

    #[test]
    fn a_statement_that_can_never_work_is_refused_with_its_place() {
        let scripts = [Script::parse("s.sql", "SELECT 1;\nSELECT never;").unwrap()];
        let problem = rehearse(&mut Counting(0), &scripts, 1).unwrap_err();
        assert_eq!(problem.to_string(), "s.sql:2: never works");
    }
}
