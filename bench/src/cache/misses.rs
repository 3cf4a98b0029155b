use super::{
    item::{self, cached},
    watched::{enter, watch},
};
use crate::bench::Bench;
use ecm::{ConnectionManager, core::NoCache};
use std::path::Path;
use tokio::runtime::Handle;
use workload::{Caller, Contestant, Keys, Problem};

const CASE: &str = "miss";

/// Calls that are timed together.
const BATCH: u32 = 20;

/// The second parameter is another one in each call, and changes nothing else.
const SQL: &str = "SELECT n FROM item WHERE k = ?1 AND ?2 > 0";

/// Runs the case `miss`: no call is like an earlier one, and the cache is full.
pub(super) fn run(bench: &mut Bench, base: &Path) -> Result<(), Problem> {
    let contestants = contestants(base, &bench.runtime())?;
    bench.compete(super::SUITE, CASE, contestants)
}

fn contestants(base: &Path, runtime: &Handle) -> Result<Vec<Box<dyn Contestant>>, Problem> {
    let asking = |name: &str, manager: &ConnectionManager, caches| {
        let mut asking = Asking { manager: manager.clone(), caches, keys: Keys::of(0), calls: 0 };
        for _ in 0..2 * item::ENTRIES {
            asking.ask().map_err(|error| Problem::during(name, error))?;
        }
        Ok::<_, Problem>(enter(CASE, name, runtime, BATCH, vec![asking]))
    };
    let ours = item::manager(base, CASE, item::quick(item::ENTRIES)?)?;
    let uncached = item::manager(base, "miss-uncached", NoCache)?;
    Ok(vec![watch(asking("ecm", &ours, true)?, ours.clone()), asking("ecm-uncached", &uncached, false)?])
}

struct Asking {
    manager: ConnectionManager,
    caches: bool,
    keys: Keys,
    calls: i64,
}

impl Asking {
    fn ask(&mut self) -> Result<(), String> {
        let key = self.keys.next_key();
        self.calls += 1;
        let call = self.manager.query(SQL).bind(key).bind(self.calls);
        let call = if self.caches { cached(call) } else { call };
        let number: i64 = call.one().wait().map_err(|error| error.to_string())?;
        if number == item::number(key) { Ok(()) } else { Err(format!("{number} of {key}")) }
    }
}

impl Caller for Asking {
    async fn call(&mut self) -> Result<(), String> {
        self.ask()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn no_call_is_a_hit_and_each_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.db");
        item::fill(&base).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for mut contestant in contestants(&base, runtime.handle()).unwrap() {
            contestant.round(Duration::from_millis(5)).unwrap();
            let lines = contestant.finish().unwrap();
            let ratio = lines[0].further.get("hit_ratio").and_then(serde_json::Value::as_f64);
            assert_eq!((lines[0].errors, ratio), (Some(0), (lines[0].system == "ecm").then_some(0.0)), "{lines:?}");
        }
    }
}
