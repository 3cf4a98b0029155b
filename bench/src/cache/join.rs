use super::{
    item::{self, cached},
    watched::{enter, watch},
};
use crate::bench::Bench;
use ecm::{ConnectionManager, core::NoCache};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tokio::runtime::Handle;
use workload::{Caller, Contestant, Keys, Line, Problem};

const CASE: &str = "join";

/// Calls that are timed together: one of them writes, which makes 5 %.
const BATCH: u32 = 20;

/// How many different parameters there are.
const PAGES: i64 = 1_000;

/// A page of ten tracks, each with its album and its artist.
const PAGE: &str = "SELECT t.Name, al.Title, ar.Name FROM Track t \
    JOIN Album al ON al.AlbumId = t.AlbumId JOIN Artist ar ON ar.ArtistId = al.ArtistId \
    WHERE t.TrackId BETWEEN ?1 AND ?1 + 9 ORDER BY t.TrackId";

/// A write to another table.
const WRITE: &str = "UPDATE Customer SET Phone = ?2 WHERE CustomerId = ?1";
const CUSTOMERS: i64 = 59;

/// The tables that are read and written, with as many rows as Chinook has.
const GENERATE: &str = "
    CREATE TABLE Artist (ArtistId INTEGER PRIMARY KEY, Name TEXT);
    CREATE TABLE Album (AlbumId INTEGER PRIMARY KEY, Title TEXT NOT NULL, ArtistId INTEGER NOT NULL);
    CREATE TABLE Track (TrackId INTEGER PRIMARY KEY, Name TEXT NOT NULL, AlbumId INTEGER);
    CREATE TABLE Customer (CustomerId INTEGER PRIMARY KEY, Phone TEXT);
    WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 275)
        INSERT INTO Artist SELECT i, 'Artist number ' || i FROM n;
    WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 347)
        INSERT INTO Album SELECT i, 'The album with number ' || i, i % 275 + 1 FROM n;
    WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 3503)
        INSERT INTO Track SELECT i, 'Track number ' || i, i / 11 + 1 FROM n;
    WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 59)
        INSERT INTO Customer SELECT i, '0' FROM n;";

/// Runs the case `join`: three tables of Chinook, if it is beside the project, or tables like them.
pub(super) fn run(bench: &mut Bench, folder: &Path) -> Result<(), Problem> {
    let chinook = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/chinook/chinook.sqlite");
    let (base, tables) = base(folder, &chinook)?;
    bench.tell(&Line::condition(super::SUITE, "machine", "tables of join", tables))?;
    let contestants = contestants(&base, &bench.runtime())?;
    bench.compete(super::SUITE, CASE, contestants)
}

/// A file with the tables, and where they come from.
fn base(folder: &Path, chinook: &Path) -> Result<(PathBuf, &'static str), Problem> {
    let path = folder.join("join-base.db");
    if chinook.exists() {
        let content = fs::read(chinook).and_then(|content| fs::write(&path, content));
        content.map_err(|error| Problem::during(chinook.display(), error))?;
        return Ok((path, "Chinook"));
    }
    let made = rusqlite::Connection::open(&path).and_then(|connection| connection.execute_batch(GENERATE));
    made.map_err(|error| Problem::during("making the tables of the join", error))?;
    Ok((path, "generated, as large as those of Chinook"))
}

fn contestants(base: &Path, runtime: &Handle) -> Result<Vec<Box<dyn Contestant>>, Problem> {
    let enter = |name: &str, manager: &ConnectionManager, caches, decodes| {
        let mut working = Working { manager: manager.clone(), caches, decodes, keys: Keys::of(0), calls: 0 };
        // Among them is a write: the first one of a manager makes everything out of date.
        for _ in 0..BATCH {
            working.work().map_err(|error| Problem::during(name, error))?;
        }
        for page in (1..=PAGES).chain(1..=PAGES) {
            working.ask(page).map_err(|error| Problem::during(name, error))?;
        }
        Ok::<_, Problem>(enter(CASE, name, runtime, BATCH, vec![working]))
    };
    let cached = |name: &str, decodes| {
        let manager = item::manager(base, &format!("join-{name}"), item::quick(item::ENTRIES)?)?;
        Ok::<_, Problem>(watch(enter(name, &manager, true, decodes)?, manager))
    };
    let uncached = |name: &str, decodes| {
        let manager = item::manager(base, &format!("join-{name}"), NoCache)?;
        enter(name, &manager, false, decodes)
    };
    Ok(vec![
        cached("ecm", false)?,
        uncached("ecm-uncached", false)?,
        cached("ecm-decoded", true)?,
        uncached("ecm-decoded-uncached", true)?,
    ])
}

struct Working {
    manager: ConnectionManager,
    caches: bool,
    /// Whether rows become tuples of texts, or are taken as they are.
    decodes: bool,
    keys: Keys,
    calls: i64,
}

impl Working {
    fn work(&mut self) -> Result<(), String> {
        let key = self.keys.next_key();
        self.calls += 1;
        if self.calls % i64::from(BATCH) == 0 {
            let call = self.manager.execute(WRITE).bind(key % CUSTOMERS + 1).bind(self.calls);
            let changes = call.wait().map_err(|error| error.to_string())?;
            return if changes.rows == 1 { Ok(()) } else { Err(format!("{} rows were changed", changes.rows)) };
        }
        self.ask(key % PAGES + 1)
    }

    fn ask(&self, page: i64) -> Result<(), String> {
        let call = self.manager.query(PAGE).bind(page);
        let call = if self.caches { cached(call) } else { call };
        let rows = if self.decodes {
            call.all::<(String, String, String)>().wait().map(|rows| rows.len())
        } else {
            call.wait().map(|rows| rows.len())
        };
        match rows.map_err(|error| error.to_string())? {
            10 => Ok(()),
            rows => Err(format!("{rows} rows, not 10")),
        }
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
    use std::time::Duration;

    #[test]
    fn writes_to_another_table_leave_every_hit_in_generated_tables_too() {
        let folder = tempfile::tempdir().unwrap();
        let (base, tables) = base(folder.path(), &folder.path().join("nowhere")).unwrap();
        assert!(tables.starts_with("generated"));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for mut contestant in contestants(&base, runtime.handle()).unwrap() {
            contestant.round(Duration::from_millis(20)).unwrap();
            let line = contestant.finish().unwrap().pop().unwrap();
            assert_eq!(line.errors, Some(0), "{line}");
            let ratio = line.further.get("hit_ratio").and_then(serde_json::Value::as_f64);
            assert_eq!(ratio.is_some(), !line.system.ends_with("uncached"));
            assert!(ratio.is_none_or(|ratio| ratio == 1.0), "{line}");
        }
    }
}
