//! What each strategy keeps of some loads, beside the best that is possible: real caches, drawn as
//! `docs/cache-hit-ratios.svg`, with the tables of `docs/caches.md`.
//!
//! ```text
//! cargo run --release -p ecm-cache --example hit_ratios -- docs/cache-hit-ratios.svg
//! ```
//!
//! The same loads every time, drawn from a fixed seed. `Quick` and `Sharded` have more parts on a machine of more cores,
//! which changes the last digits.

mod optimum;
mod plot;
mod replay;
mod saving;
mod trace;

use replay::{STRATEGIES, hit_ratio};
use saving::{Kinds, saved, saved_by_greedy_dual};
use std::io::Write;
use trace::{REQUESTS, Trace};

pub(crate) const CAPACITIES: [u64; 7] = [125, 250, 500, 1_000, 2_000, 4_000, 8_000];

/// What became of a trace: for each capacity the hit ratio of each strategy, and of the optimum.
pub(crate) struct Course {
    pub(crate) trace: Trace,
    pub(crate) ratios: Vec<[f64; 4]>,
}

fn course(trace: Trace) -> Course {
    let ratios = |capacity: &u64| {
        let [quick, lru, sharded] = [0, 1, 2].map(|number| hit_ratio(number, &trace.requests, *capacity));
        let best = optimum::hits(&trace.requests, *capacity as usize) as f64 / trace.requests.len() as f64;
        [quick, lru, sharded, best]
    };
    Course { ratios: CAPACITIES.iter().map(ratios).collect(), trace }
}

fn main() -> std::io::Result<()> {
    let courses = trace::traces().map(course);
    let mut out = std::io::stdout().lock();
    let [quick, lru, sharded] = STRATEGIES;
    writeln!(out, "| trace | entries | `{quick}` | `{lru}` | `{sharded}` | optimum |\n|---|--:|--:|--:|--:|--:|")?;
    for Course { trace, ratios } in &courses {
        for (capacity, ratios) in CAPACITIES.iter().zip(ratios) {
            let [quick, lru, sharded, best] = ratios.map(|ratio| 100.0 * ratio);
            writeln!(
                out,
                "| {} | {capacity} | {quick:.1} % | {lru:.1} % | {sharded:.1} % | {best:.1} % |",
                trace.name
            )?;
        }
    }
    writeln!(out, "\n| results | of all fit | cache | time saved | served |\n|---|--:|---|--:|--:|")?;
    for kinds in [Kinds::Alike, Kinds::Mixed] {
        for part in [0.01, 0.05, 0.2] {
            let mut line = |cache: &str, (time, served): (f64, f64)| {
                let (part, time, served) = (100.0 * part, 100.0 * time, 100.0 * served);
                writeln!(out, "| {kinds:?} | {part} % | {cache} | {time:.1} % | {served:.1} % |")
            };
            for (number, name) in STRATEGIES.iter().enumerate() {
                line(&format!("`{name}`"), saved(number, kinds, false, part, REQUESTS))?;
                line(&format!("`ByWorth<{name}>`"), saved(number, kinds, true, part, REQUESTS))?;
            }
            line("GreedyDual-Size-Frequency", saved_by_greedy_dual(kinds, part))?;
        }
    }
    match std::env::args().nth(1) {
        Some(path) => std::fs::write(path, plot::draw(&courses)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_strategy_is_better_than_the_best_and_the_scan_resistant_one_keeps_what_a_scan_takes_from_lru() {
        let [zipf, scan, looped] = trace::traces();
        for trace in [&zipf, &scan, &looped] {
            let requests = &trace.requests[..100_000];
            let best = optimum::hits(requests, 500) as f64 / requests.len() as f64;
            for (number, name) in STRATEGIES.iter().enumerate() {
                assert!(hit_ratio(number, requests, 500) <= best, "{name} of {}", trace.name);
            }
        }
        let [quick, lru] = [0, 1].map(|number| hit_ratio(number, &scan.requests[..100_000], 1_000));
        assert!(quick > lru + 0.02, "{quick} against {lru}");
        let [quick, lru] = [0, 1].map(|number| hit_ratio(number, &looped.requests[..100_000], 2_000));
        assert!(quick > 0.2 && lru == 0.0, "{quick} against {lru}");
    }

    #[test]
    fn what_is_admitted_by_its_worth_saves_more_time_and_never_much_less() {
        for (number, name) in STRATEGIES.iter().enumerate() {
            let gain = |kinds| {
                let [all, worthy] = [false, true].map(|by_worth| saved(number, kinds, by_worth, 0.05, 60_000).0);
                worthy - all
            };
            let (mixed, alike) = (gain(Kinds::Mixed), gain(Kinds::Alike));
            assert!(mixed > 0.2 && alike > -0.01, "{name}: {mixed} and {alike}");
        }
    }

    #[test]
    fn the_same_seed_tells_the_same_story() {
        assert_eq!(trace::zipf(1_000, 5), trace::zipf(1_000, 5));
        assert_ne!(trace::zipf(1_000, 5), trace::zipf(1_000, 6));
    }
}
