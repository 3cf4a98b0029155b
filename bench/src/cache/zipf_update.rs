use super::{
    item::{self, NUMBER, UPDATE, cached},
    watched::{Counter, enter, watch},
};
use crate::bench::Bench;
use ecm::{
    ConnectionManager,
    cache::Quick,
    core::{Cache, Entry, KeyRef, NoCache, Position, Time, Value, ValueRef},
};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::runtime::Handle;
use workload::{Caller, Contestant, Line, Problem, Zipf, take_turns};

const CASE: &str = "zipf-update";

/// Of so many calls one updates, which makes 5 %.
const ONE_UPDATES_OF: usize = 20;

/// After so many keys, the same ones come again.
const KEYS: usize = 1 << 20;

/// Calls of each system before it is timed: the cache has what it will have.
const WARM: usize = 150_000;

/// Runs the case `zipf-update`: rows of one table by Zipf's law, of which 5 % are updated, by the same law. Every answer is
/// compared with what was written last.
///
/// The oracle knows by construction which row an update touches: no cache like it keeps more of these hits.
pub(super) fn run(bench: &mut Bench, base: &Path) -> Result<(), Problem> {
    let contestants = contestants(base, &bench.runtime(), WARM)?;
    let lines = take_turns("cache zipf-update", &bench.plan(), contestants)?;
    with_kept(lines).iter().try_for_each(|line| bench.tell(line))
}

/// With the part of the oracle's hits that each system has kept.
fn with_kept(lines: Vec<Line>) -> Vec<Line> {
    let ratio = |line: &Line| line.further.get("hit_ratio").and_then(serde_json::Value::as_f64);
    let oracle = lines.iter().find(|line| line.system == "ecm-oracle").and_then(ratio).filter(|ratio| *ratio > 0.0);
    let kept = |line: Line| match (ratio(&line), oracle) {
        (Some(ratio), Some(oracle)) => line.with("kept", (ratio / oracle * 10_000.0).round() / 10_000.0),
        _ => line,
    };
    lines.into_iter().map(kept).collect()
}

fn contestants(base: &Path, runtime: &Handle, warm: usize) -> Result<Vec<Box<dyn Contestant>>, Problem> {
    let keys: Arc<[i64]> = Zipf::new(item::ROWS, 0.99).keys(0, KEYS).into();
    let enter = |name: &str, store: Store| {
        let expected = (0..=item::ROWS as i64).map(item::number).collect();
        let mut working = Working { store, keys: Arc::clone(&keys), calls: 0, expected };
        for _ in 0..warm {
            working.work().map_err(|error| Problem::during(name, error))?;
        }
        Ok::<_, Problem>(enter(CASE, name, runtime, ONE_UPDATES_OF as u32, vec![working]))
    };
    let ours = item::manager(base, CASE, item::quick(item::ENTRIES)?)?;
    let uncached = item::manager(base, "zipf-update-uncached", NoCache)?;
    let (manager, counter) = (item::manager(base, "zipf-update-oracle", NoCache)?, Counter::default());
    let versions = vec![0; item::ROWS + 1];
    let oracle = Oracle { manager, cache: item::quick(item::ENTRIES)?, versions, counter: counter.clone() };
    Ok(vec![
        watch(enter("ecm", Store::Cached(ours.clone()))?, ours),
        enter("ecm-uncached", Store::Uncached(uncached))?,
        watch(enter("ecm-oracle", Store::Oracle(oracle))?, counter),
    ])
}

enum Store {
    Cached(ConnectionManager),
    Uncached(ConnectionManager),
    Oracle(Oracle),
}

/// A cache in the hands of its only caller, who knows exactly what an update changes.
struct Oracle {
    manager: ConnectionManager,
    cache: Quick,
    /// How often each row was updated.
    versions: Vec<u64>,
    counter: Counter,
}

impl Oracle {
    fn read(&self, key: i64) -> Result<i64, String> {
        let values = [ValueRef::Integer(key)];
        let key_of_it = KeyRef::new(0, 0, &values);
        let version = self.versions[key as usize];
        let found = self.cache.get(key_of_it, Time::START);
        let current = found.as_ref().filter(|entry| entry.epoch == version);
        self.counter.count(current.is_some());
        let rows = match current {
            Some(entry) => Arc::clone(&entry.rows),
            None => {
                let wanted = found.is_some() || self.cache.wants(key_of_it);
                let rows = self.manager.query(NUMBER).bind(key).wait().map_err(|error| error.to_string())?;
                if wanted {
                    let entry = Entry {
                        bytes: size_of::<Entry>() + rows.bytes(),
                        rows: Arc::clone(&rows),
                        versions: Box::default(),
                        epoch: version,
                        position: Position::default(),
                        stored: Time::START,
                        took: Duration::ZERO,
                    };
                    self.cache.insert(key_of_it.to_key(), Arc::new(entry));
                }
                rows
            }
        };
        match rows.get(0) {
            Some([Value::Integer(number)]) => Ok(*number),
            other => Err(format!("{other:?} of {key}")),
        }
    }
}

impl Store {
    fn read(&self, key: i64) -> Result<i64, String> {
        match self {
            Self::Cached(manager) => {
                cached(manager.query(NUMBER).bind(key)).one().wait().map_err(|error| error.to_string())
            }
            Self::Uncached(manager) => manager.query(NUMBER).bind(key).one().wait().map_err(|error| error.to_string()),
            Self::Oracle(oracle) => oracle.read(key),
        }
    }

    fn update(&mut self, key: i64, number: i64) -> Result<(), String> {
        let (Self::Cached(manager) | Self::Uncached(manager) | Self::Oracle(Oracle { manager, .. })) = self;
        let changes = manager.execute(UPDATE).bind(key).bind(number).wait().map_err(|error| error.to_string())?;
        if let Self::Oracle(oracle) = self {
            oracle.versions[key as usize] += 1;
        }
        if changes.rows == 1 { Ok(()) } else { Err(format!("{} rows were changed, not 1", changes.rows)) }
    }
}

struct Working {
    store: Store,
    keys: Arc<[i64]>,
    calls: usize,
    /// What was written last to each row.
    expected: Vec<i64>,
}

impl Working {
    fn work(&mut self) -> Result<(), String> {
        let key = self.keys[self.calls % self.keys.len()];
        let expected = &mut self.expected[key as usize];
        self.calls += 1;
        if self.calls.is_multiple_of(ONE_UPDATES_OF) {
            *expected = -(self.calls as i64);
            return self.store.update(key, *expected);
        }
        let number = self.store.read(key)?;
        if number == *expected { Ok(()) } else { Err(format!("row {key}: {number} was served, {expected} is right")) }
    }
}

impl Caller for Working {
    async fn call(&mut self) -> Result<(), String> {
        self.work()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::watched::{Counts, Lookups};

    #[test]
    fn nobody_serves_what_was_written_over_in_any_system() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.db");
        item::fill(&base).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        // Each call of the warm-up compares what it is answered, too.
        for mut contestant in contestants(&base, runtime.handle(), 10_000).unwrap() {
            contestant.round(Duration::from_millis(5)).unwrap();
            let line = contestant.finish().unwrap().pop().unwrap();
            assert_eq!(line.errors, Some(0), "{line}");
        }
    }

    #[test]
    fn the_oracle_keeps_what_was_not_updated() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.db");
        item::fill(&base).unwrap();
        let (manager, counter) = (item::manager(&base, "oracle", NoCache).unwrap(), Counter::default());
        let versions = vec![0; item::ROWS + 1];
        let oracle = Oracle { manager, cache: item::quick(item::ENTRIES).unwrap(), versions, counter: counter.clone() };
        let mut store = Store::Oracle(oracle);
        for key in [1, 2, 1, 2] {
            assert_eq!(store.read(key), Ok(item::number(key)));
        }
        store.update(1, -5).unwrap();
        assert_eq!((store.read(1), store.read(2), store.read(1)), (Ok(-5), Ok(item::number(2)), Ok(-5)));
        assert_eq!(counter.lookups(), Lookups { hits: 4, misses: 3 });
    }

    #[test]
    fn what_is_kept_is_told_beside_the_oracle() {
        let line = |system: &str, ratio: f64| Line::empty("cache", CASE, system).with("hit_ratio", ratio);
        let lines =
            with_kept(vec![line("ecm", 0.6), Line::empty("cache", CASE, "ecm-uncached"), line("ecm-oracle", 0.8)]);
        let kept: Vec<_> =
            lines.iter().map(|line| line.further.get("kept").and_then(serde_json::Value::as_f64)).collect();
        assert_eq!(kept, [Some(0.75), None, Some(1.0)]);
    }
}
