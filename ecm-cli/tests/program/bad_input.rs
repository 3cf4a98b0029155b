//! Whatever is wrong with the command line or a file: one line on stderr, exit code 2, nothing touched.

use crate::ran::{Ran, command, ecm, ended, files, library};
use std::{
    ffi::OsString,
    fs, io,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
};

fn refused<S: Into<OsString>>(arguments: impl IntoIterator<Item = S>, expected: &[&str]) -> Ran {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    is_refused(&arguments, ecm(&arguments), expected)
}

fn is_refused(arguments: &[OsString], ran: Ran, expected: &[&str]) -> Ran {
    assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
    assert_eq!(ran.stdout, "", "{arguments:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{arguments:?}: {}", ran.stderr);
    assert!(ran.stderr.starts_with("ecm: "), "{arguments:?}: {}", ran.stderr);
    for part in expected {
        assert!(ran.stderr.contains(part), "{arguments:?}: {:?} does not say {part:?}", ran.stderr);
    }
    ran
}

#[test]
fn a_command_line_that_makes_no_sense() {
    refused::<&str>([], &["a command is needed", "demo", "bench"]);
    refused(["dmeo"], &["unrecognized subcommand 'dmeo'"]);
    refused(["bench"], &["<DATABASE>"]);
    refused(["bench", "a.db", "b.db"], &["unexpected argument 'b.db'"]);
    refused(["demo", "--rows", "0"], &["--rows", "'0'", "from 1 to 100000000"]);
    refused(["demo", "--rows", "many"], &["--rows", "'many'", "whole number"]);
    refused(["demo", "--threads", "0"], &["--threads", "from 1 to 1000"]);
    refused(["demo", "--seconds", "-1"], &["--seconds", "'-1'", "above 0"]);
    refused(["bench", "a.db", "-c", "0"], &["--clients", "'0'", "from 1 to 1000"]);
    refused(["bench", "a.db", "-T", "0"], &["--seconds", "'0'", "above 0"]);
    refused(["bench", "a.db", "-T", "-0.5"], &["--seconds", "'-0.5'", "above 0"]);
    refused(["bench", "a.db", "-T", "soon"], &["--seconds", "'soon'", "above 0"]);
    refused(["bench", "a.db", "--fast"], &["'--fast'"]);
}

#[test]
fn a_file_that_is_no_database() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("empty.db"), "").unwrap();
    fs::write(at("text.db"), "This is no database, however long it may be. ".repeat(100)).unwrap();
    fs::write(at("short.db"), "SQLite").unwrap();
    let whole = fs::read(library(folder.path(), "delete")).unwrap();
    let damaged = |name: &str, from: usize, to: usize| {
        let mut bytes = whole.clone();
        bytes[from..to].fill(0xee);
        fs::write(at(name), bytes).unwrap();
    };
    damaged("header.db", 16, 100);
    damaged("schema.db", 100, 4000);
    let before = files(folder.path());
    for (name, expected) in [
        ("missing.db", "no such file"),
        ("", "is a directory"),
        ("empty.db", "is empty (0 bytes)"),
        ("text.db", "no SQLite database"),
        ("short.db", "no SQLite database"),
        ("header.db", "damaged"),
        ("schema.db", "damaged"),
        ("text.db/below.db", "cannot be looked at"),
    ] {
        refused(
            [OsString::from("bench"), at(name).into()],
            &[name, expected, "expected the path of a SQLite database"],
        );
    }
    assert_eq!(files(folder.path()), before);
    refused(["bench", "/dev/null"], &["/dev/null is no ordinary file"]);
}

#[test]
fn a_database_without_anything_to_query() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bare.db");
    ecm::sqlite::rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        .unwrap();
    let before = files(folder.path());
    refused([OsString::from("bench"), path.into()], &["no table has rows", "--script"]);
    assert_eq!(files(folder.path()), before);
}

#[test]
fn a_script_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let database = library(folder.path(), "delete");
    let script = folder.path().join("script.sql");
    for (text, expected) in [
        ("", ":".to_owned() + " the script has no statement"),
        ("-- only a comment\n", " the script has no statement".into()),
        ("SELECT 1;\n\\sleep 10\n", ":2: unknown command \\sleep: only `\\set name expression`".into()),
        ("\\set a random(1\nSELECT :a;", ":1: the expression ends too early".into()),
        ("\\set a zipfian(1, 2)\nSELECT :a;", ":1: unknown function \"zipfian\"".into()),
        ("\\set a 1\nSELECT 1;\nSELECT :b;", ":3: unknown variable :b: set before this line are :a".into()),
        ("SELECT 1;\nSELECT missing FROM book;", ":2: SQLite refuses the statement: no such column: missing".into()),
        ("SELECT 1;\n\nSELEKT 2;", ":3: SQLite refuses the statement: near \"SELEKT\"".into()),
        ("SELECT 'never closed;", ":1: SQLite refuses the statement: unrecognized token".into()),
        ("\nDELETE FROM book;", ":2: the statement writes".into()),
        ("WITH a AS (SELECT 1) INSERT INTO author SELECT 1000, 'x' FROM a;", ":1: the statement writes".into()),
        ("PRAGMA journal_mode = wal;", ":1: the statement writes".into()),
        ("PRAGMA user_version = 7;", ":1: the statement writes".into()),
        ("BEGIN; SELECT 1; COMMIT;", ":1: BEGIN is refused".into()),
        ("ATTACH 'other.db' AS other;", ":1: ATTACH is refused".into()),
    ] {
        fs::write(&script, text).unwrap();
        let before = files(folder.path());
        let arguments = [OsString::from("bench"), (&database).into(), "--script".into(), (&script).into()];
        refused(arguments, &["script.sql", &expected]);
        assert_eq!(files(folder.path()), before, "{text}");
    }
    let missing = folder.path().join("missing.sql");
    refused(
        [OsString::from("bench"), (&database).into(), "--script".into(), missing.into()],
        &["missing.sql", "cannot be read"],
    );
    refused(
        [OsString::from("bench"), (&database).into(), "--script".into(), folder.path().into()],
        &["cannot be read"],
    );
}

#[test]
fn a_folder_for_the_demo_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "precious").unwrap();
    let expected = "expected a folder that may be made and written";
    refused([OsString::from("demo"), "--dir".into(), file.join("below").into()], &["below", expected]);
    refused([OsString::from("demo"), "--dir".into(), (&file).into()], &["file", expected]);
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    if Path::new("/proc").is_dir() {
        refused(["demo", "--dir", "/proc/ecm-demo"], &["/proc/ecm-demo", expected]);
    }
}

/// Runs the program as somebody whom permissions bind: root may write everywhere.
fn unprivileged(arguments: &[OsString], is_root: bool) -> io::Result<Ran> {
    let mut command = command(arguments);
    if is_root {
        command.uid(65_534).gid(65_534);
    }
    command.output().map(ended)
}

#[test]
fn a_folder_that_is_only_read() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("locked");
    fs::create_dir(&folder).unwrap();
    let (rollback, log) = (folder.join("rollback.db"), folder.join("log.db"));
    fs::rename(library(&folder, "delete"), &rollback).unwrap();
    fs::rename(library(&folder, "wal"), &log).unwrap();
    let script = folder.join("write.sql");
    fs::write(&script, "SELECT 1;\nDELETE FROM book WHERE id = 1;").unwrap();
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(&rollback, 0o666);
    mode(&log, 0o666);
    mode(outer.path(), 0o755);
    mode(&folder, 0o555);
    let before = files(&folder);
    let is_root = fs::write(folder.join("probe"), "").is_ok();
    let _gone = fs::remove_file(folder.join("probe"));
    let writes = |database: &Path| -> Vec<OsString> {
        vec!["bench".into(), database.into(), "--allow-writes".into(), "--script".into(), (&script).into()]
    };
    let expected_folder = "expected a folder that may be made and written";
    for (arguments, expected) in [
        (vec!["demo".into(), "--dir".into(), (&folder).into()], ["locked", expected_folder]),
        (vec!["demo".into(), "--dir".into(), folder.join("new").into()], ["new", expected_folder]),
        (vec!["bench".into(), (&log).into()], ["log.db", "expected a folder that may be written"]),
        (writes(&log), ["log.db", "expected a folder that may be written"]),
        (writes(&rollback), ["write.sql:2", "readonly"]),
    ] {
        match unprivileged(&arguments, is_root) {
            Ok(ran) => drop(is_refused(&arguments, ran, &expected)),
            Err(error) => eprintln!("skipped: nobody else may run the program here: {error}"),
        }
    }
    let reads: [OsString; 4] = ["bench".into(), (&rollback).into(), "-T".into(), "0.1".into()];
    if let Ok(ran) = unprivileged(&reads, is_root) {
        assert_eq!(ran.code, Some(0), "reading needs nothing else: {ran:?}");
    }
    assert_eq!(files(&folder), before);
    mode(&folder, 0o755);
}
