//! SQLite's own test corpus (sqllogictest) through the manager, where it is at hand.
//!
//! The corpus is not part of the repository: the folder is looked for beside it, and the test says
//! so where there is none. Every statement goes through `execute`, every query through `query`.
#![cfg(feature = "sqlite")]

#[path = "support/corpus.rs"]
mod corpus;

use corpus::{Kind, Record, collect, records};
use ecm::{ConnectionManager, Database, core::Value, sqlite::Sqlite};
use std::{fs, path::Path};

/// A value as the corpus prints it.
fn shown(value: &Value, type_: char) -> String {
    let text = match (value, type_) {
        (Value::Null, _) => "NULL".into(),
        (Value::Integer(number), 'R') => format!("{:.3}", *number as f64),
        (Value::Real(number), 'R') => format!("{number:.3}"),
        (Value::Integer(number), _) => number.to_string(),
        (Value::Real(number), 'I') => (*number as i64).to_string(),
        (Value::Real(number), _) => number.to_string(),
        (Value::Text(text), 'I') => text.parse::<f64>().map_or(0, |number| number as i64).to_string(),
        (Value::Text(text), _) => text.to_string(),
        (Value::Blob(bytes), _) => String::from_utf8_lossy(bytes).into_owned(),
    };
    if text.is_empty() { "(empty)".into() } else { text }
}

/// The corpus keeps 15 digits of a number.
fn alike(value: &str, expected: &str) -> bool {
    let close = |(a, b): (f64, f64)| (a - b).abs() <= 1e-14 * a.abs().max(b.abs());
    value == expected || value.parse().ok().zip(expected.parse().ok()).is_some_and(close)
}

fn run(script: &Path) -> usize {
    let text = fs::read_to_string(script).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let database = Database::new("main", Sqlite::open(folder.path().join("corpus.db")));
    let manager = ConnectionManager::builder().database(database).build().unwrap();
    let mut run = 0;
    for Record { line, kind, sql } in records(&text) {
        let place = format!("{}:{line}: {sql}", script.display());
        run += 1;
        match kind {
            Kind::Statement { ok } => {
                // Some records hold two statements.
                let several = sql.trim_end_matches(';').contains(";\n");
                let outcome = if several {
                    manager.write(|tx| Ok(tx.execute_batch(&sql)?)).wait()
                } else {
                    manager.execute(&sql).wait().map(drop)
                };
                assert_eq!(outcome.is_ok(), ok, "{place}: {outcome:?}");
            }
            Kind::Query { types, sort, expected } => {
                let rows = match manager.query(&sql).wait() {
                    Ok(rows) => rows,
                    // The corpus writes an overflow as a query without an answer.
                    Err(_) if expected.is_empty() => continue,
                    Err(error) => panic!("{place}: {error}"),
                };
                let row = |index: usize| -> Vec<String> {
                    let values = rows.get(index).unwrap().iter();
                    values.zip(types.chars()).map(|(value, type_)| shown(value, type_)).collect()
                };
                let mut rows: Vec<Vec<String>> = (0..rows.len()).map(row).collect();
                if sort == "rowsort" {
                    rows.sort();
                }
                let mut values: Vec<String> = rows.into_iter().flatten().collect();
                if sort == "valuesort" {
                    values.sort();
                }
                // Long results are given as a count and a hash: the count has to do.
                match expected.first().and_then(|first| first.split_once(" values hashing to ")) {
                    Some((count, _)) => assert_eq!(values.len().to_string(), count, "{place}"),
                    None => {
                        let alike = values.len() == expected.len()
                            && values.iter().zip(&expected).all(|(value, expected)| alike(value, expected));
                        assert!(alike, "{place}: {values:?} instead of {expected:?}");
                    }
                }
            }
        }
    }
    manager.close(std::time::Duration::from_secs(5)).unwrap();
    run
}

#[test]
fn sqlites_own_corpus_gives_the_expected_answers() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/sqllogictest");
    if !corpus.is_dir() {
        eprintln!("skipped: no corpus at {}", corpus.display());
        return;
    }
    let mut scripts = Vec::new();
    collect(&corpus, &mut scripts);
    let total: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = scripts.iter().map(|script| scope.spawn(move || run(script))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a script failed")).sum()
    });
    assert!(total > 10_000, "only {total} records were found");
}
