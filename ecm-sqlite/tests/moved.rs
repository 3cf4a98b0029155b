//! A program that changes its working directory. Alone in its program, since all threads share it.

mod support;

use ecm_core::{Access, Backend, Clock, SystemClock};
use ecm_sqlite::Sqlite;
use std::{env, fs, sync::Arc};
use support::{read, write};

#[test]
fn a_relative_path_stays_the_same_file_when_the_program_moves() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    env::set_current_dir(here.path()).unwrap();
    let databases = ["a.db", "file:b.db?cache=private"].map(Sqlite::open);
    for database in &databases {
        let mut writer = database.connect(Access::Write, &clock).unwrap();
        write(&mut writer, |tx| tx.execute_batch("create table t(id)").unwrap());
    }
    env::set_current_dir(there.path()).unwrap();
    for database in &databases {
        let mut writer = database.connect(Access::Write, &clock).unwrap();
        write(&mut writer, |tx| tx.execute("insert into t values (1)", []).unwrap());
        let mut reader = database.connect(Access::Read, &clock).unwrap();
        assert_eq!(read(&mut reader, |db| db.query_row("select id from t", [], |row| row.get(0))), Ok(1));
    }
    assert_eq!(fs::read_dir(there.path()).unwrap().count(), 0, "nothing was made elsewhere");
}
