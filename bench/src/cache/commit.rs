use super::{
    item::{self, NUMBER, UPDATE, cached},
    watched::enter,
};
use crate::bench::Bench;
use ecm::ConnectionManager;
use std::path::Path;
use tokio::runtime::Handle;
use workload::{Caller, Contestant, Keys, Problem};

const CASE: &str = "commit";

/// How many answers are stored that were read from the table that is written.
const STORED: [(&str, usize); 3] = [("ecm-entries-0", 0), ("ecm-entries-1000", 1_000), ("ecm-entries-100000", 100_000)];

/// More than are stored, since the parts of a cache are not filled evenly.
const ENTRIES: usize = 120_000;

/// Runs the case `commit`: updates of a row each, beside more and more stored answers that they make out of date.
pub(super) fn run(bench: &mut Bench, base: &Path) -> Result<(), Problem> {
    let contestants = contestants(base, &bench.runtime())?;
    bench.compete(super::SUITE, CASE, contestants)
}

fn contestants(base: &Path, runtime: &Handle) -> Result<Vec<Box<dyn Contestant>>, Problem> {
    let contestant = |(name, stored): (&str, usize)| {
        let manager = item::manager(base, name, item::quick(ENTRIES)?)?;
        let failed = |error: &dyn std::fmt::Display| Problem::during(name, error);
        for key in 1..=stored as i64 {
            let _: i64 = cached(manager.query(NUMBER).bind(key)).one().wait().map_err(|error| failed(&error))?;
        }
        let entries = manager.status().cache.entries;
        if entries != stored as u64 {
            return Err(failed(&format_args!("{entries} answers are stored, not {stored}")));
        }
        Ok(enter(CASE, name, runtime, 1, vec![Updating { manager, keys: Keys::of(0), calls: 0 }]))
    };
    STORED.into_iter().map(contestant).collect()
}

struct Updating {
    manager: ConnectionManager,
    keys: Keys,
    calls: i64,
}

impl Caller for Updating {
    async fn call(&mut self) -> Result<(), String> {
        self.calls -= 1;
        let call = self.manager.execute(UPDATE).bind(self.keys.next_key()).bind(self.calls);
        let changes = call.wait().map_err(|error| error.to_string())?;
        if changes.rows == 1 { Ok(()) } else { Err(format!("{} rows were changed, not 1", changes.rows)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn as_many_answers_are_stored_as_the_name_says_and_commits_succeed_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.db");
        item::fill(&base).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for mut contestant in contestants(&base, runtime.handle()).unwrap() {
            contestant.round(Duration::from_millis(5)).unwrap();
            let line = contestant.finish().unwrap().pop().unwrap();
            assert_eq!(line.errors, Some(0), "{line}");
        }
    }
}
