//! The bench on a user's own file.

use crate::ran::{Ran, command, ecm, files, library};
use ecm::sqlite::rusqlite::Connection;
use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
};

fn bench(database: &Path, options: &[&str]) -> Ran {
    let arguments = [OsString::from("bench"), database.into(), "-T".into(), "0.3".into(), "-c".into(), "2".into()];
    ecm(arguments.into_iter().chain(options.iter().map(Into::into)))
}

#[test]
fn a_file_without_a_script_gets_queries_of_its_own_and_a_ratio() {
    let folder = tempfile::tempdir().unwrap();
    let database = library(folder.path(), "wal");
    let before = files(folder.path());
    let ran = bench(&database, &["--compare", "--json"]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{ran:?}");
    let report = ran.json();
    for figure in ["throughput", "p50", "p99"] {
        assert!(report["ratio"][figure].as_f64().unwrap() > 0.0, "{report}");
    }
    let systems = report["systems"].as_array().unwrap();
    assert_eq!(
        systems.iter().map(|system| system["system"].as_str().unwrap()).collect::<Vec<_>>(),
        ["ecm", "rusqlite"]
    );
    for system in systems {
        let statements = system["statements"].as_array().unwrap();
        let count = |line: &serde_json::Value| line["count"].as_u64().unwrap();
        assert_eq!(statements.iter().map(count).sum::<u64>(), count(&system["passes"]), "{system}");
        assert_eq!(statements.len(), 5, "{system}");
    }
    assert_eq!((report["journal_mode"].as_str(), report["seed"].as_u64()), (Some("wal"), Some(1)));
    assert_eq!(files(folder.path()), before, "the folder has changed");
}

#[test]
fn only_reading_leaves_every_byte_as_it_was_in_both_journal_modes_also_by_a_link() {
    for journal_mode in ["wal", "delete"] {
        let folder = tempfile::tempdir().unwrap();
        let database = library(folder.path(), journal_mode);
        let before = files(folder.path());
        let links = tempfile::tempdir().unwrap();
        let link = links.path().join("link.db");
        std::os::unix::fs::symlink(&database, &link).unwrap();
        let ran = bench(&link, &[]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(fs::read_dir(links.path()).unwrap().count(), 1);
        for expected in ["-- point lookup in book", "\\set id random(1, 1000)", "pass", journal_mode] {
            assert!(ran.stdout.contains(expected), "no {expected:?} in {}", ran.stdout);
        }
        assert_eq!(files(folder.path()), before, "{journal_mode}: the folder has changed");
    }
}

#[test]
fn a_script_runs_as_written_and_each_statement_has_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let database = library(folder.path(), "delete");
    let (script, other) = (folder.path().join("a.sql"), folder.path().join("b.sql"));
    fs::write(
        &script,
        "-- two statements\n\\set id random(1, 1000)\n\\set author 1 + :id % 50\n\
         SELECT title, ':id' FROM book WHERE id = :id;\nSELECT count(*) FROM book WHERE author_id = @author;\n",
    )
    .unwrap();
    fs::write(&other, "SELECT max(id) FROM author").unwrap();
    let options = ["--script", script.to_str().unwrap(), "--script", other.to_str().unwrap()];
    let ran = bench(&database, &options);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for expected in
        ["a.sql:4 SELECT title, ':id'", "a.sql:5 SELECT count(*)", "b.sql:1 SELECT max(id)", "2 clients, 0.3 seconds"]
    {
        assert!(ran.stdout.contains(expected), "no {expected:?} in {}", ran.stdout);
    }
}

#[test]
fn writing_needs_permission_and_keeps_the_journal_mode() {
    let folder = tempfile::tempdir().unwrap();
    let database = library(folder.path(), "delete");
    let script = folder.path().join("write.sql");
    fs::write(&script, "\\set id random(1, 50)\nINSERT INTO book (title, author_id) VALUES ('new', :id);\nSELECT count(*) FROM author;").unwrap();
    let ran = bench(&database, &["--allow-writes", "--compare", "--json", "--script", script.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let report = ran.json();
    let connection = Connection::open(&database).unwrap();
    let books: u64 = connection.query_row("SELECT count(*) FROM book", [], |row| row.get::<_, i64>(0)).unwrap() as u64;
    let passes = report["systems"].as_array().unwrap().iter().map(|system| system["passes"]["count"].as_u64().unwrap());
    let passes: u64 = passes.sum();
    assert!(passes > 0 && books >= 1000 + passes, "{books} books after {passes} passes");
    let journal_mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(journal_mode, "delete");
}

#[test]
fn a_statement_that_fails_while_running_is_counted_and_is_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let database = library(folder.path(), "delete");
    let script = folder.path().join("fail.sql");
    fs::write(&script, "\\set id random(0, 3)\n\\set a 10 / :id\nSELECT :a;").unwrap();
    let ran = bench(&database, &["--json", "--seed", "3", "--script", script.to_str().unwrap()]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let system = &ran.json()["systems"][0];
    assert!(system["errors"]["by_kind"]["Expression"].as_u64().unwrap() > 0, "{system}");
    assert!(system["passes"]["count"].as_u64().unwrap() > 0, "{system}");
}

#[test]
fn ctrl_c_ends_the_run_and_the_table_is_still_printed() {
    let folder = tempfile::tempdir().unwrap();
    let database = library(folder.path(), "wal");
    let before = files(folder.path());
    let arguments = [OsString::from("bench"), (&database).into(), "-T".into(), "600".into(), "--compare".into()];
    let mut child = command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("running ")), "the run never began");
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(stdout.contains("ended early by Ctrl-C") && stdout.contains("pass"), "{stdout}");
    assert_eq!(files(folder.path()), before, "the folder has changed");
}

#[test]
fn ctrl_c_ends_a_statement_that_would_never_end() {
    let folder = tempfile::tempdir().unwrap();
    let database = library(folder.path(), "wal");
    let script = folder.path().join("endless.sql");
    let endless = "\\set n random(0, 3)\nWITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE :n = 3 OR \
                   i < 9) SELECT count(*) FROM c;";
    fs::write(&script, endless).unwrap();
    let arguments = ["bench", database.to_str().unwrap(), "-T", "600", "--script", script.to_str().unwrap()];
    // With this seed the pass before the run ends.
    let arguments = arguments.into_iter().chain(["--seed", "2", "--compare"]);
    let mut child = command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("running ")), "the run never began");
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{stdout}");
    assert!(stdout.contains("ended early by Ctrl-C") && !stdout.contains("errors:"), "{stdout}");
}

#[test]
fn a_real_database_is_measured_without_error() {
    let chinook = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/chinook/chinook.sqlite");
    if !chinook.exists() {
        eprintln!("skipped: there is no {}", chinook.display());
        return;
    }
    let before = fs::read(&chinook).unwrap();
    let ran = bench(&chinook, &["--compare", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.json()["ratio"]["throughput"].as_f64().unwrap() > 0.0);
    assert_eq!(fs::read(&chinook).unwrap(), before);
}
