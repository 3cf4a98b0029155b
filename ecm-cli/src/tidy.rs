use ecm::sqlite::rusqlite::{Connection, OpenFlags};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The files beside a database that SQLite makes while it is open, as they were before a run.
#[derive(Debug)]
pub(crate) struct Companions {
    database: PathBuf,
    log_was_there: bool,
}

impl Companions {
    pub(crate) fn of(database: &Path) -> Self {
        // SQLite puts them beside the file itself, not beside a link to it.
        let database = fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
        Self { log_was_there: write_ahead_log(&database).exists(), database }
    }

    /// Lets SQLite remove the write-ahead log that a run has left: a connection that only reads makes
    /// one, but cannot remove it. A log that was there before, or in which somebody has written, stays.
    ///
    /// SQLite does it, by opening and closing, because only SQLite knows whether another process has
    /// the file open at this moment. What cannot be tidied stays, and does no harm.
    pub(crate) fn tidy(&self) {
        let is_empty = write_ahead_log(&self.database).metadata().is_ok_and(|metadata| metadata.len() == 0);
        if self.log_was_there || !is_empty {
            return;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if let Ok(connection) = Connection::open_with_flags(&self.database, flags) {
            // Reading is what makes SQLite look at the log.
            let _schema_size =
                connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
        }
    }
}

fn write_ahead_log(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_left_by_a_reader_goes_and_the_file_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.db");
        Connection::open(&path)
            .and_then(|made| {
                made.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE note (id INTEGER PRIMARY KEY)")
            })
            .unwrap();
        let before = fs::read(&path).unwrap();
        let companions = Companions::of(&path);
        let reader = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        reader.query_row("SELECT count(*) FROM note", [], |row| row.get::<_, i64>(0)).unwrap();
        drop(reader);
        assert!(write_ahead_log(&path).exists(), "SQLite tidies by itself now");
        companions.tidy();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}
