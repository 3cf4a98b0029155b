//! The scripts of SQLite's own test corpus (sqllogictest), and the records in them that apply to SQLite.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A statement or a query.
#[derive(Clone, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) line: usize,
    pub(crate) kind: Kind<'a>,
    pub(crate) sql: String,
}

/// What a record expects.
#[derive(Clone, Debug)]
pub(crate) enum Kind<'a> {
    Statement { ok: bool },
    Query { types: &'a str, sort: &'a str, expected: Vec<&'a str> },
}

/// The records of a script that apply to SQLite.
pub(crate) fn records(script: &str) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    let mut lines = script.lines().enumerate().peekable();
    let mut skip = false;
    while let Some((number, line)) = lines.next() {
        let words: Vec<&str> = line.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
        let mut body = Vec::new();
        match words[..] {
            ["skipif", "sqlite"] => skip = true,
            ["onlyif", engine] if engine != "sqlite" => skip = true,
            ["halt"] if !std::mem::take(&mut skip) => break,
            ["statement", outcome] => {
                while let Some((_, line)) = lines.next_if(|(_, line)| !line.trim().is_empty()) {
                    body.push(line);
                }
                if !std::mem::take(&mut skip) {
                    let kind = Kind::Statement { ok: outcome == "ok" };
                    records.push(Record { line: number + 1, kind, sql: body.join("\n") });
                }
            }
            ["query", types, ref rest @ ..] => {
                while let Some((_, line)) = lines.next_if(|(_, line)| !line.trim().is_empty() && *line != "----") {
                    body.push(line);
                }
                let _separator = lines.next_if(|(_, line)| *line == "----");
                let mut expected = Vec::new();
                while let Some((_, line)) = lines.next_if(|(_, line)| !line.trim().is_empty()) {
                    expected.push(line);
                }
                if !std::mem::take(&mut skip) {
                    let kind = Kind::Query { types, sort: rest.first().copied().unwrap_or("nosort"), expected };
                    records.push(Record { line: number + 1, kind, sql: body.join("\n") });
                }
            }
            _ => {}
        }
    }
    records
}

/// Every script below a folder, but for those about temporary objects, which belong to one connection
/// and are refused.
pub(crate) fn collect(folder: &Path, scripts: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, scripts);
        } else if path.extension().is_some_and(|extension| extension == "test") {
            let text = fs::read_to_string(&path).unwrap();
            if text.contains("CREATE TEMP") {
                eprintln!("left out: {} makes temporary objects", path.display());
            } else {
                scripts.push(path);
            }
        }
    }
}
