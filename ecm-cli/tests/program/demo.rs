//! The demo on a fresh machine.

use crate::ran::{command, ecm, files, library};
use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

const QUICK: [&str; 7] = ["demo", "--rows", "500", "--seconds", "0.5", "--threads", "4"];

#[test]
fn json_is_one_object_without_any_error_and_nothing_else_is_written() {
    let ran = ecm(QUICK.into_iter().chain(["--json", "--seed", "7"]));
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{ran:?}");
    let report = ran.json();
    assert_eq!((report["rows"].as_u64(), report["seed"].as_u64()), (Some(500), Some(7)));
    assert_eq!(report["total"]["errors"], 0, "{report}");
    assert_eq!(report["checked"]["integrity"], "ok");
    assert_eq!(report["checked"]["notes"], report["checked"]["acknowledged"]);
    let operations = report["operations"].as_array().unwrap();
    let count: u64 = operations.iter().map(|operation| operation["count"].as_u64().unwrap()).sum();
    assert_eq!(report["total"]["count"].as_u64(), Some(count));
    assert!(count > 0);
    for operation in operations {
        let at = |name: &str| operation[name].as_u64().unwrap();
        assert!(
            at("p50_ns") <= at("p99_ns") && at("p99_ns") <= at("p999_ns") && at("p999_ns") <= at("max_ns"),
            "{operation}"
        );
    }
    let databases = report["databases"].as_array().unwrap();
    let names: Vec<_> = databases.iter().map(|database| database["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["primary", "replica"]);
    assert!(databases.iter().all(|database| database["calls"].as_u64().unwrap() > 0), "{databases:?}");
    let incident = &report["incident"];
    assert_eq!((incident["errors"].as_u64(), incident["integrity"].as_str()), (Some(0), Some("ok")), "{incident}");
    assert!(incident["rerouted"].as_u64().unwrap() >= 5, "the damage was not met: {incident}");
    assert!(incident["opened_after_ms"].as_f64().unwrap() > 0.0, "{incident}");
    let folder = report["folder"].as_str().unwrap();
    assert!(!std::path::Path::new(folder).exists(), "{folder} was left behind");
}

#[test]
fn the_table_names_every_operation_and_says_what_was_checked() {
    let ran = ecm(QUICK);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for expected in [
        "read a note",
        "new note (write)",
        "total",
        "p99.9",
        "primary: ",
        "replica: ",
        "garbage in the replica: ",
        "0 calls failed",
        "checked: ",
        "all there",
        "seed 1",
    ] {
        assert!(ran.stdout.contains(expected), "no {expected:?} in {}", ran.stdout);
    }
    assert!(ran.stderr.contains("filled 500 of 500 notes"), "{}", ran.stderr);
}

#[test]
fn files_in_a_named_folder_are_kept_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("new/folder");
    let arguments: Vec<OsString> = QUICK.into_iter().map(Into::into).chain(["--dir".into(), (&dir).into()]).collect();
    let first = ecm(&arguments);
    assert_eq!(first.code, Some(0), "{first:?}");
    let kept = files(&dir);
    let names: Vec<_> = kept.keys().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["ecm-demo-primary.db", "ecm-demo-replica.db"]);
    let second = ecm(&arguments);
    assert_eq!((second.code, &*second.stdout), (Some(2), ""));
    assert!(second.stderr.starts_with("ecm: ") && second.stderr.contains("exists already"), "{}", second.stderr);
    assert_eq!(files(&dir), kept);
}

#[test]
fn a_replica_that_is_mended_serves_again() {
    let ran = ecm(["demo", "--rows", "500", "--seconds", "3", "--threads", "4", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let incident = &ran.json()["incident"];
    assert!(incident["closed_after_ms"].as_f64().unwrap() > 0.0, "{incident}");
    assert!(incident["after"]["count"].as_u64().unwrap() > 0, "{incident}");
}

#[test]
fn damage_is_mended_when_its_standard_input_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = library(folder.path(), "wal");
    let whole = std::fs::read(&path).unwrap();
    let mut child =
        command(["damage", path.to_str().unwrap()]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_ne!(std::fs::read(&path).unwrap(), whole);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(std::fs::read(&path).unwrap(), whole);
}

#[test]
fn damage_of_which_nobody_hears_is_mended_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = library(folder.path(), "wal");
    let whole = std::fs::read(&path).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = command(["damage", path.to_str().unwrap()]).stdin(Stdio::piped()).stdout(writer).spawn().unwrap();
    child.wait().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), whole);
}

#[test]
fn ctrl_c_ends_the_load_and_the_table_is_still_printed() {
    let arguments = ["demo", "--rows", "500", "--seconds", "600", "--threads", "4"];
    let mut child = command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("load: ")), "the load never began");
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    lines.for_each(drop);
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    for expected in ["ended early by Ctrl-C", "total", "checked: integrity ok", "all there"] {
        assert!(stdout.contains(expected), "no {expected:?} in {stdout}");
    }
}

#[test]
fn a_reader_that_went_away_is_no_reason_to_panic() {
    let mut child = command(["--help"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), &*stderr), (Some(0), ""));
}
