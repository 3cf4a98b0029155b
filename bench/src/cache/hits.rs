use super::{
    item::{self, NUMBER, TEXT, cached},
    watched::{enter, watch},
};
use crate::bench::Bench;
use ecm::{ConnectionManager, core::NoCache};
use std::{path::Path, sync::Arc};
use tokio::runtime::Handle;
use workload::{Caller, Contestant, Problem, Zipf};

/// Calls that are timed together.
const BATCH: u32 = 100;

/// How many rows are asked for: all of their answers are cached.
const ASKED: usize = 5_000;

/// After so many keys, the same ones come again.
const KEYS: usize = 1 << 16;

struct Case {
    name: &'static str,
    callers: usize,
    text: bool,
}

const CASES: [Case; 3] = [
    Case { name: "hit-1", callers: 1, text: false },
    Case { name: "hit-1-text", callers: 1, text: true },
    Case { name: "hit-2", callers: 2, text: false },
];

/// Runs the cases `hit-*`: rows by Zipf's law, of which every answer is cached. What is compared with are caches alone,
/// which know no statement and no version.
pub(super) fn run(bench: &mut Bench, base: &Path) -> Result<(), Problem> {
    let zipf = Zipf::new(ASKED, 0.99);
    let runtime = bench.runtime();
    for case in &CASES {
        let contestants = contestants(case, &zipf, base, &runtime)?;
        bench.compete(super::SUITE, case.name, contestants)?;
    }
    Ok(())
}

fn contestants(case: &Case, zipf: &Zipf, base: &Path, runtime: &Handle) -> Result<Vec<Box<dyn Contestant>>, Problem> {
    let ours = item::manager(base, case.name, item::quick(item::ENTRIES)?)?;
    let uncached = item::manager(base, &format!("{}-uncached", case.name), NoCache)?;
    let quick = Arc::new(quick_cache::sync::Cache::new(item::ENTRIES));
    let moka = moka::sync::Cache::new(item::ENTRIES as u64);
    for key in 1..=ASKED as i64 {
        let answer = Answer { number: item::number(key), text: workload::value(key).into() };
        quick.insert((0, key), answer.clone());
        moka.insert((0, key), answer);
    }
    let asks =
        |system| move |caller: usize| Asking { system, keys: Keys::new(zipf.keys(caller, KEYS)), text: case.text };
    let enter = |system: &str, contestant: &dyn Fn(usize) -> Asking| {
        enter(case.name, system, runtime, BATCH, (0..case.callers).map(contestant).collect())
    };
    let warm = asks(System::Cached(ours.clone()))(0);
    for key in (1..=ASKED as i64).chain(1..=ASKED as i64) {
        warm.ask(key).map_err(Problem)?;
    }
    Ok(vec![
        watch(enter("ecm", &|caller| asks(System::Cached(ours.clone()))(caller)), ours.clone()),
        enter("ecm-uncached", &|caller| asks(System::Uncached(uncached.clone()))(caller)),
        enter("quick_cache", &|caller| asks(System::Quick(Arc::clone(&quick)))(caller)),
        enter("moka", &|caller| asks(System::Moka(moka.clone()))(caller)),
    ])
}

/// What a cache alone stores under a statement and a key.
#[derive(Clone)]
struct Answer {
    number: i64,
    text: Arc<str>,
}

type Key = (u32, i64);

enum System {
    Cached(ConnectionManager),
    Uncached(ConnectionManager),
    Quick(Arc<quick_cache::sync::Cache<Key, Answer>>),
    Moka(moka::sync::Cache<Key, Answer>),
}

struct Asking {
    system: System,
    keys: Keys,
    text: bool,
}

/// Keys that come again and again.
struct Keys {
    keys: Vec<i64>,
    next: usize,
}

impl Keys {
    fn new(keys: Vec<i64>) -> Self {
        Self { keys, next: 0 }
    }

    fn next_key(&mut self) -> i64 {
        self.next = (self.next + 1) % self.keys.len();
        self.keys[self.next]
    }
}

impl Asking {
    fn ask(&self, key: i64) -> Result<(), String> {
        if self.text {
            let text = self.answer_text(key)?;
            return if text.len() == workload::VALUE_BYTES { Ok(()) } else { Err(format!("{text} of {key}")) };
        }
        let number = self.number(key)?;
        if number == item::number(key) { Ok(()) } else { Err(format!("{number} of {key}")) }
    }

    fn number(&self, key: i64) -> Result<i64, String> {
        match &self.system {
            System::Cached(manager) => {
                cached(manager.query(NUMBER).bind(key)).one().wait().map_err(|error| error.to_string())
            }
            System::Uncached(manager) => {
                manager.query(NUMBER).bind(key).one().wait().map_err(|error| error.to_string())
            }
            System::Quick(cache) => cache.get(&(0, key)).map(|answer| answer.number).ok_or_else(missing),
            System::Moka(cache) => cache.get(&(0, key)).map(|answer| answer.number).ok_or_else(missing),
        }
    }

    fn answer_text(&self, key: i64) -> Result<String, String> {
        match &self.system {
            System::Cached(manager) => {
                cached(manager.query(TEXT).bind(key)).one().wait().map_err(|error| error.to_string())
            }
            System::Uncached(manager) => manager.query(TEXT).bind(key).one().wait().map_err(|error| error.to_string()),
            System::Quick(cache) => cache.get(&(0, key)).map(|answer| answer.text.to_string()).ok_or_else(missing),
            System::Moka(cache) => cache.get(&(0, key)).map(|answer| answer.text.to_string()).ok_or_else(missing),
        }
    }
}

fn missing() -> String {
    "it is not cached".into()
}

impl Caller for Asking {
    async fn call(&mut self) -> Result<(), String> {
        let key = self.keys.next_key();
        self.ask(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_call_is_a_hit_and_right_in_every_system() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.db");
        item::fill(&base).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for case in &CASES {
            let contestants = contestants(case, &Zipf::new(ASKED, 0.99), &base, runtime.handle()).unwrap();
            for mut contestant in contestants {
                contestant.round(Duration::from_millis(5)).unwrap();
                for line in contestant.finish().unwrap() {
                    assert_eq!((line.errors, line.case.as_str()), (Some(0), case.name), "{line}");
                    let ratio = line.further.get("hit_ratio").and_then(serde_json::Value::as_f64);
                    assert_eq!(ratio, (line.system == "ecm").then_some(1.0), "{line}");
                }
            }
        }
    }
}
