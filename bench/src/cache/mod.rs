//! The suite `cache`: what a hit, a miss and a write cost, and what of a cache writes leave.

mod commit;
mod hits;
mod item;
mod join;
mod misses;
mod watched;
mod zipf_update;

use crate::bench::Bench;
use tempfile::TempDir;
use workload::{Line, Problem};

const SUITE: &str = "cache";

/// Runs the suite `cache`.
pub(crate) fn run(bench: &mut Bench) -> Result<(), Problem> {
    bench.begin(SUITE)?;
    bench.versions(SUITE, &["quick_cache", "moka"])?;
    bench.tell(&Line::condition(SUITE, "ecm", "sqlite", rusqlite::version()))?;
    bench.tell(&Line::condition(SUITE, "machine", "rows", item::ROWS.to_string()))?;
    bench.tell(&Line::condition(SUITE, "machine", "entries of a cache", item::ENTRIES.to_string()))?;
    let folder = TempDir::new().map_err(|error| Problem::during("making a folder", error))?;
    let base = folder.path().join("base.db");
    item::fill(&base).map_err(|error| Problem::during("filling the table", error))?;
    hits::run(bench, &base)?;
    misses::run(bench, &base)?;
    zipf_update::run(bench, &base)?;
    join::run(bench, folder.path())?;
    commit::run(bench, &base)
}
